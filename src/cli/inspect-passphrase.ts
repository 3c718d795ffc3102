import { openSync } from 'node:fs';
import { ReadStream } from 'node:tty';

const interrupt = 0x03;
const lineEnds: readonly number[] = [0x0a, 0x0d, 0x04];
const erasers: readonly number[] = [0x08, 0x7f];
/** No passphrase is longer; what is typed beyond it is left out. */
const longest = 1024;

/**
 * Asks for a passphrase on the terminal, which does not show it; null if there is none. Not on standard input: that may
 * be the message.
 */
export async function askPassphrase(prompt: string): Promise<Buffer | null> {
  let terminal: ReadStream;
  try {
    terminal = new ReadStream(openSync('/dev/tty', 'r'));
  } catch {
    return null;
  }
  terminal.setRawMode(true);
  process.stderr.write(prompt);
  let line: Buffer | null;
  try {
    line = await lineFrom(terminal);
  } finally {
    terminal.setRawMode(false);
    terminal.destroy();
    process.stderr.write('\n');
  }
  if (line === null) process.kill(process.pid, 'SIGINT');
  return line;
}

/** What is typed up to the line end; null for Ctrl-C, which a raw terminal hands over as a character. */
async function lineFrom(terminal: AsyncIterable<Buffer>): Promise<Buffer | null> {
  const line = Buffer.alloc(longest);
  let length = 0;
  for await (const typed of terminal) {
    for (const octet of typed) {
      if (octet === interrupt) return null;
      if (lineEnds.includes(octet)) return line.subarray(0, length);
      if (erasers.includes(octet)) length = Math.max(0, length - 1);
      else if (length < longest) line[length++] = octet;
    }
  }
  return line.subarray(0, length);
}
