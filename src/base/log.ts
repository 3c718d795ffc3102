import pino from 'pino';

/** What a log line may carry: names, numbers and codes; never subjects of encrypted mail, plaintext or keys. */
export type LogFields = Readonly<
  Record<string, string | number | boolean | null | readonly string[] | undefined>
>;

/** The log as a list of events. Each line is one JSON object: time, level, event, and the ids it concerns. */
export interface Log {
  /** Something that an operator wants to count or grep: received, decided, delivered, held, notice … */
  event(event: string, fields?: LogFields): void;
  /** Something a person should look at; `remedy` says what to do. */
  warn(event: string, fields: LogFields & { readonly remedy?: string }): void;
  /** Something failed that should not fail. */
  error(event: string, fields: LogFields): void;
  /** Details for one who looks for a fault. */
  debug(event: string, fields?: LogFields): void;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * A log that writes JSON lines to standard error: warnings and errors at once, so the last words before a crash are
 * there; what else is said in one turn of the event loop goes out together at its end.
 */
export function openLog(level: LogLevel): Log {
  const out = pino.destination({ dest: 2, sync: true, minLength: 8192 });
  let isDue = false;
  const flush = (): void => {
    isDue = false;
    out.flushSync();
  };
  const flushSoon = (): void => {
    if (isDue) return;
    isDue = true;
    setImmediate(flush);
  };
  process.once('exit', flush);
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    out,
  );
  return {
    event: (event, fields) => {
      logger.info({ event, ...fields });
      flushSoon();
    },
    warn: (event, fields) => {
      logger.warn({ event, ...fields });
      flush();
    },
    error: (event, fields) => {
      logger.error({ event, ...fields });
      flush();
    },
    debug: (event, fields) => {
      logger.debug({ event, ...fields });
      flushSoon();
    },
  };
}

/** A log for tools that print their results themselves. */
export const silentLog: Log = { event: () => {}, warn: () => {}, error: () => {}, debug: () => {} };
