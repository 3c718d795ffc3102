import { addressesIn, theMailbox } from '../mime/address.ts';
import { parseContentType } from '../mime/content-type.ts';
import { parseDate } from '../mime/date.ts';
import { type Entity, parseEntity } from '../mime/entity.ts';
import { type Field, fieldsNamed } from '../mime/header.ts';
import { decodeWords } from '../mime/words.ts';
import { classify } from './classify.ts';

/** Header fields that the payload itself carries (RFC 9788), so that signature and encryption cover them. */
export interface ProtectedHeader {
  /** `rfc8551`: a message/rfc822 around the message (RFC 8551 3.1), which reseal reads and never writes. */
  readonly form: 'clear' | 'cipher' | 'rfc8551';
  /** Inside an intact signature. If not, anybody can have written these fields (RULES 2). */
  readonly authenticated: boolean;
  /** The one protected From mailbox; null when there is none or not exactly one. */
  readonly from: string | null;
  readonly hasFrom: boolean;
  /** Text for people; of an encrypted post it is plaintext and must stay in memory (RULES 14). Null for none or two. */
  readonly subject: string | null;
  /** Protected Date, milliseconds; null for none, two, or one that cannot be read. */
  readonly date: number | null;
  /** Protected To addresses; null without such a field. */
  readonly to: readonly string[] | null;
  /** Protected To and Cc addresses, to find a post meant for another list (RULES 4); null without such a field. */
  readonly recipients: readonly string[] | null;
  /** Lower-case names of the fields that the author kept out of the outer header, or changed there (RFC 9788 4.3). */
  readonly hidden: readonly string[];
}

/**
 * The protected header fields of the payload below all layers of `message` (RFC 9788 4.2, 4.10), or null if it has none.
 * `covered`: there is encryption around it. Throws nothing: a wrapped header over its budget is no header protection.
 */
export function protectedHeaderOf(
  payload: Entity,
  d: { readonly message: Entity; readonly encrypted: boolean; readonly authenticated: boolean },
): ProtectedHeader | null {
  // The header of a message without layers is the outer one, whatever it calls itself.
  if (payload === d.message) return null;
  const hp = formOf(payload);
  if (hp !== null) {
    const kept = hp === 'cipher' && d.encrypted ? hiddenFrom(payload.fields, recordedOuter(payload)) : [];
    return { form: hp, authenticated: d.authenticated, ...readFields(payload.fields), hidden: kept };
  }
  const wrapped = wrappedMessage(payload, d.message);
  if (wrapped === null) return null;
  const hidden = d.encrypted ? hiddenFrom(wrapped.fields, comparable(d.message.fields)) : [];
  return { form: 'rfc8551', authenticated: d.authenticated, ...readFields(wrapped.fields), hidden };
}

/** RFC 9788 2.1.1. Of two Content-Type fields either: another reader may take the second. */
function formOf(payload: Entity): 'clear' | 'cipher' | null {
  for (const { value } of fieldsNamed(payload.fields, 'Content-Type')) {
    const form = parseContentType(value).parameters.get('hp')?.toLowerCase();
    if (form === 'clear' || form === 'cipher') return form;
  }
  return null;
}

/**
 * The message in an RFC8551HP payload (RFC 9788 4.10.1), or null. Nothing but `forwarded=no` tells it from a forwarded
 * message, which is an attachment. Without that it counts as one only if it names the author whom the outer From names:
 * then its fields can take rights away (a protected To of another list), and give none.
 */
function wrappedMessage(payload: Entity, outer: Entity): Entity | null {
  const { type, parameters } = payload.contentType;
  if (type !== 'message/rfc822' && type !== 'message/global') return null;
  // RFC 2046 5.2.1: such a body has no transfer encoding that hides it.
  if (!/^(7bit|8bit|binary)$/.test(payload.encoding) || payload.ambiguous.length > 0) return null;
  try {
    const inner = parseEntity(payload.source, payload.bodyStart, payload.end);
    // RFC 9788 4.10.1: with layers of its own it is somebody's whole message.
    if (classify(inner).kind !== 'none' || formOf(inner) !== null) return null;
    const forwarded = parameters.get('forwarded')?.toLowerCase();
    if (forwarded === 'no') return inner;
    const author = theMailbox(outer.fields, 'From')?.address ?? null;
    const same = author !== null && theMailbox(inner.fields, 'From')?.address === author;
    return forwarded === undefined && same ? inner : null;
  } catch {
    return null;
  }
}

function readFields(fields: readonly Field[]) {
  const subject = onlyValue(fields, 'Subject');
  const date = onlyValue(fields, 'Date');
  const to = fieldsNamed(fields, 'To').length > 0 ? addressesIn(fields, 'To') : null;
  const cc = fieldsNamed(fields, 'Cc').length > 0 ? addressesIn(fields, 'Cc') : null;
  return {
    from: theMailbox(fields, 'From')?.address ?? null,
    hasFrom: fieldsNamed(fields, 'From').length > 0,
    subject: subject === null ? null : decodeWords(subject),
    date: date === null ? null : parseDate(date),
    to,
    recipients: to === null && cc === null ? null : [...(to ?? []), ...(cc ?? [])],
  };
}

/** RFC 5322 3.6: at most one of these; of two, readers would take different ones. */
function onlyValue(fields: readonly Field[], name: string): string | null {
  const [field, second] = fieldsNamed(fields, name);
  return field === undefined || second !== undefined ? null : field.value;
}

/** RFC 9788 2.2: what the author says that he left outside, as `HP-Outer: Subject: [...]`. */
function recordedOuter(payload: Entity): Set<string> {
  return new Set(fieldsNamed(payload.fields, 'HP-Outer').map(({ value }) => comparableField(value)));
}

function comparable(fields: readonly Field[]): Set<string> {
  return new Set(fields.map(({ name, value }) => comparableField(`${name}:${value}`)));
}

/** RFC 9788 4.3.1 compares values; folding is no part of them. */
function comparableField(line: string): string {
  const colon = line.indexOf(':');
  const value = line.slice(colon + 1).replace(/\s+/g, ' ');
  return `${line.slice(0, colon).trim().toLowerCase()}:${value.trim()}`;
}

function hiddenFrom(fields: readonly Field[], outside: ReadonlySet<string>): string[] {
  const names = fields
    .filter(({ name }) => !/^(content-.*|mime-version|hp-outer)$/i.test(name))
    .filter(({ name, value }) => !outside.has(comparableField(`${name}:${value}`)))
    .map(({ name }) => name.toLowerCase());
  return [...new Set(names)];
}
