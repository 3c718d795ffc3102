import type { Run } from './run.ts';
import { plainOf, textOf, type Value, type Variable } from './values.ts';

/** What a rendering may be given besides its variables. Each function is called with text and gives text. */
export interface RenderOptions {
  /** Language tag (`de`, `pt-BR`): files in the subfolder of that name are tried first. */
  readonly language?: string | undefined;
  /** The catalog behind `loc`: a text to its translation, `%1` … `%9` still in place. Default: the text itself. */
  readonly loc?: ((text: string, args: readonly string[]) => string) | undefined;
  /** RFC 2047 encoding for header fields. Default: the text itself, for callers whose composer encodes. */
  readonly qencode?: ((text: string) => string) | undefined;
  /** More filters by name, such as Sympa's `url_abs`. They win over the built-in ones. */
  readonly filters?:
    | Readonly<Record<string, (text: string, args: readonly Variable[]) => string>>
    | undefined;
}

type Filter = (text: string, args: readonly Value[], run: Run) => string;

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};
const escaped = (text: string, pattern: RegExp): string =>
  text.replace(pattern, (sign) => entities[sign] ?? sign);

const builtIn = new Map<string, Filter>([
  ['html', (text) => escaped(text, /[&<>"]/g)],
  ['xml', (text) => escaped(text, /[&<>"']/g)],
  ['uri', (text) => percentEncoded(text, /[A-Za-z0-9\-_.~!*'()]/)],
  ['url', (text) => percentEncoded(text, /[A-Za-z0-9\-_.~!*'();/?:@&=+$,]/)],
  ['upper', (text) => text.toUpperCase()],
  ['lower', (text) => text.toLowerCase()],
  ['ucfirst', (text) => text.slice(0, 1).toUpperCase() + text.slice(1)],
  ['lcfirst', (text) => text.slice(0, 1).toLowerCase() + text.slice(1)],
  ['trim', (text) => text.trim()],
  ['collapse', (text) => text.trim().replace(/\s+/g, ' ')],
  ['null', () => ''],
  ['indent', indent],
  ['wrap', wrap],
]);

/** The filters of one rendering: the caller's, `loc` and `qencode`, the built-in ones; null if there is none. */
export function filterNamed(name: string, options: RenderOptions): Filter | null {
  const { filters, loc, qencode } = options;
  const own = filters !== undefined && Object.hasOwn(filters, name) ? filters[name] : undefined;
  if (own !== undefined) return (text, args) => own(text, args.map(plainOf));
  if (name === 'qencode') return (text) => qencode?.(text) ?? text;
  if (name === 'loc') return (text, args, run) => localized(text, args, run, loc);
  return builtIn.get(name) ?? null;
}

/** Sympa's `loc`: translation, then `%1` … `%9` are the arguments and `%%` is `%`, in one pass over the text. */
function localized(text: string, args: readonly Value[], run: Run, loc: RenderOptions['loc']): string {
  const words = args.map((arg) => textOf(arg, run));
  const translation = text === '' ? '' : (loc?.(text, words) ?? text);
  return translation.replace(/%([%1-9])/g, (_, sign: string) => {
    const word = sign === '%' ? '%' : (words[Number(sign) - 1] ?? '');
    run.spend(word.length);
    return word;
  });
}

function percentEncoded(text: string, kept: RegExp): string {
  const octets = [...Buffer.from(text, 'utf8')];
  return octets
    .map((octet) => {
      const character = String.fromCharCode(octet);
      return kept.test(character) ? character : `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

/** A pad given as a number is that many blanks; as text it is itself. */
function padOf(value: Value | undefined, usual: string, run: Run): string {
  if (value === undefined) return usual;
  const text = textOf(value, run);
  if (!/^\d+$/.test(text)) return text;
  run.spend(Number(text));
  return ' '.repeat(Number(text));
}

/** TT2's `indent(pad)`: a pad (4 blanks) before every line; nothing after the last line end. */
function indent(text: string, [pad]: readonly Value[], run: Run): string {
  const before = padOf(pad, '    ', run);
  return text.replace(/^(?=[\s\S])|(?<=\n)(?=[\s\S])|^$/g, () => {
    run.spend(before.length);
    return before;
  });
}

/**
 * Sympa's `wrap(init, subs, columns)`: every line is folded at blanks to at most 78 columns; `init` stands before a
 * line, `subs` before what was folded off it. Line ends are kept, and so is the absence of the last one. A word that
 * is too long stays whole, so links and addresses survive.
 */
function wrap(text: string, [init, subs, columns]: readonly Value[], run: Run): string {
  const first = padOf(init, '', run);
  const other = padOf(subs, '', run);
  const width = Math.max(20, Number(columns === undefined ? 78 : textOf(columns, run)) || 78);
  const fold = (line: string): string => {
    const lines: string[] = [];
    let current = first;
    let empty = true;
    for (const word of line.split(/[ \t]+/).filter((piece) => piece !== '')) {
      const longer = empty ? current + word : `${current} ${word}`;
      if (!empty && columnsOf(longer) > width) {
        lines.push(current);
        run.spend(other.length);
        current = other + word;
      } else {
        current = longer;
      }
      empty = false;
    }
    lines.push(empty ? '' : current);
    run.spend(first.length);
    return lines.join('\n');
  };
  const ending = /\n$/.test(text) ? '\n' : '';
  const body = ending === '' ? text : text.slice(0, -1);
  return body.split('\n').map(fold).join('\n') + ending;
}

/** Columns of a line, roughly: one for each code point. */
const columnsOf = (line: string): number => [...line].length;
