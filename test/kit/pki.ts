import { createPrivateKey, generateKeyPair, type KeyObject, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  authorityKeyId,
  basicConstraints,
  type Digest,
  distinguishedName,
  type Extension,
  extendedKeyUsage,
  keyIdOf,
  keyUsage,
  signCertificate,
  signCrl,
  spkiOf,
  subjectAltName,
  subjectKeyId,
} from './issue.ts';
import { runFolder } from './tmp.ts';

/** Somebody with a key and a certificate; both also as PEM files (the key's mode is 0600, no passphrase). */
export interface Identity {
  readonly name: string;
  /** The first address given, '' if none. */
  readonly address: string;
  readonly keyPath: string;
  readonly certPath: string;
  readonly key: KeyObject;
  readonly certDer: Buffer;
  readonly certPem: string;
  readonly subjectDer: Buffer;
  /** Content octets of the serial number. */
  readonly serial: Buffer;
}

export type KeyKind = keyof typeof kinds;

export interface CertificateOptions {
  readonly name: string;
  /** subjectAltName; without it there is none. */
  readonly address?: string | readonly string[];
  /** emailAddress in the subject. */
  readonly dnEmail?: string;
  readonly key?: KeyKind;
  /** The same key again: renewal, or two certificates of one person. */
  readonly keyFrom?: Identity;
  /** OpenSSL's words, comma separated, or 'none'; default what suits the key. */
  readonly usage?: string;
  /** OpenSSL's words or OIDs, comma separated, or 'none'; default emailProtection, none for a CA. */
  readonly eku?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly isCa?: boolean;
  readonly pathLength?: number;
  /** More extensions; one with the OID of a default one replaces it, and removes it if its value is null. */
  readonly extensions?: readonly Extension[];
  readonly digest?: Digest;
  /** Content octets; default 16 random ones. */
  readonly serial?: Buffer;
  /** The whole subject Name; default CN = name. */
  readonly subjectDer?: Buffer;
  /** The whole issuer Name, to be other than the CA's. */
  readonly issuerDer?: Buffer;
}

/** A certification authority; also an Identity, to do what a CA should not do. */
export interface TestCa extends Identity {
  issue(options: CertificateOptions): Promise<Identity>;
  intermediate(options: CertificateOptions): Promise<TestCa>;
  /** A CRL as PEM; it lists the certificates given. */
  crl(d?: { revoked?: readonly Identity[]; thisUpdate?: Date; nextUpdate?: Date; number?: number }): string;
}

/** A self-signed root. Its name must differ from other roots' in the same test unless a test wants them to clash. */
export async function makeCa(
  name = 'Test Root',
  options: Omit<CertificateOptions, 'name'> = {},
): Promise<TestCa> {
  return authority(await make({ isCa: true, name, ...options }, null));
}

/** A self-signed certificate that is no CA, as people without one make. */
export async function makeSelfSigned(options: CertificateOptions): Promise<Identity> {
  return make(options, null);
}

function authority(self: Identity): TestCa {
  return {
    ...self,
    issue: (options) => make(options, self),
    intermediate: async (options) => authority(await make({ isCa: true, ...options }, self)),
    crl: (d = {}) => {
      const thisUpdate = d.thisUpdate ?? new Date(Date.now() - day);
      const der = signCrl({
        issuerDer: self.subjectDer,
        thisUpdate,
        nextUpdate: d.nextUpdate ?? new Date(Date.now() + 7 * day),
        revoked: (d.revoked ?? []).map((identity) => ({ serial: identity.serial, at: thisUpdate })),
        number: d.number ?? 1,
        authorityKeyId: keyIdOf(spkiOf(self.key)),
        signer: self.key,
        digest: 'sha256',
      });
      return pem('X509 CRL', der);
    },
  };
}

const day = 86_400_000;

async function make(o: CertificateOptions, issuer: Identity | null): Promise<Identity> {
  const isCa = o.isCa ?? false;
  const key = o.keyFrom?.key ?? (await nextKey(o.key ?? 'rsa'));
  const signer = issuer?.key ?? key;
  const addresses = o.address === undefined ? [] : typeof o.address === 'string' ? [o.address] : o.address;
  const subjectDer = o.subjectDer ?? distinguishedName(o.name, o.dnEmail);
  const spkiDer = spkiOf(key);
  const usage = o.usage ?? (isCa ? 'keyCertSign,cRLSign' : usualUsage(key));
  const eku = o.eku ?? (isCa ? 'none' : 'emailProtection');
  const standard: Extension[] = [
    basicConstraints(isCa, o.pathLength),
    subjectKeyId(keyIdOf(spkiDer)),
    authorityKeyId(keyIdOf(spkiOf(signer))),
    ...(usage === 'none' ? [] : [keyUsage(usage)]),
    ...(eku === 'none' ? [] : [extendedKeyUsage(eku)]),
    ...(addresses.length > 0 ? [subjectAltName(addresses)] : []),
  ];
  const own = o.extensions ?? [];
  const serial = o.serial ?? randomBytes(16).fill(0x5a, 0, 1);
  const years = (isCa ? 3650 : 365) * day;
  const certDer = signCertificate({
    serial,
    issuerDer: o.issuerDer ?? issuer?.subjectDer ?? subjectDer,
    subjectDer,
    notBefore: o.notBefore ?? new Date(Date.now() - (isCa ? years : day)),
    notAfter: o.notAfter ?? new Date(Date.now() + years),
    spkiDer,
    extensions: [...standard.filter((e) => !own.some((mine) => mine.oid === e.oid)), ...own],
    signer,
    digest: o.digest ?? 'sha256',
  });
  const certPem = pem('CERTIFICATE', certDer);
  const folder = mkdtempSync(join(runFolder(), 'id-'));
  const keyPath = join(folder, 'key.pem');
  const certPath = join(folder, 'cert.pem');
  writeFileSync(keyPath, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeFileSync(certPath, certPem);
  return {
    name: o.name,
    address: addresses[0] ?? '',
    keyPath,
    certPath,
    key,
    certDer,
    certPem,
    subjectDer,
    serial,
  };
}

function usualUsage(key: KeyObject): string {
  if (key.asymmetricKeyType === 'rsa') return 'digitalSignature,keyEncipherment';
  if (key.asymmetricKeyType === 'ec') return 'digitalSignature,keyAgreement';
  return key.asymmetricKeyType === 'x25519' || key.asymmetricKeyType === 'x448'
    ? 'keyAgreement'
    : 'digitalSignature';
}

/** PEM of a DER block. */
export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

const generate = promisify(generateKeyPair);
const rsa = (modulusLength: number) => async () => (await generate('rsa', { modulusLength })).privateKey;
const ec = (namedCurve: string) => async () => (await generate('ec', { namedCurve })).privateKey;
const kinds = {
  rsa: rsa(2048),
  rsa1024: rsa(1024),
  rsa3072: rsa(3072),
  rsa4096: rsa(4096),
  'rsa-pss': async () => (await generate('rsa-pss', { modulusLength: 2048 })).privateKey,
  p256: ec('prime256v1'),
  p384: ec('secp384r1'),
  p521: ec('secp521r1'),
  brainpool256: ec('brainpoolP256r1'),
  ed25519: async () => (await generate('ed25519')).privateKey,
  x25519: async () => (await generate('x25519')).privateKey,
} satisfies Record<string, () => Promise<KeyObject>>;

const taken = new Map<KeyKind, number>();

/**
 * A private key that no other identity of this test file has (unless it asks for it). Making RSA keys is slow, so
 * the files of one run share them: the n-th key of a kind is the same in each of them.
 */
export async function nextKey(kind: KeyKind): Promise<KeyObject> {
  const count = taken.get(kind) ?? 0;
  taken.set(kind, count + 1);
  const folder = join(runFolder(), 'keys');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${kind}-${count}.pem`);
  return readKey(path) ?? keepKey(path, await kinds[kind]());
}

function readKey(path: string): KeyObject | null {
  try {
    return createPrivateKey(readFileSync(path));
  } catch {
    return null;
  }
}

/** Two processes may make the same key at once: the first to link its file wins, and the other takes that one. */
function keepKey(path: string, key: KeyObject): KeyObject {
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  try {
    linkSync(mine, path);
    return key;
  } catch {
    return readKey(path) ?? key;
  } finally {
    unlinkSync(mine);
  }
}
