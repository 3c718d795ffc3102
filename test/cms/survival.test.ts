import { type CipherCCMTypes, constants, createCipheriv, publicEncrypt } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseCapabilities } from '../../src/cms/capabilities.ts';
import { openCompressed } from '../../src/cms/compressed-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { encryptContent, recipientOf } from '../../src/cms/encrypt.ts';
import { type DecryptionKey, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { signDetached } from '../../src/cms/sign.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { verifySigner } from '../../src/cms/verify.ts';
import { cipherOf, defaultFloor, derAlgorithm } from '../../src/pki/algorithms.ts';
import { parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { agreeWith } from './agreement.ts';
import { cbc, contentInfo, forgeEnvelope, forgeSignedData, oid, transportTo } from './forge.ts';
import { decryptionKey } from './keys.ts';

/** Structures that we write, and rarer ones, with octets changed: whatever comes, a Fault of this folder or a result. */

const text = Buffer.from('Content-Type: text/plain\r\n\r\nStill here.\r\n');
let alice: Identity;
let bob: Identity;
let keys: DecryptionKey[];

beforeAll(async () => {
  const ca = await makeCa('Survival Root');
  alice = await ca.issue({ name: 'Alice' });
  bob = await ca.issue({ name: 'Bob', key: 'p256' });
  keys = [alice, bob].map(decryptionKey);
});

function survives(der: Buffer): boolean {
  try {
    const { kind, content } = parseContentInfo(der);
    if (kind === 'enveloped-data') openEnveloped(content, keys);
    else if (kind === 'auth-enveloped-data') openAuthEnveloped(content, keys);
    else if (kind === 'compressed-data') openCompressed(content);
    else if (kind === 'signed-data') {
      const data = parseSignedData(content);
      for (const signer of data.signers) {
        verifySigner(data, signer, data.content ?? [text], [parseCertificate(alice.certDer)], defaultFloor);
        if (signer.capabilities) parseCapabilities(signer.capabilities);
      }
    }
    return true;
  } catch (error) {
    if (error instanceof Fault && error.code.startsWith('cms-')) return true;
    throw error;
  }
}

function protectedBy(cipher: CipherCCMTypes | 'chacha20-poly1305'): Buffer {
  const { oid, keyLength } = cipherOf(cipher);
  const contentKey = Buffer.alloc(keyLength, 1);
  const nonce = Buffer.alloc(12, 2);
  const encipher = createCipheriv(cipher as CipherCCMTypes, contentKey, nonce, { authTagLength: 16 });
  encipher.setAAD(Buffer.alloc(0), { plaintextLength: text.length });
  const ciphertext = Buffer.concat([encipher.update(text), encipher.final()]);
  const parameters = cipher.endsWith('ccm')
    ? w.derSequence(w.derOctets(nonce), w.derInteger(16))
    : w.derOctets(nonce);
  const certificate = parseCertificate(alice.certDer);
  const to = { key: publicKeyOf(certificate), padding: constants.RSA_PKCS1_PADDING };
  const recipients = [transportTo(certificate, publicEncrypt(to, contentKey))];
  return forgeEnvelope({
    recipients,
    algorithm: derAlgorithm(oid, parameters),
    ciphertext,
    mac: encipher.getAuthTag(),
  });
}

function sealed(identity: Identity, cipher: 'aes-128-cbc' | 'aes-256-gcm'): Buffer {
  const encrypted = encryptContent(text, cipher);
  const recipient = recipientOf(parseCertificate(identity.certDer), identity === bob ? 'ecdh' : 'rsa');
  return Buffer.concat([encrypted.prefixFor(recipient), encrypted.tail]);
}

const samples: [string, () => Buffer][] = [
  ['key transport, CBC', () => sealed(alice, 'aes-128-cbc')],
  ['key agreement, GCM', () => sealed(bob, 'aes-256-gcm')],
  [
    'signed',
    () => {
      const certificate = parseCertificate(bob.certDer);
      return signDetached(text, { key: bob.key, certificate, chain: [], at: Date.now() });
    },
  ],
  ['CCM', () => protectedBy('aes-128-ccm')],
  ['ChaCha20-Poly1305', () => protectedBy('chacha20-poly1305')],
  [
    'ECDH with 3DES wrap and user keying material',
    () => {
      const agreement = { scheme: '1.3.133.16.840.63.0.2', wrap: 'des3-wrap', ukm: Buffer.alloc(8) } as const;
      const recipients = [agreeWith({ to: bob, contentKey: Buffer.alloc(32, 1), ...agreement })];
      return forgeEnvelope({ recipients, algorithm: cbc(Buffer.alloc(16)), ciphertext: Buffer.alloc(32) });
    },
  ],
  [
    'RC2',
    () => {
      const rc2 = w.derSequence(w.derInteger(58), w.derOctets(Buffer.alloc(8)));
      const recipients = [transportTo(parseCertificate(alice.certDer), Buffer.alloc(256))];
      const algorithm = derAlgorithm('1.2.840.113549.3.2', rc2);
      return forgeEnvelope({ recipients, algorithm, ciphertext: Buffer.alloc(16) });
    },
  ],
  [
    'compressed',
    () => {
      const zlib = derAlgorithm('1.2.840.113549.1.9.16.3.8');
      const content = w.derSequence(w.derOid(oid.data), w.derContext(0, w.derOctets(deflateSync(text))));
      return contentInfo('1.2.840.113549.1.9.16.1.9', w.derSequence(w.derInteger(0), zlib, content));
    },
  ],
  [
    'signed with revocation data',
    () => {
      const response = w.derContext(
        1,
        w.derOid('1.3.6.1.5.5.7.16.2'),
        w.derSequence(w.der(10, Buffer.from([6]))),
      );
      const crl = w.derSequence(w.derSequence(), w.derSequence(), w.derBits(Buffer.alloc(2)));
      return forgeSignedData({
        signer: alice,
        content: text,
        attributes: null,
        revocations: [crl, response],
      });
    },
  ],
];

describe('octets changed at random', () => {
  it.each(samples)('%s', (_, make) => {
    const der = make();
    expect(survives(der)).toBe(true);
    const change = fc.record({ at: fc.nat(der.length - 1), octet: fc.nat(255) });
    const changes = fc.array(change, { minLength: 1, maxLength: 4 });
    const whole = { weight: 9, arbitrary: fc.constant(der.length) };
    const length = fc.oneof(whole, { weight: 1, arbitrary: fc.nat(der.length) });
    fc.assert(
      fc.property(changes, length, (places, end) => {
        const changed = Buffer.from(der);
        for (const { at, octet } of places) changed[at] = octet;
        expect(survives(changed.subarray(0, end))).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
});
