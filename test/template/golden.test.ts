import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openTemplates, type Variables } from '../../src/template/templates.ts';
import { hasTemplateToolkit } from './perl.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const golden = here('./golden');
const shipped = here('../../mail_tt2');
const read = (name: string) => readFileSync(`${golden}/${name}`, 'utf8');
const names = readdirSync(golden)
  .filter((file) => file.endsWith('.tt2'))
  .map((file) => file.slice(0, -'.tt2'.length));

function variablesOf(name: string): Variables {
  const file = existsSync(`${golden}/${name}.json`) ? `${name}.json` : 'variables.json';
  return JSON.parse(read(file)) as Variables;
}

const loc = (text: string) => (text === 'Good morning, %1!' ? 'Guten Tag, %1!' : text);
const qencode = (text: string) => `=?${text}?=`;

describe('golden files', () => {
  it('are enough, each with its output', () => {
    expect(names.length).toBeGreaterThan(60);
    expect(names.filter((name) => !existsSync(`${golden}/${name}.out`))).toEqual([]);
  });

  it.each(names)('%s is rendered as Template Toolkit does', async (name) => {
    const templates = openTemplates([golden, shipped]);
    expect(await templates.render(name, variablesOf(name), { loc, qencode })).toBe(read(`${name}.out`));
  });

  it('use every shipped template', () => {
    const used = names.map((name) => /^\[% PROCESS "(.+)" %\]$/.exec(read(`${name}.tt2`))?.[1]);
    expect(readdirSync(shipped).filter((file) => file.endsWith('.tt2') && !used.includes(file))).toEqual([]);
  });
});

describe.skipIf(!hasTemplateToolkit())('Perl Template Toolkit', () => {
  it('makes the same golden files today', () => {
    const output = execFileSync('perl', [here('./golden.pl'), golden, shipped], { encoding: 'utf8' });
    const expected = Object.fromEntries(names.map((name) => [name, read(`${name}.out`)]));
    expect(JSON.parse(output)).toEqual(expected);
  });
});
