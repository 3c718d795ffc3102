import { fault } from './faults.ts';
import type { Run } from './run.ts';

/** Plain data, as callers give it to a template. Only own properties of plain objects are seen. */
export type Variable =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly Variable[]
  | { readonly [name: string]: Variable };
export type Variables = { readonly [name: string]: Variable };

/** A value inside the interpreter; null is TT2's undefined. A hash is a Map, so it has no prototype to reach. */
export type Value = string | number | boolean | null | Value[] | Hash;
export class Hash extends Map<string, Value> {}

/** What CATCH finds in `error`: type and info, and as text what TT2 prints. */
export class CaughtError extends Hash {}

const deepest = 20;

/** Copies plain data into a Hash, so a template cannot change its caller's. Fault 'template-variables'. */
export function hashOf(variables: Variables, path = '', depth = 0): Hash {
  const hash = new Hash();
  for (const [name, variable] of Object.entries(variables)) {
    hash.set(name, copied(variable, path === '' ? name : `${path}.${name}`, depth + 1));
  }
  return hash;
}

function copied(variable: Variable, path: string, depth: number): Value {
  if (variable === null || variable === undefined) return null;
  if (typeof variable === 'string' || typeof variable === 'boolean' || typeof variable === 'number')
    return variable;
  if (typeof variable !== 'object' || depth > deepest) throw fault('template-variables', { variable: path });
  if (isList(variable)) return variable.map((item, index) => copied(item, `${path}.${index}`, depth + 1));
  // A Buffer, a Date or a Plaintext must not slip in as a hash of its insides.
  const prototype: unknown = Object.getPrototypeOf(variable);
  if (prototype !== Object.prototype && prototype !== null)
    throw fault('template-variables', { variable: path });
  return hashOf(variable, path, depth);
}

/** `Array.isArray`, which TypeScript does not narrow readonly arrays with. */
function isList(variable: object): variable is readonly Variable[] {
  return Array.isArray(variable);
}

/** The way back: a Value as plain data, for filters that the caller passed in. */
export function plainOf(value: Value): Variable {
  if (Array.isArray(value)) return value.map(plainOf);
  if (value instanceof Hash)
    return Object.fromEntries([...value].map(([name, item]) => [name, plainOf(item)]));
  return value;
}

/** Perl's truth: undefined, '', 0 and '0' are false; every list and hash is true. */
export function truthOf(value: Value): boolean {
  return value !== null && value !== false && value !== '' && value !== 0 && value !== '0';
}

/** As text: undefined and false are '', true is 1. A list or hash has none: TT2 would print its address. */
export function textOf(value: Value, run: Run): string {
  const text = plainText(value);
  if (text === null)
    throw run.fail('undef', `a ${Array.isArray(value) ? 'list' : 'hash'} stands where text is needed`);
  run.spend(text.length);
  return text;
}

function plainText(value: Value): string | null {
  if (value === null || value === false) return '';
  if (value === true) return '1';
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return decimal(value);
  if (value instanceof CaughtError) return `${value.get('type')} error - ${value.get('info')}`;
  return null;
}

/** A number as Perl prints it: whole ones exactly, others like C's `%.15g`. */
function decimal(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Inf' : '-Inf';
  const [mantissa = '', exponent] = value.toPrecision(15).split('e');
  const short = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
  return exponent === undefined ? short : `${short}e${exponent.replace(/^([+-])(\d)$/, '$10$2')}`;
}

/** As a number, as Perl has it: the number that the text begins with, else 0. */
export function numberOf(value: Value, run: Run): number {
  if (typeof value === 'number') return value;
  const found = /^\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?/.exec(textOf(value, run));
  return found ? Number(found[0]) : 0;
}

/** What FOREACH and list methods see: a hash as its sorted pairs, undefined as nothing, text as a list of one. */
export function listOf(value: Value): Value[] {
  if (value === null || value === '') return [];
  if (Array.isArray(value)) return value;
  return value instanceof Hash ? pairsOf(value) : [value];
}

/** The hash's pairs `{ key, value }` in the order of their keys. */
export function pairsOf(hash: Hash): Value[] {
  return [...hash.keys()]
    .sort()
    .map((key) => new Hash([['key', key] as const, ['value', hash.get(key) ?? null] as const]));
}
