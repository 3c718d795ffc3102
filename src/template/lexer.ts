import { fault } from './faults.ts';

/** One token. A tag's tokens end with `;`, so the text between tags is just one more token. */
export interface Token {
  readonly kind: 'text' | 'string' | 'quoted' | 'number' | 'file' | 'name' | 'keyword' | 'symbol' | 'end';
  /** The text, unescaped; the word; the sign in one spelling of it (`&&` for `and`, `=` for `=>`). */
  readonly text: string;
  readonly line: number;
  /** A double-quoted string that mentions variables: its texts and the tokens of its variables, in order. */
  readonly pieces?: readonly (string | readonly Token[])[];
}

const keywords = new Set(
  (
    'GET CALL SET DEFAULT INSERT INCLUDE PROCESS WRAPPER BLOCK END USE PLUGIN FILTER MACRO PERL RAWPERL STEP IF UNLESS ' +
    'ELSE ELSIF FOREACH NEXT WHILE SWITCH CASE META IN TRY THROW CATCH FINAL LAST RETURN STOP CLEAR VIEW DEBUG TAGS'
  ).split(' '),
);

/** Other spellings (Template::Grammar, LEXTABLE). */
const spellings = new Map([
  ['FOR', 'FOREACH'],
  ['BREAK', 'LAST'],
  ['|', 'FILTER'],
  ['and', '&&'],
  ['AND', '&&'],
  ['or', '||'],
  ['OR', '||'],
  ['not', '!'],
  ['NOT', '!'],
  ['mod', '%'],
  ['MOD', '%'],
  ['DIV', 'div'],
  ['TO', '..'],
  ['=>', '='],
]);
const wordSigns = new Set(['&&', '||', '!', '%', 'div', '..', '_']);

/** The same order of trial as Template::Parser's `tokenise_directive`: `a/b` is a file name, `n -1` has a number. */
const lexemes: readonly (readonly [Token['kind'] | 'skip', RegExp])[] = [
  ['skip', /\s+|#[^\n]*/y],
  ['string', /"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'/y],
  ['number', /-?\d+(?:\.\d+)?/y],
  ['file', /\/?\w+(?:(?:\/|::?)\w*)+|\/\w+/y],
  ['name', /\w+/y],
  ['symbol', /[(){}[\]:;,/\\+*-]|\$\{?|=>|[=!<>]?=|[!<>]|&&?|\|\|?|\.\.?|\S+/y],
];

const longest = 1_000_000;

/** Cuts a template into tokens. Fault 'template-syntax'. */
export function tokensOf(template: string, source: string): Token[] {
  if (source.length > longest) {
    throw fault('template-syntax', { template, line: 1, problem: `it is longer than ${longest} characters` });
  }
  const tokens: Token[] = [];
  let line = 1;
  let at = 0;
  let kept = ''; // the blank that `=%]` leaves; it counts as text of its line for the next tag's chomp
  for (let open = source.indexOf('[%'); open >= 0; open = source.indexOf('[%', at)) {
    const close = source.indexOf('%]', open + 2);
    const before = source.slice(at, open);
    const tagLine = line + newlines(before);
    if (close < 0) throw fault('template-syntax', { template, line: tagLine, problem: '[% has no %]' });
    const tag = readTag(source.slice(open + 2, close));
    const text = chompBefore(kept + before, tag.pre);
    if (text !== '') tokens.push({ kind: 'text', text, line });
    tokens.push(...tagTokens(template, tag.code, tagLine), {
      kind: 'symbol',
      text: ';',
      line: tagLine + newlines(tag.code),
    });
    at = close + 2;
    const chomped = chompAfter(source, at, tag.post);
    kept = chomped.blank ? ' ' : '';
    line = tagLine + newlines(source.slice(open, chomped.at));
    at = chomped.at;
  }
  const rest = kept + source.slice(at);
  if (rest !== '') tokens.push({ kind: 'text', text: rest, line });
  tokens.push({ kind: 'end', text: 'end of template', line: line + newlines(rest) });
  return tokens;
}

const newlines = (text: string): number => text.split('\n').length - 1;

type Chomp = '' | '-' | '=' | '~' | '+';
const chompOf = (character: string | undefined): Chomp =>
  character === '-' || character === '=' || character === '~' || character === '+' ? character : '';

/** Takes the chomp flags off a tag. A comment, `[%#`, has only the last one. */
function readTag(content: string): { code: string; pre: Chomp; post: Chomp } {
  const trimmed = content.trimEnd();
  if (content.startsWith('#')) return { code: '', pre: '', post: chompOf(trimmed.at(-1)) };
  const pre = chompOf(content[0]);
  const rest = pre === '' ? trimmed : trimmed.slice(1);
  const post = chompOf(rest.at(-1));
  return { code: post === '' ? rest : rest.slice(0, -1), pre, post };
}

/** `-` takes one line end and the blanks after it, `=` makes one blank of all blanks, `~` takes them all. */
function chompBefore(text: string, chomp: Chomp): string {
  if (chomp === '' || chomp === '+') return text;
  const bare = text.trimEnd();
  if (chomp === '~') return bare;
  if (chomp === '=') return bare.length < text.length ? `${bare} ` : text;
  const lastLine = text.lastIndexOf('\n');
  if (text.slice(lastLine + 1).trim() !== '') return text;
  return text.slice(0, Math.max(lastLine, 0)).replace(/\r$/, '');
}

/** The same after a tag: where the text goes on, and whether a blank stands for what was taken. */
function chompAfter(source: string, at: number, chomp: Chomp): { at: number; blank: boolean } {
  if (chomp === '' || chomp === '+') return { at, blank: false };
  const pattern = chomp === '-' ? /[^\S\n]*\n/y : /\s+/y;
  pattern.lastIndex = at;
  const found = pattern.exec(source);
  if (found === null) return { at, blank: false };
  return { at: at + found[0].length, blank: chomp === '=' };
}

function tagTokens(template: string, code: string, firstLine: number): Token[] {
  const tokens: Token[] = [];
  let line = firstLine;
  for (let at = 0; at < code.length; ) {
    for (const [kind, pattern] of lexemes) {
      pattern.lastIndex = at;
      const text = pattern.exec(code)?.[0];
      if (text === undefined) continue;
      if (kind === 'symbol' && /^["']/.test(text)) {
        throw fault('template-syntax', { template, line, problem: `the string ${text} does not end` });
      }
      if (kind !== 'skip') tokens.push(tokenOf(template, kind, text, line));
      line += newlines(text);
      at += text.length;
      break;
    }
  }
  return tokens;
}

function tokenOf(template: string, kind: Token['kind'], text: string, line: number): Token {
  if (kind === 'string') return stringToken(template, text, line);
  if (kind !== 'name' && kind !== 'symbol') return { kind, text, line };
  const word = spellings.get(text) ?? text;
  if (keywords.has(word)) return { kind: 'keyword', text: word, line };
  return { kind: wordSigns.has(word) ? 'symbol' : kind, text: word, line };
}

/** Single quotes know `\\` and `\'` only; double quotes know `\n`, `\r`, `\t`, `\$` and variables. */
function stringToken(template: string, literal: string, line: number): Token {
  const inside = literal.slice(1, -1);
  if (literal.startsWith("'")) return { kind: 'string', text: inside.replace(/\\([\\'])/g, '$1'), line };
  const pieces: (string | Token[])[] = [];
  for (const [found, escaped, braced, bare] of inside.matchAll(
    /\\([\s\S])|\$\{([^}]*)\}|\$(\w+(?:\.\w+)*)|\$|[^\\$]+/g,
  )) {
    const variable = braced ?? bare;
    if (variable !== undefined) pieces.push(tagTokens(template, variable, line));
    else if (escaped !== undefined) pieces.push({ n: '\n', r: '\r', t: '\t' }[escaped] ?? escaped);
    else if (found !== '$') pieces.push(found); // a stray dollar vanishes, as in TT2
  }
  if (pieces.every((piece) => typeof piece === 'string'))
    return { kind: 'string', text: pieces.join(''), line };
  return { kind: 'quoted', text: inside, line, pieces };
}
