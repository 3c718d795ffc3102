import { isAscii } from 'node:buffer';
import { createHash } from 'node:crypto';
import { parseContentInfo } from '../cms/content-info.ts';
import { attachmentPart, multipart } from '../mime/compose.ts';
import { decodedBody, type Entity, entityBytes } from '../mime/entity.ts';
import { classify } from './classify.ts';

/**
 * A signed entity without what its signature does not cover, if that looks pieced together; null if it may go on as it
 * is. For what came out of EnvelopedData, where nothing tells whether the ciphertext was changed: who may post could put
 * blocks of a captured message around his own signed part (EFAIL's CBC gadgets), and the list would encrypt them for
 * him. Each of them leaves sixteen random octets beside it, so honest text tells itself from them. Throws what reading
 * the CMS structure throws.
 */
export function withoutForeignOctets(entity: Entity): Buffer | null {
  const wrapping = classify(entity);
  const { source, start, end } = entity;
  if (wrapping.kind === 'detached') {
    const { content, signature } = wrapping;
    if (isText(source.subarray(start, content.start)) && isText(source.subarray(content.end, end)))
      return null;
    const der = decodedBody(signature);
    const part = attachmentPart({
      fileName: 'smime.p7s',
      contentType: 'application/pkcs7-signature; name="smime.p7s"',
      content: der,
    });
    const micalg =
      /^(md5|sha-?\d{1,3})$/i.exec(entity.contentType.parameters.get('micalg') ?? '')?.[0] ?? 'unknown';
    const subtype = `signed; protocol="application/pkcs7-signature"; micalg=${micalg}`;
    // The same at each attempt.
    const id = createHash('sha256').update(der).digest('hex').slice(0, 24);
    return multipart(subtype, [entityBytes(content), part], `=_signed_${id}`);
  }
  if (wrapping.kind !== 'cms' || isText(entityBytes(entity))) return null;
  const der = decodedBody(entity);
  if (parseContentInfo(der).kind !== 'signed-data') return null;
  return attachmentPart({
    fileName: 'smime.p7m',
    contentType: 'application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"',
    content: der,
  });
}

/** Printable ASCII and line ends; of much text, where a gadget has many tries to be lucky in none, just ASCII. */
function isText(octets: Buffer): boolean {
  return octets.length > 64 * 1024 ? isAscii(octets) : /^[\t\r\n -~]*$/.test(octets.toString('latin1'));
}
