// How the demonstration talks, and how it checks what it says.
import { isDeepStrictEqual } from 'node:util';

/** Nothing is wider, so that a terminal of the usual size shows it as it is meant. */
const width = 80;
const margin = '   ';

/** What was found is not what should have been found. */
export class Difference extends Error {
  constructor(what, found, wanted) {
    super(`${what}\n${margin}found:    ${show(found)}\n${margin}expected: ${show(wanted)}`);
  }
}

/**
 * Numbered steps for a reader, and `check`, which ends the story with a Difference where something is not as told.
 * `broken` names one check that is given a wrong expectation, to show that checks can fail.
 */
export function tellStory({ out, colour, broken = null }) {
  const started = performance.now();
  const paint = (code) => (text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
  const [bold, dim, green, red] = [1, 2, 32, 31].map(paint);
  const print = (text = '') => out.write(`${text}\n`);
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  const checked = new Set();
  let steps = 0;
  let checks = 0;

  return {
    bold,
    green,
    red,
    seconds,
    print,
    checks: () => checks,
    /** Whether the check that is to fail was met at all. */
    metBroken: () => broken === null || checked.has(broken),
    title(text) {
      print(bold(text));
      print();
    },
    step(title) {
      const head = `${++steps}  ${title}`;
      print();
      print(`${bold(head)}  ${dim(seconds().padStart(width - head.length - 2))}`);
    },
    say(text) {
      for (const line of wrapped(text, width - margin.length)) print(`${margin}${line}`);
    },
    /** What is typed at a shell, over several lines where it is long. */
    command(words) {
      const [first, ...rest] = wrapped(words, width - margin.length - 4);
      const lines = [
        `${margin}${dim('$')} ${bold(first)}`,
        ...rest.map((line) => `${margin}    ${bold(line)}`),
      ];
      print(lines.join(` ${dim('\\')}\n`));
    },
    /** What somebody else wrote; `cut`: at the width of the terminal, where there is one. */
    quote(text, { cut = false } = {}) {
      const most = cut && out.isTTY ? out.columns - 2 : Number.POSITIVE_INFINITY;
      const lines = text.trimEnd().split('\n');
      for (const line of lines) {
        const shown = line.length > most ? `${line.slice(0, most - 1)}${dim('>')}` : line;
        print(`${dim('|')} ${shown}`.trimEnd());
      }
      if (lines.some((line) => line.length > most)) print(dim(`${margin}(cut where this terminal ends)`));
    },
    table(rows, head = null) {
      const all = head ? [head, ...rows] : rows;
      const widths = all[0].map((_, at) => Math.max(...all.map((row) => row[at].length)));
      const line = (row) =>
        row
          .map((cell, at) => cell.padEnd(widths[at]))
          .join('  ')
          .trimEnd();
      if (head) print(`${margin}${dim(line(head))}`);
      for (const row of rows) print(`${margin}${line(row)}`);
    },
    /** A statement that all the checks before it stand for. */
    ok(text) {
      const [first = '', ...rest] = wrapped(text, width - margin.length - 2);
      print(`${margin}${green('✓')} ${first}`);
      for (const line of rest) print(`${margin}  ${line}`);
    },
    check(what, found, wanted) {
      checks += 1;
      checked.add(what);
      const expected = what === broken ? 'something else (--self-test)' : wanted;
      if (!isDeepStrictEqual(found, expected)) throw new Difference(what, found, expected);
    },
    /** The same for text that must hold something. */
    checkMatch(what, found, pattern) {
      checks += 1;
      checked.add(what);
      if (what === broken || !pattern.test(found)) throw new Difference(what, found, pattern);
    },
  };
}

function show(value) {
  if (value instanceof RegExp) return `something like ${value}`;
  return typeof value === 'string'
    ? JSON.stringify(value)
    : JSON.stringify(value, null, 1).replace(/\s+/g, ' ');
}

function wrapped(text, columns) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== '' && last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}
