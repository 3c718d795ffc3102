import * as crypto from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type OpenResult, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { cipherOf, derAlgorithm, keyOid, type OpeningCipher } from '../../src/pki/algorithms.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { agreeWith } from './agreement.ts';
import { forgeEnvelope, transportTo } from './forge.ts';
import { decryptionKey } from './keys.ts';

/**
 * Bleichenbacher, Manger, Vaudenay: what an attacker could tell apart by time is which operations are done, and on how many
 * octets. They are counted here, for every way in which a message can be wrong (RULES 6).
 */

const log = vi.hoisted(() => [] as string[]);

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof crypto>();
  const watched =
    <A extends unknown[], R>(name: string, run: (...args: A) => R) =>
    (...args: A): R => {
      log.push(name);
      return run(...args);
    };
  const createDecipheriv = (name: string, key: Buffer, ...rest: unknown[]) => {
    log.push(`decipher ${name}`);
    const decipher = Reflect.apply(real.createDecipheriv, real, [name, key, ...rest]) as crypto.Decipher;
    const { update } = decipher;
    decipher.update = ((data: Buffer) => {
      // Key unwrapping is part of the operation, the content is what may be large.
      if (!name.includes('wrap')) log.push(`${data.length} octets`);
      return Reflect.apply(update, decipher, [data]);
    }) as typeof update;
    return decipher;
  };
  return {
    ...real,
    createDecipheriv,
    privateDecrypt: watched('RSA', real.privateDecrypt),
    diffieHellman: watched('DH', real.diffieHellman),
    hkdfSync: watched('HKDF', real.hkdfSync),
    createHmac: watched('HMAC', real.createHmac),
  };
});
afterAll(() => vi.doUnmock('node:crypto'));

const text = Buffer.alloc(5000, 'Nothing to be learned here.\r\n');
let alice: Identity;
let bob: Identity;
let certificate: Certificate;

beforeAll(async () => {
  const ca = await makeCa('Operation Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
  bob = await ca.issue({ name: 'Bob', address: 'bob@a.example', key: 'p256' });
  certificate = parseCertificate(alice.certDer);
});

/** The answer and the operations for one message; what the message differs in is not in them. */
function open(der: Buffer): { result: OpenResult; operations: string[] } {
  const keys = [alice, bob].map(decryptionKey);
  const info = parseContentInfo(der);
  log.length = 0;
  const result = (info.kind === 'enveloped-data' ? openEnveloped : openAuthEnveloped)(info.content, keys);
  return { result, operations: [...log] };
}

/** One content, under a key given, with something changed. */
function sealed(cipher: OpeningCipher, contentKey: Buffer, recipient: Buffer, broken: boolean): Buffer {
  const { oid, ivLength, authenticated } = cipherOf(cipher);
  const iv = Buffer.alloc(ivLength, 3);
  const parameters =
    cipher === 'chacha20-poly1305' || !authenticated
      ? w.derOctets(iv)
      : w.derSequence(w.derOctets(iv), w.derInteger(16));
  const options = authenticated ? { authTagLength: 16 } : {};
  const encipher = crypto.createCipheriv(cipher as crypto.CipherCCMTypes, contentKey, iv, options as never);
  if (cipher.endsWith('ccm')) encipher.setAAD(Buffer.alloc(0), { plaintextLength: text.length });
  const ciphertext = Buffer.concat([encipher.update(text), encipher.final()]);
  if (broken) ciphertext[ciphertext.length - 1] = (ciphertext[ciphertext.length - 1] as number) ^ 0xff;
  return forgeEnvelope({
    recipients: [recipient],
    algorithm: derAlgorithm(oid, parameters),
    ciphertext,
    ...(authenticated ? { mac: encipher.getAuthTag() } : {}),
  });
}

const ciphers = ['aes-256-cbc', 'aes-256-gcm', 'aes-256-ccm', 'chacha20-poly1305'] as const;
const contentKey = Buffer.alloc(32, 9);
const rsa = (block: Buffer, padding: number) =>
  crypto.publicEncrypt({ key: publicKeyOf(certificate), padding }, block);
const { RSA_PKCS1_PADDING, RSA_PKCS1_OAEP_PADDING, RSA_NO_PADDING } = crypto.constants;
const changed = (octets: Buffer, at: number) => {
  const copy = Buffer.from(octets);
  copy[at] = (copy[at] as number) ^ 0x55;
  return copy;
};
const oaepDer = derAlgorithm(keyOid.rsaOaep, w.derSequence());

/** RecipientInfos that are right, and ones that are wrong in every way that there is. */
const methods: [string, () => Buffer, [string, () => Buffer][]][] = [
  [
    'RSA v1.5',
    () => transportTo(certificate, rsa(contentKey, RSA_PKCS1_PADDING)),
    [
      ['bad padding', () => transportTo(certificate, rsa(Buffer.alloc(256, 1), RSA_NO_PADDING))],
      [
        'a zero in the padding',
        () => transportTo(certificate, rsa(Buffer.from(`0002${'00'.repeat(254)}`, 'hex'), RSA_NO_PADDING)),
      ],
      ['a short key', () => transportTo(certificate, rsa(contentKey.subarray(1), RSA_PKCS1_PADDING))],
      ['a long key', () => transportTo(certificate, rsa(Buffer.alloc(33, 9), RSA_PKCS1_PADDING))],
      ['another key', () => transportTo(certificate, rsa(Buffer.alloc(32, 8), RSA_PKCS1_PADDING))],
      ['a number above the modulus', () => transportTo(certificate, Buffer.alloc(256, 0xff))],
      ['too few octets', () => transportTo(certificate, Buffer.alloc(16))],
    ],
  ],
  [
    'RSA-OAEP',
    () => transportTo(certificate, rsa(contentKey, RSA_PKCS1_OAEP_PADDING), oaepDer),
    [
      ['bad padding', () => transportTo(certificate, rsa(Buffer.alloc(256, 1), RSA_NO_PADDING), oaepDer)],
      ['v1.5 padding', () => transportTo(certificate, rsa(contentKey, RSA_PKCS1_PADDING), oaepDer)],
      [
        'a short key',
        () => transportTo(certificate, rsa(contentKey.subarray(1), RSA_PKCS1_OAEP_PADDING), oaepDer),
      ],
      [
        'another key',
        () => transportTo(certificate, rsa(Buffer.alloc(32, 8), RSA_PKCS1_OAEP_PADDING), oaepDer),
      ],
      ['a number above the modulus', () => transportTo(certificate, Buffer.alloc(256, 0xff), oaepDer)],
    ],
  ],
  ...(['id-aes256-wrap', 'des3-wrap'] as const).map(
    (wrap): [string, () => Buffer, [string, () => Buffer][]] => {
      const agree = (key = contentKey) =>
        agreeWith({ to: bob, scheme: '1.3.132.1.11.1', contentKey: key, wrap });
      return [
        `ECDH with ${wrap}`,
        agree,
        [
          ['another wrapped key', () => changed(agree(), agree().length - 1)],
          ['a short key', () => agree(contentKey.subarray(8))],
          ['another key', () => agree(Buffer.alloc(32, 8))],
          // The point before the algorithm of the wrap: off the curve, so that no secret is agreed on.
          [
            'a point off the curve',
            () => changed(agree(), agree().indexOf(Buffer.from('03420004', 'hex')) + 20),
          ],
        ],
      ];
    },
  ),
];

describe.each(ciphers)('%s', (cipher) => {
  describe.each(methods)('%s', (_, right, wrong) => {
    const broken = () => open(sealed(cipher, contentKey, right(), true));

    it('opens with its own key', () => {
      expect(open(sealed(cipher, contentKey, right(), false)).result).toMatchObject({ opened: true, cipher });
    });

    it.each(wrong)('%s is answered as changed content is, after the same operations', (name, recipient) => {
      const usual = broken();
      expect(usual.result).toMatchObject({ opened: false, reason: 'decrypt-failed' });
      const { result, operations } = open(sealed(cipher, contentKey, recipient(), false));
      // CBC under a wrong key unpads once in some 256 times, to noise that nobody signed; the work is the same.
      if (cipher !== 'aes-256-cbc' || !result.opened) expect(result).toEqual(usual.result);
      // Whoever makes a point off the curve knows that there is nothing to unwrap.
      const expected = name.startsWith('a point') ? withoutAgreement(usual.operations) : usual.operations;
      expect(operations).toEqual(expected);
      expect(operations.join(', ')).toContain(`${cipher}, `);
    });

    it.each(wrong.filter(() => cipher !== 'aes-256-cbc'))(
      '%s does not make the key zeros',
      (_, recipient) => {
        const { result } = open(sealed(cipher, Buffer.alloc(32), recipient(), false));
        expect(result).toMatchObject({ opened: false, reason: 'decrypt-failed' });
      },
    );
  });
});

const withoutAgreement = (operations: string[]) =>
  operations.filter((operation) => operation !== 'DH' && !operation.includes('wrap'));
