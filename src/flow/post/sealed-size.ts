/** Base64 in lines of 76 characters and CRLF: 78 octets for each 57. */
const encoded = (octets: number): number => Math.ceil((octets * 78) / 57);

/** What the list's own signature adds at least: its CMS structure and the two boundaries, without any certificate. */
const signatureOctets = 400;
/** CMS around the content: ContentInfo, EnvelopedData, and a RecipientInfo for the shortest key in use. */
const cmsOctets = 150;

/**
 * How large every sealed copy is at least, whatever its cipher, recipient and outer header: what is larger than the relay
 * takes even so need not be sealed for anybody.
 */
export function leastSealedSize(d: { readonly entity: number; readonly signsList: boolean }): number {
  return encoded(d.entity + cmsOctets + (d.signsList ? signatureOctets : 0));
}

/** More than our own outer fields, those of the content, certificates in a signature and a RecipientInfo take. */
const aroundOctets = 64 * 1024;

/**
 * What no sealed copy for one recipient is larger than: a relay that takes so much need not be asked more exactly. `header` is
 * that of the post as it came, which is in the copies; what the list signs is brought to 7 bit before (RFC 2045 6.7: three
 * octets for one, and soft line ends).
 */
export function mostSealedSize(d: {
  readonly entity: number;
  readonly signsList: boolean;
  readonly header: number;
}): number {
  return encoded(d.header + (d.signsList ? Math.ceil(d.entity * 3.2) : d.entity) + aroundOctets);
}
