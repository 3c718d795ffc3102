import { mimeFault } from './faults.ts';
import { decodeWords } from './words.ts';

/** One mailbox of an address list as written. */
export interface ListedMailbox {
  /** Display name, else the comment beside a bare address; decoded. */
  readonly name: string;
  /** The addr-spec as written, not yet judged. */
  readonly addrSpec: string;
  /** Whether it stands in a group. */
  readonly grouped: boolean;
  /**
   * What some readers take for the address (Mailsploit): an unquoted display name with an @ in it, and the addresses in
   * one that is made of encoded words. Decoded.
   */
  readonly claims: readonly string[];
}

type Piece =
  | { readonly kind: 'text' | 'quoted' | 'comment' | 'angle'; readonly raw: string }
  | { readonly kind: 'delimiter'; readonly raw: ',' | ':' | ';' };

/**
 * Splits the value of an address field (RFC 5322 3.4) into mailboxes. Strict where readers differ: a quoted string,
 * comment or angle bracket that does not end, text after an angle bracket, a comment inside an address, a group in a
 * group and every control character are `address-malformed`. Empty list elements are skipped (RFC 5322 4.4).
 */
export function readAddressList(field: string, value: string): ListedMailbox[] {
  const malformed = (what: string) => mimeFault('address-malformed', { field, what });
  if (/[^\P{Cc}\t]/u.test(value)) throw malformed('there are control characters in it');
  const mailboxes: ListedMailbox[] = [];
  let grouped = false;
  let element: Piece[] = [];
  const finish = () => {
    const mailbox = mailboxFrom(element, grouped);
    if (mailbox === 'malformed')
      throw malformed('one is neither an address nor a name with an address in <>');
    if (mailbox !== null) mailboxes.push(mailbox);
    element = [];
  };
  for (const piece of piecesOf(value)) {
    if (piece === null) throw malformed('a quote, comment or angle bracket has no end');
    if (piece.kind !== 'delimiter') element.push(piece);
    else if (piece.raw === ':') {
      if (grouped || element.some(({ kind }) => kind === 'angle')) throw malformed('a colon is out of place');
      grouped = true;
      element = [];
    } else {
      finish();
      if (piece.raw === ';') {
        if (!grouped) throw malformed('a semicolon is out of place');
        grouped = false;
      }
    }
  }
  finish();
  if (grouped) throw malformed('a group has no end');
  return mailboxes;
}

/** Lexical pieces in order, in one pass; null where one has no end. */
function* piecesOf(value: string): Generator<Piece | null> {
  let at = 0;
  let textStart = 0;
  const lastBracket = value.lastIndexOf(']');
  while (at < value.length) {
    const character = value[at] as string;
    const kind = kindOf(character);
    if (kind === 'text') {
      // A domain literal may hold colons. Searched only where one ends, so that many "[" cost nothing.
      const literal =
        character === '[' && at < lastBracket && value[at - 1] === '@' ? value.indexOf(']', at) : -1;
      at = literal > at ? literal + 1 : at + 1;
      continue;
    }
    if (textStart < at) yield { kind: 'text', raw: value.slice(textStart, at) };
    if (kind === 'delimiter') {
      yield { kind, raw: character as ',' | ':' | ';' };
      at++;
    } else {
      const end =
        kind === 'quoted'
          ? endOfQuoted(value, at)
          : kind === 'comment'
            ? endOfComment(value, at)
            : endOfAngle(value, at);
      yield end < 0 ? null : { kind, raw: value.slice(at, end) };
      at = end < 0 ? value.length : end;
    }
    textStart = at;
  }
  if (textStart < at) yield { kind: 'text', raw: value.slice(textStart) };
}

function kindOf(character: string): Piece['kind'] {
  if (character === '"') return 'quoted';
  if (character === '(') return 'comment';
  if (character === '<') return 'angle';
  return character === ',' || character === ':' || character === ';' ? 'delimiter' : 'text';
}

function endOfQuoted(value: string, start: number): number {
  for (let at = start + 1; at < value.length; at++) {
    if (value[at] === '\\') at++;
    else if (value[at] === '"') return at + 1;
  }
  return -1;
}

function endOfComment(value: string, start: number): number {
  let depth = 0;
  for (let at = start; at < value.length; at++) {
    if (value[at] === '\\') at++;
    else if (value[at] === '(') depth++;
    else if (value[at] === ')' && --depth === 0) return at + 1;
  }
  return -1;
}

function endOfAngle(value: string, start: number): number {
  for (let at = start + 1; at < value.length; at++) {
    if (value[at] === '>') return at + 1;
    if (value[at] === '"') {
      const end = endOfQuoted(value, at);
      if (end < 0) return -1;
      at = end - 1;
    }
  }
  return -1;
}

/** What a name claims to be an address; see `ListedMailbox`. */
function claimsOf(unquoted: string): string[] {
  const decoded = decodeWords(unquoted);
  if (unquoted.includes('@')) return [decoded];
  // Split first, so that it is linear.
  return decoded.split(/[\s<>()[\]",;:']+/).filter((word) => word.includes('@') && word !== '@');
}

/** One element between commas: null if it is empty. */
function mailboxFrom(element: readonly Piece[], grouped: boolean): ListedMailbox | null | 'malformed' {
  const comments = element.filter(({ kind }) => kind === 'comment');
  const words = element.filter(({ kind, raw }) => kind !== 'comment' && raw.trim() !== '');
  if (words.length === 0) return comments.length === 0 ? null : 'malformed';
  const angle = words.findIndex(({ kind }) => kind === 'angle');
  if (angle >= 0) {
    if (angle !== words.length - 1) return 'malformed';
    const phrase = words.slice(0, angle);
    const unquoted = phrase
      .filter(({ kind }) => kind === 'text')
      .map(({ raw }) => raw)
      .join(' ');
    const addrSpec = (words[angle] as Piece).raw.slice(1, -1);
    return { name: nameOf(phrase), addrSpec, grouped, claims: claimsOf(unquoted) };
  }
  // A bare addr-spec: comments may stand before and after it, none within (RFC 5322 would allow it; we do not).
  const first = element.indexOf(words[0] as Piece);
  const last = element.indexOf(words.at(-1) as Piece);
  if (last - first + 1 !== words.length) return 'malformed';
  const addrSpec = words.map(({ raw }) => raw).join('');
  return { name: nameOf(comments), addrSpec, grouped, claims: [] };
}

function nameOf(pieces: readonly Piece[]): string {
  const text = pieces.map(({ kind, raw }) => (kind === 'text' ? raw.trim() : unquote(raw))).join(' ');
  return decodeWords(text).trim();
}

function unquote(raw: string): string {
  return raw.slice(1, -1).replace(/\\(.)/gu, '$1');
}
