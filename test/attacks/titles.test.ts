import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const readme = readFileSync(new URL('./README.md', import.meta.url), 'utf8');
const lines = readme.split('\n').filter((line) => line.startsWith('|'));
/** Attack, file, title; below the two lines of the table's head. */
const rows = lines.slice(2).map((line) => {
  const [, attack = '', test = ''] = line.split(/ *\| */);
  const [file = '', title = ''] = test.split(' › ');
  return [attack, file, title] as const;
});

describe('the table of attacks', () => {
  it('is there', () => {
    expect(rows.length).toBeGreaterThan(40);
  });

  it.each(rows)('%s: %s › %s', (_, file, title) => {
    const source = readFileSync(new URL(`../${file}.test.ts`, import.meta.url), 'utf8');
    // As it is written there: apostrophes of titles are escapes in the source.
    const titles = [...source.matchAll(/(?:describe|it)(?:\.\w+)?\(\s*(['"])(.*?)(?<!\\)\1/g)].map(
      ([, , text]) => text,
    );
    const each = [...source.matchAll(/\]\)\(\s*(['"])(.*?)(?<!\\)\1/g)].map(([, , text]) => text);
    expect([...titles, ...each]).toContain(title);
  });

  it('names every group of this folder', () => {
    for (const name of ['captured-ciphertext', 'signature-spoofing', 'algorithms', 'oracles', 'bombs']) {
      const source = readFileSync(new URL(`./${name}.test.ts`, import.meta.url), 'utf8');
      for (const [, group = ''] of source.matchAll(/^describe\('(.*)', \(\) => \{$/gm))
        expect(rows.map(([, , title]) => title)).toContain(group);
    }
  });
});
