import { constants, createECDH, generateKeyPairSync, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { derAlgorithm, keyOid } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { forgeEnvelope, gcm, nameOf, transportTo } from '../cms/forge.ts';
import { decryptionKey } from '../cms/keys.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity } from '../kit/smime-mime.ts';
import { makePeople, openEntity, type People, plain } from '../smime/messages.ts';
import {
  answer,
  cbcEncrypt,
  cbcEnvelope,
  contentKey,
  gcmEnvelope,
  nonce,
  outcome,
  transported,
} from './scene.ts';

// Whoever may send to a list may send again and again, changed a little each time, and look at what comes back.

let people: People;
let ec: Identity;
let x25519: Identity;
beforeAll(async () => {
  people = await makePeople();
  ec = await people.ca.issue({ name: 'EC', address: 'ec@lists.example', key: 'p256' });
  x25519 = await people.ca.issue({ name: 'X', address: 'x@lists.example', key: 'x25519' });
});

const whole = (der: Buffer, to = people.list) => {
  const report = openEntity(people, cmsEntity(der, 'enveloped-data'), { keys: [decryptionKey(to)] });
  // Everything that an answer, a log line or the ledger could be made of.
  return JSON.stringify(report, (_, value) => (value instanceof Map ? [...value] : value));
};
const failed = answer('locked', 'unopened', 'decrypt-failed');

describe('Bleichenbacher (1998; ROBOT 2017; Marvin 2023)', () => {
  /** Raw RSA blocks of 00 02, padding, 00, key; what is wrong with each is its name. */
  const block = (at?: number, octet = 0): Buffer => {
    const b = Buffer.alloc(256, 0x5a);
    b[0] = 0;
    b[1] = 2;
    b[223] = 0;
    contentKey.copy(b, 224);
    if (at !== undefined) b[at] = octet;
    return b;
  };
  const raw = (b: Buffer) => transported(people.list, b, constants.RSA_NO_PADDING);
  const bad: readonly [string, () => Buffer][] = [
    ['bad padding: first octet', () => raw(block(0, 1))],
    ['bad padding: block type', () => raw(block(1, 1))],
    ['bad padding: no separator', () => raw(block(223, 1))],
    ['bad padding: zero within the first eight', () => raw(block(4, 0))],
    ['bad padding: zero before the separator', () => raw(block(200, 0))],
    ['bad length: 16 octets', () => transported(people.list, randomBytes(16))],
    ['bad length: 31 octets', () => transported(people.list, randomBytes(31))],
    ['bad length: 33 octets', () => transported(people.list, randomBytes(33))],
    ['bad length: none', () => transported(people.list, Buffer.alloc(0))],
    ['bad content: another key, well padded', () => transported(people.list, randomBytes(32))],
    [
      'a number above the modulus',
      () => transportTo(parseCertificate(people.list.certDer), Buffer.alloc(256, 0xff)),
    ],
    [
      'an encrypted key of 1 octet',
      () => transportTo(parseCertificate(people.list.certDer), Buffer.alloc(1)),
    ],
  ];

  it('bad padding, bad length and bad content give one and the same report, to the letter', () => {
    const reports = new Set<string>();
    for (const [, make] of bad) {
      const der = gcmEnvelope(people.list, plain, { recipients: [make()] });
      const report = openEntity(people, cmsEntity(der, 'authEnveloped-data'));
      expect(outcome(report)).toEqual(failed);
      reports.add(whole(der));
    }
    expect(reports.size).toBe(1);
    // The block that these are changed from is right.
    const good = gcmEnvelope(people.list, plain, { recipients: [raw(block())] });
    expect(outcome(openEntity(people, cmsEntity(good, 'enveloped-data')))).toEqual(
      answer('encrypted', 'unsigned'),
    );
  });

  it('each in the same number of private-key operations: the fourth one for us is tried, the fifth is not', () => {
    for (const [name, make] of bad) {
      const right = transported(people.list, contentKey);
      const openedAfter = (wrong: number) =>
        outcome(
          openEntity(
            people,
            cmsEntity(
              gcmEnvelope(people.list, plain, { recipients: [...Array(wrong).fill(make()), right] }),
              'authEnveloped-data',
            ),
          ),
        ).verdict;
      expect([name, openedAfter(3), openedAfter(4)]).toEqual([name, 'unsigned', 'unopened']);
    }
  });

  it('each in the same class of time: the quickest of twenty differ by less than half', () => {
    const quickest = bad.map(([, make]) => {
      const message = cmsEntity(
        gcmEnvelope(people.list, plain, { recipients: [make()] }),
        'authEnveloped-data',
      );
      const times = Array.from({ length: 20 }, () => {
        const began = performance.now();
        openEntity(people, message);
        return performance.now() - began;
      });
      return Math.min(...times);
    });
    expect(Math.max(...quickest)).toBeLessThan(1.5 * Math.min(...quickest) + 0.5);
  });

  it('the same ciphertext has the same answer each time, in CBC too (RULES 6)', () => {
    for (const [, make] of bad) {
      const der = cbcEnvelope(people.list, cbcEncrypt(plain), [make()]);
      expect(new Set([1, 2, 3].map(() => whole(der))).size).toBe(1);
    }
  });
});

describe('padding oracle (Vaudenay 2002)', () => {
  it('each wrong padding of CBC is the same report', () => {
    const reports = new Set<string>();
    for (const last of [0, 17, 32, 255, 2, 3, 15, 16]) {
      const padded = Buffer.concat([Buffer.alloc(31, 0x41), Buffer.from([last])]);
      const der = cbcEnvelope(people.list, cbcEncrypt(padded, false));
      expect(outcome(openEntity(people, cmsEntity(der, 'enveloped-data')))).toEqual(failed);
      reports.add(whole(der));
    }
    for (const length of [0, 1, 15, 17, 33])
      reports.add(whole(cbcEnvelope(people.list, Buffer.alloc(length, 7))));
    expect(reports.size).toBe(1);
  });
});

describe('invalid curves (Biehl, Meyer, Müller 2000; CVE-2015-7940)', () => {
  const kari = (to: Identity, point: Buffer, scheme = '1.3.132.1.11.1', encryptedKey = Buffer.alloc(40, 5)) =>
    w.derContext(
      1,
      w.derInteger(3),
      w.derContext(0, w.derContext(1, derAlgorithm(keyOid.ec), w.derBits(point))),
      derAlgorithm(scheme, derAlgorithm('2.16.840.1.101.3.4.1.45')),
      w.derSequence(w.derSequence(nameOf(parseCertificate(to.certDer)), w.derOctets(encryptedKey))),
    );
  const sent = (to: Identity, point: Buffer, scheme?: string) =>
    forgeEnvelope({
      recipients: [kari(to, point, scheme)],
      algorithm: gcm(nonce, 16),
      ciphertext: Buffer.alloc(64),
      mac: Buffer.alloc(16),
    });
  const on = () => createECDH('prime256v1').generateKeys();
  const p256 = 'ffffffff00000001000000000000000000000000ffffffffffffffffffffffff';

  it('a point off the curve, of small order on another one, at infinity, of another curve: one and the same answer', () => {
    const off = on();
    off[64] = (off[64] as number) ^ 1;
    const points: readonly Buffer[] = [
      on(),
      off,
      Buffer.concat([Buffer.from([4]), Buffer.alloc(64)]),
      Buffer.concat([Buffer.from([4]), Buffer.alloc(63), Buffer.from([1])]),
      Buffer.concat([Buffer.from([4]), Buffer.from(p256, 'hex'), Buffer.from(p256, 'hex')]),
      Buffer.from([0]),
      Buffer.alloc(0),
      Buffer.from([2]),
      Buffer.concat([Buffer.from([2]), Buffer.alloc(32, 0xff)]),
      Buffer.concat([Buffer.from([6]), on().subarray(1)]),
      createECDH('secp384r1').generateKeys(),
      createECDH('secp256k1').generateKeys(),
      Buffer.alloc(10_000, 4),
    ];
    const reports = new Set<string>();
    for (const point of points) {
      const der = sent(ec, point);
      const report = openEntity(people, cmsEntity(der, 'authEnveloped-data'), { keys: [decryptionKey(ec)] });
      expect(outcome(report)).toEqual(failed);
      reports.add(whole(der, ec));
    }
    expect(reports.size).toBe(1);
  });

  it('X25519: points of small order, whose shared secret is all zero (RFC 7748 6.1), are that same answer', () => {
    const raw = (hex: string) => Buffer.from(hex, 'hex');
    const { publicKey } = generateKeyPairSync('x25519');
    const honest = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
    const points = [
      honest,
      Buffer.alloc(32),
      raw('0100000000000000000000000000000000000000000000000000000000000000'),
      raw('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'),
      raw('5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157'),
      raw('ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'),
      raw('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'),
      raw('eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'),
      Buffer.alloc(31),
      Buffer.alloc(33),
    ];
    const hkdfSha256 = '1.2.840.113549.1.9.16.3.19';
    const reports = new Set<string>();
    for (const point of points) {
      const der = sent(x25519, point, hkdfSha256);
      const report = openEntity(people, cmsEntity(der, 'authEnveloped-data'), {
        keys: [decryptionKey(x25519)],
      });
      expect(outcome(report)).toEqual(failed);
      reports.add(whole(der, x25519));
    }
    expect(reports.size).toBe(1);
  });
});
