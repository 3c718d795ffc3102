import { constants, createHash, createPublicKey, type KeyObject, sign } from 'node:crypto';
import * as w from '../../src/pki/der.ts';

/** DER of certificates, as odd as a test wants them: nothing here checks that they make sense. */

export interface Extension {
  readonly oid: string;
  readonly critical?: boolean;
  /** DER inside the extension's OCTET STRING; null: leave out the extension that would be there by default. */
  readonly valueDer: Buffer | null;
}

export type Digest = 'md5' | 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** An RFC 5280 TBSCertificate, signed by `signer`; `serial` are content octets as they shall stand. */
export function signCertificate(d: {
  serial: Buffer;
  issuerDer: Buffer;
  subjectDer: Buffer;
  notBefore: Date;
  notAfter: Date;
  spkiDer: Buffer;
  extensions: readonly Extension[];
  signer: KeyObject;
  digest: Digest;
}): Buffer {
  const algorithm = signatureAlgorithm(d.signer, d.digest);
  const extensions = d.extensions.flatMap((e) =>
    e.valueDer === null
      ? []
      : [
          w.derSequence(
            w.derOid(e.oid),
            ...(e.critical ? [w.derBoolean(true)] : []),
            w.derOctets(e.valueDer),
          ),
        ],
  );
  const tbs = w.derSequence(
    w.derContext(0, w.derInteger(2)),
    w.der(2, d.serial),
    algorithm,
    d.issuerDer,
    w.derSequence(w.derTime(d.notBefore.getTime()), w.derTime(d.notAfter.getTime())),
    d.subjectDer,
    d.spkiDer,
    ...(extensions.length > 0 ? [w.derContext(3, w.derSequence(...extensions))] : []),
  );
  return w.derSequence(tbs, algorithm, w.derBits(signBytes(d.signer, d.digest, tbs)));
}

/** An RFC 5280 CertificateList (version 2) over the revoked serials (content octets). */
export function signCrl(d: {
  issuerDer: Buffer;
  thisUpdate: Date;
  nextUpdate: Date;
  revoked: readonly { serial: Buffer; at: Date }[];
  number: number;
  authorityKeyId: Buffer;
  signer: KeyObject;
  digest: Digest;
}): Buffer {
  const algorithm = signatureAlgorithm(d.signer, d.digest);
  const entries = d.revoked.map((r) => w.derSequence(w.der(2, r.serial), w.derTime(r.at.getTime())));
  const number = w.derSequence(w.derOid('2.5.29.20'), w.derOctets(w.derInteger(d.number)));
  const keyId = w.derSequence(
    w.derOid('2.5.29.35'),
    w.derOctets(w.derSequence(w.derContextPrimitive(0, d.authorityKeyId))),
  );
  const tbs = w.derSequence(
    w.derInteger(1),
    algorithm,
    d.issuerDer,
    w.derTime(d.thisUpdate.getTime()),
    w.derTime(d.nextUpdate.getTime()),
    ...(entries.length > 0 ? [w.derSequence(...entries)] : []),
    w.derContext(0, w.derSequence(keyId, number)),
  );
  return w.derSequence(tbs, algorithm, w.derBits(signBytes(d.signer, d.digest, tbs)));
}

const hashOids: Record<Digest, string> = {
  md5: '1.2.840.113549.2.5',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
};
const rsaOids: Record<Digest, string> = {
  md5: '1.2.840.113549.1.1.4',
  sha1: '1.2.840.113549.1.1.5',
  sha256: '1.2.840.113549.1.1.11',
  sha384: '1.2.840.113549.1.1.12',
  sha512: '1.2.840.113549.1.1.13',
};
const ecOids: Record<Digest, string | null> = {
  md5: null,
  sha1: '1.2.840.10045.4.1',
  sha256: '1.2.840.10045.4.3.2',
  sha384: '1.2.840.10045.4.3.3',
  sha512: '1.2.840.10045.4.3.4',
};

function signatureAlgorithm(key: KeyObject, digest: Digest): Buffer {
  const type = key.asymmetricKeyType;
  if (type === 'rsa') return w.derSequence(w.derOid(rsaOids[digest]), w.derNull());
  if (type === 'ec' && ecOids[digest] !== null) return w.derSequence(w.derOid(ecOids[digest]));
  if (type === 'ed25519') return w.derSequence(w.derOid('1.3.101.112'));
  if (type === 'ed448') return w.derSequence(w.derOid('1.3.101.113'));
  if (type === 'rsa-pss') {
    // RFC 4055 3.1, salt as long as the digest.
    const hash = w.derSequence(w.derOid(hashOids[digest]), w.derNull());
    const mgf = w.derSequence(w.derOid('1.2.840.113549.1.1.8'), hash);
    const salt = w.derInteger(createHash(digest).digest().length);
    const parameters = w.derSequence(w.derContext(0, hash), w.derContext(1, mgf), w.derContext(2, salt));
    return w.derSequence(w.derOid('1.2.840.113549.1.1.10'), parameters);
  }
  throw new Error(`the kit cannot sign with ${type} and ${digest}`);
}

function signBytes(key: KeyObject, digest: Digest, bytes: Buffer): Buffer {
  const type = key.asymmetricKeyType;
  if (type === 'ed25519' || type === 'ed448') return sign(null, bytes, key);
  if (type !== 'rsa-pss') return sign(digest, bytes, key);
  const options = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  return sign(digest, bytes, { key, ...options });
}

/** SubjectPublicKeyInfo of a private key. */
export function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' });
}

/** A Name of common name and, in the old manner, an emailAddress attribute. */
export function distinguishedName(commonName: string, email?: string): Buffer {
  const attribute = (oid: string, value: Buffer) => w.derSetOf(w.derSequence(w.derOid(oid), value));
  const rdns = [attribute('2.5.4.3', w.derUtf8(commonName))];
  if (email !== undefined) rdns.push(attribute('1.2.840.113549.1.9.1', w.derIa5(email)));
  return w.derSequence(...rdns);
}

const usageBits = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
];

/** keyUsage from OpenSSL's words, comma separated; always critical (RFC 5280 4.2.1.3). */
export function keyUsage(words: string): Extension {
  const octets = Buffer.alloc(2);
  let last = 0;
  for (const word of listOf(words)) {
    const bit = usageBits.indexOf(word);
    if (bit < 0) throw new Error(`no keyUsage is called ${word}`);
    octets.writeUInt16BE(octets.readUInt16BE() | (0x8000 >> bit));
    last = Math.max(last, bit);
  }
  const size = last < 8 ? 1 : 2;
  return {
    oid: '2.5.29.15',
    critical: true,
    valueDer: w.derBits(octets.subarray(0, size), size * 8 - 1 - last),
  };
}

const purposes = new Map([
  ['emailProtection', '1.3.6.1.5.5.7.3.4'],
  ['serverAuth', '1.3.6.1.5.5.7.3.1'],
  ['clientAuth', '1.3.6.1.5.5.7.3.2'],
  ['codeSigning', '1.3.6.1.5.5.7.3.3'],
  ['any', '2.5.29.37.0'],
  ['anyExtendedKeyUsage', '2.5.29.37.0'],
]);

/** extendedKeyUsage from OpenSSL's words or dotted OIDs, comma separated. */
export function extendedKeyUsage(words: string): Extension {
  const oids = listOf(words).map((word) => w.derOid(purposes.get(word) ?? word));
  return { oid: '2.5.29.37', valueDer: w.derSequence(...oids) };
}

export function basicConstraints(isCa: boolean, pathLength?: number): Extension {
  const length = pathLength === undefined ? [] : [w.derInteger(pathLength)];
  return {
    oid: '2.5.29.19',
    critical: true,
    valueDer: w.derSequence(...(isCa ? [w.derBoolean(true)] : []), ...length),
  };
}

/** subjectAltName: rfc822Name for ASCII addresses, SmtpUTF8Mailbox (RFC 9598) for others; bytes as given. */
export function subjectAltName(addresses: readonly string[]): Extension {
  const names = addresses.map((address) =>
    /^[\x00-\x7f]*$/.test(address)
      ? w.derContextPrimitive(1, Buffer.from(address, 'latin1'))
      : w.derContext(0, w.derOid('1.3.6.1.5.5.7.8.9'), w.derContext(0, w.derUtf8(address))),
  );
  return { oid: '2.5.29.17', valueDer: w.derSequence(...names) };
}

/** Subject and authority key identifiers; `keyIdOf` gives the octets. */
export const subjectKeyId = (id: Buffer): Extension => ({ oid: '2.5.29.14', valueDer: w.derOctets(id) });
export const authorityKeyId = (id: Buffer): Extension => ({
  oid: '2.5.29.35',
  valueDer: w.derSequence(w.derContextPrimitive(0, id)),
});

/** SHA-1 over the SubjectPublicKeyInfo: not RFC 5280's method 1 to the letter, but as good an identifier (4.2.1.2). */
export const keyIdOf = (spkiDer: Buffer): Buffer => createHash('sha1').update(spkiDer).digest();

const listOf = (words: string): string[] =>
  words
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== 'critical');
