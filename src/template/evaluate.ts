import type { Arguments, Expression, Path, Step } from './expressions.ts';
import type { Run } from './run.ts';
import { Hash, numberOf, textOf, truthOf, type Value } from './values.ts';
import { isPrivate, memberOf } from './vmethods.ts';

/** The value of an expression. `scope` holds the variables. Faults 'template-error' and 'template-budget'. */
export function evaluate(expression: Expression, scope: Hash, run: Run): Value {
  run.step();
  switch (expression.kind) {
    case 'constant':
      return expression.value;
    case 'path':
      return resolve(expression, scope, run) ?? '';
    case 'joined':
      return expression.parts.map((part) => textOf(evaluate(part, scope, run), run)).join('');
    case 'list':
      return expression.items.map((item) => evaluate(item, scope, run));
    case 'range':
      return range(evaluate(expression.from, scope, run), evaluate(expression.to, scope, run), run);
    case 'hash':
      return hashFrom(expression.entries, scope, run);
    case 'not':
      return !truthOf(evaluate(expression.operand, scope, run));
    case 'choice':
      return evaluate(
        truthOf(evaluate(expression.test, scope, run)) ? expression.yes : expression.no,
        scope,
        run,
      );
    case 'assign': {
      const value = evaluate(expression.value, scope, run);
      assign(expression.target, value, scope, run);
      return value;
    }
    case 'binary':
      return combine(expression.sign, expression.left, expression.right, scope, run);
  }
}

/** Arguments by place; those by name follow as one hash, as TT2 hands them over. */
export function evaluateArguments(args: Arguments, scope: Hash, run: Run): Value[] {
  const values = args.listed.map((argument) => evaluate(argument, scope, run));
  if (args.named.length > 0) values.push(hashFrom(args.named, scope, run));
  return values;
}

/** `name = value` pairs as a hash. */
export function hashFrom(
  entries: readonly (readonly [Expression, Expression])[],
  scope: Hash,
  run: Run,
): Hash {
  const named = entries.map(
    ([key, value]) => [textOf(evaluate(key, scope, run), run), evaluate(value, scope, run)] as const,
  );
  return new Hash(named);
}

const nameOf = (step: Step, scope: Hash, run: Run): string =>
  typeof step.name === 'string' ? step.name : textOf(evaluate(step.name, scope, run), run);

/** Follows a dotted path; null as soon as something is undefined. Variables themselves have no methods. */
function resolve(path: Path, scope: Hash, run: Run): Value {
  let value: Value = scope;
  for (const [index, step] of path.steps.entries()) {
    run.step();
    const name = nameOf(step, scope, run);
    if (index === 0) value = isPrivate(name) ? null : (scope.get(name) ?? null);
    else value = memberOf(value, name, evaluateArguments(step.args, scope, run), run);
    if (value === null) return null;
  }
  return value;
}

/** Sets the variable at a path; hashes missing on the way are made. What cannot be set is left, as TT2 does. */
export function assign(target: Path, value: Value, scope: Hash, run: Run): void {
  const names = target.steps.map((step) => nameOf(step, scope, run));
  run.step(names.length);
  if (names.some(isPrivate)) return;
  let owner: Value = scope;
  for (const name of names.slice(0, -1)) {
    if (owner instanceof Hash && (owner.get(name) ?? null) === null) owner.set(name, new Hash());
    owner = elementOf(owner, name);
  }
  put(owner, names.at(-1) ?? '', value);
}

function put(owner: Value, name: string, value: Value): void {
  if (owner instanceof Hash) owner.set(name, value);
  else if (Array.isArray(owner) && /^\d+$/.test(name) && Number(name) <= owner.length)
    owner[Number(name)] = value;
}

function elementOf(owner: Value, name: string): Value {
  if (owner instanceof Hash) return owner.get(name) ?? null;
  return Array.isArray(owner) && /^\d{1,9}$/.test(name) ? (owner[Number(name)] ?? null) : null;
}

function range(from: Value, to: Value, run: Run): Value[] {
  const first = Math.trunc(numberOf(from, run));
  const count = Math.max(0, Math.trunc(numberOf(to, run)) - first + 1);
  run.step(count);
  return Array.from({ length: count }, (_, index) => first + index);
}

/** `==` and `!=` compare texts and the others numbers, as TT2 has it; `&&` and `||` give the deciding value. */
function combine(sign: string, left: Expression, right: Expression, scope: Hash, run: Run): Value {
  const first = evaluate(left, scope, run);
  if (sign === '&&') return truthOf(first) ? evaluate(right, scope, run) : first;
  if (sign === '||') return truthOf(first) ? first : evaluate(right, scope, run);
  const second = evaluate(right, scope, run);
  if (sign === '==') return textOf(first, run) === textOf(second, run);
  if (sign === '!=') return textOf(first, run) !== textOf(second, run);
  if (sign === '_') return textOf(first, run) + textOf(second, run);
  return calculate(sign, numberOf(first, run), numberOf(second, run), run);
}

function calculate(sign: string, a: number, b: number, run: Run): Value {
  switch (sign) {
    case '<':
      return a < b;
    case '>':
      return a > b;
    case '<=':
      return a <= b;
    case '>=':
      return a >= b;
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    default:
      return divide(sign, a, b, run);
  }
}

function divide(sign: string, a: number, b: number, run: Run): number {
  const [dividend, divisor] = sign === '%' ? [Math.trunc(a), Math.trunc(b)] : [a, b];
  if (divisor === 0) throw run.fail('undef', 'division by zero');
  if (sign === '/') return dividend / divisor;
  if (sign === 'div') return Math.trunc(dividend / divisor);
  // Perl: the remainder has the sign of the divisor; `+ 0` keeps -0 out.
  return dividend - divisor * Math.floor(dividend / divisor) + 0;
}
