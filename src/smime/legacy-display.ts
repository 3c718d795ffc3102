import { isFault } from '../base/errors.ts';
import { decodedBody, type Entity, partsOf } from '../mime/entity.ts';
import { decodeCharset } from '../mime/words.ts';

/** Copies of protected header fields at the top of a text, for programs that show no protected ones (RFC 9788 2.1.2). */
export interface LegacyDisplay {
  /** The copied fields, one a line. */
  readonly element: string;
  /** The text as its author wrote it. */
  readonly text: string;
}

/** Multiparts in each other that are looked through. */
const depth = 10;

/**
 * The legacy display element of the text that a reader is shown first, or null if that says of itself that it has none.
 * It must not be read as the author's text: a Subject in it is no command (RFC 9788 4.8.2). Never throws.
 */
export function legacyDisplayOf(message: Entity): LegacyDisplay | null {
  const part = firstText(message, depth);
  // RFC 9788 2.1.2: the parameter stands on the part that has the element.
  if (part?.contentType.parameters.get('hp-legacy-display') !== '1') return null;
  const charset = part.contentType.parameters.get('charset') ?? 'utf-8';
  const text = decodeCharset(decodedBody(part), charset).replace(/\r\n/g, '\n');
  const blank = /^[ \t]*$/m.exec(text);
  // RFC 9788 4.5.3: it ends with the first blank line.
  if (blank === null) return { element: text, text: '' };
  return { element: text.slice(0, blank.index), text: text.slice(blank.index + blank[0].length + 1) };
}

/** The first text/plain part that is not in an attached message. */
function firstText(entity: Entity, left: number): Entity | null {
  const { type } = entity.contentType;
  if (type === 'text/plain') return entity.disposition?.type === 'attachment' ? null : entity;
  if (left === 0 || !type.startsWith('multipart/')) return null;
  for (const part of safePartsOf(entity)) {
    const found = firstText(part, left - 1);
    if (found) return found;
  }
  return null;
}

function safePartsOf(entity: Entity): Entity[] {
  try {
    return partsOf(entity);
  } catch (error) {
    if (isFault(error)) return [];
    throw error;
  }
}
