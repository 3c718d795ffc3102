import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { makeProgram } from '../../src/cli/program.ts';
import { missingReasons } from '../../src/flow/certificates/member-certificate.ts';

const project = fileURLToPath(new URL('../../', import.meta.url));
const textOf = (path: string): string => readFileSync(join(project, path), 'utf8');
const filesBelow = (folder: string, ending: string): string[] =>
  readdirSync(join(project, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);

/** Commands as a message, a help text or a manual writes them: in backticks within a sentence, or on a line of their own. */
function named(text: string): string[] {
  const inSentence = /(?:\\`|(?<=^|[\w,;.] |['"(|] ?)`)(?:bin\/)?reseal(?:\.mjs)? ([a-z][^`\\\n]*)/gm;
  const onLine = /^ *(?:bin\/)?reseal(?:\.mjs)? ([a-z][^`\\\n#]*)/gm;
  return [inSentence, onLine].flatMap((form) =>
    [...text.matchAll(form)].map(([, words]) => (words ?? '').trim()),
  );
}

/** What is wrong with a command as it is written, or null. */
function wrongWith(line: string): string | null {
  const words = line.replace(/\$\{[^}]*\}/g, 'X').split(/\s+/);
  let command: Command = makeProgram();
  for (;;) {
    const next = command.commands.find((one) => [one.name(), ...one.aliases()].includes(words[0] ?? ''));
    if (!next) break;
    command = next;
    words.shift();
  }
  if (command.parent === null || (command.commands.length > 0 && words.length > 0))
    return `reseal ${line}: no such command`;
  const known = [command, command.parent].flatMap((one) => one.options.map((option) => option.long));
  const options = words.map((word) => /^--[a-z][a-z-]*/.exec(word)?.[0]).filter((one) => one !== undefined);
  const everywhere = ['--json', '--root', '--config', '--help'];
  const unknown = options.find((one) => !known.includes(one) && !everywhere.includes(one));
  return unknown === undefined ? null : `reseal ${line}: no option ${unknown}`;
}

describe('every command that reseal tells people to use is there, with its options', () => {
  it.each([
    ['messages and help', filesBelow('src', '.ts')],
    ['mail', filesBelow('mail_tt2', '.tt2')],
    ['manuals', ['README.md', 'SECURITY.md', 'etc/reseal.yaml.example', ...filesBelow('docs', '.md')]],
  ])('in %s', (_, files) => {
    const lines = files.flatMap((file) => named(textOf(file)));
    expect(lines.length).toBeGreaterThan(3);
    expect(lines.map(wrongWith).filter((one) => one !== null)).toEqual([]);
  });
});

it('docs/certificates.md says of every reason why a copy waits what it means and what to do', () => {
  const rows = textOf('docs/certificates.md').matchAll(/^\| `([a-z-]+)` \| \S.* \| \S.* \|$/gm);
  expect([...rows].map(([, reason]) => reason)).toEqual([...missingReasons]);
});
