import { type Ber, bitsOf, bytesOf, contentOf, expect, isContext, readBer, tag } from './ber.ts';
import type { Certificate } from './certificate.ts';
import { extensionOid, extensionValue, generalName } from './extensions.ts';
import { comparableName, readName, readRelativeName } from './name.ts';

/** ReasonFlags (RFC 5280 4.2.1.13) as bits: 1 << n for reason n, of 1 (keyCompromise) to 8 (aACompromise). */
export const allReasons = 0x1fe;

/** Where a certificate says that its revocation is told (RFC 5280 4.2.1.13); names in comparable form. */
export interface DistributionPoint {
  /** Null where the field is left out. */
  readonly names: readonly string[] | null;
  readonly reasons: number;
  /** Comparable directory names of cRLIssuer; null: the certificate's own issuer. */
  readonly crlIssuers: readonly string[] | null;
}

/** What a list says of its own scope (RFC 5280 5.2.5). */
export interface Scope {
  readonly names: readonly string[] | null;
  readonly onlyUsers: boolean;
  readonly onlyAuthorities: boolean;
  readonly onlyAttributes: boolean;
  readonly reasons: number;
  readonly isIndirect: boolean;
}

/** The scope of a list without the extension. */
export const wholeScope: Scope = {
  names: null,
  onlyUsers: false,
  onlyAuthorities: false,
  onlyAttributes: false,
  reasons: allReasons,
  isIndirect: false,
};

/** More than this is no certificate that a person has. */
const mostPoints = 20;

/**
 * The distribution points of a certificate, and last the one that RFC 5280 6.3.3 assumes in any case: all lists of the
 * issuer that name no distribution point, or the issuer's own name. `ber-malformed` if the extension is broken.
 */
export function distributionPointsOf(certificate: Certificate): DistributionPoint[] {
  const node = extensionValue(certificate.extensions, extensionOid.crlDistributionPoints);
  const points = node ? expect(node, tag.sequence, 'the distribution points').children : [];
  const issuer = comparableName(readName(readBer(certificate.issuerDer)));
  return [
    ...points.slice(0, mostPoints).map((point) => readPoint(point, issuer)),
    { names: [directory(issuer)], reasons: allReasons, crlIssuers: null },
  ];
}

function readPoint(point: Ber, issuer: readonly string[]): DistributionPoint {
  const fields = expect(point, tag.sequence, 'a distribution point').children;
  const reasons = fields.find((field) => isContext(field, 1));
  const crlIssuer = fields.find((field) => isContext(field, 2));
  const issuers = crlIssuer?.children
    .filter((name) => isContext(name, generalName.directory))
    .map((name) => comparableName(readName(name.children[0])));
  return {
    names: namesIn(fields, issuers?.[0] ?? issuer),
    reasons: reasons ? reasonsIn(reasons) : allReasons,
    crlIssuers: issuers?.map((name) => name.join('\n')) ?? null,
  };
}

/** Reads the issuing distribution point of a list by `issuer`, in comparable parts. `ber-malformed` if broken. */
export function readScope(value: Buffer, issuer: readonly string[]): Scope {
  const fields = expect(readBer(value), tag.sequence, 'the issuing distribution point').children;
  const field = (number: number) => fields.find((one) => isContext(one, number));
  const flag = (number: number): boolean => {
    const found = field(number);
    return found !== undefined && contentOf(found)[0] !== 0;
  };
  const reasons = field(3);
  return {
    names: namesIn(fields, issuer),
    onlyUsers: flag(1),
    onlyAuthorities: flag(2),
    onlyAttributes: flag(5),
    reasons: reasons ? reasonsIn(reasons) : allReasons,
    isIndirect: flag(4),
  };
}

/** DistributionPointName: full names, or one relative to the list's issuer. */
function namesIn(fields: readonly Ber[], issuer: readonly string[]): string[] | null {
  const choice = fields.find((field) => isContext(field, 0))?.children[0];
  if (!choice) return null;
  if (isContext(choice, 1)) return [directory([...issuer, ...comparableName([readRelativeName(choice)])])];
  if (!isContext(choice, 0))
    return expect(undefined, tag.sequence, 'the name of a distribution point') && null;
  return choice.children.map((name) =>
    isContext(name, generalName.directory)
      ? directory(comparableName(readName(name.children[0])))
      : `${name.tag} ${bytesOf(name).toString('hex')}`,
  );
}

/** A directory name as one of the names of a distribution point. */
const directory = (parts: readonly string[]): string => `dn ${parts.join('\n')}`;

function reasonsIn(node: Ber): number {
  // IMPLICIT: a context tag where the BIT STRING's own was.
  const { bytes } = bitsOf({ ...node, class: 'universal', tag: tag.bitString });
  let flags = 0;
  for (let bit = 1; bit <= 8; bit++)
    if (((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0) flags |= 1 << bit;
  return flags;
}

/**
 * Whether a list of this scope says something about a certificate under a distribution point (RFC 5280 6.3.3 b); the
 * list's issuer must have been compared before.
 */
export function covers(
  scope: Scope,
  point: DistributionPoint,
  certificate: Pick<Certificate, 'isCa'>,
): boolean {
  if (scope.onlyAttributes) return false;
  if (certificate.isCa ? scope.onlyUsers : scope.onlyAuthorities) return false;
  if (scope.names === null) return true;
  const wanted = point.names ?? point.crlIssuers?.map((name) => directory([name])) ?? [];
  return scope.names.some((name) => wanted.includes(name));
}
