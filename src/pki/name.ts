import { domainToASCII, domainToUnicode } from 'node:url';
import { type Ber, bytesOf, contentOf, expect, isUniversal, oidOf, readBer, tag, textOf } from './ber.ts';

/** One attribute of a distinguished name. */
export interface NameAttribute {
  readonly oid: string;
  readonly value: Ber;
}

/** A distinguished name as its relative ones, in the order of the encoding (RFC 5280 4.1.2.4). */
export type DistinguishedName = readonly (readonly NameAttribute[])[];

const emailAddress = '1.2.840.113549.1.9.1';
/** RFC 4514 3 and the names that OpenSSL prints. */
const shortNames: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.4', 'SN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.9', 'STREET'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.12', 'title'],
  ['2.5.4.42', 'GN'],
  ['2.5.4.46', 'dnQualifier'],
  ['2.5.4.65', 'pseudonym'],
  ['2.5.4.97', 'organizationIdentifier'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  [emailAddress, 'emailAddress'],
]);

/** Reads a Name; `ber-malformed` if it is none. */
export function readName(node: Ber | undefined): DistinguishedName {
  return expect(node, tag.sequence, 'a name').children.map((rdn) =>
    readRelativeName(expect(rdn, tag.set, 'a part of a name')),
  );
}

/** Reads the attributes of a RelativeDistinguishedName, whatever its tag (RFC 5280 4.2.1.13 has it IMPLICIT). */
export function readRelativeName(set: Ber): NameAttribute[] {
  return set.children.map((attribute) => {
    const [type, value] = expect(attribute, tag.sequence, 'an attribute of a name').children;
    return { oid: oidOf(type), value: value ?? expect(undefined, tag.utf8String, 'the value of a name') };
  });
}

/** A name as text, most specific part first (RFC 4514 2); what could trick a terminal or a reader is escaped. */
export function nameText(name: DistinguishedName): string {
  return [...name].reverse().map(rdnText).join(',');
}

const rdnText = (rdn: readonly NameAttribute[]): string => rdn.map(attributeText).join('+');

function attributeText({ oid, value }: NameAttribute): string {
  const short = shortNames.get(oid);
  // RFC 4514 2.4: what has no short name, or is no string, is written as its encoding.
  if (short === undefined || !isText(value)) return `${short ?? oid}=#${bytesOf(value).toString('hex')}`;
  return `${short}=${escapeValue(textOf(value))}`;
}

const textTags: readonly number[] = [
  tag.utf8String,
  tag.printableString,
  tag.teletexString,
  tag.ia5String,
  tag.bmpString,
];
const isText = (node: Ber): boolean =>
  node.class === 'universal' && textTags.includes(node.tag) && !node.constructed;

function escapeValue(text: string): string {
  return text
    .replace(/[\\",+;<>]|^[ #]| $/g, (found) => `\\${found}`)
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (found) =>
      Buffer.from(found, 'utf8').toString('hex').replace(/../g, '\\$&'),
    );
}

/**
 * A name in a form that is equal for names that RFC 5280 7.1 calls equal: case, runs of blanks and the kind of string do
 * not matter. The parts are an array, so that a name's subtree can be compared too (RFC 5280 7.1, name constraints).
 */
export function comparableName(name: DistinguishedName): string[] {
  return name.map((rdn) => JSON.stringify(rdn.map(comparableAttribute).sort()));
}

function comparableAttribute({ oid, value }: NameAttribute): string {
  if (!isText(value)) return `${oid}=#${bytesOf(value).toString('hex')}`;
  const folded = textOf(value).normalize('NFKC').toLowerCase();
  return `${oid}=${folded.trim().replace(/\s+/g, ' ')}`;
}

/** Whether two DER names are the same (RFC 5280 7.1). Names that cannot be read equal their own octets only. */
export function sameName(a: Buffer, b: Buffer): boolean {
  if (a.equals(b)) return true;
  try {
    const [left, right] = [a, b].map((name) => comparableName(readName(readBer(name))).join('\n'));
    return left === right;
  } catch {
    return false;
  }
}

/** The emailAddress attributes of a name in canonical form (RFC 8550 3); unusable ones left out. */
export function addressesInName(name: DistinguishedName): string[] {
  const found: string[] = [];
  for (const { oid, value } of name.flat()) {
    if (oid !== emailAddress || !isText(value)) continue;
    const address = canonicalRfc822(textOf(value));
    if (address) found.push(address);
  }
  return found;
}

/** An IA5 mailbox (RFC 5280 4.2.1.6) in canonical form, or null if it is not plain ASCII. */
export function canonicalRfc822(text: string): string | null {
  return /^[\x21-\x7e]+$/.test(text) ? canonicalMailbox(text) : null;
}

/**
 * A SmtpUTF8Mailbox value (RFC 9598 3, RFC 8398 3) in canonical form, or null. Its local part is not ASCII: RFC 9598 3
 * lets rfc822Name alone say what rfc822Name can say, so that no name constraint is passed by.
 */
export function canonicalUtf8Mailbox(node: Ber): string | null {
  if (!isUniversal(node, tag.utf8String) || node.constructed) return null;
  const text = contentOf(node).toString('utf8');
  return /^[!-~]*@/.test(text) ? null : canonicalMailbox(text);
}

/**
 * ASCII letters in lower case, the domain in A-labels. Null for what could be read in two ways: NUL, controls, blanks,
 * invisible characters, several mailboxes or several @ (an authority checked one reading, a mail client shows another).
 */
function canonicalMailbox(text: string): string | null {
  const at = text.indexOf('@');
  if (at <= 0 || at !== text.lastIndexOf('@') || /[\s\p{C}\ufffd,;:()<>"\\]/u.test(text)) return null;
  const local = text.slice(0, at);
  // RFC 6532 3.1: two spellings of one text are two octet strings; that of `mime/address` is NFC.
  if (local !== local.normalize('NFC')) return null;
  const domain = canonicalDomain(text.slice(at + 1));
  return domain === null ? null : `${local.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())}@${domain}`;
}

/** Null unless a U-label is the exact counterpart of its A-label (RFC 5890 2.3.2.1): UTS 46 would map full-width letters. */
function canonicalDomain(given: string): string | null {
  if (/^[\x21-\x7e]+$/.test(given)) return given.toLowerCase();
  const ascii = domainToASCII(given);
  const written = given.toLowerCase().normalize('NFC');
  return ascii !== '' && domainToUnicode(ascii) === written && given === given.normalize('NFC')
    ? ascii
    : null;
}
