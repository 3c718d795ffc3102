/** How a command answers. Results go to standard output, everything else to standard error. */
export interface Output {
  readonly json: boolean;
  /** The command's one result: `value` as one JSON value under `--json`, else `lines` for people. */
  result(value: unknown, lines: readonly string[]): void;
  /** Something beside the result that a person should know. */
  note(text: string): void;
}

export interface Stream {
  write(text: string): unknown;
}

/** Writes to the given streams; lines for people lose what could command a terminal. */
export function outputTo(d: { json: boolean; out: Stream; err: Stream }): Output {
  return {
    json: d.json,
    result: (value, lines) => {
      const text = d.json ? JSON.stringify(value, null, 2) : lines.map(printable).join('\n');
      if (text !== '') d.out.write(`${text}\n`);
    },
    note: (text) => void d.err.write(`reseal: ${printable(text)}\n`),
  };
}

/**
 * Text of strangers for a terminal: control characters (escape sequences, line ends) and invisible ones that change
 * the order of what is shown become `?`.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu, '?');
}

/** A table for people: head, then rows; columns as wide as they need, the last one free. No rows give `empty`. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  empty: string,
): string[] {
  if (rows.length === 0) return [empty];
  const all = [head, ...rows].map((row) => row.map(printable));
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** An instant for people and for JSON: `2026-01-05T12:00:00Z`, without fractions of a second. */
export function instant(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** The same for what may be absent. */
export function instantOrNull(ms: number | null): string | null {
  return ms === null ? null : instant(ms);
}

/** The day alone, for validities. */
export function dayOf(ms: number): string {
  return instant(ms).slice(0, 10);
}

/** `1 copy`, `2 copies`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
