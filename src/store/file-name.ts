import { canonicalAddress } from '../mime/address.ts';

// Sympa's two ways to write an address as a file name (reference/sympa.md 1.3). Both keep letters, digits and `-.@`.

/**
 * The file name of an address as Sympa writes it since 6.2.63b.1 (`encode_filesystem_safe`): every octet of the UTF-8
 * form but `[-+.0-9@A-Za-z]` becomes `_` and two lower-case hexadecimal digits. Reversible.
 */
export function escapeName(address: string): string {
  let name = '';
  for (const octet of Buffer.from(address, 'utf8')) {
    const character = String.fromCharCode(octet);
    name += /[-+.0-9@A-Za-z]/.test(character) ? character : `_${hex(octet)}`;
  }
  return name;
}

/** The file name as Sympa wrote it up to 6.2.62 (`escape_chars`): `%` and hexadecimal, and `/` as `%a5`. */
export function escapeOldName(address: string): string {
  let name = '';
  for (const octet of Buffer.from(address, 'utf8')) {
    if (octet === 0x2f) name += '%a5';
    else name += escapedBefore(octet) ? `%${hex(octet)}` : String.fromCharCode(octet);
  }
  return name;
}

/**
 * The address that a file name stands for, by either naming. What the new naming would have written is read as that;
 * everything else as the old. `otherAddress` is the old reading of a name that fits both (`first_2dlast` fits the old
 * only, `first_5flast` both), null if there is none or it is the same. Null if neither gives an address.
 */
export function unescapeName(name: string): { address: string; otherAddress: string | null } | null {
  const fresh = readNew(name);
  const old = readOld(name);
  const address = fresh ?? old;
  if (address === null) return null;
  return { address, otherAddress: old === address ? null : old };
}

const hex = (octet: number): string => octet.toString(16).padStart(2, '0');

/** Octets that the old naming escaped: most punctuation, `%` itself, and everything from 0x80. */
function escapedBefore(octet: number): boolean {
  return (
    (octet >= 0x20 && octet <= 0x2c) ||
    (octet >= 0x3a && octet <= 0x3f) ||
    octet === 0x5b ||
    octet === 0x5d ||
    octet >= 0x80
  );
}

function readNew(name: string): string | null {
  const text = decode(name, /_([0-9A-Fa-f]{2})/g, (octet) => octet);
  // A name that the encoder would not write (`_` before no hexadecimal, `_2d` for `-`) is none of this naming.
  return text !== null && escapeName(text).toLowerCase() === name.toLowerCase()
    ? canonicalAddress(text)
    : null;
}

/**
 * One pass, not Sympa's chain of replacements: that one decodes `%2526` twice, to `&`, so an address with `%26` in it
 * would change into another.
 */
function readOld(name: string): string | null {
  const text = decode(name, /%([0-9a-f]{2})/g, (octet) => (octet === 0xa5 ? 0x2f : octet));
  return text === null ? null : canonicalAddress(text);
}

/** Replaces escapes by octets; null if the result is no UTF-8. */
function decode(name: string, escaped: RegExp, octetOf: (octet: number) => number): string | null {
  const latin1 = Buffer.from(name, 'utf8')
    .toString('latin1')
    .replace(escaped, (_, digits: string) => String.fromCharCode(octetOf(Number.parseInt(digits, 16))));
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(latin1, 'latin1'));
  } catch {
    return null;
  }
}
