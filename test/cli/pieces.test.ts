import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { startOf } from '../../src/cli/log.ts';
import { readMemberLines } from '../../src/cli/member-lines.ts';
import { folded, outputTo, printable, table } from '../../src/cli/output.ts';
import { progressOn } from '../../src/cli/progress.ts';
import { commandIn } from '../../src/cli/run-program.ts';
import { makeRoot } from './kit.ts';

describe('readMemberLines', () => {
  const read = (text: string) => {
    const { members, bad } = readMemberLines(text);
    return {
      members: members.map((one) => [one.line, one.address, one.name, one.lang]),
      bad: bad.map((one) => one.line),
    };
  };
  it.each<[string, string, ReturnType<typeof read>]>([
    [
      'one address per line',
      'a@x.org\r\nB@X.org\n\n',
      {
        members: [
          [1, 'a@x.org', '', null],
          [2, 'b@x.org', '', null],
        ],
        bad: [],
      },
    ],
    [
      'comments and a byte order mark',
      '\ufeff# all\na@x.org',
      { members: [[2, 'a@x.org', '', null]], bad: [] },
    ],
    [
      'columns in another order',
      'Name,Email\nAnn,a@x.org',
      { members: [[2, 'a@x.org', 'Ann', null]], bad: [] },
    ],
    [
      'columns that mean nothing here',
      'id;email;name\n7;a@x.org;Ann',
      { members: [[2, 'a@x.org', 'Ann', null]], bad: [] },
    ],
    ['semicolons', 'a@x.org;Ann;pt-BR', { members: [[1, 'a@x.org', 'Ann', 'pt-BR']], bad: [] }],
    ['quotes', 'a@x.org,"Ann ""the"" A, B"', { members: [[1, 'a@x.org', 'Ann "the" A, B', null]], bad: [] }],
    [
      'a quote that is not closed',
      'a@x.org,"Ann\nb@x.org,Bob\nc@x.org\nd@x.org\ne@x.org\nf@x.org',
      { members: [[6, 'f@x.org', '', null]], bad: [1] },
    ],
    [
      'bad addresses',
      'a@x.org\n<b@x.org>\nc@\nd@x.org',
      {
        members: [
          [1, 'a@x.org', '', null],
          [4, 'd@x.org', '', null],
        ],
        bad: [2, 3],
      },
    ],
    ['a bad language', 'a@x.org,Ann,german', { members: [], bad: [1] }],
    ['a repeated address', 'a@x.org\nA@x.org', { members: [[1, 'a@x.org', '', null]], bad: [2] }],
    ['nothing', '', { members: [], bad: [] }],
  ])('%s', (_, text, expected) => expect(read(text)).toEqual(expected));
});

describe('output', () => {
  it('prints one JSON value, or lines without what commands a terminal', () => {
    const written: string[] = [];
    const stream = { write: (text: string) => written.push(text) };
    outputTo({ json: true, out: stream, err: stream }).result({ a: '\u001b[31m' }, ['x']);
    outputTo({ json: false, out: stream, err: stream }).result({}, ['red \u001b[31m', 'two\nlines']);
    expect(JSON.parse(written[0] ?? '')).toEqual({ a: '\u001b[31m' });
    expect(written[1]).toBe('red ?[31m\ntwo?lines\n');
  });
  it('makes tables whose columns stand below each other', () => {
    expect(
      table(
        ['A', 'BEE'],
        [
          ['long one', 'x'],
          ['y', '\u202ereversed'],
        ],
        'none',
      ),
    ).toEqual(['A         BEE', 'long one  x', 'y         ?reversed']);
    expect(table(['A'], [], 'none')).toEqual(['none']);
  });
  it('keeps letters of all languages', () => expect(printable('Füße 東京 🙂')).toBe('Füße 東京 🙂'));
});

describe('progressOn', () => {
  it('draws on a terminal only', () => {
    const drawn: string[] = [];
    const write = (text: string) => drawn.push(text);
    const bar = progressOn({ isTTY: true, columns: 80, write }, 'members', 4);
    bar.step(1);
    bar.step(4);
    bar.end();
    expect(drawn[1]).toBe(`\r[${'#'.repeat(30)}] 4/4 members`);
    expect(drawn[2]).toMatch(/^\r +\r$/);
    const sizeless = progressOn({ isTTY: true, columns: 0, write }, 'members', 4);
    sizeless.step(2);
    sizeless.end();
    expect(drawn[3]).toMatch(/^\r\[#{15}-{15}\] 2\/4 members$/);
    expect(drawn[4]).toMatch(/^\r +\r$/);
    const quiet: string[] = [];
    progressOn({ write: (text) => quiet.push(text) }, 'members', 4).step(1);
    expect(quiet).toEqual([]);
  });
});

it('--version prints the version of the package', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  expect(await makeRoot().run('--version')).toEqual({ code: 0, stdout: `reseal ${version}\n`, stderr: '' });
});

describe('commandIn', () => {
  it.each<[string[], string | null]>([
    [['inject', 'a@x'], 'inject'],
    [['--root', '/x', 'inject'], 'inject'],
    [['--json', '--root=/x', 'inject'], 'inject'],
    [['--config', 'inject', 'list'], 'list'],
    [['list', 'show', 'inject'], 'list'],
    [['--help'], null],
  ])('%j is %s', (words, expected) => expect(commandIn(words)).toBe(expected));
});

describe('folded', () => {
  it.each<[string, string, string, string[]]>([
    ['at blanks', 'one two three four', '', ['one two three', 'four']],
    ['below its beginning', 'one two three four', 'A: ', ['A: one two', '   three four']],
    ['never in a command', 'do `a b c d e f` now', '', ['do', '`a b c d e f`', 'now']],
    ['never in a long word', 'a '.concat('x'.repeat(20)), '> ', ['> a', `  ${'x'.repeat(20)}`]],
    ['where there is nothing', '', 'A: ', ['A:']],
  ])('breaks lines %s', (_, text, first, lines) => {
    expect(folded(text, { width: 14, first })).toEqual(lines);
  });
});

describe('the width of what is folded', () => {
  const out = { write: () => true };
  it.each([
    [undefined, undefined, 80],
    [120, undefined, 100],
    [72, 90, 72],
    [undefined, 90, 90],
    [20, undefined, 60],
  ])('on a terminal of %s columns, else COLUMNS=%s, is %s', (columns, given, width) => {
    expect(outputTo({ json: false, out: { ...out, columns }, err: out, columns: given }).width).toBe(width);
  });
});

it('a table has no column that says nothing', () => {
  expect(
    table(
      ['A', 'B', 'C'],
      [
        ['a', '-', '-'],
        ['b', '-', 'c'],
      ],
      '',
    ),
  ).toEqual(['A  C', 'a  -', 'b  c']);
});

describe('log --since', () => {
  const now = Date.UTC(2026, 0, 5, 12);
  it.each([
    ['1d', Date.UTC(2026, 0, 4, 12)],
    ['90m', Date.UTC(2026, 0, 5, 10, 30)],
    ['2026-01-02', Date.UTC(2026, 0, 2)],
    ['2026-01-02T08:30Z', Date.UTC(2026, 0, 2, 8, 30)],
  ])('%s', (text, at) => expect(startOf(text, now)).toBe(at));
  it.each(['yesterday', '2026-13-01', '5', '', '1 d'])('refuses %o', (text) =>
    expect(() => startOf(text, now)).toThrow('expected so long ago'),
  );
});
