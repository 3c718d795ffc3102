import { createHash, sign } from 'node:crypto';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { parseSignedData, type SignedData } from '../../src/cms/signed-data.ts';
import { derAlgorithm, derDigest, derRsaEncryption } from '../../src/pki/algorithms.ts';
import { type Certificate, parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import type { Identity } from '../kit/pki.ts';

/** SignedData as wrong as a test wants it, signed properly: to see which rule of the verifier refuses it. */

export const oid = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  capabilities: '1.2.840.113549.1.9.15',
  preference: '1.2.840.113549.1.9.16.2.11',
  signingCertificate: '1.2.840.113549.1.9.16.2.12',
  signingCertificateV2: '1.2.840.113549.1.9.16.2.47',
  algorithmProtection: '1.2.840.113549.1.9.52',
} as const;

export const attribute = (type: string, ...values: Buffer[]): Buffer =>
  w.derSequence(w.derOid(type), w.der(0x31, ...values));
export const contentTypeAttribute = (type: string = oid.data) => attribute(oid.contentType, w.derOid(type));
export const digestAttribute = (content: Buffer) =>
  attribute(oid.messageDigest, w.derOctets(createHash('sha256').update(content).digest()));
export const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest();

export interface Forgery {
  readonly signer: Pick<Identity, 'certDer' | 'key'>;
  /** Null: no signed attributes, the content itself is signed. In the order given, unless `sorted`. */
  readonly attributes: readonly Buffer[] | null;
  /** The octets that the signature is made over; default the attributes as a SET in the order given, or the content. */
  readonly covered?: Buffer;
  readonly content: Buffer;
  readonly eContentType?: string;
  readonly certificates?: readonly Buffer[];
  /** DER of the signature algorithm; default rsaEncryption. */
  readonly algorithm?: Buffer;
  readonly signature?: Buffer;
  /** DER of the digest algorithm; default SHA-256. */
  readonly digest?: Buffer;
  /** How the signer is named; default by issuer and serial number. */
  readonly id?: Buffer;
  /** RevocationInfoChoices. */
  readonly revocations?: readonly Buffer[];
  /** How often the SignerInfo is repeated. */
  readonly repeat?: number;
}

/** Opaque SignedData with RSA and SHA-256. */
export function forgeSignedData(f: Forgery): Buffer {
  const certificate = parseCertificate(f.signer.certDer);
  const covered = f.covered ?? (f.attributes ? w.der(0x31, ...f.attributes) : f.content);
  const signature = f.signature ?? sign('sha256', covered, f.signer.key);
  const signer = w.derSequence(
    w.derInteger(1),
    f.id ?? nameOf(certificate),
    f.digest ?? derDigest('sha256'),
    ...(f.attributes ? [w.derContext(0, ...f.attributes)] : []),
    f.algorithm ?? derRsaEncryption(),
    w.derOctets(signature),
  );
  const data = w.derSequence(
    w.derInteger(1),
    w.derSetOf(derDigest('sha256')),
    w.derSequence(w.derOid(f.eContentType ?? oid.data), w.derContext(0, w.derOctets(f.content))),
    w.derContext(0, ...(f.certificates ?? [f.signer.certDer])),
    ...(f.revocations ? [w.derContext(1, ...f.revocations)] : []),
    w.der(0x31, ...Array.from({ length: f.repeat ?? 1 }, () => signer)),
  );
  return contentInfo(oid.signedData, data);
}

export const contentInfo = (type: string, content: Buffer): Buffer =>
  w.derSequence(w.derOid(type), w.derContext(0, content));

export const nameOf = ({ issuerDer, serialDer }: Pick<Certificate, 'issuerDer' | 'serialDer'>): Buffer =>
  w.derSequence(issuerDer, w.der(2, serialDer));

export const readSigned = (der: Buffer): SignedData => parseSignedData(parseContentInfo(der).content);

export interface EnvelopeForgery {
  readonly recipients: readonly Buffer[];
  /** DER of the content encryption algorithm. */
  readonly algorithm: Buffer;
  readonly ciphertext: Buffer;
  /** AuthEnvelopedData with this tag, and what stands before it. */
  readonly mac?: Buffer;
  readonly authAttrs?: Buffer;
}

/** EnvelopedData, or AuthEnvelopedData if there is a `mac`. */
export function forgeEnvelope(f: EnvelopeForgery): Buffer {
  const fields = [
    w.derInteger(0),
    w.der(0x31, ...f.recipients),
    w.derSequence(w.derOid(oid.data), f.algorithm, w.derContextPrimitive(0, f.ciphertext)),
    ...(f.authAttrs ? [f.authAttrs] : []),
    ...(f.mac ? [w.derOctets(f.mac)] : []),
  ];
  const type = f.mac ? '1.2.840.113549.1.9.16.1.23' : '1.2.840.113549.1.7.3';
  return contentInfo(type, w.derSequence(...fields));
}

/** A KeyTransRecipientInfo for the certificate with any octets as the encrypted key. */
export function transportTo(
  certificate: Certificate,
  encryptedKey: Buffer,
  algorithm = derRsaEncryption(),
): Buffer {
  return w.derSequence(w.derInteger(0), nameOf(certificate), algorithm, w.derOctets(encryptedKey));
}

export const cbc = (iv: Buffer): Buffer => derAlgorithm('2.16.840.1.101.3.4.1.42', w.derOctets(iv));
export const gcm = (nonce: Buffer, tagLength?: number): Buffer =>
  derAlgorithm(
    '2.16.840.1.101.3.4.1.46',
    w.derSequence(w.derOctets(nonce), ...(tagLength === undefined ? [] : [w.derInteger(tagLength)])),
  );
