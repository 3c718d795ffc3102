import { createHash } from 'node:crypto';
import { Plaintext } from '../base/bytes.ts';
import { bodyBytes, type Entity, entityBytes } from '../mime/entity.ts';
import { type Field, fieldBytes } from '../mime/header.ts';
import type { Peeled } from './peel.ts';
import { withoutForeignOctets } from './unsigned-octets.ts';

/**
 * The entity to pass on: what the innermost encryption held, with the signatures and the compression inside it as they
 * are (see `withoutForeignOctets`); of a message that is not encrypted its own content. Wipes all other plaintexts of `peeled`.
 * `keepHeader`: fields of the entity's own header are header protection (RFC 9788) and stay.
 */
export function contentOf(message: Entity, peeled: Peeled, keepHeader: boolean): Plaintext {
  const last = peeled.plaintexts.at(-1);
  for (const plaintext of peeled.plaintexts) if (plaintext !== last) plaintext.wipe();
  if (!last) return new Plaintext(withoutEnvelopeFields(message));
  const isMalleable = peeled.layers.some((layer) => layer.kind === 'encrypted' && layer.form === 'enveloped');
  const covered = isMalleable ? withoutForeignOctets(peeled.entity) : null;
  if (covered !== null) {
    last.wipe();
    return new Plaintext(unpooled([covered]));
  }
  // A Subject or From in the header around the signed part is not signed: on a copy some clients would show it.
  if (peeled.entity.fields.every(isMimeField) || keepHeader) return last;
  const stripped = new Plaintext(withoutEnvelopeFields(peeled.entity));
  last.wipe();
  return stripped;
}

const isMimeField = ({ name }: Field): boolean => /^(content-.*|mime-version)$/i.test(name);

/**
 * A message's own content as an entity: its Content-* fields and body, exact bytes, without From, To and so on.
 * An entity that carries only the fields below starts with them; one without any starts with the blank line.
 */
export function withoutEnvelopeFields(message: Entity): Buffer {
  const kept = message.fields.filter((field) => /^content-/i.test(field.name));
  const header = kept.map((field) => fieldBytes(message.source, field));
  return unpooled([...header, Buffer.from('\r\n'), bodyBytes(message)]);
}

/** One buffer of its own memory: nothing of it lies about in a pool (RULES 21). */
function unpooled(pieces: readonly Buffer[]): Buffer {
  const out = Buffer.allocUnsafeSlow(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) at += piece.copy(out, at);
  return out;
}

/**
 * SHA-256, in hexadecimal, of the innermost entity with its MIME header (RULES 22). Below a layer that is the bytes as
 * they were signed, decrypted or decompressed: the eContent of an opaque signature, the first part of a detached one.
 * Of a message without layers it is its Content-* and MIME-Version fields, the blank line (CRLF where there is none)
 * and the body, each as it came.
 */
export function contentSha256(message: Entity, payload: Entity): string {
  const hash = createHash('sha256');
  if (payload !== message) return hash.update(entityBytes(payload)).digest('hex');
  const { source, fields, bodyStart } = message;
  for (const field of fields) if (isMimeField(field)) hash.update(fieldBytes(source, field));
  const blank = source.subarray(fields.at(-1)?.end ?? bodyStart, bodyStart);
  hash.update(/^\r?\n$/.test(blank.toString('latin1', 0, 3)) ? blank : '\r\n');
  return hash.update(bodyBytes(message)).digest('hex');
}
