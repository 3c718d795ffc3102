import { inflateSync } from 'node:zlib';
import { readAlgorithm } from '../pki/algorithms.ts';
import { type Ber, expect, isContext, octetsOf, oidOf, tag } from '../pki/ber.ts';
import { cmsFault, reading } from './faults.ts';
import { type CmsLimits, cmsLimits } from './limits.ts';

/** id-alg-zlibCompress (RFC 3274 2). */
const zlibOid = '1.2.840.113549.1.9.16.3.8';

/** The content of a CompressedData. */
export interface Decompressed {
  /** Name of the compression. */
  readonly algorithm: string;
  /** Object identifier of the content's type. */
  readonly contentType: string;
  /** In a buffer of its own, which the caller owns. */
  readonly content: Buffer;
}

/**
 * Opens CompressedData (RFC 3274 1.1): zlib (RFC 1950) is the one algorithm there is. Inflating stops where the content
 * would be over `limits.openedSize`, whatever it would have become.
 * Throws `cms-malformed`, `cms-budget`, and `cms-unsupported` for another algorithm.
 */
export function openCompressed(content: Ber, limits: CmsLimits = cmsLimits): Decompressed {
  return reading(() => {
    const [, algorithmNode, encapsulated] = expect(content, tag.sequence, 'the compressed data').children;
    const { oid } = readAlgorithm(algorithmNode);
    const [type, wrapper] = expect(encapsulated, tag.sequence, 'the compressed content').children;
    const inside = isContext(wrapper, 0) ? wrapper.children[0] : undefined;
    const compressed = octetsOf(expect(inside, tag.octetString, 'the compressed content'));
    const contentType = oidOf(type);
    if (oid !== zlibOid) throw cmsFault('cms-unsupported', { what: `the compression ${oid}` });
    return { algorithm: 'zlib', contentType, content: inflate(compressed, limits.openedSize) };
  });
}

function inflate(compressed: Buffer, most: number): Buffer {
  try {
    return inflateSync(compressed, { maxOutputLength: most });
  } catch (error) {
    // ERR_BUFFER_TOO_LARGE; what zlib itself finds wrong is a plain Error.
    if (error instanceof RangeError)
      throw cmsFault('cms-budget', { limit: 'octets of content', value: most });
    throw cmsFault('cms-malformed', { what: 'the compressed content is damaged' });
  }
}
