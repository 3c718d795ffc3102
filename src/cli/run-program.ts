import { type Command, CommanderError } from 'commander';
import { errnoOf, Fault } from '../base/errors.ts';
import { exitCodeOf } from './faults.ts';
import { sysexits } from './inject.ts';
import { printable } from './output.ts';

/**
 * Runs the command that `argv` names and sets the exit code: 0, 1 for a failure, 2 for wrong usage or configuration.
 * A person's mistake gets one sentence on standard error; only what reseal itself did wrong shows a stack.
 */
export async function runProgram(program: Command, argv: readonly string[]): Promise<void> {
  const isPipe = commandIn(argv.slice(2)) === 'inject';
  if (isPipe) failTemporarily();
  try {
    exitByThrowing(program);
    await program.parseAsync([...argv]);
  } catch (error) {
    const code = tell(error);
    process.exitCode = isPipe && code !== 0 ? sysexits.temporaryFailure : code;
  }
}

/** The command's name: the first word that is no option and no value of one. */
export function commandIn(words: readonly string[]): string | null {
  const takesValue = (word: string | undefined) => word === '--root' || word === '--config';
  return words.find((word, index) => !word.startsWith('-') && !takesValue(words[index - 1])) ?? null;
}

/** Whatever goes wrong from here on, the mail server shall keep the message and try again. */
function failTemporarily(): void {
  process.exitCode = sysexits.temporaryFailure;
  process.on('uncaughtException', (error) => {
    tell(error);
    process.exit(sysexits.temporaryFailure);
  });
}

function tell(error: unknown): number {
  // Commander has said it already. Help that was asked for has code 0; help in place of a missing command has not.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof Fault) {
    process.stderr.write(`reseal: ${shown(error.message)}\n`);
    return exitCodeOf(error);
  }
  const errno = errnoOf(error);
  const words = error instanceof Error ? error : new Error(String(error));
  if (errno !== null) process.stderr.write(`reseal: ${shown(words.message)}\n`);
  else
    process.stderr.write(
      `reseal: an error in the program itself, please report it: ${shown(words.stack ?? words.message)}\n`,
    );
  return 1;
}

/** Messages may name files and certificates of strangers; some have several lines. */
const shown = (text: string): string => text.split('\n').map(printable).join('\n');

function exitByThrowing(command: Command): void {
  command.exitOverride();
  for (const one of command.commands) exitByThrowing(one);
}

/** `reseal list list | head -1` closes the pipe early, which is no failure. */
export function endQuietlyOnClosedPipe(): void {
  process.stdout.on('error', (error) => {
    if (errnoOf(error) !== 'EPIPE') throw error;
    process.exit(0);
  });
}
