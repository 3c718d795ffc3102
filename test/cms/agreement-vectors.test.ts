import { createECDH, createPrivateKey, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { aeadOf, decryptAead } from '../../src/cms/aead.ts';
import { recoverEcdh, wrapKey } from '../../src/cms/ecdh.ts';
import { substituteKey } from '../../src/cms/substitute.ts';
import { bitsOf, readBer } from '../../src/pki/ber.ts';
import { spkiOf } from '../kit/issue.ts';
import { hex, labelOf, needsWycheproof, wycheproof } from '../kit/wycheproof.ts';
import { schemeOf, wrapAlgorithm } from './agreement.ts';

interface Agreement {
  readonly public: string;
  readonly private: string;
  readonly shared: string;
}
interface Aead {
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
}
interface AeadGroup {
  readonly keySize: 128 | 192 | 256;
  readonly tagSize: number;
}

describe.skipIf(!needsWycheproof())('Wycheproof, agreement and authenticated ciphers', () => {
  const wrap = 'id-aes256-wrap';
  const wrapDer = wrapAlgorithm(wrap);
  const contentKey = Buffer.alloc(32, 9);

  /** Whether a key that was wrapped under the vector's secret is recovered; the substitute is the only other answer. */
  function agrees(key: KeyObject, point: Buffer, shared: string, scheme: string): boolean {
    const agreement = { scheme: schemeOf(scheme), wrap, wrapDer, ukm: null } as const;
    const wrapped = wrapKey(hex(shared), contentKey, agreement);
    const recovered = recoverEcdh(key, spkiOf(key), point, wrapped, 32, agreement);
    if (recovered.equals(contentKey)) return true;
    expect(recovered.equals(substituteKey(key, wrapped, 32))).toBe(true);
    return false;
  }

  const pointOf = (spki: string): Buffer | null => {
    try {
      return bitsOf(readBer(hex(spki)).children[1]).bytes;
    } catch {
      return null;
    }
  };

  it('X25519', () => {
    const counts = { valid: 0, invalid: 0 };
    for (const { tests } of wycheproof<unknown, Agreement>('x25519_asn_test.json')) {
      for (const v of tests) {
        const point = pointOf(v.public);
        // A broken private key is no message's doing.
        if (point === null || v.flags.includes('MissingOctetString')) continue;
        const key = createPrivateKey({ key: hex(v.private), format: 'der', type: 'pkcs8' });
        const opened = agrees(key, point, v.shared, '1.2.840.113549.1.9.16.3.19');
        // RFC 7748 6.1: a secret of zeros says that the sender chose a point of small order.
        const zero = /^0*$/.test(v.shared);
        if (v.result === 'valid' || (v.result === 'acceptable' && !zero)) {
          expect(opened, labelOf(v)).toBe(true);
          counts.valid++;
        } else if (zero) {
          expect(opened, labelOf(v)).toBe(false);
          counts.invalid++;
        }
      }
    }
    expect(counts.valid).toBeGreaterThan(200);
    expect(counts.invalid).toBeGreaterThan(10);
  });

  it('ECDH on P-256', () => {
    const counts = { valid: 0, invalid: 0 };
    for (const { tests } of wycheproof<unknown, Agreement>('ecdh_secp256r1_test.json')) {
      for (const v of tests) {
        const point = pointOf(v.public);
        if (point === null) continue;
        const opened = agrees(p256(v.private), point, v.shared, '1.3.132.1.11.1');
        if (v.result === 'valid') {
          expect(opened, labelOf(v)).toBe(true);
          counts.valid++;
        } else if (v.result === 'invalid' && v.shared === '') {
          expect(opened, labelOf(v)).toBe(false);
          counts.invalid++;
        }
      }
    }
    expect(counts.valid).toBeGreaterThan(100);
    expect(counts.invalid).toBeGreaterThan(20);
  });

  function p256(scalar: string): KeyObject {
    const d = hex(scalar.replace(/^0+/, '').padStart(64, '0'));
    const pair = createECDH('prime256v1');
    pair.setPrivateKey(d);
    const point = pair.getPublicKey();
    const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString('base64url'));
    if (!x || !y) throw new Error('no point');
    const jwk = { kty: 'EC', crv: 'P-256', d: d.toString('base64url'), x, y };
    return createPrivateKey({ key: jwk, format: 'jwk' });
  }

  it('AES-GCM', () => {
    let seen = 0;
    for (const { keySize, tagSize, tests } of wycheproof<AeadGroup, Aead>('aes_gcm_test.json')) {
      const aead = aeadOf(`aes-${keySize}-gcm`);
      if (aead === null || tagSize !== 128) continue;
      for (const v of tests) {
        const nonce = hex(v.iv);
        const ct = hex(v.ct);
        // No message has a nonce of no octets: `readAeadParameters` refuses it.
        if (nonce.length < 1 || nonce.length > 128) continue;
        const parameters = { nonce, tagLength: 16 };
        const d = { parameters, mac: hex(v.tag), additional: hex(v.aad), segments: [ct], size: ct.length };
        const opened = decryptAead(aead, hex(v.key), d);
        const expected = v.result === 'valid' ? v.msg : null;
        expect(opened?.toString('hex') ?? null, labelOf(v)).toBe(expected);
        seen++;
      }
    }
    expect(seen).toBeGreaterThan(200);
  });
});
