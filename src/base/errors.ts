/** What an error may carry besides its code: plain values, never plaintext, keys or passphrases. */
export type FaultData = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/**
 * The only class of error that reseal throws on purpose. `code` is stable and what callers and tests look at;
 * `message` is for people and says what happened, to which thing, and what to do.
 */
export class Fault<C extends string = string> extends Error {
  readonly code: C;
  readonly data: FaultData;

  constructor(code: C, message: string, data: FaultData, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Fault';
    this.code = code;
    this.data = data;
  }
}

/** Code → sentence. The keys are the closed set of codes that one folder may throw. */
type Sentences = Readonly<Record<string, (data: never) => string>>;

/**
 * Makes the thrower of one folder's closed set of codes.
 *
 *     const fault = faultsOf({ 'key-mode': (d: { path: string }) => `${d.path} may be read by others: chmod 600 it` });
 *     throw fault('key-mode', { path });
 */
export function faultsOf<T extends Sentences>(sentences: T) {
  return <C extends keyof T & string>(
    code: C,
    data: Parameters<T[C]>[0],
    options?: ErrorOptions,
  ): Fault<C> => {
    const sentence = sentences[code] as unknown as (data: unknown) => string;
    return new Fault(code, sentence(data), data as FaultData, options);
  };
}

/** The codes of a thrower made by `faultsOf`, as a union. */
export type CodesOf<F> = F extends (code: infer C extends string, ...rest: never[]) => unknown ? C : never;

/** Whether `error` is a Fault, with this code if one is given. */
export function isFault<C extends string>(error: unknown, code?: C): error is Fault<C> {
  return error instanceof Fault && (code === undefined || error.code === code);
}

/** The errno code (`ENOENT`, `ENOSPC`, …) of a failed system call, or null. */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  return typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code) ? error.code : null;
}

/** One line of words about anything thrown, for logs and ledgers; never a stack. */
export function wordsOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, ' ').slice(0, 500);
}

/** What `read` gives, as a list of one; an empty list if it throws: for what strangers made, to be passed over. */
export function orNone<T>(read: () => T): T[] {
  try {
    return [read()];
  } catch {
    return [];
  }
}
