import { Cursor } from './cursor.ts';
import type { Token } from './lexer.ts';

/** One link of a dotted path: `.name(args)`, or `.$name`, `.${expression}` whose name is computed. */
export interface Step {
  readonly name: string | Expression;
  readonly args: Arguments;
}
export interface Path {
  readonly kind: 'path';
  readonly steps: readonly Step[];
}
/** Arguments by place and by name, as vmethods, filters and INCLUDE take them. */
export interface Arguments {
  readonly listed: readonly Expression[];
  readonly named: readonly (readonly [Expression, Expression])[];
}

export type Expression =
  | Path
  | { readonly kind: 'constant'; readonly value: string | number }
  | { readonly kind: 'joined'; readonly parts: readonly Expression[] }
  | { readonly kind: 'list'; readonly items: readonly Expression[] }
  | { readonly kind: 'range'; readonly from: Expression; readonly to: Expression }
  | { readonly kind: 'hash'; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: 'not'; readonly operand: Expression }
  | { readonly kind: 'binary'; readonly sign: string; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'choice'; readonly test: Expression; readonly yes: Expression; readonly no: Expression }
  | { readonly kind: 'assign'; readonly target: Path; readonly value: Expression };

export const constant = (value: string | number): Expression => ({ kind: 'constant', value });
export const noArguments: Arguments = { listed: [], named: [] };

/** Perl's precedence, since TT2 hands its expressions to Perl as they stand: `a _ b == c` joins first. */
const strength = new Map([
  ['||', 1],
  ['&&', 2],
  ['==', 3],
  ['!=', 3],
  ['<', 4],
  ['>', 4],
  ['<=', 4],
  ['>=', 4],
  ['+', 5],
  ['-', 5],
  ['_', 5],
  ['*', 6],
  ['/', 6],
  ['%', 6],
  ['div', 7],
]);

/** `a < b < c` means one thing to an old Perl, another to a new one, and neither what was meant. */
const chained = new Set([3, 4]);

/** Each makes the tree one level deeper, and the evaluation recurses. */
const mostSigns = 500;

/** Reads an expression. Fault 'template-syntax'. */
export function parseExpression(cursor: Cursor): Expression {
  return cursor.within(() => {
    const test = parseBinary(cursor, 1);
    if (!cursor.accept('?')) return test;
    const yes = parseExpression(cursor);
    cursor.expect(':');
    return { kind: 'choice', test, yes, no: parseExpression(cursor) };
  });
}

/** Precedence climbing: all signs at least as strong as `least`, left to right. */
function parseBinary(cursor: Cursor, least: number): Expression {
  let left = parseUnary(cursor);
  for (let signs = 0; ; signs++) {
    if (signs > mostSigns) throw cursor.problem(`more than ${mostSigns} operators in a row`);
    const { kind, text: sign } = cursor.peek();
    const power = kind === 'symbol' ? strength.get(sign) : undefined;
    if (power === undefined || power < least) return left;
    cursor.next();
    left = { kind: 'binary', sign, left, right: parseBinary(cursor, power + 1) };
    if (chained.has(power) && strength.get(cursor.peek().text) === power) {
      throw cursor.unexpected('comparisons cannot be chained');
    }
  }
}

/** `!` and `not` bind tighter than all but `div`: `not n == 3` is `(not n) == 3`, in TT2 as well. */
function parseUnary(cursor: Cursor): Expression {
  if (cursor.accept('!')) return cursor.within(() => ({ kind: 'not', operand: parseBinary(cursor, 7) }));
  return parseTerm(cursor);
}

function parseTerm(cursor: Cursor): Expression {
  const token = cursor.peek();
  if (token.kind === 'number') return constant(Number(cursor.next().text));
  if (token.kind === 'string') return constant(cursor.next().text);
  if (token.kind === 'quoted') return joined(cursor, cursor.next());
  if (cursor.accept('[')) return parseList(cursor);
  if (cursor.accept('{')) return { kind: 'hash', entries: parseEntries(cursor) };
  if (cursor.accept('(')) {
    const inner = parseExpression(cursor);
    const target = cursor.sees('=') ? targetOf(inner) : null;
    const whole: Expression = target === null ? inner : { kind: 'assign', target, value: parseValue(cursor) };
    cursor.expect(')');
    return whole;
  }
  return parsePath(cursor);
}

/** What stands before a `=`, as something to assign to; null if it is no variable's name. */
export function targetOf(expression: Expression): Path | null {
  if (expression.kind === 'path') return expression;
  if (expression.kind !== 'constant' || typeof expression.value !== 'string') return null;
  return { kind: 'path', steps: [{ name: expression.value, args: noArguments }] };
}

function parseValue(cursor: Cursor): Expression {
  cursor.expect('=');
  return parseExpression(cursor);
}

function parseList(cursor: Cursor): Expression {
  const items: Expression[] = [];
  while (!cursor.accept(']')) {
    if (cursor.accept(',')) continue;
    const item = parseExpression(cursor);
    if (items.length === 0 && cursor.accept('..')) {
      const to = parseExpression(cursor);
      cursor.expect(']');
      return { kind: 'range', from: item, to };
    }
    items.push(item);
  }
  return { kind: 'list', items };
}

function parseEntries(cursor: Cursor): [Expression, Expression][] {
  const entries: [Expression, Expression][] = [];
  while (!cursor.accept('}')) {
    if (cursor.accept(',')) continue;
    const key = keyOf(parseExpression(cursor));
    if (key === null || !cursor.sees('=')) throw cursor.unexpected('a hash is written { name => value }');
    entries.push([key, parseValue(cursor)]);
  }
  return entries;
}

/** What stands before a `=>`, as an expression for the key: a word stands for itself, `$word` for its value. */
function keyOf(expression: Expression): Expression | null {
  const [step, ...more] = targetOf(expression)?.steps ?? [];
  if (step === undefined || more.length > 0) return null;
  return typeof step.name === 'string' ? constant(step.name) : step.name;
}

/** Reads `a.b(c).$d.0`. */
export function parsePath(cursor: Cursor): Path {
  const steps: Step[] = [parseStep(cursor)];
  while (cursor.accept('.')) {
    if (cursor.peek().kind === 'number') {
      // `.1.2` comes as the number 1.2
      for (const name of cursor.next().text.split('.')) steps.push({ name, args: noArguments });
    } else {
      steps.push(parseStep(cursor));
    }
  }
  return { kind: 'path', steps };
}

function parseStep(cursor: Cursor): Step {
  const name = parseName(cursor);
  return { name, args: cursor.accept('(') ? parseArguments(cursor, ')') : noArguments };
}

function parseName(cursor: Cursor): string | Expression {
  if (cursor.accept('${')) {
    const name = parseExpression(cursor);
    cursor.expect('}');
    return name;
  }
  const indirect = cursor.accept('$');
  if (cursor.peek().kind !== 'name') throw cursor.unexpected();
  const name = cursor.next().text;
  return indirect ? { kind: 'path', steps: [{ name, args: noArguments }] } : name;
}

/** Arguments up to the closing bracket, or, without one, as far as they go. Commas are optional, as in TT2. */
export function parseArguments(cursor: Cursor, close: ')' | null): Arguments {
  const listed: Expression[] = [];
  const named: [Expression, Expression][] = [];
  while (close === null ? beginsArgument(cursor) : !cursor.accept(close)) {
    if (cursor.accept(',')) continue;
    const argument = parseExpression(cursor);
    const key = cursor.sees('=') ? keyOf(argument) : null;
    if (key === null) listed.push(argument);
    else named.push([key, parseValue(cursor)]);
  }
  return { listed, named };
}

function beginsArgument(cursor: Cursor): boolean {
  const { kind, text } = cursor.peek();
  if (kind === 'symbol') return [',', '(', '[', '{', '$', '${', '!'].includes(text);
  return kind === 'name' || kind === 'string' || kind === 'quoted' || kind === 'number';
}

/** A double-quoted string: its texts and variables joined. */
export function joined(cursor: Cursor, token: Token): Expression {
  const parts = (token.pieces ?? []).map((piece): Expression => {
    if (typeof piece === 'string') return constant(piece);
    const end: Token = { kind: 'end', text: 'end of the variable', line: token.line };
    const inner = new Cursor(cursor.template, [...piece, end]);
    const path = parsePath(inner);
    if (inner.peek().kind !== 'end') throw inner.unexpected('only a variable may stand in a string');
    return path;
  });
  return { kind: 'joined', parts };
}
