import { createHash } from 'node:crypto';
import { faultsOf, isFault, wordsOf } from '../base/errors.ts';
import { readAlgorithm } from './algorithms.ts';
import {
  type Ber,
  bitsOf,
  bytesOf,
  contentOf,
  expect,
  isContext,
  readBer,
  smallIntegerOf,
  tag,
  timeOf,
} from './ber.ts';
import { type CrlEntries, type CrlEntry, findEntry, readEntries } from './crl-entries.ts';
import { readScope, type Scope, wholeScope } from './distribution-points.ts';
import {
  crlExtensionOid,
  type Extensions,
  extensionOid,
  extensionValue,
  keyIdsIn,
  readExtensions,
} from './extensions.ts';
import { comparableName, nameText, readName } from './name.ts';
import { pemBlocks } from './pem.ts';
import { Positions } from './positions.ts';

export const crlFault = faultsOf({
  'crl-malformed': (d: { what: string }) => `the revocation list cannot be read: ${d.what}`,
});

/** A certificate revocation list (RFC 5280 5.1) as read by `parseCrl`; nothing of it is verified. */
export interface Crl {
  readonly der: Buffer;
  /** Of `der`, lower-case hexadecimal. */
  readonly sha256: string;
  readonly issuerDer: Buffer;
  /** RFC 4514 text. */
  readonly issuer: string;
  /** Equal for names that RFC 5280 7.1 calls equal. */
  readonly issuerName: string;
  /** Milliseconds since the epoch. */
  readonly thisUpdate: number;
  /** Null where the list does not say (RFC 5280 5.1.2.5 demands it): nobody knows how long it holds. */
  readonly nextUpdate: number | null;
  /** CRLNumber (RFC 5280 5.2.3). */
  readonly number: bigint | null;
  /** BaseCRLNumber of a delta CRL (RFC 5280 5.2.4). */
  readonly baseNumber: bigint | null;
  readonly isDelta: boolean;
  /** Whether it may list certificates of other authorities (RFC 5280 5.2.5). */
  readonly isIndirect: boolean;
  readonly scope: Scope;
  /** The issuing distribution point as encoded: a delta must have the same as its base. */
  readonly scopeDer: Buffer | null;
  readonly authorityKeyId: Buffer | null;
  /** Critical extensions, of the list or of an entry, that nothing here processes: the list must not be used (5.2, 5.3). */
  readonly unknownCritical: readonly string[];
  readonly entries: CrlEntries;
  readonly tbsDer: Buffer;
  readonly signatureAlgorithmDer: Buffer;
  readonly signature: Buffer;
}

/** What one list may cost; 100,000 entries are 4 MB. */
export const crlLimits = { octets: 100_000_000, elements: 5_000, depth: 20 } as const;

/** Of an issuer that is looked for: thousands of lists may come, and their names are compared before they are read. */
const mostNameOctets = 2_000;

const processed: ReadonlySet<string> = new Set([
  extensionOid.authorityKeyId,
  crlExtensionOid.issuerAltName,
  crlExtensionOid.number,
  crlExtensionOid.deltaIndicator,
  crlExtensionOid.issuingDistributionPoint,
  crlExtensionOid.freshest,
]);

/**
 * Reads one revocation list of version 1 or 2 in DER, or BER if the authority signed that. The octets are kept, not
 * copied. Its entries are looked at once, by position. Fault `crl-malformed`.
 */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > crlLimits.octets) throw crlFault('crl-malformed', { what: 'it is too large' });
  try {
    return readCrl(Buffer.from(der.buffer, der.byteOffset, der.byteLength));
  } catch (error) {
    throw crlFault('crl-malformed', { what: wordsOf(error) }, { cause: error });
  }
}

function readCrl(der: Buffer): Crl {
  const at = new Positions(der);
  at.read(0, der.length, 0x30);
  if (at.end !== der.length) throw new Error('octets follow it');
  const { contentStart: tbsStart, contentEnd } = at;
  at.read(tbsStart, contentEnd, 0x30);
  const tbsEnd = at.end;
  const algorithmNode = readSmall(der, tbsEnd, contentEnd);
  const signatureNode = readSmall(der, algorithmNode.end, contentEnd);
  if (signatureNode.end !== contentEnd) throw new Error('octets follow the signature');
  const tbs = readTbs(der, at.contentStart, at.contentEnd);
  const signatureAlgorithmDer = readAlgorithm(algorithmNode).der;
  // RFC 5280 5.1.1.2: the algorithm that is signed must be the one that is used.
  if (!tbs.algorithmDer.equals(signatureAlgorithmDer)) throw new Error('it names two signature algorithms');
  const issuer = readName(tbs.issuerNode);
  const parts = comparableName(issuer);
  return {
    der,
    sha256: createHash('sha256').update(der).digest('hex'),
    issuerDer: bytesOf(tbs.issuerNode),
    issuer: nameText(issuer),
    issuerName: parts.join('\n'),
    thisUpdate: tbs.thisUpdate,
    nextUpdate: tbs.nextUpdate,
    ...extensionFields(tbs.extensions, parts, tbs.entries.unknownCritical),
    entries: tbs.entries,
    tbsDer: der.subarray(tbsStart, tbsEnd),
    signatureAlgorithmDer,
    signature: bitsOf(signatureNode).bytes,
  };
}

/** One element that is small in any honest list, as a tree. */
function readSmall(der: Buffer, at: number, limit: number): Ber {
  return readBer(der.subarray(0, limit), at, crlLimits);
}

/** The comparable name of a list's issuer without reading the list, or null if it cannot be found. */
export function crlIssuerNameOf(octets: Uint8Array): string | null {
  const der = Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
  try {
    const at = new Positions(der);
    at.read(0, der.length, 0x30);
    at.read(at.contentStart, at.contentEnd, 0x30);
    const limit = at.contentEnd;
    at.read(at.contentStart, limit);
    if (at.identifier === tag.integer) at.read(at.end, limit);
    const start = at.end;
    at.read(start, limit);
    if (at.end - start > mostNameOctets) return null;
    return comparableName(readName(readSmall(der, start, limit))).join('\n');
  } catch {
    return null;
  }
}

/** TBSCertList (RFC 5280 5.1.2) between two offsets. */
function readTbs(der: Buffer, start: number, end: number) {
  const at = new Positions(der);
  let next = start;
  const version = der[next] === tag.integer ? smallIntegerOf(readSmall(der, next, end)) : null;
  if (version !== null && version !== 1) throw new Error(`its version is ${version + 1}`);
  const step = (): Ber => {
    const node = readSmall(der, next, end);
    next = node.end;
    return node;
  };
  if (version !== null) step();
  const algorithmDer = readAlgorithm(step()).der;
  const issuerNode = step();
  const thisUpdate = timeOf(step());
  const nextUpdate = at.isTime(next, end) ? timeOf(step()) : null;
  let entries = readEntries(der, next, next);
  if (der[next] === 0x30 && next < end) {
    at.read(next, end, 0x30);
    entries = readEntries(der, at.contentStart, at.contentEnd);
    next = at.end;
  }
  const wrapped = next < end ? step() : undefined;
  // RFC 5280 5.1.2.7: only version 2 has extensions.
  if (next !== end || (wrapped && (!isContext(wrapped, 0) || version === null)))
    throw new Error('the signed part holds something that does not belong there');
  const extensions = readExtensions(wrapped?.children[0]);
  return { algorithmDer, issuerNode, thisUpdate, nextUpdate, entries, extensions };
}

function extensionFields(extensions: Extensions, issuer: readonly string[], ofEntries: string | null) {
  const scopeDer = extensions.get(crlExtensionOid.issuingDistributionPoint)?.value ?? null;
  const scope = scopeDer ? readScope(scopeDer, issuer) : wholeScope;
  const baseNumber = numberIn(extensions, crlExtensionOid.deltaIndicator);
  const own = [...extensions].filter(([oid, { critical }]) => critical && !processed.has(oid));
  return {
    number: numberIn(extensions, crlExtensionOid.number),
    baseNumber,
    isDelta: baseNumber !== null,
    isIndirect: scope.isIndirect,
    scope,
    scopeDer,
    authorityKeyId: keyIdsIn(extensions).authorityKeyId,
    unknownCritical: [...own.map(([oid]) => oid), ...(ofEntries === null ? [] : [ofEntries])],
  };
}

/** RFC 5280 5.2.3: up to 20 octets, not negative. */
function numberIn(extensions: Extensions, oid: string): bigint | null {
  const node = extensionValue(extensions, oid);
  if (!node) return null;
  const octets = contentOf(expect(node, tag.integer, 'the number of the list'));
  if (octets.length === 0 || octets.length > 20 || (octets[0] as number) >= 0x80)
    throw new Error('its number is out of range');
  return BigInt(`0x${octets.toString('hex')}`);
}

/** The list's entry for a certificate, or null. `ber-malformed` if that entry is broken inside. */
export function entryFor(
  crl: Pick<Crl, 'entries' | 'issuerName'>,
  certificate: { readonly serialDer: Buffer; readonly issuerName: string },
): CrlEntry | null {
  return findEntry(crl.entries, certificate, crl.issuerName);
}

const crlLabels = ['X509 CRL', 'CRL'];

/**
 * The revocation lists of a PEM bundle, or of one DER file, in order. Blocks of other kinds are left alone; lists that
 * cannot be read are told in `problems`, one sentence each.
 */
export function crlsFromPem(text: Buffer): { crls: Crl[]; problems: string[] } {
  const ders =
    text[0] === 0x30 ? [text] : pemBlocks(text).flatMap((b) => (crlLabels.includes(b.label) ? [b.der] : []));
  const crls: Crl[] = [];
  const problems: string[] = [];
  for (const [i, der] of ders.entries()) {
    try {
      crls.push(parseCrl(der));
    } catch (error) {
      if (!isFault(error)) throw error;
      problems.push(`revocation list ${i + 1}: ${error.message}`);
    }
  }
  if (ders.length === 0) problems.push('it holds no revocation list in PEM or DER');
  return { crls, problems };
}
