import { accessSync, appendFileSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * Whether tests that need `what` can run; use as `describe.skipIf(!needs('gpgsm', hasProgram('gpgsm')))`. A skip is
 * said aloud and counted by `npm test`; under RESEAL_NO_SKIP=1 it is an error instead.
 */
export function needs(what: string, present: boolean): boolean {
  if (present) return true;
  if (process.env.RESEAL_NO_SKIP === '1')
    throw new Error(`these tests need ${what}, and RESEAL_NO_SKIP=1 forbids to skip them`);
  process.stderr.write(`SKIPPED: needs ${what}\n`);
  const file = process.env.RESEAL_SKIP_FILE;
  if (file !== undefined) appendFileSync(file, `${what}\n`);
  return false;
}

/** Whether `name` is an executable file on PATH or in the folders where Debian keeps daemons. */
export function hasProgram(name: string): boolean {
  return programPath(name) !== null;
}

/** Where `name` is, or null: Postfix's smtp-sink and smtp-source live in /usr/sbin, which is not on everybody's PATH. */
export function programPath(name: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here: look on.
    }
  }
  return null;
}
