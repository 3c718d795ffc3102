import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { inspectLimits } from '../../src/cli/inspect-files.ts';
import { remedies } from '../../src/cli/inspect-remedies.ts';
import { makeProgram } from '../../src/cli/program.ts';
import { cmsLimits } from '../../src/cms/limits.ts';
import { partLimits } from '../../src/mime/entity.ts';
import { headerLimits } from '../../src/mime/header.ts';
import { leastCurveBits, mostRsaBits } from '../../src/pki/algorithms.ts';
import { berLimits } from '../../src/pki/ber.ts';
import { crlLimits } from '../../src/pki/crl.ts';
import { pathLimits } from '../../src/pki/path.ts';
import { reasons, sentenceOf } from '../../src/pki/reasons.ts';
import { openLimits } from '../../src/smime/limits.ts';

const manual = readFileSync(new URL('../../docs/inspect.md', import.meta.url), 'utf8');

/** The rows of the table after `<!-- name -->`, without its head. */
function rowsOf(name: string): string[][] {
  const [, table = ''] = manual.split(`<!-- ${name} -->\n`);
  const lines = (table.split('\n\n')[0] ?? '').trimEnd().split('\n');
  return lines.slice(2).map((line) =>
    line
      .replace(/^\| (.*) \|$/, '$1')
      .split(' | ')
      .map((cell) => cell.trim()),
  );
}

describe('docs/inspect.md', () => {
  it('lists every reason, with its sentence and what to do', () => {
    expect(rowsOf('reasons')).toEqual(
      reasons.map((reason) => [`\`${reason}\``, sentenceOf(reason), remedies[reason]]),
    );
  });

  it('lists every limit', () => {
    const { ber, ...cms } = cmsLimits;
    expect(ber).toBe(berLimits);
    const all: Record<string, object> = {
      inspect: inspectLimits,
      header: headerLimits,
      part: partLimits,
      open: openLimits,
      cms,
      ber: berLimits,
      path: pathLimits,
      crl: crlLimits,
      key: { mostRsaBits, leastCurveBits },
    };
    const expected = Object.entries(all).flatMap(([group, limits]) =>
      Object.entries(limits).map(([name, value]) => [`${group}.${name}`, Number(value).toLocaleString('en')]),
    );
    expect(rowsOf('limits').map(([name, value]) => [name, value])).toEqual(expected);
  });

  it.each([
    ['inspect', ['inspect']],
    ['cert verify', ['cert', 'verify']],
  ])('names every option of %s', (title, [first, second]) => {
    const top = makeProgram().commands.find((one) => one.name() === first);
    const command = second === undefined ? top : top?.commands.find((one) => one.name() === second);
    const [, section = ''] = manual.split(`## reseal ${title}\n`);
    const options = command?.options.map((option) => option.long ?? '') ?? [];
    expect(options.length).toBeGreaterThan(3);
    const text = section.slice(0, section.indexOf('\n## '));
    expect(options.filter((option) => !text.includes(`\`${option}`))).toEqual([]);
  });
});
