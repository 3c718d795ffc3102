import { describe, expect, it } from 'vitest';
import { readMemberLines } from '../../src/cli/member-lines.ts';
import { outputTo, printable, table } from '../../src/cli/output.ts';
import { progressOn } from '../../src/cli/progress.ts';
import { commandIn } from '../../src/cli/run-program.ts';

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
    const quiet: string[] = [];
    progressOn({ write: (text) => quiet.push(text) }, 'members', 4).step(1);
    expect(quiet).toEqual([]);
  });
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
