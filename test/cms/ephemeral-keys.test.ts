import { describe, expect, it } from 'vitest';
import { encryptContent, recipientOf } from '../../src/cms/encrypt.ts';
import { EphemeralKeys } from '../../src/cms/ephemeral-keys.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { makeCa } from '../kit/pki.ts';

describe('our side of a key agreement', () => {
  it('is one key a curve, others for another content, and gone in the end', () => {
    const [one, other] = [new EphemeralKeys(), new EphemeralKeys()];
    const p256 = { keyType: 'ec', curve: 'prime256v1' } as const;
    const first = one.for(p256);
    expect(one.for(p256)).toBe(first);
    expect(one.for({ keyType: 'ec', curve: 'secp384r1' }).originatorKey).not.toEqual(first.originatorKey);
    expect(one.for({ keyType: 'x25519', curve: null }).originatorKey).toHaveLength(32);
    expect(other.for(p256).originatorKey).not.toEqual(first.originatorKey);
    one.dispose();
    expect(one.for(p256).originatorKey).not.toEqual(first.originatorKey);
  });

  it('stands in the copies of one entity, and in those of no other', async () => {
    const ca = await makeCa();
    const people = await Promise.all(
      ['eva', 'emil'].map((name) => ca.issue({ name, address: `${name}@example.org`, key: 'p256' })),
    );
    const to = people.map((one) => recipientOf(parseCertificate(one.certDer), 'ecdh'));
    const keyIn = (prefix: Buffer): string => {
      // An uncompressed point in a BIT STRING (RFC 5480 2.2).
      const at = prefix.indexOf(Buffer.from('0342000' + '4', 'hex'));
      return prefix.subarray(at, at + 68).toString('hex');
    };
    const entities = [0, 1].map(() => encryptContent(Buffer.from('the same words'), 'aes-256-cbc'));
    const keys = entities.map((entity) => to.map((one) => keyIn(entity.prefixFor(one))));
    expect(keys[0]?.[0]).toMatch(/^03420004[0-9a-f]{128}$/);
    expect(keys[0]?.[1]).toBe(keys[0]?.[0]);
    expect(keys[1]?.[0]).not.toBe(keys[0]?.[0]);
  });
});
