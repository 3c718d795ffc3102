import { signDetached } from '../../src/cms/sign.ts';
import { bytesOf, readBer } from '../../src/pki/ber.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { derContext, derSequence, derSetOf } from '../../src/pki/der.ts';
import {
  cmsDecrypt,
  cmsEncrypt,
  cmsSign,
  cmsVerify,
  type EncryptOptions,
  type SignOptions,
} from '../kit/openssl.ts';
import type { Identity } from '../kit/pki.ts';
import {
  cmsEntity,
  cmsOf,
  type Headers,
  mailOf,
  signedEntity,
  splitSigned,
  textEntity,
} from '../kit/smime-mime.ts';
import { secret } from './world.ts';

let texts = 0;

/**
 * What is posted, unless a test needs something else. New each time: RSA signatures over the same text within one
 * second are the same, and the second one would be a replay.
 */
export function secretEntity(): Buffer {
  return textEntity(`Dear friends,\n\n${secret} (${++texts})\n\n. a dot, an \u00e4, a blank at the end \n`);
}

export interface PostOptions {
  readonly headers?: Headers;
  readonly entity?: Buffer;
  readonly sign?: SignOptions;
  readonly encrypt?: EncryptOptions;
}

let count = 0;

/** Header fields of a post; the Message-ID is new each time. */
export function postHeaders(from: string, to: string, more: Headers = []): Headers {
  const given = new Set(more.map(([name]) => name.toLowerCase()));
  const usual: Headers = [
    ['From', from],
    ['To', to],
    ['Subject', 'the outer subject'],
    ['Date', new Date().toUTCString().replace('GMT', '+0000')],
    ['Message-ID', `<${++count}.${process.pid}.${Date.now()}@client.example>`],
  ];
  return [...usual.filter(([name]) => !given.has(name.toLowerCase())), ...more];
}

/** The entity that openssl signed as `author`, detached or opaque. */
export async function signed(author: Identity, entity: Buffer, o: SignOptions = {}): Promise<Buffer> {
  const der = await cmsSign(author, entity, o);
  return o.opaque ? cmsEntity(der, 'signed-data') : signedEntity(entity, der);
}

export interface Signing {
  readonly by: Identity;
  readonly at?: number;
  readonly capabilities?: Buffer;
  /** What his SMIMEEncryptionKeyPreference names. */
  readonly prefers?: Identity;
}

/** A detached signature by our own engine, with what he says of himself. */
export function signatureDer(
  entity: Buffer,
  { by, at = Date.now(), capabilities, prefers }: Signing,
): Buffer {
  return signDetached(entity, {
    key: by.key,
    certificate: parseCertificate(by.certDer),
    chain: [],
    at,
    ...(capabilities ? { capabilities } : {}),
    ...(prefers ? { encryption: parseCertificate(prefers.certDer) } : {}),
  });
}

/** Somebody adds his signature to a mail that another one signed: both are right, over the same octets. */
export function countersigned(entity: Buffer, theirs: Buffer, mine: Buffer): Buffer {
  const partsOf = (der: Buffer) => readBer(der).children[1]?.children[0]?.children ?? [];
  const [version, digests, content] = partsOf(mine).map(bytesOf);
  const sets = (index: number) =>
    [theirs, mine].flatMap((der) => partsOf(der)[index]?.children.map(bytesOf) ?? []);
  const data = derSequence(
    version ?? Buffer.alloc(0),
    digests ?? Buffer.alloc(0),
    content ?? Buffer.alloc(0),
    derContext(0, ...sets(3)),
    derSetOf(...sets(4)),
  );
  const oid = readBer(theirs).children[0];
  return signedEntity(entity, derSequence(oid ? bytesOf(oid) : Buffer.alloc(0), derContext(0, data)));
}

/** Signed by our own engine at another time, or with other capabilities than openssl's. */
export function signedBy(author: Identity, entity: Buffer, o: Omit<Signing, 'by'> = {}): Buffer {
  return signedEntity(entity, signatureDer(entity, { by: author, ...o }));
}

/** The entity encrypted to the list (or lists). */
export async function encrypted(
  lists: Identity | readonly Identity[],
  entity: Buffer,
  o: EncryptOptions = {},
): Promise<Buffer> {
  const der = await cmsEncrypt('name' in lists ? [lists] : lists, entity, o);
  return cmsEntity(der, o.cipher?.endsWith('gcm') ? 'authEnveloped-data' : 'enveloped-data');
}

export interface Addressee {
  readonly address: string;
  readonly identity: Identity;
}

/** A post as clients make it: signed, then encrypted to the list. */
export async function signedAndEncrypted(
  author: Identity,
  list: Addressee,
  o: PostOptions = {},
): Promise<Buffer> {
  const inner = await signed(author, o.entity ?? secretEntity(), o.sign);
  return mailOf(
    postHeaders(author.address, list.address, o.headers),
    await encrypted(list.identity, inner, o.encrypt),
  );
}

/** Encrypted to the list with nothing inside that says who wrote it. */
export async function encryptedOnly(from: string, list: Addressee, o: PostOptions = {}): Promise<Buffer> {
  const entity = await encrypted(list.identity, o.entity ?? secretEntity(), o.encrypt);
  return mailOf(postHeaders(from, list.address, o.headers), entity);
}

/** A message that nobody encrypted or signed. */
export function clearPost(from: string, to: string, headers: Headers = [], text = 'in clear\n'): Buffer {
  return mailOf(postHeaders(from, to, headers), textEntity(text));
}

/** What openssl makes of a member's copy; fails if it cannot be decrypted. */
export async function openCopy(member: Identity, copy: Buffer): Promise<Buffer> {
  const verdict = await cmsDecrypt(member, cmsOf(copy));
  if (!verdict.ok) throw new Error(`openssl could not decrypt the copy: ${verdict.said}`);
  return verdict.content;
}

/** Checks a detached signature with openssl and gives what it covers; fails unless it is good and trusted. */
export async function verifyEntity(ca: Identity, entity: Buffer): Promise<Buffer> {
  const { content, signatureDer } = splitSigned(entity);
  const verdict = await cmsVerify(ca, signatureDer, content);
  if (!verdict.trusted) throw new Error(`openssl does not accept the signature: ${verdict.said}`);
  return content;
}

/** Opens the copy as the member and verifies the author's signature in it: the text that he reads. */
export async function readCopy(ca: Identity, member: Identity, copy: Buffer): Promise<Buffer> {
  return verifyEntity(ca, await openCopy(member, copy));
}

/** What a mail server says of a copy that it took and that came to nothing, from its Content-Type on (RFC 3464). */
export function failureReport(d: {
  readonly member: string;
  /** Of the copy. */
  readonly messageId: string;
  readonly status?: string;
  readonly action?: string;
}): Buffer {
  const { member, messageId, status = '5.1.1', action = 'failed' } = d;
  const report = [
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
    '',
    '--b',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.example',
    '',
    `Final-Recipient: rfc822; ${member}`,
    `Action: ${action}`,
    `Status: ${status}`,
    'Diagnostic-Code: smtp; 550 no such user here',
    '',
    '--b',
    'Content-Type: text/rfc822-headers',
    '',
    `Message-ID: ${messageId}`,
    '--b--',
    '',
  ];
  return Buffer.from(report.join('\r\n'));
}
