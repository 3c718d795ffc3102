import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseSite } from '../../src/config/site.ts';

const folder = fileURLToPath(new URL('fixtures/bad/', import.meta.url));
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.slice(0, -'.yaml'.length));

/** What is said about fixtures/bad/<name>.yaml: a code and a sentence for each mistake. */
function saidOf(name: string): string {
  const text = readFileSync(join(folder, `${name}.yaml`), 'utf8');
  const { mistakes } = parseSite(text, {
    root: '/srv/reseal',
    file: '/srv/reseal/etc/reseal.yaml',
    machine: 'machine.example',
    credentials: null,
  });
  return mistakes.map((one) => `${one.code}\n  ${one.message}\n`).join('');
}

// Each fixtures/bad/NN-name.yaml has its sentences in NN-name.expected. On a difference NN-name.got is written: read it, and if
// it is better, rename it.
describe('a bad configuration is refused with its reason', () => {
  it('in many ways', () => expect(names.length).toBeGreaterThanOrEqual(12));

  it.each(names)('%s', (name) => {
    const said = saidOf(name);
    let expected = '';
    try {
      expected = readFileSync(join(folder, `${name}.expected`), 'utf8');
    } catch {
      // A new one: the test fails below and shows what is said.
    }
    if (said !== expected) writeFileSync(join(folder, `${name}.got`), said);
    expect(said).toBe(expected);
    expect(said).not.toBe('');
  });

  it('never shows a password that stands in the file by mistake', () => {
    expect(saidOf('04-password-in-the-file')).toContain('config-unknown');
    expect(saidOf('04-password-in-the-file')).not.toContain('hunter2');
  });
});
