/** How a command answers. Results go to standard output, everything else to standard error. */
export interface Output {
  readonly json: boolean;
  /** Columns that folded text may have. */
  readonly width: number;
  /** Columns of the terminal that shows it; null where a file or another program reads, to which a line is a line. */
  readonly terminal: number | null;
  /**
   * The command's one result: `value` as one JSON value under `--json`, else `lines` for people. It is written in pieces:
   * long ones are never whole in memory.
   */
  result(value: unknown, lines: Iterable<string>): void;
  /** One of results that come one by one: a JSON value in a line of its own under `--json`, else one line for people. */
  item(value: unknown, line: string): void;
  /** Something beside the result that a person should know. */
  note(text: string): void;
}

export interface Stream {
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

const leastWidth = 60;
const mostWidth = 100;
const usualWidth = 80;

/** Writes to the given streams; lines for people lose what could command a terminal. */
export function outputTo(d: {
  json: boolean;
  out: Stream;
  err: Stream;
  /** Where `out` does not know. */
  columns?: number | undefined;
}): Output {
  return {
    json: d.json,
    // A pipe has no columns; who reads it may say how many he has, as for other programs.
    width: Math.min(Math.max(d.out.columns ?? d.columns ?? usualWidth, leastWidth), mostWidth),
    terminal: d.out.columns ?? null,
    result: (value, lines) => {
      let text = '';
      for (const piece of d.json ? jsonPieces(value) : linesOf(lines)) {
        text += piece;
        if (text.length < pieceLength) continue;
        d.out.write(text);
        text = '';
      }
      if (text !== '') d.out.write(text);
    },
    item: (value, line) => void d.out.write(`${d.json ? jsonOf(value, 0) : printable(line)}\n`),
    note: (text) => void d.err.write(`reseal: ${printable(text)}\n`),
  };
}

/** Characters that are written at once. */
const pieceLength = 65_536;

function* linesOf(lines: Iterable<string>): Generator<string> {
  for (const line of lines) yield `${printable(line)}\n`;
}

/** What `jsonOf` makes of the value, with a line feed; the elements of its lists one by one. */
function* jsonPieces(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return yield `${jsonOf(value)}\n`;
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  if (!entries.some(([, one]) => Array.isArray(one))) return yield `${jsonOf(value)}\n`;
  const inner = (one: unknown, by: string) => (jsonOf(one) ?? 'null').replaceAll('\n', `\n${by}`);
  for (const [index, [name, one]] of entries.entries()) {
    yield `${index === 0 ? '{' : ','}\n  ${jsonOf(name)}: `;
    if (!Array.isArray(one) || one.length === 0) yield inner(one, '  ');
    else for (let n = 0; n < one.length; n++) yield `${n === 0 ? '[' : ','}\n    ${inner(one[n], '    ')}`;
    if (Array.isArray(one) && one.length > 0) yield '\n  ]';
  }
  yield '\n}\n';
}

/** JSON whose characters beyond ASCII that could command a terminal are escaped: the same value, safe to look at. */
function jsonOf(value: unknown, indent = 2): string {
  const escaped = (one: string) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g,
    escaped,
  );
}

/**
 * Text of strangers for a terminal: control characters (escape sequences, line ends) and invisible ones that change
 * the order of what is shown become `?`.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu, '?');
}

/**
 * A table for people: head, then rows; columns as wide as they need, the last one free. Columns that say nothing (all
 * `-`) are left out. No rows give `empty`.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  empty: string,
): string[] {
  if (rows.length === 0) return [empty];
  const says = head.map((_, column) => rows.some((row) => row[column] !== '-'));
  const all = [head, ...rows].map((row) => row.filter((_, column) => says[column]).map(printable));
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/**
 * Text folded at blanks to lines of at most `width` columns; a command in backticks stays in one piece. The first line
 * begins with `first`, the others with `rest`, or as many blanks.
 */
export function folded(
  text: string,
  d: { readonly width: number; readonly first: string; readonly rest?: string },
): string[] {
  const indent = d.rest ?? ' '.repeat(d.first.length);
  const lines: string[] = [];
  let line = d.first;
  let isEmpty = true;
  for (const word of text.match(/[^\s`]*`[^`]*`\S*|\S+/g) ?? []) {
    if (!isEmpty && line.length + 1 + word.length > d.width) {
      lines.push(line);
      line = indent;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line.trimEnd()];
}

/** An instant for people and for JSON: `2026-01-05T12:00:00Z`, without fractions of a second. */
export function instant(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** The same for what may be absent. */
export function instantOrNull(ms: number | null): string | null {
  return ms === null ? null : instant(ms);
}

/** `2026-01-05 12:00`, UTC: for tables. */
export function minuteOf(ms: number): string {
  return instant(ms).slice(0, 16).replace('T', ' ');
}

/** `2026-01-05 12:00:00`, UTC: for tables. */
export function secondOf(ms: number): string {
  return instant(ms).slice(0, 19).replace('T', ' ');
}

/** `1 copy`, `2 copies`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** As much of a fingerprint as people compare at a glance; `cert show` takes it as it is. */
export function shortSha(sha256: string): string {
  return sha256.slice(0, 8);
}
