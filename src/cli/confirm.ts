import { openSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { ReadStream } from 'node:tty';
import { cliFault } from './faults.ts';
import { askPassphrase } from './inspect-passphrase.ts';

/**
 * Asks a person before something that is not easily undone; `yes` answers for him (`--yes`). Fault 'not-confirmed', also
 * where there is nobody to ask.
 */
export async function confirm(what: string, yes: boolean): Promise<void> {
  if (yes) return;
  const answer = await ask(`${what}. Go on? [y/N] `);
  if (answer === null) throw cliFault('not-confirmed', { what, hint: '; give --yes to do it all the same' });
  if (!/^y(es)?$/i.test(answer.trim())) throw cliFault('not-confirmed', { what: 'Stopped', hint: '' });
}

/** What is typed on the terminal; null if nobody sits there. */
async function ask(question: string): Promise<string | null> {
  // A program that is fed by another one must not wait for a person who does not know of it.
  if (process.stdin.isTTY !== true) return null;
  let terminal: ReadStream;
  try {
    terminal = new ReadStream(openSync('/dev/tty', 'r'));
  } catch {
    return null;
  }
  const lines = createInterface({ input: terminal, output: process.stderr });
  try {
    return await lines.question(question);
  } finally {
    lines.close();
    terminal.destroy();
  }
}

/** A passphrase for something new, typed twice; null if there is no terminal. Fault 'usage-passphrase'. */
export async function askNewPassphrase(what: string): Promise<Buffer | null> {
  const first = await askPassphrase(`Passphrase for ${what}: `);
  if (first === null) return null;
  if (first.length === 0) throw cliFault('usage-passphrase', { why: 'it is empty' });
  const second = await askPassphrase('The same again: ');
  const isSame = second?.equals(first) ?? false;
  second?.fill(0);
  if (!isSame) throw cliFault('usage-passphrase', { why: 'the two are not the same' });
  return first;
}
