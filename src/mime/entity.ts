import { type ContentType, parseContentType, parseDisposition } from './content-type.ts';
import { mimeFault } from './faults.ts';
import { type Field, fieldsNamed, fieldValue, parseFields } from './header.ts';
import { decodeTransfer } from './transfer.ts';
import { decodeWords } from './words.ts';

/** One MIME entity (RFC 2045 2.4) by position in the received bytes; nothing is copied, nothing is ever rewritten. */
export interface Entity {
  readonly source: Buffer;
  /** Offset of its header. */
  readonly start: number;
  /** Offset after the blank line. */
  readonly bodyStart: number;
  /** Offset after its last octet; the line end before the next delimiter is not part of it. */
  readonly end: number;
  readonly fields: readonly Field[];
  readonly contentType: ContentType;
  /** Content-Transfer-Encoding in lower case, `7bit` by default (RFC 2045 6.1). */
  readonly encoding: string;
  readonly disposition: ContentType | null;
  /** The disposition's `filename`, else the type's `name`, decoded; for showing and for file-name endings only. */
  readonly fileName: string | null;
  /**
   * Names of fields and parameters that other readers may read otherwise: given twice (the first field is used), with
   * a bare CR, which ends a line for some, or a boundary that ends with a blank.
   */
  readonly ambiguous: readonly string[];
}

export interface PartLimits {
  /** Children of one multipart. */
  readonly parts: number;
}

export const partLimits: PartLimits = { parts: 1000 };

/**
 * Reads the header of the entity at `start` to `end` (default: all of `source`); its body is not looked at.
 * Throws `mime-budget`.
 */
export function parseEntity(source: Buffer, start = 0, end = source.length): Entity {
  return entityAt(source, start, end, null);
}

function entityAt(source: Buffer, start: number, end: number, defaultType: string | null): Entity {
  const { fields, bodyStart } = parseFields(source, start, end);
  const contentType = parseContentType(fieldValue(fields, 'Content-Type') ?? defaultType);
  const disposition = parseDisposition(fieldValue(fields, 'Content-Disposition'));
  const fileName = disposition?.parameters.get('filename') ?? contentType.parameters.get('name') ?? null;
  const twice = ['Content-Type', 'Content-Transfer-Encoding', 'Content-Disposition'].filter(
    (name) => fieldsNamed(fields, name).length > 1,
  );
  // Behind a bare CR some readers see another field, perhaps another Content-Type.
  const broken = fields.filter((field) => field.value.includes('\r')).map((field) => field.name);
  // RFC 2046 5.1.1: no boundary ends with a blank; some readers drop it, others look for it.
  const blank = /[ \t]$/.test(contentType.parameters.get('boundary') ?? '') ? ['boundary'] : [];
  return {
    source,
    start,
    bodyStart,
    end,
    fields,
    contentType,
    encoding: encodingOf(fieldValue(fields, 'Content-Transfer-Encoding')),
    disposition,
    // Many senders put encoded words into parameters, against RFC 2047 5.
    fileName: fileName === null ? null : decodeWords(fileName),
    ambiguous: [...twice, ...broken, ...blank, ...contentType.repeated, ...(disposition?.repeated ?? [])],
  };
}

function encodingOf(value: string | null): string {
  return /^[^\s;()]+/.exec(value ?? '')?.[0].toLowerCase() ?? '7bit';
}

/** RFC 2046 5.1.1: at most 70 characters; some mailers make longer ones. Longer than this is no boundary. */
const boundaryLength = 200;

function boundaryOf(contentType: ContentType): string | null {
  if (!contentType.type.startsWith('multipart/')) return null;
  const boundary = (contentType.parameters.get('boundary') ?? '').trimEnd();
  return /^[ -~]{1,200}$/.test(boundary) && boundary.length <= boundaryLength ? boundary : null;
}

/**
 * The children of a multipart (RFC 2046 5.1.1), in order; none if it is no multipart or has no usable boundary. A
 * delimiter is a whole line: `--`, the boundary, `--` for the last, then blanks only; so a boundary that begins with
 * another one's text is not taken for it. The line end before a delimiter belongs to the delimiter. Preamble and
 * epilogue are skipped, a missing last delimiter is tolerated. Throws `mime-budget`.
 */
export function partsOf(entity: Entity, limits: PartLimits = partLimits): Entity[] {
  const boundary = boundaryOf(entity.contentType);
  if (boundary === null) return [];
  const view = entity.source.subarray(0, entity.end);
  // RFC 2046 5.1.5: in a digest a part is a message unless it says otherwise.
  const defaultType = entity.contentType.type === 'multipart/digest' ? 'message/rfc822' : null;
  const parts: Entity[] = [];
  const add = (start: number, end: number) => {
    if (parts.length === limits.parts)
      throw mimeFault('mime-budget', { limit: 'parts in one multipart', value: limits.parts });
    parts.push(entityAt(entity.source, start, end, defaultType));
  };
  let start: number | null = null;
  for (const delimiter of delimiters(view, entity.bodyStart, Buffer.from(`--${boundary}`, 'latin1'))) {
    if (start !== null) add(start, Math.max(start, delimiter.start));
    start = delimiter.end;
    if (delimiter.closing) return parts;
  }
  if (start !== null) add(start, entity.end);
  return parts;
}

interface Delimiter {
  /** Offset of the line end before it, which belongs to it. */
  readonly start: number;
  readonly end: number;
  readonly closing: boolean;
}

/** The delimiter lines of a body. After each look-alike the search goes on with the next line, so time is linear. */
function* delimiters(view: Buffer, bodyStart: number, dashBoundary: Buffer): Generator<Delimiter> {
  let from = bodyStart;
  for (;;) {
    const at = view.indexOf(dashBoundary, from);
    if (at < 0) return;
    const found =
      at === bodyStart || view[at - 1] === 0x0a ? delimiterAt(view, at, dashBoundary.length) : null;
    if (found) yield { ...found, start: at === bodyStart ? at : lineEndBefore(view, at, bodyStart) };
    const next = found ? found.end : view.indexOf(0x0a, at) + 1;
    if (next === 0) return;
    from = next;
  }
}

function delimiterAt(view: Buffer, at: number, length: number): Omit<Delimiter, 'start'> | null {
  let position = at + length;
  const closing = view[position] === 0x2d && view[position + 1] === 0x2d;
  if (closing) position += 2;
  while (view[position] === 0x20 || view[position] === 0x09) position++;
  if (view[position] === 0x0d) position++;
  if (position >= view.length) return { end: view.length, closing };
  return view[position] === 0x0a ? { end: position + 1, closing } : null;
}

/** `at` is the first octet after a LF; gives the offset of that LF, or of the CR before it. */
function lineEndBefore(view: Buffer, at: number, bodyStart: number): number {
  const crlf = at - 2 >= bodyStart && view[at - 2] === 0x0d;
  return at - (crlf ? 2 : 1);
}

/** The entity exactly as it came, header and body: for the first part of multipart/signed this is what was signed. */
export function entityBytes(entity: Entity): Buffer {
  return entity.source.subarray(entity.start, entity.end);
}

/** The body exactly as it came, transfer encoding and all. */
export function bodyBytes(entity: Entity): Buffer {
  return entity.source.subarray(entity.bodyStart, entity.end);
}

/** The body without its transfer encoding (RFC 2045 6); 7bit, 8bit, binary and unknown encodings as they are. */
export function decodedBody(entity: Entity): Buffer {
  return decodeTransfer(bodyBytes(entity), entity.encoding);
}
