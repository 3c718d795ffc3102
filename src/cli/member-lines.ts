import { canonicalAddress } from '../mime/address.ts';

/** One member as a line of an import names him. */
export interface MemberLine {
  readonly line: number;
  readonly address: string;
  readonly name: string;
  readonly lang: string | null;
}

export interface MemberLines {
  readonly members: readonly MemberLine[];
  /** Lines that were passed over, each with its number and why. */
  readonly bad: readonly { readonly line: number; readonly why: string }[];
}

const language = /^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/;
const columns = ['address', 'name', 'lang'] as const;
type Column = (typeof columns)[number];
const otherNames: Readonly<Record<string, Column>> = {
  email: 'address',
  mail: 'address',
  gecos: 'name',
  language: 'lang',
};

/**
 * Reads members from text: `address,name,lang` (RFC 4180, also with `;`), with a line of column names or without, or one
 * address to a line. Blank lines and lines that begin with # are passed over; of a repeated address the first counts.
 * A line with U+FFFD, which decoding puts in place of octets that are not UTF-8, is bad.
 */
export function readMemberLines(text: string): MemberLines {
  const members: MemberLine[] = [];
  const bad: { line: number; why: string }[] = [];
  const seen = new Map<string, number>();
  let order: readonly (Column | null)[] = columns;
  let first = true;
  for (const { line, text: raw } of recordsOf(text.replace(/^\ufeff/, ''))) {
    if (raw.trim() === '' || raw.startsWith('#')) continue;
    const cells = cellsOf(raw);
    if (cells === null) {
      bad.push({ line, why: 'a quote is not closed' });
      continue;
    }
    const head = first ? headOf(cells) : null;
    first = false;
    if (head) {
      order = head;
      continue;
    }
    if (raw.includes('\ufffd')) {
      bad.push({ line, why: 'is not UTF-8; save the file as UTF-8' });
      continue;
    }
    const cell = (name: Column) => (order.includes(name) ? (cells[order.indexOf(name)] ?? '').trim() : '');
    const why = objectionTo(cell('address'), cell('name'), cell('lang'));
    const address = canonicalAddress(cell('address'));
    const before = address === null ? undefined : seen.get(address);
    if (why !== null || address === null) bad.push({ line, why: why ?? 'it has no address' });
    else if (before !== undefined) bad.push({ line, why: `${address} stands in line ${before} already` });
    else {
      seen.set(address, line);
      members.push({ line, address, name: cell('name'), lang: cell('lang') || null });
    }
  }
  return { members, bad };
}

function objectionTo(address: string, name: string, lang: string): string | null {
  if (canonicalAddress(address) === null) return `"${address.slice(0, 80)}" is not a mail address`;
  if (name.length > 200 || /\p{Cc}/u.test(name))
    return 'the name is longer than 200 characters or has control characters';
  if (lang !== '' && !language.test(lang))
    return `"${lang.slice(0, 20)}" is no language tag such as en or pt-BR`;
  return null;
}

/** The columns if this is a line of names, else null. */
function headOf(cells: readonly string[]): (Column | null)[] | null {
  const names = cells.map((cell) => {
    const name = cell.trim().toLowerCase();
    return columns.find((one) => one === name) ?? otherNames[name] ?? null;
  });
  return names.includes('address') ? names : null;
}

/** Lines of the text; a line end inside quotes does not end a record. */
function recordsOf(text: string): { line: number; text: string }[] {
  const records: { line: number; text: string }[] = [];
  let open: { line: number; text: string } | null = null;
  for (const [index, one] of text.split(/\r\n|\n|\r/).entries()) {
    const joined: string = open ? `${open.text}\n${one}` : one;
    const quotes = joined.split('"').length - 1;
    const line: number = open?.line ?? index + 1;
    // A name like `Jo "Joe` would swallow the rest of the file: at most a few lines belong to one record.
    const goesOn: boolean = quotes % 2 === 1 && joined.includes('"') && joined.split('\n').length < 5;
    if (goesOn) open = { line, text: joined };
    else {
      records.push({ line, text: joined });
      open = null;
    }
  }
  if (open) records.push(open);
  return records;
}

/** The cells of one record, or null if a quote is not closed. */
function cellsOf(record: string): string[] | null {
  const separator = /^[^",]*;/.test(record) ? ';' : ',';
  const cells: string[] = [];
  let rest = record;
  for (;;) {
    const quoted = /^\s*"((?:[^"]|"")*)"\s*/.exec(rest);
    if (quoted) {
      cells.push((quoted[1] ?? '').replaceAll('""', '"'));
      rest = rest.slice(quoted[0].length);
    } else if (/^\s*"/.test(rest)) return null;
    else {
      const end = rest.indexOf(separator);
      cells.push(end < 0 ? rest : rest.slice(0, end));
      rest = end < 0 ? '' : rest.slice(end);
    }
    if (rest === '') return cells;
    if (!rest.startsWith(separator)) return null;
    rest = rest.slice(1);
  }
}
