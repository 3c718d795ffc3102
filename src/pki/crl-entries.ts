import { type Ber, berFault, contentOf, expect, isContext, oidOf, readBer, tag, timeOf } from './ber.ts';
import { derOid } from './der.ts';
import {
  crlExtensionOid,
  type Extensions,
  extensionValue,
  generalName,
  readExtensions,
} from './extensions.ts';
import { comparableName, readName } from './name.ts';
import { Positions } from './positions.ts';

/** The content octets of revokedCertificates (RFC 5280 5.1.2.6) in `source`. */
export interface CrlEntries {
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
  readonly count: number;
  /** Object identifier of the first critical entry extension that nothing here processes, or null. */
  readonly unknownCritical: string | null;
  /** Whether some entry names the issuer of its certificate and of those after it (RFC 5280 5.3.3). */
  readonly namesIssuers: boolean;
}

/** One entry. */
export interface CrlEntry {
  /** From when on the certificate does not count: the earlier of revocationDate and invalidityDate (5.3.2). */
  readonly revokedAt: number;
  /** removeFromCRL (5.3.1): a delta CRL takes back a hold. */
  readonly removed: boolean;
}

/** Counted while reading; the largest lists of public authorities have some hundred thousand. */
const mostEntries = 2_000_000;
const limits = { elements: 1_000, depth: 20 };
const issuerOid = derOid(crlExtensionOid.certificateIssuer);
/** CRLReason (RFC 5280 5.3.1). */
const removeFromCrl = 8;
const processed: readonly Buffer[] = [crlExtensionOid.reason, crlExtensionOid.invalidityDate].map(derOid);

/**
 * Reads every entry once, strictly and by position: a tree of 100,000 entries takes ten times as long and 100 MB.
 * `ber-malformed` if broken.
 */
export function readEntries(source: Buffer, start: number, end: number): CrlEntries {
  let unknown: string | null = null;
  const entry = new Positions(source);
  const field = new Positions(source);
  let namesIssuers = false;
  let count = 0;
  for (let next = start; next < end; next = entry.end) {
    if (++count > mostEntries)
      throw berFault('ber-budget', { limit: 'revoked certificates', value: mostEntries });
    entry.read(next, end, 0x30);
    const limit = entry.contentEnd;
    field.read(entry.contentStart, limit, tag.integer);
    if (!field.isTime(field.end, limit)) throw broken(next);
    field.read(field.end, limit);
    // Most entries of a long list end here.
    if (field.end === limit) continue;
    field.read(field.end, limit, 0x30);
    if (field.end !== limit) throw broken(next);
    const last = field.contentEnd;
    for (let at = field.contentStart; at < last; at = field.end) {
      field.read(at, last, 0x30);
      const { contentStart, contentEnd, end: after } = field;
      field.read(contentStart, contentEnd, tag.oid);
      const isIssuer = startsWith(source, contentStart, issuerOid);
      namesIssuers ||= isIssuer;
      const isCritical =
        source[field.end] === tag.boolean && field.end + 2 < contentEnd && source[field.end + 2] !== 0;
      if (isCritical && !isIssuer && !processed.some((oid) => startsWith(source, contentStart, oid)))
        unknown ??= oidOf(readBer(source, contentStart, limits));
      field.end = after;
    }
  }
  return { source, start, end, count, unknownCritical: unknown, namesIssuers };
}

const broken = (at: number) =>
  berFault('ber-malformed', { at, what: 'a revoked certificate cannot be read' });

function startsWith(source: Buffer, at: number, wanted: Buffer): boolean {
  for (let i = 0; i < wanted.length; i++) if (source[at + i] !== wanted[i]) return false;
  return true;
}

/**
 * The entry for a certificate by the content octets of its serial number and its issuer's comparable name, or null.
 * `listIssuer` is the comparable name of the list's own issuer, whose entries they are until one names another.
 * `ber-malformed` if the entry, or the name of the issuer that it is from, cannot be read.
 */
export function findEntry(
  entries: CrlEntries,
  wanted: { readonly serialDer: Buffer; readonly issuerName: string },
  listIssuer: string,
): CrlEntry | null {
  const { source, end, namesIssuers } = entries;
  const { serialDer, issuerName } = wanted;
  const entry = new Positions(source);
  const serial = new Positions(source);
  let issuer: Buffer | null = null;
  for (let next = entries.start; next < end; next = entry.end) {
    entry.read(next, end);
    serial.read(entry.contentStart, entry.contentEnd);
    // RFC 5280 5.3.3: the issuer named last holds for all entries until the next one that names one.
    if (namesIssuers && source.subarray(serial.end, entry.contentEnd).includes(issuerOid))
      issuer = extensionsOf(source, next).get(crlExtensionOid.certificateIssuer)?.value ?? issuer;
    if (serial.contentEnd - serial.contentStart !== serialDer.length) continue;
    if (!startsWith(source, serial.contentStart, serialDer)) continue;
    if ((issuer === null ? listIssuer : directoryNameIn(issuer)) === issuerName) return entryAt(source, next);
  }
  return null;
}

const childrenAt = (source: Buffer, at: number): readonly Ber[] => readBer(source, at, limits).children;

function extensionsOf(source: Buffer, at: number): Extensions {
  return readExtensions(childrenAt(source, at)[2]);
}

function entryAt(source: Buffer, at: number): CrlEntry {
  const [, revokedNode, extensionsNode] = childrenAt(source, at);
  const extensions = readExtensions(extensionsNode);
  const reason = extensionValue(extensions, crlExtensionOid.reason);
  const invalid = extensionValue(extensions, crlExtensionOid.invalidityDate);
  const revoked = timeOf(revokedNode);
  return {
    revokedAt: invalid ? Math.min(revoked, timeOf(invalid)) : revoked,
    removed: reason !== null && contentOf(expect(reason, tag.enumerated, 'the reason'))[0] === removeFromCrl,
  };
}

/** The first directory name of GeneralNames in comparable form; no name equals the empty text. */
function directoryNameIn(generalNames: Buffer): string {
  const found = readBer(generalNames).children.find((name) => isContext(name, generalName.directory));
  return found ? comparableName(readName(found.children[0])).join('\n') : '';
}
