/** A value of a text file that should be a certificate: its octets, or why there are none here. */
export type TextValue = { readonly der: Buffer } | { readonly why: string };

/** Whether a text holds vCards (RFC 2426, RFC 6350). */
export function isVcard(text: string): boolean {
  return /^BEGIN:VCARD[ \t]*\r?$/im.test(text);
}

/**
 * The KEY properties of vCards, base64 (RFC 2426 3.7.2, vCard 2.1 too) and `data:` (RFC 6350 6.8.1), folded lines
 * joined. Keys of OpenPGP are passed over; nothing that is only named by its address is fetched.
 */
export function* vcardKeys(text: string): Generator<TextValue> {
  for (const line of unfolded(text, ' \t')) {
    const [, parameters = '', value = ''] =
      /^(?:[A-Za-z0-9-]+\.)?KEY((?:;(?:"[^"]*"|[^":])*)?):(.*)$/i.exec(line) ?? [];
    if (value === '' || /pgp/i.test(parameters) || /^data:application\/pgp/i.test(value)) continue;
    yield vcardValue(value.trim());
  }
}

function vcardValue(value: string): TextValue {
  const [, media = '', data = ''] = /^data:([^,]*?)\\?,(.*)$/is.exec(value) ?? [];
  if (data !== '') {
    if (!/;base64$/i.test(media)) return { why: 'its data: is not in base64' };
    return decoded(data);
  }
  if (/^[a-z][a-z0-9+.-]*:/i.test(value))
    return { why: 'it is only named by its address, and nothing is fetched' };
  return decoded(value);
}

const certificateLine =
  /^(userCertificate|userSMIMECertificate|cACertificate)(;[A-Za-z0-9-]+)*(::|:<|:)[ \t]*(.*)$/i;

/** Whether a text is LDIF (RFC 2849). */
export function isLdif(text: string): boolean {
  return /^(version:[ \t]*1|dn::?[ \t])/im.test(text);
}

/**
 * The certificates in LDIF (RFC 2849): userCertificate (RFC 4523 2.1), userSMIMECertificate (RFC 2798 2.8, PKCS #7), and
 * authorities' cACertificate, with or without `;binary`, folded lines joined. Files that it names are not read.
 */
export function* ldifCertificates(text: string): Generator<TextValue> {
  for (const line of unfolded(text, ' ')) {
    const [, , , sign, value = ''] = certificateLine.exec(line) ?? [];
    if (sign === '::') yield decoded(value);
    else if (sign === ':<') yield { why: 'it is only named by its address, and nothing is fetched' };
    else if (sign === ':') yield { why: 'it is not in base64' };
  }
}

/** Characters of one line with its folds that are kept: more than any certificate has. */
const mostInLine = 4_000_000;

/**
 * The lines of a text one by one, each joined with those that follow it and begin with one of `blanks`. There may be
 * millions of either: nothing is made of the whole text.
 */
function* unfolded(text: string, blanks: string): Generator<string> {
  let pieces: string[] = [];
  let length = 0;
  for (let start = 0; start <= text.length; ) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    const isFold = start > 0 && start < end && blanks.includes(text.charAt(start));
    if (!isFold && start > 0) {
      yield pieces.join('');
      [pieces, length] = [[], 0];
    }
    const from = isFold ? start + 1 : start;
    const to = text.charAt(end - 1) === '\r' && end > from ? end - 1 : end;
    length += to - from;
    if (length <= mostInLine) pieces.push(text.slice(from, to));
    start = end + 1;
  }
  yield pieces.join('');
}

/** The octets of a file that is base64 from end to end, as Windows writes certificates without armour; else null. */
export function wholeBase64(text: string): Buffer | null {
  const packed = text.replace(/\s+/g, '');
  return /^MI[A-Za-z0-9+/]+={0,2}$/.test(packed) ? Buffer.from(packed, 'base64') : null;
}

function decoded(value: string): TextValue {
  const packed = value.replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(packed)) return { why: 'its base64 is broken' };
  return { der: Buffer.from(packed, 'base64') };
}
