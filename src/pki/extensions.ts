import {
  type Ber,
  bitsOf,
  contentOf,
  expect,
  isContext,
  isUniversal,
  octetsOf,
  oidOf,
  readBer,
  smallIntegerOf,
  tag,
} from './ber.ts';
import { canonicalRfc822, canonicalUtf8Mailbox } from './name.ts';

/** One certificate extension (RFC 5280 4.2). */
export interface Extension {
  readonly critical: boolean;
  /** The content of extnValue: DER of the extension's own type. */
  readonly value: Buffer;
}

/** Extensions by dotted object identifier. */
export type Extensions = ReadonlyMap<string, Extension>;

export const extensionOid = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  crlDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  policyMappings: '2.5.29.33',
  authorityKeyId: '2.5.29.35',
  policyConstraints: '2.5.29.36',
  extendedKeyUsage: '2.5.29.37',
  inhibitAnyPolicy: '2.5.29.54',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
  // RFC 6960 4.2.2.2.1.
  ocspNoCheck: '1.3.6.1.5.5.7.48.1.5',
  // RFC 4262 2.
  smimeCapabilities: '1.2.840.113549.1.9.15',
} as const;

/** Extensions of revocation lists and of their entries (RFC 5280 5.2, 5.3). */
export const crlExtensionOid = {
  issuerAltName: '2.5.29.18',
  number: '2.5.29.20',
  reason: '2.5.29.21',
  invalidityDate: '2.5.29.24',
  deltaIndicator: '2.5.29.27',
  issuingDistributionPoint: '2.5.29.28',
  certificateIssuer: '2.5.29.29',
  freshest: '2.5.29.46',
} as const;

/** Extensions that may be critical because this folder processes them (RFC 5280 4.2). */
const processed: ReadonlySet<string> = new Set(
  Object.values(extensionOid).filter((oid) => oid !== extensionOid.smimeCapabilities),
);

/** KeyUsage (RFC 5280 4.2.1.3), in the order of its bits. */
const keyUsages = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;
export type KeyUsage = (typeof keyUsages)[number];

/** Reads Extensions; `ber-malformed` if broken or if one is there twice (RFC 5280 4.2). */
export function readExtensions(node: Ber | undefined): Extensions {
  const found = new Map<string, Extension>();
  if (!node) return found;
  for (const item of expect(node, tag.sequence, 'the list of extensions').children) {
    const [id, second, third] = expect(item, tag.sequence, 'an extension').children;
    const oid = oidOf(id);
    const critical = isUniversal(second, tag.boolean) && contentOf(second)[0] !== 0;
    const value = expect(
      isUniversal(second, tag.boolean) ? third : second,
      tag.octetString,
      'the value of an extension',
    );
    if (found.has(oid)) expect(undefined, tag.sequence, `one extension ${oid} instead of two`);
    found.set(oid, { critical, value: octetsOf(value) });
  }
  return found;
}

/** The parsed value of an extension, or null if it is absent. `ber-malformed` if broken. */
export function extensionValue(extensions: Extensions, oid: string): Ber | null {
  const extension = extensions.get(oid);
  return extension ? readBer(extension.value) : null;
}

/** Critical extensions that nothing here processes. */
export function unknownCriticalIn(extensions: Extensions): string[] {
  return [...extensions].filter(([oid, e]) => e.critical && !processed.has(oid)).map(([oid]) => oid);
}

/** KeyUsage, or null if absent. `ber-malformed` if broken: a usage that cannot be read must not count as absent. */
export function keyUsageIn(extensions: Extensions): ReadonlySet<KeyUsage> | null {
  const node = extensionValue(extensions, extensionOid.keyUsage);
  if (!node) return null;
  const { bytes } = bitsOf(node);
  return new Set(keyUsages.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0));
}

/** ExtendedKeyUsage as object identifiers (RFC 5280 4.2.1.12), or null if absent. */
export function extendedKeyUsageIn(extensions: Extensions): ReadonlySet<string> | null {
  const node = extensionValue(extensions, extensionOid.extendedKeyUsage);
  return node ? new Set(expect(node, tag.sequence, 'the extended key usage').children.map(oidOf)) : null;
}

/** BasicConstraints (RFC 5280 4.2.1.9); absent means no authority. */
export function basicConstraintsIn(extensions: Extensions): { isCa: boolean; pathLength: number | null } {
  const node = extensionValue(extensions, extensionOid.basicConstraints);
  if (!node) return { isCa: false, pathLength: null };
  const [first, second] = expect(node, tag.sequence, 'the basic constraints').children;
  const isCa = isUniversal(first, tag.boolean) && contentOf(first)[0] !== 0;
  const length = isUniversal(first, tag.boolean) ? second : first;
  return { isCa, pathLength: length ? smallIntegerOf(length) : null };
}

/** SubjectKeyIdentifier or AuthorityKeyIdentifier's keyIdentifier: hints only, so null where broken. */
export function keyIdsIn(extensions: Extensions): {
  subjectKeyId: Buffer | null;
  authorityKeyId: Buffer | null;
} {
  let subjectKeyId: Buffer | null = null;
  let authorityKeyId: Buffer | null = null;
  try {
    const node = extensionValue(extensions, extensionOid.subjectKeyId);
    if (isUniversal(node, tag.octetString)) subjectKeyId = octetsOf(node);
  } catch {}
  try {
    const node = extensionValue(extensions, extensionOid.authorityKeyId);
    const id = node?.children.find((child) => isContext(child, 0));
    if (id) authorityKeyId = octetsOf(id);
  } catch {}
  return { subjectKeyId, authorityKeyId };
}

/** GeneralNames of SubjectAltName (RFC 5280 4.2.1.6) as they are encoded; empty if absent. */
export function subjectAltNamesIn(extensions: Extensions): readonly Ber[] {
  const node = extensionValue(extensions, extensionOid.subjectAltName);
  return node ? expect(node, tag.sequence, 'the alternative names').children : [];
}

/** Choices of GeneralName by tag (RFC 5280 4.2.1.6). */
export const generalName = {
  other: 0,
  rfc822: 1,
  dns: 2,
  x400: 3,
  directory: 4,
  ediParty: 5,
  uri: 6,
  ip: 7,
} as const;

/** RFC 8398 3. */
export const smtpUtf8Mailbox = '1.3.6.1.5.5.7.8.9';

/** The mailbox of a GeneralName in canonical form (RFC 5280 4.2.1.6, RFC 8398 3); null if it is none or unusable. */
export function mailboxOf(name: Ber): string | null {
  if (isContext(name, generalName.rfc822) && !name.constructed)
    return canonicalRfc822(contentOf(name).toString('latin1'));
  if (!isContext(name, generalName.other)) return null;
  const [type, wrapped] = name.children;
  const value = isContext(wrapped, 0) ? wrapped.children[0] : undefined;
  if (!isUniversal(type, tag.oid) || oidOf(type) !== smtpUtf8Mailbox || !value) return null;
  return canonicalUtf8Mailbox(value);
}
