import { type KeyObject, sign } from 'node:crypto';
import * as w from '../../src/pki/der.ts';
import { keyIdOf, spkiOf } from '../kit/issue.ts';
import { pem } from '../kit/pki.ts';

/** One line of a revocation list, as odd as a test wants it. */
export interface Line {
  readonly serial: Buffer;
  readonly at: Date;
  /** CRLReason as a number. */
  readonly reason?: number;
  readonly invalidFrom?: Date;
  /** certificateIssuer: a whole Name. */
  readonly issuerDer?: Buffer;
  readonly extensions?: readonly Buffer[];
}

export interface ListOptions {
  readonly issuerDer: Buffer;
  readonly signer: KeyObject;
  readonly thisUpdate: Date;
  readonly nextUpdate?: Date | null;
  readonly lines?: readonly Line[];
  /** Lines that are encoded already, in place of `lines`. */
  readonly linesDer?: Buffer;
  readonly version?: 1 | 2;
  readonly number?: number;
  readonly base?: number;
  /** Fields of the issuing distribution point. */
  readonly scope?: readonly Buffer[];
  readonly extensions?: readonly Buffer[];
  readonly digest?: 'sha1' | 'sha256';
}

export const extension = (oid: string, value: Buffer, critical = false): Buffer =>
  w.derSequence(w.derOid(oid), ...(critical ? [w.derBoolean(true)] : []), w.derOctets(value));
/** ENUMERATED. */
const enumerated = (value: number): Buffer => w.der(10, Buffer.from([value]));
const generalizedTime = (at: Date): Buffer =>
  w.der(0x18, Buffer.from(`${at.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`));
const directory = (name: Buffer): Buffer => w.derContext(4, name);

export const url = (text: string): Buffer => w.derContextPrimitive(6, Buffer.from(text));
/** The field distributionPoint with full names, of a distribution point or an issuing one. */
export const pointNames = (...names: Buffer[]): Buffer => w.derContext(0, w.derContext(0, ...names));
export const flag = (number: number): Buffer => w.derContextPrimitive(number, Buffer.from([0xff]));
/** ReasonFlags [n] of reason numbers. */
export function reasonFlags(number: number, ...reasons: number[]): Buffer {
  const bits = Buffer.alloc(2);
  for (const reason of reasons) bits.writeUInt16BE(bits.readUInt16BE() | (0x8000 >> reason));
  return w.derContextPrimitive(number, Buffer.concat([Buffer.from([7]), bits]));
}
/** cRLDistributionPoints as an extension for the kit. */
export const distributionPoints = (...points: (readonly Buffer[])[]) => ({
  oid: '2.5.29.31',
  valueDer: w.derSequence(...points.map((fields) => w.derSequence(...fields))),
});
export const crlIssuer = (name: Buffer): Buffer => w.derContext(2, directory(name));

/** FreshestCRL: without it OpenSSL looks at no delta. */
export const freshest = (): Buffer =>
  extension('2.5.29.46', w.derSequence(w.derSequence(pointNames(url('http://crl.example.org/delta.crl')))));

/** RevokedCertificates line (RFC 5280 5.1.2.6). */
export function derLine(line: Line): Buffer {
  const extensions = [
    ...(line.reason === undefined ? [] : [extension('2.5.29.21', enumerated(line.reason))]),
    ...(line.invalidFrom ? [extension('2.5.29.24', generalizedTime(line.invalidFrom))] : []),
    ...(line.issuerDer ? [extension('2.5.29.29', w.derSequence(directory(line.issuerDer)), true)] : []),
    ...(line.extensions ?? []),
  ];
  return w.derSequence(
    w.der(2, line.serial),
    w.derTime(line.at.getTime()),
    ...(extensions.length > 0 ? [w.derSequence(...extensions)] : []),
  );
}

const algorithms = { rsa: { sha1: 5, sha256: 11 }, ec: { sha1: '1', sha256: '3.2' } };

/** AlgorithmIdentifier and signature of RSA and EC keys. */
export function signed(tbs: Buffer, signer: KeyObject, digest: 'sha1' | 'sha256'): Buffer[] {
  return [algorithmOf(signer, digest), w.derBits(sign(digest, tbs, signer))];
}

function algorithmOf(signer: KeyObject, digest: 'sha1' | 'sha256'): Buffer {
  return signer.asymmetricKeyType === 'rsa'
    ? w.derSequence(w.derOid(`1.2.840.113549.1.1.${algorithms.rsa[digest]}`), w.derNull())
    : w.derSequence(w.derOid(`1.2.840.10045.4.${algorithms.ec[digest]}`));
}

/** A CertificateList (RFC 5280 5.1). */
export function makeList(o: ListOptions): Buffer {
  const { version = 2, digest = 'sha256' } = o;
  const extensions =
    version === 1
      ? []
      : [
          extension('2.5.29.35', w.derSequence(w.derContextPrimitive(0, keyIdOf(spkiOf(o.signer))))),
          extension('2.5.29.20', w.derInteger(o.number ?? 1)),
          ...(o.base === undefined ? [] : [extension('2.5.29.27', w.derInteger(o.base), true)]),
          ...(o.scope ? [extension('2.5.29.28', w.derSequence(...o.scope), true)] : []),
          ...(o.extensions ?? []),
        ];
  const next = o.nextUpdate === undefined ? new Date(o.thisUpdate.getTime() + 7 * 86_400_000) : o.nextUpdate;
  const lines = o.linesDer ?? Buffer.concat((o.lines ?? []).map(derLine));
  const tbs = w.derSequence(
    ...(version === 2 ? [w.derInteger(1)] : []),
    algorithmOf(o.signer, digest),
    o.issuerDer,
    w.derTime(o.thisUpdate.getTime()),
    ...(next ? [w.derTime(next.getTime())] : []),
    ...(lines.length > 0 ? [w.derSequence(lines)] : []),
    ...(extensions.length > 0 ? [w.derContext(0, w.derSequence(...extensions))] : []),
  );
  return w.derSequence(tbs, ...signed(tbs, o.signer, digest));
}

export const listPem = (der: Buffer): string => pem('X509 CRL', der);
