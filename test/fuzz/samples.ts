import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { encryptContent, type KeyTransport, recipientOf } from '../../src/cms/encrypt.ts';
import { signDetached } from '../../src/cms/sign.ts';
import { type ContentCipher, derAlgorithm } from '../../src/pki/algorithms.ts';
import { type Ber, bytesOf, readBer } from '../../src/pki/ber.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import {
  basicConstraints,
  distinguishedName,
  extendedKeyUsage,
  keyIdOf,
  keyUsage,
  signCertificate,
  signCrl,
  spkiOf,
  subjectAltName,
  subjectKeyId,
} from '../kit/issue.ts';
import { cmsEntity, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import type { Shape } from './mutate.ts';

/** Somebody of the samples: a private key (PKCS #8) and a certificate, both DER in base64. */
export interface Person {
  readonly key: string;
  readonly certificate: string;
}

/** What the reader of a sample is. */
export type Target = 'message' | 'certificate' | 'crl' | 'ocsp' | 'entity' | 'addresses' | 'cms';

export interface Sample {
  readonly name: string;
  readonly target: Target;
  /**
   * How the octets become the target's input: as they are, or as the CMS of an application/pkcs7-mime message, or as
   * the signature over `content`: then the changes are made to the CMS, behind its base64.
   */
  readonly form: 'whole' | 'cms' | 'signature';
  readonly shape: Shape;
  /** Base64. */
  readonly bytes: string;
  readonly content?: string;
}

/** All that a run needs to be made again: plain data, kept as JSON beside what failed. */
export interface Samples {
  readonly at: number;
  readonly anchor: string;
  /** Whose keys open messages. */
  readonly lists: readonly Person[];
  readonly samples: readonly Sample[];
}

interface Identity {
  readonly key: KeyObject;
  readonly certDer: Buffer;
}

const day = 86_400_000;
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** New people and messages of theirs, of every form that the engine reads. Takes about a second. */
export function makeSamples(at: number): Samples {
  const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ec = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const root = { key: ec(), name: distinguishedName('Fuzz Root') };
  let serial = 0;
  const issue = (key: KeyObject, name: string, address: string | null, isCa = false): Identity => ({
    key,
    certDer: signCertificate({
      serial: Buffer.from([1, serial++]),
      issuerDer: root.name,
      subjectDer: isCa ? root.name : distinguishedName(name),
      notBefore: new Date(at - day),
      notAfter: new Date(at + 365 * day),
      spkiDer: spkiOf(key),
      extensions: [
        basicConstraints(isCa),
        subjectKeyId(keyIdOf(spkiOf(key))),
        ...(isCa
          ? [keyUsage('keyCertSign,cRLSign')]
          : [keyUsage('digitalSignature,keyEncipherment,keyAgreement'), extendedKeyUsage('emailProtection')]),
        ...(address === null ? [] : [subjectAltName([address, `second.${address}`])]),
      ],
      signer: root.key,
      digest: 'sha256',
    }),
  });
  const anchor = issue(root.key, '', null, true);
  const alice = issue(rsa(), 'Alice', 'alice@example.org');
  const bob = issue(ec(), 'Bob', 'alice@example.org');
  const carol = issue(generateKeyPairSync('ed25519').privateKey, 'Carol', 'alice@example.org');
  const mallory = issue(ec(), 'Mallory', 'mallory@evil.example');
  const rsaList = issue(rsa(), 'Team', 'team@lists.example');
  const ecList = issue(ec(), 'Team EC', 'team@lists.example');

  const text = textEntity('Dear friends,\n\nthe wedding is on Friday.\n');
  const mixed = textEntity(
    '--m\nContent-Type: text/plain\n\none\n--m\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAECAwQF\n--m--\n',
    'multipart/mixed; boundary=m',
  );
  const hp = textEntity('protected\n', 'text/plain; hp="clear"');
  const protectedEntity = Buffer.concat([
    Buffer.from('From: alice@example.org\r\nTo: team@lists.example\r\nSubject: s\r\n'),
    hp,
  ]);
  const chain = [parseCertificate(anchor.certDer)];
  const signature = (who: Identity, entity: Buffer) =>
    signDetached(entity, { key: who.key, certificate: parseCertificate(who.certDer), chain, at: at - 1000 });
  const detached = (who: Identity, entity: Buffer) =>
    signedEntity(entity, signature(who, entity), 'sha-256', '=_fuzz');
  const opaque = (who: Identity, entity: Buffer) => withContent(signature(who, entity), entity);
  const sealed = (to: Identity, entity: Buffer, cipher: ContentCipher, transport: KeyTransport) => {
    const content = encryptContent(entity, cipher);
    return Buffer.concat([
      content.prefixFor(recipientOf(parseCertificate(to.certDer), transport)),
      content.tail,
    ]);
  };
  const compressed = (entity: Buffer) =>
    w.derSequence(
      w.derOid('1.2.840.113549.1.9.16.1.9'),
      w.derContext(
        0,
        w.derSequence(
          w.derInteger(0),
          derAlgorithm('1.2.840.113549.1.9.16.3.8'),
          w.derSequence(w.derOid('1.2.840.113549.1.7.1'), w.derContext(0, w.derOctets(deflateSync(entity)))),
        ),
      ),
    );
  const signedDer = opaque(alice, text);
  const crl = signCrl({
    issuerDer: root.name,
    thisUpdate: new Date(at - day),
    nextUpdate: new Date(at + day),
    revoked: Array.from({ length: 20 }, (_, n) => ({ serial: Buffer.from([9, n]), at: new Date(at - day) })),
    number: 7,
    authorityKeyId: keyIdOf(spkiOf(root.key)),
    signer: root.key,
    digest: 'sha256',
  });

  const mail = (entity: Buffer, from = 'alice@example.org') =>
    mailOf(
      [
        ['From', `Alice <${from}>`],
        ['To', 'team@lists.example'],
        ['Subject', '=?utf-8?q?x=C3=A4?='],
      ],
      entity,
    );
  const whole = (name: string, entity: Buffer, from?: string): Sample => ({
    name,
    target: 'message',
    form: 'whole',
    shape: 'mime',
    bytes: base64(mail(entity, from)),
  });
  const asCms = (name: string, bytes: Buffer): Sample => ({
    name,
    target: 'message',
    form: 'cms',
    shape: 'der',
    bytes: base64(bytes),
  });
  const asSignature = (name: string, who: Identity, entity: Buffer): Sample => ({
    name,
    target: 'message',
    form: 'signature',
    shape: 'der',
    bytes: base64(signature(who, entity)),
    content: base64(entity),
  });
  const plain = (name: string, target: Target, shape: Shape, bytes: Uint8Array | string): Sample => ({
    name,
    target,
    form: 'whole',
    shape,
    bytes: base64(typeof bytes === 'string' ? Buffer.from(bytes) : bytes),
  });
  const samples: Sample[] = [
    whole('detached, RSA', detached(alice, text)),
    whole('detached, ECDSA', detached(bob, mixed)),
    whole('detached, Ed25519', detached(carol, text)),
    whole('detached by another', detached(mallory, text), 'mallory@evil.example'),
    whole('detached, protected header', detached(bob, protectedEntity)),
    whole('opaque', cmsEntity(signedDer, 'signed-data')),
    whole('compressed', cmsEntity(compressed(detached(bob, text)), 'compressed-data')),
    whole(
      'encrypted',
      cmsEntity(sealed(rsaList, detached(alice, text), 'aes-256-cbc', 'rsa'), 'enveloped-data'),
    ),
    whole('plain', mixed),
    asSignature('signature, RSA', alice, text),
    asSignature('signature, ECDSA', bob, text),
    asSignature('signature, Ed25519', carol, text),
    asCms('opaque, RSA', signedDer),
    asCms('opaque, ECDSA', opaque(bob, mixed)),
    asCms('opaque with a CRL', withCrl(opaque(bob, text), crl)),
    asCms('compressed', compressed(cmsEntity(opaque(bob, text), 'signed-data'))),
    asCms('RSA v1.5, CBC', sealed(rsaList, detached(bob, text), 'aes-256-cbc', 'rsa')),
    asCms('OAEP, GCM', sealed(rsaList, detached(bob, text), 'aes-256-gcm', 'rsa-oaep-sha256')),
    asCms('ECDH, CBC', sealed(ecList, detached(bob, text), 'aes-128-cbc', 'ecdh')),
    asCms('ECDH, GCM', sealed(ecList, cmsEntity(opaque(alice, text), 'signed-data'), 'aes-128-gcm', 'ecdh')),
    plain('certificate, RSA', 'certificate', 'der', alice.certDer),
    plain('certificate, Ed25519', 'certificate', 'der', carol.certDer),
    plain('certificate, CA', 'certificate', 'der', anchor.certDer),
    plain('CRL', 'crl', 'der', crl),
    plain('OCSP response', 'ocsp', 'der', ocspResponse(root, alice, at)),
    plain('CMS', 'cms', 'der', signedDer),
    plain('entity', 'entity', 'mime', mail(mixed)),
    plain('entity in parts', 'entity', 'mime', mail(detached(bob, mixed))),
    plain('address list', 'addresses', 'text', addresses.join(', ')),
    ...addresses.map((one, n) => plain(`address ${n}`, 'addresses', 'text', one)),
  ];
  const person = ({ key, certDer }: Identity): Person => ({
    key: base64(key.export({ type: 'pkcs8', format: 'der' })),
    certificate: base64(certDer),
  });
  return { at, anchor: base64(anchor.certDer), lists: [person(rsaList), person(ecList)], samples };
}

const addresses = [
  'Alice <alice@example.org>',
  '"O\'Brien, \\"Al\\" (x)" <al.brien+x@sub.example.org>',
  '=?utf-8?b?w6Q=?= =?utf-8?q?=C3=B6?= <a@xn--bcher-kva.example>',
  'Friends: a@b.example, "c d"@e.example;, f@[192.0.2.1] (comment (nested))',
  '<@a.example,@b.example:c@d.example>',
  '\u00fcml\u00e4ut@b\u00fccher.example',
];

/** SignedData with its content put in: an opaque signature of a detached one. */
export function withContent(detached: Buffer, content: Buffer): Buffer {
  const info = readBer(detached);
  const fields = info.children[1]?.children[0]?.children ?? [];
  const [type] = fields[2]?.children ?? [];
  if (!type) throw new Error('no SignedData');
  const inner = w.derSequence(bytesOf(type), w.derContext(0, w.derOctets(content)));
  const data = fields.map((field, n) => (n === 2 ? inner : bytesOf(field)));
  return w.derSequence(bytesOf(info.children[0] as Ber), w.derContext(0, w.derSequence(...data)));
}

/** SignedData that brings a revocation list along (RFC 5652 5.1). */
function withCrl(signed: Buffer, crl: Buffer): Buffer {
  const info = readBer(signed);
  const fields = (info.children[1]?.children[0]?.children ?? []).map(bytesOf);
  const data = w.derSequence(...fields.slice(0, -1), w.derContext(1, crl), ...fields.slice(-1));
  return w.derSequence(bytesOf(info.children[0] as Ber), w.derContext(0, data));
}

/** A BasicOCSPResponse (RFC 6960 4.2.1) that says `good`. Its signature is not looked at by the reader. */
function ocspResponse(root: { key: KeyObject; name: Buffer }, of: Identity, at: number): Buffer {
  const time = (ms: number) =>
    w.der(
      0x18,
      Buffer.from(
        `${new Date(ms)
          .toISOString()
          .replace(/[-:T]|\.\d+/g, '')
          .replace('Z', '')}Z`,
      ),
    );
  const id = w.derSequence(
    derAlgorithm('1.3.14.3.2.26', w.derNull()),
    w.derOctets(Buffer.alloc(20, 1)),
    w.derOctets(keyIdOf(spkiOf(root.key))),
    w.der(2, parseCertificate(of.certDer).serialDer),
  );
  const single = w.derSequence(
    id,
    w.derContextPrimitive(0, Buffer.alloc(0)),
    time(at - 1000),
    w.derContext(0, time(at + day)),
  );
  const data = w.derSequence(w.derContext(1, root.name), time(at), w.derSequence(single));
  const basic = w.derSequence(data, derAlgorithm('1.2.840.10045.4.3.2'), w.derBits(Buffer.alloc(70, 3)));
  const wrapped = w.derSequence(w.derOid('1.3.6.1.5.5.7.48.1.1'), w.derOctets(basic));
  return w.derSequence(w.der(10, Buffer.from([0])), w.derContext(0, wrapped));
}

/** A private key and certificate from what the samples keep. */
export function personOf({ key, certificate }: Person): { key: KeyObject; certDer: Buffer } {
  return {
    key: createPrivateKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'pkcs8' }),
    certDer: Buffer.from(certificate, 'base64'),
  };
}

/** More than this a sample of a corpus need not have. */
const mostOctets = 60_000;

/**
 * Files of public corpora as samples more (`../shared/corpora`, read in place): messages, CMS structures, certificates
 * and revocation lists, known by their names.
 */
export function samplesOfFiles(
  files: readonly { readonly name: string; readonly octets: Buffer }[],
): Sample[] {
  return files.flatMap(({ name, octets }): Sample[] => {
    if (octets.length > mostOctets) return [];
    const bytes = base64(octets);
    const message = { name, target: 'message', bytes } as const;
    if (/\.(eml|msg|txt)$/.test(name)) return [{ ...message, form: 'whole', shape: 'mime' }];
    if (/\.(bin|p7m|p7s)$/.test(name)) return [{ ...message, form: 'cms', shape: 'der' }];
    if (/\.(crt|cer|der)$/.test(name))
      return [{ name, target: 'certificate', form: 'whole', shape: 'der', bytes }];
    if (/\.crl$/.test(name)) return [{ name, target: 'crl', form: 'whole', shape: 'der', bytes }];
    return [];
  });
}
