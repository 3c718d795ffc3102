import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type KeyTransport, recipientOf } from '../../src/cms/encrypt.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import type { ContentCipher } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type Sealing, startSealing } from '../../src/smime/seal.ts';
import { decryptionKey } from '../cms/keys.ts';
import { cmsDecrypt } from '../kit/openssl.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { textEntity } from '../kit/smime-mime.ts';

const ciphers: readonly ContentCipher[] = ['aes-256-cbc', 'aes-128-cbc', 'aes-256-gcm', 'aes-128-gcm'];
const transports = { rsa: 'rsa', oaep: 'rsa-oaep-sha256', p256: 'ecdh' } as const satisfies Record<
  string,
  KeyTransport
>;
type Kind = keyof typeof transports;

/** Three recipients of each kind whose serial numbers differ by an octet, so that their heads do as well. */
const people = new Map<Kind, Identity[]>();
beforeAll(async () => {
  const ca = await makeCa();
  for (const kind of Object.keys(transports) as Kind[]) {
    const key = kind === 'p256' ? 'p256' : 'rsa';
    const lengths = [9, 10, 11].map((length) => Buffer.alloc(length, 0x11));
    people.set(
      kind,
      await Promise.all(
        lengths.map((serial) => ca.issue({ name: `Bob ${kind}`, address: 'bob@example.org', key, serial })),
      ),
    );
  }
});

const recipient = (who: Identity, kind: Kind) => recipientOf(parseCertificate(who.certDer), transports[kind]);
const first = (kind: Kind): Identity => people.get(kind)?.[0] as Identity;

/** A copy's body: the member's own lines, then the shared ones. */
function copyFor(sealing: Sealing, who: Identity, kind: Kind) {
  const { head, phase } = sealing.address(recipient(who, kind));
  const lines = sealing.sharedLines(phase);
  return { phase, body: Buffer.concat([head, lines]) };
}

/** Strictly: full base64 lines, padding at the very end only. */
function decoded(body: Buffer): Buffer {
  const text = body.toString('latin1');
  expect(text).toMatch(/^(?:[A-Za-z0-9+/]{4,76}\r\n)*[A-Za-z0-9+/]+={0,2}\r\n$/);
  for (const line of text.split('\r\n')) expect(line.length % 4).toBe(0);
  return Buffer.from(text, 'base64');
}

function opened(der: Buffer, who: Identity): Buffer | null {
  const { kind, content } = parseContentInfo(der);
  const open = kind === 'enveloped-data' ? openEnveloped : openAuthEnveloped;
  const result = open(content, [decryptionKey(who)]);
  return result.opened ? result.content.expose() : null;
}

describe('a sealed copy', () => {
  const entity = textEntity(`the wedding is on Friday${'.'.repeat(300)}\n`);
  const all = ciphers.flatMap((cipher) =>
    (Object.keys(transports) as Kind[]).map((kind) => [cipher, kind] as const),
  );

  it.each(all)('%s, %s: openssl opens it in every phase', async (cipher, kind) => {
    const sealing = startSealing(entity, cipher);
    const copies = (people.get(kind) ?? []).map((who) => ({ who, ...copyFor(sealing, who, kind) }));
    expect(copies.map((copy) => copy.phase).sort()).toEqual([0, 1, 2]);
    for (const { who, body } of copies) {
      const verdict = await cmsDecrypt(who, decoded(body));
      expect([verdict.ok, verdict.content.equals(entity)]).toEqual([true, true]);
    }
  });

  it.each(all)('%s, %s: any octets come back', (cipher, kind) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(2), (octets, n) => {
        const who = people.get(kind)?.[n] as Identity;
        const sealing = startSealing(Buffer.from(octets), cipher);
        const { body } = copyFor(sealing, who, kind);
        expect(opened(decoded(body), who)?.equals(octets)).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  it('is for its recipient alone and shows no other', () => {
    const sealing = startSealing(entity, 'aes-256-cbc');
    const copies = (people.get('rsa') ?? []).map((who) => decoded(copyFor(sealing, who, 'rsa').body));
    const [one, other] = people.get('rsa') ?? [];
    expect(opened(copies[0] as Buffer, other as Identity)).toBeNull();
    expect(opened(copies[0] as Buffer, one as Identity)?.equals(entity)).toBe(true);
    expect(openEnveloped(parseContentInfo(copies[0] as Buffer).content, []).recipients).toBe(1);
  });

  it('holds nothing of the text', () => {
    const { body } = copyFor(startSealing(entity, 'aes-256-gcm'), first('rsa'), 'rsa');
    expect(decoded(body).includes('wedding')).toBe(false);
    expect(body.includes('wedding')).toBe(false);
  });
});

describe('a sealing', () => {
  it.each<[ContentCipher, string]>([
    ['aes-256-cbc', 'enveloped-data'],
    ['aes-256-gcm', 'authEnveloped-data'],
  ])('%s says what it is (RFC 8551 3.3, 3.4)', (cipher, type) => {
    expect(startSealing(Buffer.from('x'), cipher).contentType).toBe(
      `application/pkcs7-mime; smime-type=${type}; name="smime.p7m"`,
    );
  });

  it.each(ciphers)(
    '%s: two of the same entity share neither key nor IV nor ciphertext (RULES 9)',
    (cipher) => {
      const entity = Buffer.alloc(64, 0x61);
      const runs = new Set<string>();
      for (let i = 0; i < 20; i++) {
        const der = decoded(copyFor(startSealing(entity, cipher), first('rsa'), 'rsa').body);
        // The IV and the first block stand in the octets before the tail; the tail is the ciphertext's end.
        runs.add(der.subarray(-40).toString('hex')).add(der.subarray(-110, -70).toString('hex'));
      }
      expect(runs.size).toBe(40);
    },
  );

  it('puts the shared lines into memory that threads share', () => {
    const sealing = startSealing(Buffer.alloc(1000), 'aes-256-cbc');
    for (const phase of [0, 1, 2] as const)
      expect(sealing.sharedLines(phase).buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it('addresses nobody after dispose', () => {
    const sealing = startSealing(Buffer.from('x'), 'aes-256-cbc');
    sealing.dispose();
    expect(() => sealing.address(recipient(first('rsa'), 'rsa'))).toThrow(
      expect.objectContaining({ code: 'cms-disposed' }),
    );
  });

  it('has no way to give it a key, an IV or a nonce', () => {
    expect(startSealing).toHaveLength(2);
    const sealing = startSealing(Buffer.from('x'), 'aes-256-gcm');
    expect(Object.keys(sealing).sort()).toEqual([
      'address',
      'cipher',
      'contentType',
      'dispose',
      // Wrapped keys go in and out, the key itself never does.
      'headOf',
      'sharedLines',
      'wrap',
    ]);
  });
});
