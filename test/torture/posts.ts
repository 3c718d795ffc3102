import { encryptContent, recipientOf } from '../../src/cms/encrypt.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { clearPost, postHeaders, signedBy } from '../e2e/posts.ts';
import { secret } from '../e2e/world.ts';
import type { Random } from '../fuzz/random.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import { sendMail } from '../kit/smtp-send.ts';
import type { TortureList, TortureSite } from './site.ts';

/** What is posted: encrypted, in clear (signed or not), to many, somebody's certificate, what must be refused, and what is no post to all. */
export type PostKind = 'secret' | 'signed' | 'clear' | 'wide' | 'certificate' | 'stranger' | 'other';

/** A message that somebody sends, and what he was told. */
export interface Post {
  readonly kind: PostKind;
  readonly messageId: string;
  readonly from: string;
  readonly to: string;
  readonly data: Buffer;
  /** Who was on the list when it was sent. */
  readonly members: readonly string[];
  /** Spool ids under which it was accepted; more than one if it was sent again. */
  readonly accepted: string[];
  /** Codes of all answers; null where the daemon was gone before it answered. */
  readonly answers: (number | null)[];
}

let texts = 0;

/** Makes one post of a kind. `size` is about how many octets its text has. */
export function makePost(site: TortureSite, kind: PostKind, author: Identity, size: number): Post {
  const list = listFor(site, kind);
  const to = kind === 'certificate' ? list.address.replace('@', '-sendcert@') : list.address;
  const data = dataOf(kind, author, { ...list, address: to }, size);
  return {
    kind,
    messageId: headerOf(data, 'Message-ID') ?? '',
    from: author.address,
    to,
    data,
    members: kind === 'certificate' || kind === 'stranger' ? [] : [...list.members],
    accepted: [],
    answers: [],
  };
}

/** Kinds that members post all the time. */
export function usualKind(random: Random): PostKind {
  return random.pick(['secret', 'secret', 'secret', 'signed', 'clear', 'stranger'] as const);
}

/** A mail that is no post to all members: nobody is promised anything of it but that it is not lost. */
export function otherMail(from: string, to: string, data: Buffer): Post {
  const messageId = headerOf(data, 'Message-ID') ?? '';
  return { kind: 'other', messageId, from, to, data, members: [], accepted: [], answers: [] };
}

function listFor(site: TortureSite, kind: PostKind): TortureList {
  if (kind === 'wide') return site.wide;
  return kind === 'signed' || kind === 'clear' ? site.open : site.closed;
}

function dataOf(kind: PostKind, author: Identity, list: TortureList, size: number): Buffer {
  const filling = `${'lorem ipsum '.repeat(6)}\n`.repeat(Math.ceil(size / 73));
  if (kind === 'clear' || kind === 'wide' || kind === 'stranger') {
    const from = kind === 'stranger' ? 'stranger@elsewhere.example' : author.address;
    return clearPost(from, list.address, [], `in clear ${++texts}\n${filling}`);
  }
  const headers = postHeaders(author.address, list.address);
  if (kind !== 'secret') return mailOf(headers, signedBy(author, textEntity(`text ${++texts}\n${filling}`)));
  return mailOf(headers, secretEntity(author, list.identity, filling));
}

/** The secret, signed by its author and encrypted to a list's key. */
export function secretEntity(author: Identity, reader: Identity, filling = ''): Buffer {
  const entity = signedBy(author, textEntity(`${secret} (${++texts})\n${filling}${secret}\n`));
  const content = encryptContent(entity, 'aes-256-cbc');
  const recipient = recipientOf(parseCertificate(reader.certDer), 'rsa');
  return cmsEntity(Buffer.concat([content.prefixFor(recipient), content.tail]), 'enveloped-data');
}

/** Sends posts over some sessions at a time; each post notes what was answered. Stops when the daemon is gone. */
export async function sendAll(
  posts: readonly Post[],
  d: { port: number; sessions: number; isOver: () => boolean },
): Promise<void> {
  const waiting = [...posts];
  const session = async (): Promise<void> => {
    for (let post = waiting.shift(); post !== undefined && !d.isOver(); post = waiting.shift())
      await sendOne(post, d.port);
  };
  await Promise.all(Array.from({ length: d.sessions }, session));
}

/** Sends one post and notes the answer. */
export async function sendOne(post: Post, port: number): Promise<void> {
  const { from, to, data } = post;
  try {
    const { code, text } = await sendMail({ port, from, to: [to], data });
    post.answers.push(code);
    const id = /accepted as (\w+)/.exec(text)?.[1];
    if (code === 250 && id) post.accepted.push(id);
  } catch {
    post.answers.push(null);
  }
}

/** Whether the sender may send it again without anybody getting it twice: reseal knows signatures that it has seen. */
export const isSafeToRepeat = (post: Post): boolean => post.kind === 'secret' || post.kind === 'signed';
