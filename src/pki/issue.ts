import { createHash, createPublicKey, generateKeyPair, type KeyObject, randomBytes, sign } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { promisify } from 'node:util';
import { dayMs } from '../base/day.ts';
import { faultsOf } from '../base/errors.ts';
import { derAlgorithm, keyOid } from './algorithms.ts';
import { bitsOf, readBer } from './ber.ts';
import {
  der,
  derBits,
  derBoolean,
  derContext,
  derContextPrimitive,
  derInteger,
  derNull,
  derOctets,
  derOid,
  derSequence,
  derSetOf,
  derTime,
  derUtf8,
} from './der.ts';
import { extensionOid, generalName, smtpUtf8Mailbox } from './extensions.ts';

export const issueFault = faultsOf({
  'issue-name': (d: { name: string; what: string }) =>
    `no certificate can be made for "${d.name}": ${d.what}`,
  'issue-key': (d: { type: string }) =>
    `no certificate can be made for a key of type ${d.type}: take RSA, EC on P-256 or P-384, or Ed25519`,
  'issue-use': (d: { type: string; use: KeyUse }) =>
    `a key of type ${d.type} cannot ${d.use === 'both' ? 'both sign and encrypt' : d.use}: take another, or two`,
  'issue-request': (d: { type: string }) =>
    `a key of type ${d.type} cannot sign a request for a certificate (RFC 2986): take another one, or a self-signed certificate`,
});

export type KeyKind = 'rsa-2048' | 'rsa-3072' | 'rsa-4096' | 'p-256' | 'p-384' | 'ed25519' | 'x25519';
/** What a certificate is for. */
export type KeyUse = 'both' | 'sign' | 'encrypt';

const generate = promisify(generateKeyPair);

/** Makes a new private key. */
export async function makeKey(kind: KeyKind): Promise<KeyObject> {
  if (kind === 'ed25519') return (await generate('ed25519')).privateKey;
  if (kind === 'x25519') return (await generate('x25519')).privateKey;
  const [family, size] = kind.split('-') as ['rsa' | 'p', string];
  if (family === 'p') return (await generate('ec', { namedCurve: `P-${size}` })).privateKey;
  return (await generate('rsa', { modulusLength: Number(size) })).privateKey;
}

export interface Naming {
  readonly key: KeyObject;
  readonly commonName: string;
  /** The list's address, in canonical form. */
  readonly address: string;
  readonly use: KeyUse;
}

/**
 * A certificate that a list signs for itself (RFC 5280 4.1, RFC 8550 4.4), DER: for signing and encrypting mail, no
 * authority. `from` in milliseconds; `signer` is the list's signing key, for a key that cannot sign. Faults `issue-name`,
 * `issue-key`, `issue-use`.
 */
export function selfSigned(
  d: Naming & { readonly from: number; readonly days: number; readonly signer?: KeyObject | undefined },
): Buffer {
  const signer = d.signer ?? d.key;
  const algorithm = signingAlgorithm(signer);
  const name = derName(d.commonName);
  const spki = spkiOf(d.key);
  const serial = randomBytes(16);
  // RFC 5280 4.1.2.2: positive, at most 20 octets.
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const tbs = derSequence(
    derContext(0, derInteger(2)),
    derInteger(serial),
    algorithm.der,
    name,
    derSequence(derTime(d.from), derTime(d.from + d.days * dayMs)),
    name,
    spki,
    derContext(
      3,
      derSequence(
        extension(extensionOid.basicConstraints, true, derSequence()),
        extension(extensionOid.subjectKeyId, false, derOctets(keyIdOf(spki))),
        ...(signer === d.key ? [] : [authorityKeyId(signer)]),
        ...requested(d),
      ),
    ),
  );
  return signed(tbs, signer, algorithm);
}

/** RFC 5280 4.2.1.2 (1): SHA-1 of the key's bit string; an identifier, not a proof. */
function keyIdOf(spki: Buffer): Buffer {
  return createHash('sha1')
    .update(bitsOf(readBer(spki).children[1]).bytes)
    .digest();
}

function authorityKeyId(signer: KeyObject): Buffer {
  const keyId = derContextPrimitive(0, keyIdOf(spkiOf(signer)));
  return extension(extensionOid.authorityKeyId, false, derSequence(keyId));
}

/**
 * A certification request for an authority (PKCS#10, RFC 2986 4), DER, asking for the same extensions. Faults `issue-name`,
 * `issue-key`, `issue-use`, `issue-request`.
 */
export function makeCsr(d: Naming): Buffer {
  if (d.key.asymmetricKeyType === 'x25519') throw issueFault('issue-request', { type: 'x25519' });
  const algorithm = signingAlgorithm(d.key);
  const extensionRequest = derSequence(
    derOid('1.2.840.113549.1.9.14'),
    derSetOf(derSequence(...requested(d))),
  );
  const info = derSequence(
    derInteger(0),
    derName(d.commonName),
    spkiOf(d.key),
    derContext(0, extensionRequest),
  );
  return signed(info, d.key, algorithm);
}

/** PKCS#8 PEM; encrypted with AES-256-CBC (PBES2) if there is a passphrase. */
export function privateKeyPem(key: KeyObject, passphrase: Buffer | null): string {
  const plain = { type: 'pkcs8', format: 'pem' } as const;
  return String(passphrase ? key.export({ ...plain, cipher: 'aes-256-cbc', passphrase }) : key.export(plain));
}

function derName(commonName: string): Buffer {
  const refuse = (what: string) => issueFault('issue-name', { name: commonName, what });
  // RFC 5280 A.1, ub-common-name.
  if (commonName.trim() === '' || [...commonName].length > 64)
    throw refuse('the name must have 1 to 64 characters');
  if (/\p{C}/u.test(commonName)) throw refuse('the name has a control character');
  return derSequence(derSetOf(derSequence(derOid('2.5.4.3'), derUtf8(commonName))));
}

/** The extensions that certificate and request have in common. */
function requested({ key, address, use }: Naming): Buffer[] {
  return [
    extension(extensionOid.keyUsage, true, keyUsageOf(key, use)),
    extension(extensionOid.extendedKeyUsage, false, derSequence(derOid('1.3.6.1.5.5.7.3.4'))),
    // RFC 5280 4.2.1.6: critical only where the subject is empty.
    extension(extensionOid.subjectAltName, false, derSequence(mailboxName(address))),
  ];
}

/** RFC 5280 4.2.1.3: bit 0 digitalSignature; 2 keyEncipherment for RSA; 4 keyAgreement for EC (RFC 5480 3, RFC 8410 5). */
function keyUsageOf(key: KeyObject, use: KeyUse): Buffer {
  const type = key.asymmetricKeyType ?? 'unknown';
  const signing = type === 'x25519' ? 0 : 0x80;
  const agreeing = type === 'ec' || type === 'x25519' ? 0x08 : 0;
  const encrypting = type === 'rsa' ? 0x20 : agreeing;
  const bits = (use === 'encrypt' ? 0 : signing) | (use === 'sign' ? 0 : encrypting);
  const isWhole = (use === 'encrypt' || signing !== 0) && (use === 'sign' || encrypting !== 0);
  if (!isWhole) throw issueFault('issue-use', { type, use });
  // X.690 11.2.2: trailing zero bits are left out.
  return derBits(Buffer.from([bits]), 31 - Math.clz32(bits & -bits));
}

/** GeneralName of a mailbox: rfc822Name, or SmtpUTF8Mailbox where the local part needs it (RFC 9598 3). */
function mailboxName(address: string): Buffer {
  const at = address.lastIndexOf('@');
  const domain = domainToASCII(address.slice(at + 1));
  if (at < 1 || domain === '' || /[\s\p{C}]/u.test(address))
    throw issueFault('issue-name', { name: address, what: 'this is no mail address' });
  const mailbox = `${address.slice(0, at)}@${domain}`;
  if (/^[\x21-\x7e]+$/.test(mailbox))
    return derContextPrimitive(generalName.rfc822, Buffer.from(mailbox, 'latin1'));
  return derContext(generalName.other, derOid(smtpUtf8Mailbox), derContext(0, derUtf8(mailbox)));
}

function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  return derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctets(value));
}

const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ type: 'spki', format: 'der' });

interface Signing {
  readonly der: Buffer;
  /** Null: the algorithm has its own (RFC 8032). */
  readonly digest: 'sha256' | 'sha384' | null;
}

function signingAlgorithm(key: KeyObject): Signing {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType === 'rsa')
    return { der: derAlgorithm('1.2.840.113549.1.1.11', derNull()), digest: 'sha256' };
  if (curve === 'prime256v1') return { der: derAlgorithm('1.2.840.10045.4.3.2'), digest: 'sha256' };
  if (curve === 'secp384r1') return { der: derAlgorithm('1.2.840.10045.4.3.3'), digest: 'sha384' };
  if (key.asymmetricKeyType === 'ed25519') return { der: derAlgorithm(keyOid.ed25519), digest: null };
  throw issueFault('issue-key', { type: curve ?? key.asymmetricKeyType ?? 'unknown' });
}

/** SEQUENCE of what is signed, algorithm and signature: the frame of certificates and requests. */
function signed(content: Buffer, key: KeyObject, algorithm: Signing): Buffer {
  return der(0x30, content, algorithm.der, derBits(sign(algorithm.digest, content, key)));
}
