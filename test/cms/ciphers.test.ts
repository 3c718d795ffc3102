import {
  type CipherCCMTypes,
  constants,
  createCipheriv,
  createDecipheriv,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type DecryptionKey, type OpenResult, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { cipherOf, derAlgorithm, openingCiphers, strengthOf } from '../../src/pki/algorithms.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { mustRun, withFiles } from '../kit/client.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { runModule } from './compiled.ts';
import { attribute, contentTypeAttribute, forgeEnvelope, transportTo } from './forge.ts';
import { decryptionKey } from './keys.ts';

const text = Buffer.from('Content-Type: text/plain\r\n\r\nRarely used.\r\n');
let alice: Identity;
let certificate: Certificate;
let key: DecryptionKey;

beforeAll(async () => {
  const ca = await makeCa('Cipher Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
  certificate = parseCertificate(alice.certDer);
  key = decryptionKey(alice);
});

const open = (der: Buffer): OpenResult => {
  const info = parseContentInfo(der);
  return (info.kind === 'enveloped-data' ? openEnveloped : openAuthEnveloped)(info.content, [key]);
};
const recipients = (contentKey: Buffer) => [
  transportTo(
    certificate,
    publicEncrypt({ key: publicKeyOf(certificate), padding: constants.RSA_PKCS1_PADDING }, contentKey),
  ),
];
const textOf = (result: OpenResult) => (result.opened ? result.content.expose().toString() : result.reason);
const malformed = expect.objectContaining({ code: 'cms-malformed' });

interface Wanted {
  readonly cipher: CipherCCMTypes | 'chacha20-poly1305';
  readonly nonce?: Buffer;
  /** Octets of the tag that is made. */
  readonly tagLength?: number;
  /** Octets that the parameters announce; null: none. Default as made. */
  readonly announced?: number | null;
  readonly authAttrs?: readonly Buffer[];
  readonly content?: Buffer;
  readonly mac?: (mac: Buffer) => Buffer;
}

/** AuthEnvelopedData under CCM or ChaCha20-Poly1305. */
function protect(d: Wanted): Buffer {
  const { keyLength, oid } = cipherOf(d.cipher);
  const contentKey = randomBytes(keyLength);
  const nonce = d.nonce ?? Buffer.alloc(12, 7);
  const content = d.content ?? text;
  const authTagLength = d.tagLength ?? 16;
  const cipher = createCipheriv(d.cipher as CipherCCMTypes, contentKey, nonce, { authTagLength });
  const aad = d.authAttrs ? w.derSetOf(...d.authAttrs) : Buffer.alloc(0);
  cipher.setAAD(aad, { plaintextLength: content.length });
  const ciphertext = Buffer.concat([cipher.update(content), cipher.final()]);
  const announced = d.announced === undefined ? authTagLength : d.announced;
  const lengths = announced === null ? [] : [w.derInteger(announced)];
  const parameters =
    d.cipher === 'chacha20-poly1305' ? w.derOctets(nonce) : w.derSequence(w.derOctets(nonce), ...lengths);
  const mac = cipher.getAuthTag();
  return forgeEnvelope({
    recipients: recipients(contentKey),
    algorithm: derAlgorithm(oid, parameters),
    ciphertext,
    mac: d.mac?.(mac) ?? mac,
    ...(d.authAttrs ? { authAttrs: w.derContext(1, ...d.authAttrs) } : {}),
  });
}

const attributes = () => [contentTypeAttribute(), attribute('1.2.3.4', w.derUtf8('hello'))];

describe.each(['aes-128-ccm', 'aes-192-ccm', 'aes-256-ccm', 'chacha20-poly1305'] as const)('%s', (cipher) => {
  it('opens', () => {
    const result = open(protect({ cipher }));
    expect(textOf(result)).toBe(text.toString());
    expect(result).toMatchObject({ opened: true, cipher });
  });

  it('opens with no content and with much', () => {
    expect(textOf(open(protect({ cipher, content: Buffer.alloc(0) })))).toBe('');
    const much = Buffer.alloc(300_001, 'Text.\r\n');
    const result = open(protect({ cipher, content: much }));
    expect(result.opened && result.content.expose().equals(much)).toBe(true);
  });

  it('covers authAttrs under the tag of a SET (RFC 5083 2.2)', () => {
    const authAttrs = attributes();
    const der = protect({ cipher, authAttrs });
    expect(textOf(open(der))).toBe(text.toString());
    const at = der.indexOf('hello');
    der[at] = 0x48;
    expect(textOf(open(der))).toBe('decrypt-failed');
  });

  it('notices every changed octet of ciphertext and tag, with one answer', () => {
    const der = protect({ cipher });
    const end = der.length;
    for (let at = end - 16 - 2 - text.length; at < end; at++) {
      if (at === end - 18 || at === end - 17) continue; // The head of the tag.
      const changed = Buffer.from(der);
      changed[at] = (changed[at] as number) ^ 1;
      expect(open(changed)).toEqual({
        opened: false,
        reason: 'decrypt-failed',
        detail: 'it could not be decrypted',
        cipher,
        recipients: 1,
        kinds: ['ktri'],
      });
    }
  });

  it.each([0, 4, 8, 11, 12, 15])('a tag cut to %i octets fails', (length) => {
    const der = protect({ cipher, mac: (mac) => mac.subarray(0, length) });
    expect(textOf(open(der))).toBe('decrypt-failed');
  });
});

describe('the parameters of CCM (RFC 5084 3.1)', () => {
  const cipher = 'aes-256-ccm';
  it.each([7, 8, 11, 12, 13])('a nonce of %i octets', (length) => {
    expect(textOf(open(protect({ cipher, nonce: Buffer.alloc(length, 1) })))).toBe(text.toString());
  });
  it.each([12, 14, 16])('a tag of %i octets', (tagLength) => {
    expect(textOf(open(protect({ cipher, tagLength })))).toBe(text.toString());
  });
  it('12 is what no announcement means', () => {
    expect(textOf(open(protect({ cipher, tagLength: 12, announced: null })))).toBe(text.toString());
    expect(textOf(open(protect({ cipher, tagLength: 16, announced: null })))).toBe('decrypt-failed');
  });
  // RULES 7, though RFC 5084 allows them.
  it.each([4, 6, 8, 10])('a tag of %i octets is refused', (tagLength) => {
    expect(() => open(protect({ cipher, tagLength }))).toThrowError(malformed);
  });
  it.each([0, 11, 13, 15, 17, 64])('an announced length of %i is refused', (announced) => {
    expect(() => open(protect({ cipher, announced }))).toThrowError(malformed);
  });
  it.each([0, 6, 14, 16])('a nonce of %i octets is refused', (length) => {
    const der = protect({ cipher });
    const right = w.derSequence(w.derOctets(Buffer.alloc(12, 7)), w.derInteger(16));
    const wrong = w.derSequence(w.derOctets(Buffer.alloc(length, 7)), w.derInteger(16));
    expect(() => open(withParameters(der, cipher, right, wrong))).toThrowError(malformed);
  });
  it('more content than the nonce leaves room to count is refused', () => {
    const most = Buffer.alloc(65_535);
    expect(open(protect({ cipher, nonce: Buffer.alloc(13, 1), content: most })).opened).toBe(true);
    const der = protect({ cipher, nonce: Buffer.alloc(12, 7), content: Buffer.alloc(65_536) });
    const right = w.derSequence(w.derOctets(Buffer.alloc(12, 7)), w.derInteger(16));
    const wrong = w.derSequence(w.derOctets(Buffer.alloc(13, 7)), w.derInteger(16));
    expect(() => open(withParameters(der, cipher, right, wrong))).toThrowError(malformed);
  });
});

describe('the parameters of ChaCha20-Poly1305 (RFC 8103 3.1)', () => {
  const cipher = 'chacha20-poly1305';
  it.each<[string, () => Buffer]>([
    ['a nonce of 8 octets', () => w.derOctets(Buffer.alloc(8, 7))],
    ['a nonce of 16 octets', () => w.derOctets(Buffer.alloc(16, 7))],
    ["GCM's parameters", () => w.derSequence(w.derOctets(Buffer.alloc(12, 7)), w.derInteger(16))],
    ['NULL', () => w.derNull()],
  ])('%s is refused', (_, parameters) => {
    const right = w.derOctets(Buffer.alloc(12, 7));
    const der = withParameters(protect({ cipher }), cipher, right, parameters());
    expect(() => open(der)).toThrowError(malformed);
  });
});

/** The message with other parameters in its algorithm; written again, as the lengths change. */
function withParameters(der: Buffer, cipher: Wanted['cipher'], right: Buffer, wrong: Buffer): Buffer {
  const { oid } = cipherOf(cipher);
  const info = parseContentInfo(der);
  const [version, set, encrypted, mac] = info.content.children;
  const [type, algorithm, ciphertext] = encrypted?.children ?? [];
  if (!version || !set || !type || !algorithm || !ciphertext || !mac) throw new Error('not as expected');
  const bytes = (node: { start: number; end: number }) => der.subarray(node.start, node.end);
  expect(bytes(algorithm).equals(derAlgorithm(oid, right))).toBe(true);
  const content = w.derSequence(bytes(type), derAlgorithm(oid, wrong), bytes(ciphertext));
  return w.derSequence(
    w.derOid(info.oid),
    w.derContext(0, w.derSequence(bytes(version), bytes(set), content, bytes(mac))),
  );
}

describe('a cipher in the other structure is unsupported', () => {
  it.each(['aes-256-gcm', 'aes-256-ccm', 'chacha20-poly1305'] as const)('%s in EnvelopedData', (cipher) => {
    const algorithm = derAlgorithm(cipherOf(cipher).oid, w.derOctets(Buffer.alloc(12)));
    const der = forgeEnvelope({ recipients: recipients(randomBytes(32)), algorithm, ciphertext: text });
    expect(open(der)).toMatchObject({ opened: false, reason: 'unsupported', cipher });
  });
  it.each(['aes-256-cbc', 'des-ede3-cbc', 'rc2-cbc'] as const)('%s in AuthEnvelopedData', (cipher) => {
    const algorithm = derAlgorithm(cipherOf(cipher).oid, w.derOctets(Buffer.alloc(16)));
    const mac = Buffer.alloc(16);
    const der = forgeEnvelope({ recipients: recipients(randomBytes(32)), algorithm, ciphertext: text, mac });
    expect(open(der)).toMatchObject({ opened: false, reason: 'unsupported', cipher });
  });
});

it('every cipher that is opened has its strength for the floor: RC2 is below each', () => {
  const weak = openingCiphers.filter((cipher) => strengthOf(cipher) < 128);
  expect(weak).toEqual(['des-ede3-cbc', 'rc2-cbc', 'rc2-64-cbc', 'rc2-40-cbc']);
  expect(weak.filter((cipher) => strengthOf(cipher) < 112)).toEqual(['rc2-cbc', 'rc2-64-cbc', 'rc2-40-cbc']);
});

describe('RC2, which needs the legacy provider of OpenSSL', () => {
  const program = (paths: { message: string; key: string; certificate: string }) => `
    const { readFileSync } = await import('node:fs');
    const { createPrivateKey } = await import('node:crypto');
    const { parseContentInfo } = await import(src + '/cms/content-info.js');
    const { openEnveloped } = await import(src + '/cms/enveloped-data.js');
    const { parseCertificate } = await import(src + '/pki/certificate.js');
    const paths = ${JSON.stringify(paths)};
    const key = createPrivateKey({ key: readFileSync(paths.key), format: 'der', type: 'pkcs8' });
    const certificate = parseCertificate(readFileSync(paths.certificate));
    const result = openEnveloped(parseContentInfo(readFileSync(paths.message)).content, [{ certificate, key }]);
    console.log(JSON.stringify({ ...result, content: result.opened && result.content.expose().toString() }));
  `;
  const unsupported = {
    opened: false,
    reason: 'unsupported',
    cipher: 'rc2-cbc',
    detail: 'the content cipher rc2-cbc is not supported',
  };

  it('is not there by default, or the rest would prove nothing', () => {
    expect(() => createDecipheriv('rc2-cbc', Buffer.alloc(16), Buffer.alloc(8))).toThrow();
  });

  const corpus = '../shared/corpora/rfc4134';
  it.skipIf(!needs('the corpus rfc4134', existsSync(corpus)))('RFC 4134 5.2', () => {
    const source = program({
      message: `${corpus}/5.2.bin`,
      key: `${corpus}/BobPrivRSAEncrypt.pri`,
      certificate: `${corpus}/BobRSASignByCarl.cer`,
    });
    const expected = { opened: true, cipher: 'rc2-40-cbc', content: 'This is some sample content.' };
    expect(runModule(source, ['--openssl-legacy-provider'])).toMatchObject(expected);
    expect(runModule(source)).toMatchObject(unsupported);
  });

  it.skipIf(!needs('openssl', hasProgram('openssl'))).each(['rc2-cbc', 'rc2-64-cbc', 'rc2-40-cbc'])(
    '%s, by OpenSSL',
    async (cipher) => {
      const pkcs8 = alice.key.export({ type: 'pkcs8', format: 'der' });
      await withFiles({ text, key: pkcs8, certificate: alice.certDer }, async (paths, message) => {
        const args = ['cms', '-encrypt', '-binary', '-outform', 'DER', '-in', paths.text, '-out', message];
        args.push(`-${cipher}`, '-provider', 'legacy', '-provider', 'default', '-recip', alice.certPath);
        await mustRun('openssl', args);
        const source = program({ ...paths, message });
        const expected = { opened: true, cipher, content: text.toString() };
        expect(runModule(source, ['--openssl-legacy-provider'])).toMatchObject(expected);
        expect(open(readFileSync(message))).toMatchObject(unsupported);
      });
    },
  );

  it('an unknown version of its parameters is unsupported, broken ones are cms-malformed', () => {
    const rc2 = (...parameters: Buffer[]) =>
      forgeEnvelope({
        recipients: recipients(randomBytes(16)),
        algorithm: derAlgorithm('1.2.840.113549.3.2', ...parameters),
        ciphertext: Buffer.alloc(8),
      });
    const sequence = w.derSequence(w.derInteger(52), w.derOctets(Buffer.alloc(8)));
    expect(open(rc2(sequence))).toMatchObject(unsupported);
    expect(() => open(rc2())).toThrowError(malformed);
    expect(() => open(rc2(w.derOctets(Buffer.alloc(8))))).toThrowError(malformed);
  });
});
