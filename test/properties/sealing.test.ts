import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type KeyTransport, recipientOf } from '../../src/cms/encrypt.ts';
import { oaepHashes } from '../../src/cms/oaep.ts';
import { type ContentCipher, contentCiphers, defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { startSealing } from '../../src/smime/seal.ts';
import { signEntity } from '../../src/smime/sign.ts';
import { decryptionKey } from '../cms/keys.ts';
import type { Identity, KeyKind } from '../kit/pki.ts';
import { mailOf } from '../kit/smime-mime.ts';
import { from, makePeople, open, type People } from '../smime/messages.ts';

// Whatever MIME is sealed opens to the same bytes.

const seed = 1311;
const members = new Map<KeyKind, Identity>();
let people: People;
beforeAll(async () => {
  people = await makePeople();
  for (const key of ['rsa', 'p256', 'p384', 'p521', 'x25519'] as const)
    members.set(key, await people.ca.issue({ name: key, address: 'member@example.org', key }));
});

/** Every cipher that reseal writes; 3DES it only reads. */
const ciphers = contentCiphers.filter((name) => name.startsWith('aes-'));
const transports: readonly (readonly [KeyKind, KeyTransport])[] = [
  ['rsa', 'rsa'],
  ...oaepHashes.map((hash) => ['rsa', `rsa-oaep-${hash}`] as const),
  ['p256', 'ecdh'],
  ['p384', 'ecdh'],
  ['p521', 'ecdh'],
  ['x25519', 'ecdh'],
];

// Random MIME: what people and programs send, and what nobody should.
const lineEnd = fc.constantFrom('\r\n', '\n', '\r', '\r\n\r\n', '\n\r');
const line = fc.oneof(
  { weight: 6, arbitrary: fc.string({ maxLength: 90 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('.', 'From x', '--b', '--b--', '-- ', ' ', '\t', '\0', '=', '=20'),
  },
  { weight: 1, arbitrary: fc.nat(4000).map((length) => 'x'.repeat(length)) },
);
const textBody = fc
  .array(fc.tuple(line, lineEnd), { maxLength: 12 })
  .map((lines) => Buffer.from(lines.map(([text, end]) => text + end).join(''), 'utf8'));
const binaryBody = fc.uint8Array({ maxLength: 600 }).map((octets) => Buffer.from(octets));
const leaf = fc
  .tuple(
    fc.constantFrom(
      'text/plain',
      'text/html; charset=utf-8',
      'application/octet-stream',
      'message/rfc822',
      'x',
    ),
    fc.constantFrom('7bit', '8bit', 'binary', 'base64', 'quoted-printable'),
    fc.oneof(textBody, binaryBody, fc.constant(Buffer.alloc(0))),
  )
  .map(([type, encoding, body]) =>
    Buffer.concat([
      Buffer.from(`Content-Type: ${type}\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`),
      body,
    ]),
  );
const { tree } = fc.letrec<{ tree: Buffer; many: Buffer }>((tie) => ({
  tree: fc.oneof({ maxDepth: 3 }, leaf, tie('many')),
  many: fc
    .tuple(
      fc.constantFrom('mixed', 'alternative', 'related', 'signed', 'x-other'),
      fc.array(tie('tree'), { maxLength: 3 }),
    )
    .map(([subtype, parts]) =>
      Buffer.concat([
        Buffer.from(`Content-Type: multipart/${subtype}; boundary=b\r\n\r\n`),
        ...parts.flatMap((part) => [Buffer.from('--b\r\n'), part, Buffer.from('\r\n')]),
        Buffer.from('--b--\r\n'),
      ]),
    ),
}));

/** A whole copy, as it leaves. */
function copyOf(entity: Buffer, cipher: ContentCipher, to: Identity, transport: KeyTransport): Buffer {
  const sealing = startSealing(entity, cipher);
  const { head, phase } = sealing.address(recipientOf(parseCertificate(to.certDer), transport));
  const body = Buffer.concat([head, sealing.sharedLines(phase)]);
  const fields = `Content-Type: ${sealing.contentType}\r\nContent-Transfer-Encoding: base64\r\n\r\n`;
  return mailOf(from('alice@example.org'), Buffer.concat([Buffer.from(fields), body]));
}

const combinations = ciphers.flatMap((cipher) =>
  transports.map(([kind, transport]) => [cipher, kind, transport] as const),
);

describe('sealing', () => {
  it('has every combination of cipher and key management in this table', () => {
    expect(combinations).toHaveLength(6 * 9);
    expect(defaultFloor.cipherBits).toBe(128);
  });

  it.each(combinations)('%s for %s by %s opens to the same bytes', (cipher, kind, transport) => {
    const member = members.get(kind) as Identity;
    fc.assert(
      fc.property(tree, (entity) => {
        const report = open(people, copyOf(entity, cipher, member, transport), {
          keys: [decryptionKey(member)],
        });
        expect(report.layers[0]).toMatchObject({ kind: 'encrypted', opened: true, cipher });
        // A multipart/signed of random parts is malformed further in, and then there is nothing to compare.
        fc.pre(report.verdict !== 'malformed');
        expect(report.entity?.expose().equals(entity)).toBe(true);
      }),
      { numRuns: 6, seed },
    );
  });

  it('of any octets at all, of every length around the blocks and base64 lines', () => {
    const member = members.get('p256') as Identity;
    const octets = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.integer({ min: 40, max: 70 }).map((length) => new Uint8Array(length).fill(0x41)),
    );
    fc.assert(
      fc.property(octets, fc.constantFrom(...ciphers), (body, cipher) => {
        const entity = Buffer.concat([Buffer.from('Content-Type: text/plain\r\n\r\n'), body]);
        const report = open(people, copyOf(entity, cipher, member, 'ecdh'), {
          keys: [decryptionKey(member)],
        });
        expect(report.entity?.expose().equals(entity)).toBe(true);
        expect([report.verdict, report.reasons]).toEqual(['unsigned', []]);
      }),
      { numRuns: 200, seed },
    );
  });

  it('of an entity that the list signed keeps the signature good', () => {
    const member = members.get('p256') as Identity;
    const signer = {
      key: people.alice.key,
      certificate: parseCertificate(people.alice.certDer),
      chain: [parseCertificate(people.ca.certDer)],
    };
    fc.assert(
      fc.property(tree, fc.constantFrom(...ciphers), (content, cipher) => {
        const entity = signEntity(content, signer, { at: Date.now() - 1000, boundary: '=_property' });
        const report = open(people, copyOf(entity, cipher, member, 'ecdh'), {
          keys: [decryptionKey(member)],
        });
        fc.pre(report.verdict !== 'malformed');
        expect([report.verdict, report.author]).toEqual(['signed', 'alice@example.org']);
        expect(report.entity?.expose().equals(entity)).toBe(true);
      }),
      { numRuns: 100, seed },
    );
  });
});
