import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';
import { orNone } from '../base/errors.ts';
import { type ListedMailbox, readAddressList } from './address-list.ts';
import { mimeFault } from './faults.ts';
import { type Field, fieldsNamed } from './header.ts';
import { encodeRun } from './words.ts';

/** One mailbox of an address field. */
export interface Mailbox {
  /** Display name or comment, decoded; '' if there is none. */
  readonly name: string;
  /** Canonical, see `canonicalAddress`. */
  readonly address: string;
}

// RFC 5321 4.5.3.1: octets of the local part, and of a path without its angle brackets (so a domain has no more).
const localOctets = 64;
const pathOctets = 254;

/**
 * The one form in which reseal compares and stores an address, or null if `text` (blanks around it are dropped) is
 * no plain addr-spec (RFC 5321 4.1.2, RFC 6531): ASCII letters in lower case in both parts, as Sympa does and RFC
 * 8550 3 asks; an international domain as A-labels; an international local part in NFC; no quotes where none are
 * needed. Null for blanks, commas, comments, controls, NUL, encoded words, a second @ or an over-long part.
 */
export function canonicalAddress(text: string): string | null {
  // Length first, so that nothing below works on a long string.
  if (text.length > 2 * pathOctets) return null;
  const trimmed = text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');
  const at = trimmed.lastIndexOf('@');
  if (at < 1 || hidesAscii(trimmed)) return null;
  const local = canonicalLocalPart(trimmed.slice(0, at));
  const domain = canonicalDomain(trimmed.slice(at + 1));
  if (local === null || domain === null) return null;
  if (Buffer.byteLength(local) > localOctets) return null;
  const address = `${local}@${domain}`;
  return Buffer.byteLength(address) > pathOctets ? null : address;
}

/** Three characters (KELVIN SIGN and two more) are ASCII after NFC: with them one would pass for somebody else. */
function hidesAscii(text: string): boolean {
  for (const character of text) if (character > '\x7f' && character.normalize('NFC') <= '\x7f') return true;
  return false;
}

const lowerAscii = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** RFC 5322 3.2.3 atext, and every other character that is no control, blank or unassigned code (RFC 6532 3.2). */
const dotAtom =
  /^[!#$%&'*+/=?^_`{|}~0-9A-Za-z-\u{a0}-\u{10ffff}]+(?:\.[!#$%&'*+/=?^_`{|}~0-9A-Za-z-\u{a0}-\u{10ffff}]+)*$/u;
/** A quoted local part without blanks, quotes, backslashes, commas, angle brackets, parentheses and @. */
const quoted = /^"([!#$%&'*+/=?^_`{|}~0-9A-Za-z.:;[\]-]+)"$/;

function canonicalLocalPart(text: string): string | null {
  // An encoded word is made of atext: another reader might decode it to another address.
  if (text.includes('=?')) return null;
  // RFC 5321 4.1.2: quotes that are not needed mean nothing.
  const inside = quoted.exec(text)?.[1];
  if (inside !== undefined) return lowerAscii(dotAtom.test(inside) ? inside : text);
  if (!dotAtom.test(text) || /[\p{C}\p{Z}]/u.test(text)) return null;
  return lowerAscii(text.normalize('NFC'));
}

const asciiDomain = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

function canonicalDomain(text: string): string | null {
  if (text.startsWith('[')) return canonicalLiteral(text);
  const lower = text.normalize('NFC').toLowerCase().normalize('NFC');
  if (/^[!-~]*$/.test(text)) return asciiDomain.test(lower) ? lower : null;
  const ascii = domainToASCII(lower);
  // UTS 46 maps much (full-width letters, soft hyphens, percent escapes); an address must be written without that
  // (RFC 5890 2.3.2.1: a U-label is the exact counterpart of its A-label).
  return asciiDomain.test(ascii) && domainToUnicode(ascii) === lower ? ascii : null;
}

/** RFC 5321 4.1.3. */
function canonicalLiteral(text: string): string | null {
  const inside = /^\[([0-9A-Za-z.:]+)\]$/.exec(text)?.[1]?.toLowerCase();
  if (inside === undefined) return null;
  const known = inside.startsWith('ipv6:') ? isIPv6(inside.slice('ipv6:'.length)) : isIPv4(inside);
  return known ? `[${inside}]` : null;
}

/**
 * Every mailbox of every field of this name (RFC 5322 3.4), members of groups too, in order, with repetitions.
 * Throws `address-malformed` if one of them cannot be read, so that no address is overlooked in silence.
 */
export function mailboxesOf(fields: readonly Field[], name: string): Mailbox[] {
  return fieldsNamed(fields, name).flatMap((field) =>
    readAddressList(field.name, field.value).map((listed) => mailboxFrom(field, listed)),
  );
}

function mailboxFrom(field: Field, { name, addrSpec }: ListedMailbox): Mailbox {
  const address = canonicalAddress(addrSpec);
  if (address === null)
    throw mimeFault('address-malformed', { field: field.name, what: 'one is no e-mail address' });
  return { name, address };
}

/** The addresses in all fields of this name; none if one of them cannot be read: it names nobody then. Never throws. */
export function addressesIn(fields: readonly Field[], name: string): string[] {
  return orNone(() => mailboxesOf(fields, name))
    .flat()
    .map((mailbox) => mailbox.address);
}

/**
 * The mailbox of the only `From` or `Sender`, on which rights depend: null unless there is exactly one such field
 * with exactly one mailbox, outside a group, that can be read without doubt. Never throws.
 */
export function theMailbox(fields: readonly Field[], name: 'From' | 'Sender'): Mailbox | null {
  const [field, second] = fieldsNamed(fields, name);
  if (field === undefined || second !== undefined) return null;
  try {
    const [listed, another] = readAddressList(field.name, field.value);
    if (listed === undefined || another !== undefined || listed.grouped) return null;
    const mailbox = mailboxFrom(field, listed);
    // `victim@a <attacker@b>`: to some readers an unquoted @ makes the name the address.
    return listed.claims.every((one) => canonicalAddress(one) === mailbox.address) ? mailbox : null;
  } catch {
    return null;
  }
}

/** A mailbox as it is written in an address field: the name encoded or quoted as needed, controls dropped. */
export function formatMailbox(mailbox: Mailbox): string {
  const name = mailbox.name.replace(/\p{Cc}+/gu, ' ').trim();
  if (name === '') return mailbox.address;
  if (/[^ -~]/.test(name)) return `${encodeRun(name)} <${mailbox.address}>`;
  const phrase = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+$/.test(name) && !name.includes('=?');
  return `${phrase ? name : `"${name.replace(/["\\]/g, '\\$&')}"`} <${mailbox.address}>`;
}
