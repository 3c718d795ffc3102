import { type Entity, partsOf } from '../mime/entity.ts';

/** How an entity is wrapped, judged by its MIME structure alone (RFC 8551 3.2, 3.5, 3.10). */
export type Wrapping =
  | { readonly kind: 'detached'; readonly content: Entity; readonly signature: Entity }
  | { readonly kind: 'cms' }
  | { readonly kind: 'none' }
  | { readonly kind: 'malformed' };

const signatureTypes = new Set(['application/pkcs7-signature', 'application/x-pkcs7-signature']);
const cmsTypes = new Set(['application/pkcs7-mime', 'application/x-pkcs7-mime']);

/**
 * Whether `entity` is an S/MIME layer. Only the entity itself is looked at: S/MIME parts inside a
 * multipart/mixed, or in a message/rfc822, are content (covert content, EFAIL). PGP/MIME is `none`.
 * The smime-type parameter is not believed: the CMS structure says what it is (missing in Outlook's, RFC 8551 3.2.2).
 */
export function classify(entity: Entity): Wrapping {
  const wrapping = classifyByType(entity);
  // Two Content-Type fields, or two boundaries: another reader could see another content under the same signature.
  return wrapping.kind !== 'none' && entity.ambiguous.length > 0 ? { kind: 'malformed' } : wrapping;
}

function classifyByType(entity: Entity): Wrapping {
  const { type, parameters } = entity.contentType;
  if (type === 'multipart/signed')
    return classifySigned(entity, parameters.get('protocol')?.toLowerCase() ?? null);
  if (cmsTypes.has(type)) return { kind: 'cms' };
  // RFC 8551 3.10: gateways that do not know the type send it as octet-stream; the name tells.
  if (type === 'application/octet-stream' && /\.p7[mscz]$/i.test(entity.fileName ?? ''))
    return { kind: 'cms' };
  return { kind: 'none' };
}

function classifySigned(entity: Entity, protocol: string | null): Wrapping {
  if (protocol !== null && !signatureTypes.has(protocol)) return { kind: 'none' };
  const [content, signature, ...rest] = partsOf(entity);
  if (!content || !signature || rest.length > 0)
    return protocol === null ? { kind: 'none' } : { kind: 'malformed' };
  // RFC 2045 6.4: a reader that decoded it would see other parts than those that are verified.
  if (!/^(7bit|8bit|binary)$/.test(entity.encoding)) return { kind: 'malformed' };
  const isSignature =
    signatureTypes.has(signature.contentType.type) || /\.p7s$/i.test(signature.fileName ?? '');
  if (!isSignature) return protocol === null ? { kind: 'none' } : { kind: 'malformed' };
  return { kind: 'detached', content, signature };
}
