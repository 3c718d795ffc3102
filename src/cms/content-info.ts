import { type Ber, expect, isContext, oidOf, readBer, tag } from '../pki/ber.ts';
import { cmsFault, reading } from './faults.ts';
import { type CmsLimits, cmsLimits } from './limits.ts';

/** Content types (RFC 5652 3 to 10, RFC 5083 2, RFC 3274 1.1). */
export const contentOid = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  envelopedData: '1.2.840.113549.1.7.3',
  digestedData: '1.2.840.113549.1.7.5',
  encryptedData: '1.2.840.113549.1.7.6',
  compressedData: '1.2.840.113549.1.9.16.1.9',
  authEnvelopedData: '1.2.840.113549.1.9.16.1.23',
} as const;

const kinds = new Map([
  [contentOid.data, 'data'],
  [contentOid.signedData, 'signed-data'],
  [contentOid.envelopedData, 'enveloped-data'],
  [contentOid.digestedData, 'digested-data'],
  [contentOid.encryptedData, 'encrypted-data'],
  [contentOid.compressedData, 'compressed-data'],
  [contentOid.authEnvelopedData, 'auth-enveloped-data'],
] as const) satisfies ReadonlyMap<string, ContentKind>;

export type ContentKind =
  | 'signed-data'
  | 'enveloped-data'
  | 'auth-enveloped-data'
  | 'compressed-data'
  | 'encrypted-data'
  | 'digested-data'
  | 'data'
  | 'other';

/** The outermost CMS type. `content` is the element inside [0], not read further. */
export interface ContentInfo {
  readonly kind: ContentKind;
  readonly oid: string;
  readonly content: Ber;
}

/**
 * Reads a ContentInfo in BER or DER (RFC 5652 3). Octets behind it are not looked at: gateways add line ends there,
 * and nothing that is signed or shown ever comes from them.
 * Throws `cms-malformed` or `cms-budget`.
 */
export function parseContentInfo(bytes: Buffer, limits: CmsLimits = cmsLimits): ContentInfo {
  return reading(() => {
    const info = expect(readBer(bytes, 0, limits.ber), tag.sequence, 'a ContentInfo');
    const oid = oidOf(info.children[0]);
    const wrapper = info.children[1];
    const content = isContext(wrapper, 0) ? wrapper.children[0] : undefined;
    if (content === undefined) throw cmsFault('cms-malformed', { what: 'the content is missing' });
    return { kind: (kinds as ReadonlyMap<string, ContentKind>).get(oid) ?? 'other', oid, content };
  });
}
