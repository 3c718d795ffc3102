import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFault } from '../../src/base/errors.ts';
import { renderTemplate } from '../../src/template/render.ts';
import { compileTemplate, type Variables } from '../../src/template/templates.ts';

const render = async (source: string, variables: Variables = {}) =>
  renderTemplate(compileTemplate('t.tt2', source), variables);

/** The Fault that rendering ends with, or null. */
async function faultOf(source: string, variables: Variables = {}) {
  try {
    await render(source, variables);
    return null;
  } catch (error) {
    if (isFault(error)) return error;
    throw error;
  }
}

describe('a template that cannot be parsed', () => {
  it.each([
    ['[% IF x %]', 1, 'END is missing'],
    ['a\nb [% END %]', 2, 'unexpected END'],
    ['\n\n[% x = ; %]', 3, 'end of a directive'],
    ['[% x | %]', 1, 'a name is missing'],
    ['line\n[% name', 2, 'no %]'],
    ["[% 'open %]", 1, 'does not end'],
    ['[% foo bar %]', 1, 'unexpected bar'],
    ['[%\n  IF a &&\n%]', 2, 'unexpected end of a directive'],
    ['[%#\n\n%]\n[% 1 2 %]', 4, 'unexpected 2'],
    ['a\n[%- x -%]\n\n[%~ ) %]', 4, 'unexpected )'],
    ['[% h = { a } %]', 1, 'a hash is written'],
    ['[% "\x24{a b}" %]', 1, 'only a variable'],
    ['[% IF x = 3 %]y[% END %]', 1, 'unexpected ='],
    ['[% 1 < 2 < 3 %]', 1, 'cannot be chained'],
    ['[% SET name %]', 1, 'SET is written'],
  ])('%j is a Fault in line %i', async (source, line, problem) => {
    const fault = await faultOf(source);
    expect(fault).toMatchObject({ code: 'template-syntax', data: { template: 't.tt2', line } });
    expect(fault?.message).toContain(problem);
  });

  it.each([
    'PERL',
    'RAWPERL',
    'USE date',
    'PLUGIN x',
    'VIEW v',
    'MACRO m GET x',
    'WRAPPER w',
    'WHILE 1',
    'SWITCH x',
    'META a = 1',
    'THROW x',
    'CALL x',
    'DEFAULT x = 1',
    'NEXT',
    'LAST',
    'RETURN',
    'STOP',
    'CLEAR',
    'DEBUG on',
    'TAGS star',
    'BLOCK named',
    'FINAL',
  ])('%s is not supported, and says so', async (directive) => {
    expect(await faultOf(`[% ${directive} %][% END %]`)).toMatchObject({
      code: 'template-syntax',
      message: expect.stringContaining('not supported'),
    });
  });

  it('may be long, but not deep', async () => {
    expect(await render(`[% ${'1 + '.repeat(400)}1 %]`)).toBe('401');
    expect((await faultOf(`[% ${'1 + '.repeat(5000)}1 %]`))?.code).toBe('template-syntax');
    expect((await faultOf(`[% ${'('.repeat(5000)}1 %]`))?.code).toBe('template-syntax');
    expect((await faultOf('[% IF 1 %]'.repeat(5000)))?.code).toBe('template-syntax');
    expect((await faultOf(`[% 1 ${'| upper '.repeat(5000)} %]`))?.code).toBe('template-syntax');
    expect(await render(`[% IF 0 %]${'[% ELSIF 0 %]'.repeat(2000)}[% ELSE %]end[% END %]`)).toBe('end');
  });
});

describe('a template that fails while it runs', () => {
  it.each([
    ['a\n[% name | nofilter %]', 2, 'undef', 'nofilter: filter not found'],
    ['[% PROCESS nowhere.tt2 %]', 1, 'file', 'nowhere.tt2: not found'],
    ['\n[% 1 / 0 %]', 2, 'undef', 'division by zero'],
    ['[% 5 mod 0 %]', 1, 'undef', 'division by zero'],
    ['[% list %]', 1, 'undef', 'a list stands where text is needed'],
    ['[% "$hash" %]', 1, 'undef', 'a hash stands where text is needed'],
    ["[% 'x' | perl %]", 1, 'undef', 'perl: filter not found'],
    ["[% 'x' | eval %]", 1, 'undef', 'eval: filter not found'],
    ["[% 'x' | redirect('f') %]", 1, 'undef', 'redirect: filter not found'],
  ])('%j', async (source, line, type, info) => {
    const fault = await faultOf(source, { list: [1], hash: { a: 1 }, name: 'n' });
    expect(fault).toMatchObject({ code: 'template-error', data: { template: 't.tt2', line, type, info } });
  });

  it('names the place of the filter, not of the block inside', async () => {
    const fault = await faultOf("a\n[% FILTER indent([1]) %]\n[% 'b' %]\n[% END %]");
    expect(fault).toMatchObject({ code: 'template-error', data: { line: 2 } });
  });

  it('does not put the values of variables into the error', async () => {
    const sources = [
      '[% secret.match("(") %]',
      "[% 'x'; secret.match(secret) %]",
      "[% 'x' | indent([secret]) %]",
      '[% [secret] %]',
    ];
    for (const source of sources) {
      const fault = await faultOf(source, { secret: '(PLAINTEXT' });
      expect(fault?.code).toBe('template-error');
      expect(JSON.stringify([fault?.message, fault?.data])).not.toContain('PLAINTEXT');
    }
  });
});

describe('variables', () => {
  it.each([
    'constructor',
    '__proto__',
    'toString',
    'hasOwnProperty',
    'list.constructor',
    'text.__proto__',
    'hash.__proto__.x',
  ])('%s is undefined', async (path) => {
    const variables = { list: [1], text: 'x', hash: { a: 1 } };
    expect(await render(`([% ${path} %])([% ${path}.defined %])`, variables)).toBe('()()');
  });

  it('cannot be changed for the caller, nor the prototypes of anything', async () => {
    const hash = { a: 'old', deep: { b: 1 } };
    const source =
      "[% hash.a = 'new'; hash.deep.b = 2; hash.__proto__.polluted = 1; constructor.prototype.polluted = 1; hash.a %]";
    expect(await render(source, { hash })).toBe('new');
    expect(hash).toEqual({ a: 'old', deep: { b: 1 } });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('keeps an own property that is called __proto__', async () => {
    const hash = JSON.parse('{"__proto__": "own"}') as Variables;
    expect(await render('[% hash.keys.join %]', { hash })).toBe('__proto__');
  });

  it.each([
    ['a Buffer', Buffer.from('secret')],
    ['a Date', new Date(0)],
    ['a Map', new Map([['a', 1]])],
    ['a function', () => 'x'],
  ])('%s is refused', async (_, value) => {
    expect(await faultOf('[% a.b %]', { a: { b: value as unknown as string } })).toMatchObject({
      code: 'template-variables',
      data: { variable: 'a.b' },
    });
  });

  it('that contain themselves are refused', async () => {
    const loop: Record<string, Variables> = {};
    loop.self = loop;
    expect((await faultOf('x', loop))?.code).toBe('template-variables');
  });
});

describe('budgets', () => {
  const nested = (depth: number, body: string): string =>
    depth === 0 ? body : `[% FOREACH x${depth} = [1..100] %]${nested(depth - 1, body)}[% END %]`;

  it.each([
    ['loops in loops', nested(6, 'x')],
    ['a range', '[% x = [1..1000000000] %]'],
    ['doubling a text', `[% x = 'ab' %]${'[% x = x _ x %]'.repeat(60)}`],
    ['doubling by interpolation', `[% x = 'ab' %]${'[% x = "$x$x" %]'.repeat(60)}`],
    ['doubling by capture', `[% x = 'ab' %]${'[% x = BLOCK %][% x %][% x %][% END %]'.repeat(60)}`],
    ['a wide indent', "[% 'x' | indent(1000000000) %]"],
    ['many wide indents', `[% x = BLOCK %]${'\n'.repeat(5000)}[% END %][% x | indent(5000) %]`],
    ['a wide wrap', `[% x = BLOCK %]${'a '.repeat(5000)}[% END %][% x | wrap(0, 5000, 20) %]`],
    [
      'loc with large arguments',
      `[% a = BLOCK %]${'x'.repeat(20000)}[% END %][% '${'%1'.repeat(5000)}' | loc(a) %]`,
    ],
    ['a long joint', `[% a = BLOCK %]${'x'.repeat(100000)}[% END %][% l = [1..1000]; l.join(a) %]`],
    [
      'many slow patterns',
      `[% x = BLOCK %]${'x'.repeat(200)}[% END %][% FOREACH n = [1..5000]; x.match('x*x*y'); END %]`,
    ],
    ['replacing by a long text', `[% a = BLOCK %]${'x'.repeat(100000)}[% END %][% a.replace('x', a) %]`],
  ])('end %s', async (_, source) => {
    const started = performance.now();
    expect((await faultOf(source))?.code).toBe('template-budget');
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('are not caught by TRY', async () => {
    expect((await faultOf('[% TRY %][% x = [1..1000000000] %][% CATCH %]caught[% END %]'))?.code).toBe(
      'template-budget',
    );
  });

  it('let a large list of members through', async () => {
    const members = Array.from({ length: 5000 }, (_, index) => ({ email: `m${index}@example.org` }));
    const text = await render('[% FOREACH m = members %][% m.email %]\n[% END %]', { members });
    expect(text.split('\n')).toHaveLength(5001);
  });
});

describe('patterns', () => {
  it.each([
    '(a+)+$',
    '(a|a)*$',
    '(?=a)a',
    'a(?<=a)',
    '(a)\\1',
    '[[:alpha:]]',
    'a{2}{3}',
    '(',
    '\\x41',
    'a**',
  ])('%s is refused', async (pattern) => {
    expect((await faultOf("[% 'aaaa'; text.match(pattern) %]", { pattern, text: 'aaaa' }))?.code).toBe(
      'template-error',
    );
  });

  it('that may take long on this text are refused before they run', async () => {
    const pattern = 'x*x*x*x*x*x*y';
    expect(await render('[% text.match(pattern) ? 1 : 0 %]', { pattern, text: 'xxy' })).toBe('1');
    const fault = await faultOf('[% text.match(pattern) %]', { pattern, text: 'x'.repeat(5000) });
    expect(fault?.message).toContain('may take too long');
  });

  it('may be used on each of many members', async () => {
    const emails = Array.from({ length: 1000 }, (_, index) => `member${index}@example.org`);
    const source = "[% FOREACH e = emails; m = e.match('^(\\w+)@(.+)$'); m.1; ' '; END %]";
    expect(await render(source, { emails })).toBe('example.org '.repeat(1000));
  });

  it('treat $ as Perl does', async () => {
    expect(
      await render("[% text.match('b$') ? 1 : 0 %][% text.match('b\\z') ? 1 : 0 %]", { text: 'ab\n' }),
    ).toBe('10');
  });
});

describe('any template', () => {
  const fragment = fc.constantFrom(
    ...'[%|%]|[%-|~%]|IF|END|ELSE|ELSIF|FOREACH|x|=|list|.|$|\x24{|}|{|(|)|[|]|"|\'|\\|#|;|FILTER|upper|BLOCK|TRY|CATCH| |\n|1|,|=>|!|&&|_|/|PROCESS|INSERT|SET|..|?|:'.split(
      '|',
    ),
    '|',
    '||',
  );

  it('gives text or a Fault', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fragment, { maxLength: 40 }), async (fragments) => {
        await faultOf(`[% ${fragments.join(' ')} %]`, { x: 'text', list: [1, { a: 2 }] });
        await faultOf(fragments.join(''), { x: 'text', list: [1, { a: 2 }] });
      }),
      { numRuns: 1500 },
    );
  });
});
