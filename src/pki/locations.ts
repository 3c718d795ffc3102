import { type Ber, bytesOf, contentOf, isContext, isUniversal, tag } from './ber.ts';
import { derOid } from './der.ts';
import { type Extensions, extensionOid, extensionValue, generalName } from './extensions.ts';

/** Addresses that a certificate gives for what is said about it. */
interface Locations {
  readonly crlUrls: readonly string[];
  readonly ocspUrls: readonly string[];
  readonly issuerUrls: readonly string[];
}

const accessMethod = { ocsp: '1.3.6.1.5.5.7.48.1', issuers: '1.3.6.1.5.5.7.48.2' };
/** Of each kind; an authority names one or two. */
const mostUrls = 4;
const longestUrl = 500;

/**
 * The URLs of the CRL distribution points (RFC 5280 4.2.1.13) and of the authority information access (4.2.2.1), in order
 * and without repeats. They are hints where to look, so what is broken or neither http nor https is left out.
 */
export function locationsIn(extensions: Extensions): Locations {
  const points = childrenOf(extensions, extensionOid.crlDistributionPoints).flatMap((point) =>
    (point.children.find((field) => isContext(field, 0))?.children ?? [])
      .filter((name) => isContext(name, 0))
      .flatMap((full) => full.children),
  );
  const access = childrenOf(extensions, extensionOid.authorityInfoAccess);
  const accessed = (method: string): Ber[] =>
    access.flatMap(({ children: [type, location] }) => {
      const names = isUniversal(type, tag.oid) && bytesOf(type).equals(derOid(method));
      return location && names ? [location] : [];
    });
  return {
    crlUrls: urlsOf(points),
    ocspUrls: urlsOf(accessed(accessMethod.ocsp)),
    issuerUrls: urlsOf(accessed(accessMethod.issuers)),
  };
}

function childrenOf(extensions: Extensions, oid: string): readonly Ber[] {
  try {
    return extensionValue(extensions, oid)?.children ?? [];
  } catch {
    return [];
  }
}

function urlsOf(names: readonly Ber[]): string[] {
  const found = new Set<string>();
  for (const name of names) {
    if (!isContext(name, generalName.uri) || name.constructed) continue;
    const text = contentOf(name).toString('latin1');
    // Printable ASCII only: the text is shown, logged and requested.
    if (text.length > longestUrl || !/^https?:\/\/[\x21-\x7e]+$/i.test(text)) continue;
    if (URL.canParse(text) && found.size < mostUrls) found.add(text);
  }
  return [...found];
}
