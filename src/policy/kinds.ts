import { z } from 'zod';

/**
 * What a setting's value may be. Settings are always read from text, as an owner writes it on a command line or in
 * the YAML file, so that `0660`, `off` and `3d` mean what they look like; a kind turns that text into a value.
 */
export interface Kind<T> {
  /** Text (or, for `listOf`, texts) → value. */
  readonly schema: z.ZodType<T>;
  /** What is expected, to stand after "expected": `a duration such as 3d, 12h, 30m or 45s`. */
  readonly expected: string;
  /** The unit of the value inside the program, or null. */
  readonly unit: string | null;
  /** Whether the value names a file or folder; a relative one is below the root. */
  readonly isPath: boolean;
  /** Value → the shortest text that reads back as the same value. */
  format(value: T): string;
}

export const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;

/** One of a few words. */
export function choice<const V extends readonly [string, ...string[]]>(...values: V): Kind<V[number]> {
  return plain(z.enum(values), values.length === 1 ? values[0] : `one of ${values.join(', ')}`);
}

/** One of a few whole numbers. */
export function numberChoice<const V extends readonly number[]>(unit: string, ...values: V): Kind<V[number]> {
  const schema = z.string().transform((text, context): V[number] => {
    const value = values.find((v) => String(v) === text);
    return value ?? reject(context);
  });
  return { ...plain(schema, `one of ${values.join(', ')} (${unit})`), unit };
}

/** A whole number between bounds, both allowed. */
export function integer(unit: string | null, least: number, most: number): Kind<number> {
  const schema = z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .pipe(z.number().min(least).max(most));
  return { ...plain(schema, `a whole number${unit ? ` of ${unit}` : ''} from ${least} to ${most}`), unit };
}

const durationUnits = { d: day, h: hour, m: minute, s: second } as const;

/** A length of time: `3d`, `12h`, `30m`, `45s`; milliseconds inside. */
export function duration(least = second, most = 3650 * day): Kind<number> {
  const schema = z
    .string()
    .regex(/^\d{1,9}[dhms]$/)
    .transform(
      (text) => Number(text.slice(0, -1)) * durationUnits[text.slice(-1) as keyof typeof durationUnits],
    )
    .pipe(z.number().min(least).max(most));
  return {
    schema,
    expected: `a duration such as 3d, 12h, 30m or 45s, from ${formatDuration(least)} to ${formatDuration(most)}`,
    unit: 'milliseconds',
    isPath: false,
    format: formatDuration,
  };
}

function formatDuration(value: number): string {
  for (const [letter, size] of Object.entries(durationUnits)) {
    if (value % size === 0 && value > 0) return `${value / size}${letter}`;
  }
  return `${value / second}s`;
}

const sizeUnits = { GB: 1024 ** 3, MB: 1024 ** 2, kB: 1024 } as const;

/** A size: `10MB`, `500kB` or a bare number of octets; 1 kB is 1024 octets. */
export function octets(least: number, most: number): Kind<number> {
  const schema = z
    .string()
    .regex(/^\d{1,12}(kB|MB|GB)?$/)
    .transform((text) => {
      const [, digits = '', unit] = /^(\d+)(.*)$/.exec(text) ?? [];
      return Number(digits) * (unit ? sizeUnits[unit as keyof typeof sizeUnits] : 1);
    })
    .pipe(z.number().min(least).max(most));
  return {
    schema,
    expected: `a size such as 10MB, 500kB or 26214400 (octets), from ${formatSize(least)} to ${formatSize(most)}`,
    unit: 'octets',
    isPath: false,
    format: formatSize,
  };
}

function formatSize(value: number): string {
  for (const [unit, size] of Object.entries(sizeUnits)) {
    if (value % size === 0 && value > 0) return `${value / size}${unit}`;
  }
  return String(value);
}

/** How often something may happen: `10/s`, `600/m`; a number a minute inside. */
export const rate: Kind<number> = {
  schema: z
    .string()
    .regex(/^\d{1,6}\/[sm]$/)
    .transform((text) => Number.parseInt(text, 10) * (text.endsWith('s') ? 60 : 1))
    .pipe(z.number().min(1)),
  expected: 'a rate such as 10/s or 600/m, at least 1/m',
  unit: 'a minute',
  isPath: false,
  format: (value) => (value % 60 === 0 ? `${value / 60}/s` : `${value}/m`),
};

/** One line of text without control characters, at most `most` characters, possibly empty. */
export function text(most: number): Kind<string> {
  const expected = `one line of text of at most ${most} characters (in quotes if it begins with [, {, # or the like)`;
  return plain(
    z
      .string()
      .max(most)
      .regex(/^\P{Cc}*$/u),
    expected,
  );
}

/** Text of a certain form. */
export function matching(pattern: RegExp, expected: string): Kind<string> {
  return plain(z.string().regex(pattern), expected);
}

/** The name of a file or folder. */
export const path: Kind<string> = {
  ...plain(
    z
      .string()
      .min(1)
      .regex(/^\P{Cc}+$/u),
    'a path',
  ),
  isPath: true,
};

/** Several values of one kind; a single one may stand alone. */
export function listOf<T>(kind: Kind<T>): Kind<readonly T[]> {
  const schema = z.union([z.array(kind.schema), kind.schema.transform((value) => [value])]);
  return {
    schema,
    expected: `${kind.expected}, or a list of such`,
    unit: kind.unit,
    isPath: kind.isPath,
    format: (values) => `[${values.map((value) => kind.format(value)).join(', ')}]`,
  };
}

function plain<T extends string | number>(schema: z.ZodType<T>, expected: string): Kind<T> {
  return { schema, expected, unit: null, isPath: false, format: String };
}

function reject(context: z.RefinementCtx): never {
  context.addIssue('not one of the values');
  return z.NEVER;
}
