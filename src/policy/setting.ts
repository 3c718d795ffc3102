import type { Kind } from './kinds.ts';

/** One row of a table of settings. `default` is null only for a setting that may be absent; `absent` says what holds then. */
export interface Setting<T> {
  readonly kind: Kind<Exclude<T, null>>;
  readonly default: T;
  /** One or two sentences that an owner understands. */
  readonly meaning: string;
  /** What holds without a value, in words, for a setting whose default is null; else null. */
  readonly absent: string | null;
  /** A value to show in the example file: the default, or a made-up one where there is none. */
  readonly example: string;
}

/** A whole table: name → row. */
export type SettingTable = Readonly<Record<string, Setting<unknown>>>;

/** The type of all values of a table. */
export type ValuesOf<T extends SettingTable> = { readonly [K in keyof T]: T[K]['default'] };

/** A setting that always has a value. */
export function setting<T extends string | number | readonly string[]>(
  kind: Kind<T>,
  value: NoInfer<T>,
  meaning: string,
): Setting<T> {
  const row = { kind, default: value, meaning, absent: null, example: kind.format(value) };
  return Object.freeze(row) as unknown as Setting<T>;
}

/** A setting that may be absent (null); `absent` says what holds then, `example` is a value to show. */
export function optional<T extends string | number>(
  kind: Kind<T>,
  absent: string,
  example: string,
  meaning: string,
): Setting<T | null> {
  return Object.freeze({ kind, default: null, meaning, absent, example }) as unknown as Setting<T | null>;
}

/** Reads one value from its text or texts; undefined if they are not what `kind` expects. */
export function readValue<T>(kind: Kind<T>, raw: string | readonly string[]): T | undefined {
  const result = kind.schema.safeParse(raw);
  return result.success ? result.data : undefined;
}
