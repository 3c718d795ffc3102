import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { certificateFileName } from '../../src/store/directory.ts';
import { newId } from '../../src/store/spool.ts';
import { clearPost, failureReport, openCopy, postHeaders, signatureDer, signedBy } from '../e2e/posts.ts';
import type { Random } from '../fuzz/random.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { derOf, withCrls } from '../kit/revocation.ts';
import { cmsEntity, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import { otherMail, type Post, secretEntity } from './posts.ts';
import type { TortureRelay } from './relay.ts';
import type { TortureSite } from './site.ts';

/** What comes besides posts, so that the daemon gets to the stages that are for it. */
export const specialKinds = [
  'held for a moderator',
  'for the side list',
  'for another key',
  'for another key, and sent on as it is',
  'no CMS at all',
  'to the owners',
  'a command',
  'returned mail',
  'a new key',
  'a first key, for the owners to decide',
  'the answer about a new key',
  'a certificate that ended, after another',
  'a revocation list',
  'signed under a strange authority',
  'the same again',
  'a file for the directory',
  'a file missing from the directory',
  "nobody's file in quarantine",
] as const;
export type SpecialKind = (typeof specialKinds)[number];

/** Makes what comes besides posts. */
export interface Specials {
  /** Null if it cannot come now, or is no mail. */
  make(kind: SpecialKind, random: Random): Promise<Post | null>;
}

interface Switcher {
  readonly old: Identity;
  readonly fresh: Identity;
  isAnswered: boolean;
}

/** `posts` are all that were made so far. */
export async function makeSpecials(d: {
  readonly site: TortureSite;
  readonly relay: TortureRelay;
  readonly posts: readonly Post[];
}): Promise<Specials> {
  const { site, relay } = d;
  const { ca, side, guarded, intact } = site;
  const author = site.authors[0] as Identity;
  const strange: TestCa = await makeCa('Strange Root');
  const impostor = await strange.issue({ name: 'dan', address: 'dan@example.org', key: 'p256' });
  const unknown = await ca.issue({ name: 'side', address: side.address, key: 'rsa' });
  const dayMs = 86_400_000;
  const filed: string[] = [];
  let lists = Math.floor(Date.now() / 1000);
  const switchers: Switcher[] = [];
  let people = 0;

  const to = (ending: string): string => side.address.replace('@', `-${ending}@`);
  const signedMail = (from: string, address: string, text: string, by: Identity): Post =>
    otherMail(from, address, mailOf(postHeaders(from, address), signedBy(by, textEntity(`${text}\n`))));
  const post = (entity: Buffer, address: string): Post =>
    otherMail(author.address, address, mailOf(postHeaders(author.address, address), entity));

  const makers: Record<SpecialKind, (random: Random) => Promise<Post | null> | Post | null> = {
    'held for a moderator': () => post(secretEntity(author, guarded.identity), guarded.address),
    'for the side list': () => post(secretEntity(author, side.identity), side.address),
    'for another key': () => post(secretEntity(author, unknown), side.address),
    'for another key, and sent on as it is': () => post(secretEntity(author, unknown), intact.address),
    'no CMS at all': () => post(cmsEntity(Buffer.from('no CMS'), 'enveloped-data'), side.address),
    'to the owners': () => otherMail(author.address, to('owner'), clearPost(author.address, to('owner'))),
    'a command': (random) =>
      signedMail(author.address, to('request'), random.pick(['GET CERT', 'HELP']), author),
    async 'returned mail'(random) {
      const sent = await site.onDatabase((q) =>
        q
          .selectFrom('deliveries as d')
          .innerJoin('postings as p', 'p.id', 'd.postingId')
          .innerJoin('messages as m', 'm.id', 'p.messageId')
          .select(['d.member', 'm.messageId'])
          .where('p.listId', '=', side.id)
          .where('p.kind', '=', 'post')
          .where('d.state', '=', 'delivered')
          .execute(),
      );
      if (sent.length === 0) return null;
      const { member, messageId } = random.pick(sent);
      return returnedMail(to('bounces'), member, messageId ?? '');
    },
    async 'a new key'() {
      const address = `switcher${++people}@example.org`;
      const old = await ca.issue({ name: address, address, key: 'rsa' });
      const fresh = await ca.issue({ name: address, address, key: 'p256' });
      await site.joinSide(old, true);
      switchers.push({ old, fresh, isAnswered: false });
      return signedMail(address, to('sendcert'), 'my new one', fresh);
    },
    async 'a first key, for the owners to decide'() {
      const address = `first${++people}@example.org`;
      const fresh = await ca.issue({ name: address, address, key: 'p256' });
      return signedMail(address, intact.address.replace('@', '-sendcert@'), 'my first one', fresh);
    },
    async 'a certificate that ended, after another'() {
      const address = `back${++people}@example.org`;
      const good = await ca.issue({ name: address, address, key: 'p256' });
      await site.joinSide(good, true);
      const ended = { notBefore: new Date(Date.now() - 9 * dayMs), notAfter: new Date(Date.now() - dayMs) };
      await site.bindNow(await ca.issue({ name: address, address, keyFrom: good, ...ended }));
      return null;
    },
    'a revocation list'() {
      const entity = textEntity(`with a list ${++people}\n`);
      const crl = derOf(ca.crl({ number: ++lists, thisUpdate: new Date(Date.now() - 60_000 + people * 10) }));
      return post(signedEntity(entity, withCrls(signatureDer(entity, { by: author }), crl)), side.address);
    },
    async 'the answer about a new key'() {
      const one = switchers.find(({ old, isAnswered }) => !isAnswered && relay.asked.has(old.address));
      if (!one) return null;
      one.isAnswered = true;
      const { address } = one.old;
      const text = await openCopy(one.old, relay.asked.get(address) as Buffer);
      const token = /confirm-[a-z2-7]{32}/.exec(text.toString('latin1'))?.[0];
      return token ? signedMail(address, to('sendcert'), token, one.fresh) : null;
    },
    'signed under a strange authority': () =>
      signedMail(impostor.address, side.address, 'it is me', impostor),
    'the same again': (random) => {
      const signed = d.posts.filter((one) => one.kind === 'secret' && one.accepted.length > 0);
      if (signed.length === 0) return null;
      const again = random.pick(signed);
      // Its members have it already: what comes of this one is for nobody.
      return { ...again, kind: 'other', members: [], accepted: [], answers: [] };
    },
    async 'a file for the directory'() {
      const address = `filed${++people}@example.org`;
      const one = await ca.issue({ name: address, address, key: 'p256' });
      await site.joinSide(one, false);
      const folder = join(site.root, 'spool/certificates');
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const file = join(folder, certificateFileName(address, 'both'));
      writeFileSync(file, one.certPem, { mode: 0o600 });
      filed.push(file);
      return null;
    },
    'a file missing from the directory': () => {
      const file = filed.shift();
      if (file !== undefined) rmSync(file, { force: true });
      return null;
    },
    "nobody's file in quarantine": () => {
      const then = Date.now() - 100 * dayMs + ++people;
      const line = formatEnvelopeLine({
        from: '',
        to: [side.address],
        smtpUtf8: false,
        body8bit: false,
        requireTls: false,
        client: 'local',
        helo: '',
        protocol: 'local',
        receivedAt: then,
      });
      const folder = join(site.root, 'spool/quarantine');
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(join(folder, newId(then)), Buffer.concat([line, Buffer.from('Subject: old\r\n\r\n')]));
      return null;
    },
  };
  return { make: async (kind, random) => makers[kind](random) };
}

/** What a mail server sends back when the copy it took comes to nothing. */
function returnedMail(to: string, member: string, messageId: string): Post {
  const entity = failureReport({ member, messageId });
  return otherMail('', to, mailOf(postHeaders('MAILER-DAEMON@mx.example', to), entity));
}
