import { decodeWords, encodeWords } from './words.ts';

/**
 * What mail programs put before the subject of an answer or a forwarded message, in some languages (Re, AW, SV, …).
 * `Re[2]:` and `Re^2:` are known too. The counts keep it linear.
 */
const prefix =
  /(?:(re|aw|antw|antwort|sv|vs|vá|rif|ris|odp|ynt|res|réf|回复|答复)|(fwd?|wg|tr|vb|vl|doorst|enc|rv|转发))(?: {0,2}[[(^]\d{1,3}[\])]?)? {0,2}[:：]\s*/iuy;

/**
 * The Subject for a list: `[tag]` once, after one `Re:` or `Fwd:` for whatever prefixes there are, before the rest.
 * `value` is the field's unfolded value. Encoded words of the rest are kept as they are where that is possible, else
 * made anew (RFC 2047); the result may go to `formatField`.
 */
export function taggedSubject(value: string, tag: string): string {
  const label = `[${tag}]`;
  // NUL and a bare CR may have arrived in the raw value; `formatField` refuses them.
  const clean = value.replace(/[^\P{Cc}\t]+/gu, ' ');
  const raw = withoutPrefixes(clean, label);
  const decoded = withoutPrefixes(decodeWords(clean), label);
  const head = `${decoded.prefixes}${label}`;
  // The raw rest will do if it begins where the decoded one does, and if no encoded word of ours would touch one of it.
  const same = decodeWords(raw.rest) === decoded.rest && raw.prefixes === decoded.prefixes;
  if (same && /^[ -~]*$/.test(head)) return `${head} ${raw.rest}`.trimEnd();
  return encodeWords(`${head} ${decoded.rest}`.trimEnd());
}

/** Takes the prefixes off, and the label wherever it stands. */
function withoutPrefixes(subject: string, label: string): { prefixes: string; rest: string } {
  const text = withoutLabel(subject, label);
  const prefixes: string[] = [];
  let at = 0;
  for (;;) {
    prefix.lastIndex = at;
    const match = prefix.exec(text);
    if (!match) return { prefixes: prefixes.join(''), rest: text.slice(at) };
    at = prefix.lastIndex;
    const plain = match[1] === undefined ? 'Fwd: ' : 'Re: ';
    if (prefixes.at(-1) !== plain) prefixes.push(plain);
  }
}

function withoutLabel(subject: string, label: string): string {
  const wanted = new RegExp(label.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'iu');
  const pieces = subject.split(wanted).map((piece) => piece.trim());
  return pieces.filter((piece) => piece !== '').join(' ');
}
