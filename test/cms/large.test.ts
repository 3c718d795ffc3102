import { type CipherCCMTypes, constants, createCipheriv, publicEncrypt, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { cipherOf, derAlgorithm, type OpeningCipher } from '../../src/pki/algorithms.ts';
import { bytesOf, readBer } from '../../src/pki/ber.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { withFiles } from '../kit/client.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { runModule } from './compiled.ts';
import { contentTypeAttribute, digestAttribute, forgeSignedData, oid, transportTo } from './forge.ts';

const megabyte = 1 << 20;
let alice: Identity;
let certificate: Certificate;

beforeAll(async () => {
  const ca = await makeCa('Large Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
  certificate = parseCertificate(alice.certDer);
});

/** How a program writes what is long: in one piece, or as it comes, in segments of so many octets. */
type Form = { readonly segment: number | null };

/** A constructed element; of indefinite length where the sender streams. */
const constructed = ({ segment }: Form, identifier: number, ...content: Buffer[]): Buffer =>
  segment === null
    ? w.der(identifier, ...content)
    : Buffer.concat([Buffer.from([identifier, 0x80]), ...content, Buffer.alloc(2)]);

/** OCTET STRING, or an IMPLICIT one under `identifier`. */
function octets(form: Form, identifier: number, content: Buffer): Buffer {
  if (form.segment === null) return w.der(identifier, content);
  const segments: Buffer[] = [];
  for (let at = 0; at < content.length; at += form.segment)
    segments.push(w.derOctets(content.subarray(at, at + form.segment)));
  return constructed(form, identifier | 0x20, ...segments);
}

function signed(form: Form, content: Buffer): Buffer {
  const attributes = [contentTypeAttribute(), digestAttribute(content)];
  // The parts around the content are those of a small message: the signature is over the attributes alone.
  const small = forgeSignedData({ signer: alice, content: Buffer.alloc(0), attributes });
  const [version, digests, , bag, signers] = (readBer(small).children[1]?.children[0]?.children ?? []).map(
    bytesOf,
  );
  if (!version || !digests || !bag || !signers) throw new Error('not as expected');
  const eContent = constructed(form, 0xa0, octets(form, 0x04, content));
  const encapsulated = constructed(form, 0x30, w.derOid(oid.data), eContent);
  const data = constructed(form, 0x30, version, digests, encapsulated, bag, signers);
  return constructed(form, 0x30, w.derOid(oid.signedData), constructed(form, 0xa0, data));
}

function encrypted(form: Form, content: Buffer, cipher: OpeningCipher): Buffer {
  const { keyLength, authenticated, oid: type } = cipherOf(cipher);
  const contentKey = randomBytes(keyLength);
  // CCM counts no more than 16 MB beside a nonce of 12 octets.
  const iv = randomBytes(authenticated ? 11 : 16);
  const encipher = createCipheriv(cipher as CipherCCMTypes, contentKey, iv, { authTagLength: 16 });
  if (cipher.endsWith('ccm')) encipher.setAAD(Buffer.alloc(0), { plaintextLength: content.length });
  const ciphertext = Buffer.concat([encipher.update(content), encipher.final()]);
  const parameters = authenticated ? w.derSequence(w.derOctets(iv), w.derInteger(16)) : w.derOctets(iv);
  const padding = constants.RSA_PKCS1_PADDING;
  const wrapped = publicEncrypt({ key: publicKeyOf(certificate), padding }, contentKey);
  const algorithm = derAlgorithm(type, parameters);
  const fields = [
    w.derInteger(0),
    w.derSetOf(transportTo(certificate, wrapped)),
    constructed(form, 0x30, w.derOid(oid.data), algorithm, octets(form, 0x80, ciphertext)),
    ...(authenticated ? [w.derOctets(encipher.getAuthTag())] : []),
  ];
  const kind = authenticated ? '1.2.840.113549.1.9.16.1.23' : '1.2.840.113549.1.7.3';
  return constructed(form, 0x30, w.derOid(kind), constructed(form, 0xa0, constructed(form, 0x30, ...fields)));
}

interface Taken {
  readonly intact: boolean;
  readonly octets: number;
  /** Octets that the process had at its peak, less what it had with the message read and nothing done. */
  readonly grown: number;
}

/** Opens the message and verifies what is inside, in a process of its own. */
function take(message: Buffer): Promise<Taken> {
  const key = alice.key.export({ type: 'pkcs8', format: 'der' });
  return withFiles({ message, key, certificate: alice.certDer }, async (paths) =>
    runModule<Taken>(`
      const { readFileSync } = await import('node:fs');
      const { createPrivateKey } = await import('node:crypto');
      const { parseContentInfo } = await import(src + '/cms/content-info.js');
      const { openEnveloped } = await import(src + '/cms/enveloped-data.js');
      const { openAuthEnveloped } = await import(src + '/cms/auth-enveloped-data.js');
      const { parseSignedData } = await import(src + '/cms/signed-data.js');
      const { verifySigner } = await import(src + '/cms/verify.js');
      const { defaultFloor } = await import(src + '/pki/algorithms.js');
      const { parseCertificate } = await import(src + '/pki/certificate.js');
      const [message, certificate, pkcs8] = ${JSON.stringify([paths.message, paths.certificate, paths.key])}.map((path) => readFileSync(path));
      const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
      const before = peak();
      const info = parseContentInfo(message);
      const open = info.kind === 'enveloped-data' ? openEnveloped : openAuthEnveloped;
      const result = open(info.content, [{ certificate: parseCertificate(certificate), key }]);
      const data = parseSignedData(parseContentInfo(result.content.expose()).content);
      const { intact } = verifySigner(data, data.signers[0], data.content, [], defaultFloor);
      const octets = data.content.reduce((sum, { length }) => sum + length, 0);
      console.log(JSON.stringify({ intact, octets, grown: peak() - before }));
    `),
  );
}

// Bouncy Castle writes 1000 octets at a time, the least of all and so the most positions; OpenSSL and NSS up to 4096.
const rows: [OpeningCipher, number | null][] = [
  ['aes-256-cbc', null],
  ['aes-256-cbc', 1000],
  ['aes-256-gcm', null],
  ['aes-256-gcm', 1000],
  ['aes-256-ccm', 1000],
];

describe('10 and 50 MB, signed and encrypted, open in memory linear in their size', () => {
  it.each(rows)(
    '%s, in segments of %s octets',
    async (cipher, segment) => {
      for (const size of [10 * megabyte, 50 * megabyte]) {
        const text = Buffer.alloc(size, 'Text of a large message, again and again.\r\n');
        const form = { segment };
        const taken = await take(encrypted(form, signed(form, text), cipher));
        expect(taken).toMatchObject({ intact: true, octets: size });
        // 1.7 times the size where it came in one piece, 3 with the positions of 1000-octet segments; CCM joins them first.
        expect(taken.grown, `for ${size} octets`).toBeGreaterThan(size);
        expect(taken.grown, `for ${size} octets`).toBeLessThan(
          (segment === null ? 2 : 4) * size + 16 * megabyte,
        );
      }
    },
    60_000,
  );
});
