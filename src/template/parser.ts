import { Cursor } from './cursor.ts';
import {
  type Arguments,
  constant,
  type Expression,
  joined,
  type Path,
  parseArguments,
  parseExpression,
  parsePath,
  targetOf,
} from './expressions.ts';
import { tokensOf } from './lexer.ts';

export interface Filtering {
  readonly name: Expression;
  readonly args: Arguments;
}

export type Statement = { readonly line: number } & (
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly value: Expression }
  | { readonly kind: 'set'; readonly target: Path; readonly value: Expression }
  | { readonly kind: 'capture'; readonly target: Path; readonly body: Block }
  | { readonly kind: 'block'; readonly body: Block }
  | { readonly kind: 'if'; readonly branches: readonly Branch[]; readonly otherwise: Block }
  | {
      readonly kind: 'foreach';
      readonly name: string | null;
      readonly list: Expression;
      readonly body: Block;
    }
  | { readonly kind: 'filter'; readonly filter: Filtering; readonly body: Block }
  | {
      readonly kind: 'file';
      readonly how: 'INSERT' | 'INCLUDE' | 'PROCESS';
      readonly names: readonly Expression[];
      readonly args: Arguments;
    }
  | { readonly kind: 'try'; readonly body: Block; readonly handlers: readonly Handler[] }
);
export type Block = readonly Statement[];
/** IF, or one of the ELSIFs after it: a flat list, since Sympa's templates have hundreds of them in a row. */
export interface Branch {
  readonly test: Expression;
  readonly body: Block;
}
/** CATCH with a type (`file`), or of everything (null). */
export interface Handler {
  readonly type: string | null;
  readonly body: Block;
}

/** A parsed template: what `render.ts` walks. */
export interface Template {
  readonly name: string;
  readonly body: Block;
}

/**
 * Parses a Template Toolkit 2 template. Tags are `[% … %]`. What this interpreter leaves out (README.md) is a Fault
 * 'template-syntax' with the template's name and the line, never text in the mail.
 */
export function compileTemplate(name: string, source: string): Template {
  const cursor = new Cursor(name, tokensOf(name, source));
  const body = parseBlock(cursor);
  if (cursor.peek().kind !== 'end') throw cursor.unexpected();
  return { name, body };
}

const blockEnds = ['END', 'ELSE', 'ELSIF', 'CATCH'];

/** Statements up to END, ELSE, ELSIF, CATCH or the template's end, which is left for the caller. */
function parseBlock(cursor: Cursor): Block {
  return cursor.within(() => {
    const block: Statement[] = [];
    for (;;) {
      while (cursor.accept(';'));
      const token = cursor.peek();
      if (token.kind === 'end' || (token.kind === 'keyword' && blockEnds.includes(token.text))) return block;
      if (token.kind === 'text') {
        block.push({ kind: 'text', text: cursor.next().text, line: token.line });
      } else {
        block.push(...parseStatements(cursor));
        if (!cursor.sees(';')) throw cursor.unexpected();
      }
    }
  });
}

/** A block that ends with END, which is read too. */
function parseBody(cursor: Cursor): Block {
  cursor.expect(';');
  const body = parseBlock(cursor);
  cursor.expect('END');
  return body;
}

/** One statement, or the several of `a = 1 b = 2`. */
function parseStatements(cursor: Cursor): Statement[] {
  const explicit = cursor.accept('SET');
  const statements = [parseStatement(cursor)];
  if (explicit && !cursor.sees('=')) throw cursor.unexpected('SET is written SET name = value');
  while (cursor.sees('=')) {
    const before = statements.pop();
    const target = before?.kind === 'print' ? targetOf(before.value) : null;
    if (target === null) throw cursor.unexpected('only a variable can be set');
    cursor.next();
    statements.push(assignment(target, parseStatement(cursor)));
    while (cursor.accept(','));
    if (!cursor.sees(';')) statements.push(parseStatement(cursor));
  }
  return statements;
}

/** `x = value`; or, if a directive stands there (`x = BLOCK`, `x = INCLUDE f`, `x = y | upper`), its output. */
function assignment(target: Path, right: Statement): Statement {
  const { line } = right;
  if (right.kind === 'print') return { kind: 'set', target, value: right.value, line };
  return { kind: 'capture', target, body: [right], line };
}

/** A directive or an expression, with the filters and the condition or loop written behind it. */
function parseStatement(cursor: Cursor): Statement {
  const { line } = cursor.peek();
  let statement = parseDirective(cursor);
  for (let filters = 1; cursor.accept('FILTER'); filters++) {
    if (filters > mostFilters) throw cursor.problem(`more than ${mostFilters} filters in a row`);
    statement = { kind: 'filter', filter: parseFiltering(cursor), body: [statement], line };
  }
  const body: Block = [statement];
  if (cursor.accept('IF'))
    return { kind: 'if', branches: [{ test: parseExpression(cursor), body }], otherwise: [], line };
  if (cursor.accept('UNLESS')) {
    return { kind: 'if', branches: [{ test: negated(parseExpression(cursor)), body }], otherwise: [], line };
  }
  if (cursor.accept('FOREACH')) return { kind: 'foreach', ...parseLoopHead(cursor), body, line };
  return statement;
}

const mostFilters = 50;
const negated = (operand: Expression): Expression => ({ kind: 'not', operand });

function parseDirective(cursor: Cursor): Statement {
  const { kind, text: word, line } = cursor.peek();
  if (kind !== 'keyword') return { kind: 'print', value: parseExpression(cursor), line };
  cursor.next();
  switch (word) {
    case 'GET':
      return { kind: 'print', value: parseExpression(cursor), line };
    case 'IF':
      return { kind: 'if', ...parseBranches(cursor, parseExpression(cursor)), line };
    case 'UNLESS':
      return { kind: 'if', ...parseBranches(cursor, negated(parseExpression(cursor))), line };
    case 'FOREACH':
      return { kind: 'foreach', ...parseLoopHead(cursor), body: parseBody(cursor), line };
    case 'FILTER':
      return { kind: 'filter', filter: parseFiltering(cursor), body: parseBody(cursor), line };
    case 'INSERT':
    case 'INCLUDE':
    case 'PROCESS':
      return { kind: 'file', how: word, ...parseNames(cursor), line };
    case 'BLOCK':
      if (!cursor.sees(';')) throw cursor.problem('a BLOCK with a name is not supported');
      return { kind: 'block', body: parseBody(cursor), line };
    case 'TRY':
      return { kind: 'try', ...parseTry(cursor), line };
    default:
      throw cursor.problem(`${word} is ${blockEnds.includes(word) ? 'out of place' : 'not supported'}`);
  }
}

/** After IF or UNLESS and its test: the block, and what ELSIF, ELSE and END follow it. */
function parseBranches(cursor: Cursor, first: Expression): { branches: Branch[]; otherwise: Block } {
  const branches: Branch[] = [];
  let test = first;
  for (;;) {
    cursor.expect(';');
    branches.push({ test, body: parseBlock(cursor) });
    if (!cursor.accept('ELSIF')) break;
    test = parseExpression(cursor);
  }
  if (cursor.accept('ELSE')) return { branches, otherwise: parseBody(cursor) };
  cursor.expect('END');
  return { branches, otherwise: [] };
}

function parseLoopHead(cursor: Cursor): { name: string | null; list: Expression } {
  const named = cursor.peek().kind === 'name' && (cursor.sees('=', 1) || cursor.sees('IN', 1));
  const name = named ? cursor.next().text : null;
  if (named) cursor.next();
  return { name, list: parseExpression(cursor) };
}

function parseFiltering(cursor: Cursor): Filtering {
  const { names, args } = parseNames(cursor);
  const [name, ...more] = names;
  if (name === undefined || more.length > 0) throw cursor.problem('one filter at a time');
  return { name, args };
}

/** File or filter names joined with `+`, and arguments with or without brackets. */
function parseNames(cursor: Cursor): { names: Expression[]; args: Arguments } {
  const names = [parseFileName(cursor)];
  while (cursor.accept('+')) names.push(parseFileName(cursor));
  return { names, args: parseArguments(cursor, cursor.accept('(') ? ')' : null) };
}

function parseFileName(cursor: Cursor): Expression {
  if (cursor.accept('$')) return parsePath(cursor);
  if (cursor.sees('${')) return { kind: 'path', steps: parsePath(cursor).steps };
  const token = cursor.next();
  if (token.kind === 'string') return constant(token.text);
  if (token.kind === 'quoted') return joined(cursor, token);
  let name = token.text;
  if (token.kind !== 'name' && token.kind !== 'file' && token.kind !== 'number') {
    throw cursor.problem(`unexpected ${name === ';' ? 'end of a directive' : name}, a name is missing`);
  }
  while (cursor.accept('.')) name += `.${cursor.next().text}`;
  return constant(name);
}

function parseTry(cursor: Cursor): { body: Block; handlers: Handler[] } {
  cursor.expect(';');
  const body = parseBlock(cursor);
  const handlers: Handler[] = [];
  while (cursor.accept('CATCH')) {
    let type: string | null = null;
    if (!cursor.accept('DEFAULT') && !cursor.sees(';')) {
      type = cursor.next().text;
      while (cursor.accept('.')) type += `.${cursor.next().text}`;
    }
    cursor.expect(';');
    handlers.push({ type, body: parseBlock(cursor) });
  }
  cursor.expect('END');
  return { body, handlers };
}
