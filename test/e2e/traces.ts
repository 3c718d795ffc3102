import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Daemon } from '../kit/daemon.ts';

/** Where a text is found in clear or in base64: names of files below `folder`, `log` for what the daemons wrote. */
export function traces(
  text: string,
  folder: string,
  daemons: readonly Pick<Daemon, 'log' | 'noise'>[],
): string[] {
  const holds = finderOf(text);
  const files = filesBelow(folder).filter((file) => holds(readIfThere(file)));
  const words = daemons.map(({ log, noise }) => `${JSON.stringify(log)}\n${noise.join('\n')}`).join('\n');
  return [...files.map((file) => relative(folder, file)), ...(holds(Buffer.from(words)) ? ['log'] : [])];
}

/** Says whether octets hold a text in clear or in base64. */
export function finderOf(text: string): (bytes: Buffer) => boolean {
  const needles = [text, ...base64Forms(text)].map((form) => Buffer.from(form));
  return (bytes) => needles.some((needle) => bytes.includes(needle));
}

/** What stays the same of a text in base64, for each place in a group of three octets that it may begin at. */
function base64Forms(text: string): string[] {
  return [0, 1, 2].map((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), Buffer.from(text)]).toString('base64');
    return whole.slice(shift === 0 ? 0 : shift + 1, -4);
  });
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** A file of the spool may go while it is looked for. */
function readIfThere(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    return Buffer.alloc(0);
  }
}
