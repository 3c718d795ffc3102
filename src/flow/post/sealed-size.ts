/** Base64 in lines of 76 characters and CRLF: 78 octets for each 57. */
const encoded = (octets: number): number => Math.ceil((octets * 78) / 57);

/** What the list's own signature adds at least: its CMS structure and the two boundaries, without any certificate. */
const signatureOctets = 400;
/** CMS around the content: ContentInfo, EnvelopedData, and a RecipientInfo for the shortest key in use. */
const cmsOctets = 150;

/**
 * How large every sealed copy is at least, whatever its cipher, recipient and outer header: what is larger than the relay
 * takes even so need not be sealed for anybody. Real copies have up to a few kB more and are looked at one by one.
 */
export function leastSealedSize(d: { readonly entity: number; readonly signsList: boolean }): number {
  return encoded(d.entity + cmsOctets + (d.signsList ? signatureOctets : 0));
}
