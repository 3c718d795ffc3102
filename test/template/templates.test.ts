import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTemplates, type RenderOptions, type Variables } from '../../src/template/templates.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'reseal-template-'));
});
afterEach(() => rm(root, { recursive: true }));

async function write(files: Record<string, string | Buffer>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), content);
  }
}

const open = (...folders: string[]) => openTemplates(folders.map((folder) => join(root, folder)));

describe('where templates are found', () => {
  const files = {
    'list/a.tt2': 'a of the list',
    'list/de/b.tt2': 'b of the list, German',
    'site/a.tt2': 'a of the site',
    'site/de/a.tt2': 'a of the site, German',
    'site/b.tt2': 'b of the site',
    'site/b.txt': 'other',
    'site/pt_BR/c.tt2': 'c in Brazil',
    'site/c.tt2': 'c',
  };

  it.each<[string, string | undefined, string]>([
    ['a', undefined, 'a of the list'],
    ['a.tt2', undefined, 'a of the list'],
    ['a', 'de', 'a of the list'],
    ['b', undefined, 'b of the site'],
    ['b', 'de', 'b of the list, German'],
    ['b', 'de-AT', 'b of the list, German'],
    ['b', 'fr', 'b of the site'],
    ['c', 'pt-BR', 'c in Brazil'],
    ['c', 'pt', 'c'],
    ['c', '../../list', 'c'],
  ])('%s in %s', async (name, language, text) => {
    await write(files);
    expect(await open('list', 'missing', 'site').render(name, {}, { language })).toBe(text);
  });

  it('a template that is nowhere is a Fault of type file', async () => {
    await expect(open('list').render('nowhere', {})).rejects.toMatchObject({
      code: 'template-error',
      data: { template: 'nowhere.tt2', type: 'file' },
    });
  });

  it('files are looked up in the same way', async () => {
    await write({ ...files, 'site/all.tt2': '[% PROCESS a.tt2 %]; [% INCLUDE b.tt2 %]; [% INSERT b.txt %]' });
    const text = await open('list', 'site').render('all', {}, { language: 'de' });
    expect(text).toBe('a of the list; b of the list, German; other');
  });

  it('a changed file is read again', async () => {
    await write({ 'site/a.tt2': 'old' });
    const templates = open('site');
    expect(await templates.render('a', {})).toBe('old');
    await write({ 'site/a.tt2': 'new' });
    await utimes(join(root, 'site/a.tt2'), 1, 1);
    expect(await templates.render('a', {})).toBe('new');
  });

  it('a file that is not UTF-8 is taken as ISO 8859-1, and a byte order mark is left out', async () => {
    await write({
      'site/a.tt2': Buffer.from('Gr\u00fc\u00dfe', 'latin1'),
      'site/b.tt2': '\ufeffGr\u00fc\u00dfe',
    });
    expect(await open('site').render('a', {})).toBe('Gr\u00fc\u00dfe');
    expect(await open('site').render('b', {})).toBe('Gr\u00fc\u00dfe');
  });
});

describe('the jail', () => {
  it.each([
    '../secret.txt',
    'sub/../../secret.txt',
    './a.tt2',
    '.hidden',
    'sub/.hidden',
    '/etc/hostname',
    'sub//a.tt2',
    'sub\\a.tt2',
    'a.tt2\u0000.txt',
    'link.txt',
    'sub',
    '',
  ])('%j is not found', async (name) => {
    await write({
      'secret.txt': 'SECRET',
      'site/a.tt2': 'a',
      'site/.hidden': 'SECRET',
      'site/sub/.hidden': 'SECRET',
      'site/sub/a.tt2': 'a',
      'site/run.tt2':
        '[% TRY; INSERT $name; CATCH file; error.info; END %]|[% TRY; PROCESS $name; CATCH file; error.info; END %]',
    });
    await symlink(join(root, 'secret.txt'), join(root, 'site/link.txt'));
    expect(await open('site').render('run', { name })).toBe(`${name}: not found|${name}: not found`);
  });

  it('a link to another of the folders is inside', async () => {
    await write({ 'ours/a.tt2': 'ours', 'site/b.tt2': '' });
    await symlink(join(root, 'ours/a.tt2'), join(root, 'site/linked.tt2'));
    expect(await open('site', 'ours').render('linked', {})).toBe('ours');
  });

  it('a file is not rendered inside itself', async () => {
    await write({
      'site/a.tt2': '[% INCLUDE b.tt2 %]',
      'site/b.tt2': '[% TRY; INCLUDE a.tt2; CATCH; error.info; END; PROCESS c.tt2 %]',
      'site/c.tt2': ' and c',
    });
    expect(await open('site').render('a', {})).toBe("recursion into 'a.tt2' and c");
  });

  it('a file that failed may be tried again', async () => {
    const attempt = '[% TRY; PROCESS b.tt2; CATCH; error.info; END %]';
    await write({
      'site/a.tt2': `${attempt}[% ok = 1 %]; ${attempt}`,
      'site/b.tt2': "[% 'done' IF ok; 'x' | nofilter UNLESS ok %]",
    });
    expect(await open('site').render('a', {})).toBe('nofilter: filter not found; done');
  });

  it('files are not too many deep', async () => {
    await write(
      Object.fromEntries(
        Array.from({ length: 30 }, (_, n) => [`site/f${n}.tt2`, `[% INCLUDE f${n + 1}.tt2 %]`]),
      ),
    );
    await expect(open('site').render('f0', {})).rejects.toMatchObject({ code: 'template-budget' });
  });

  it('a file that is too large is refused', async () => {
    await write({ 'site/a.tt2': 'x'.repeat(1_000_001) });
    await expect(open('site').render('a', {})).rejects.toMatchObject({ code: 'template-error' });
  });

  it('an error in an included file names that file and its line', async () => {
    await write({ 'site/a.tt2': '\n\n[% PROCESS b.tt2 %]', 'site/b.tt2': 'b\n[% x | nofilter %]' });
    await expect(open('site').render('a', {})).rejects.toMatchObject({
      data: { template: 'b.tt2', line: 2 },
    });
  });
});

describe('filters of the caller', () => {
  const render = async (source: string, variables: Variables, options: RenderOptions) => {
    await write({ 'site/a.tt2': source });
    return open('site').render('a', variables, options);
  };

  it('loc gets text and arguments, and its placeholders are filled once', async () => {
    const seen: unknown[] = [];
    const loc = (text: string, args: readonly string[]) => {
      seen.push([text, args]);
      return 'Von %2 an %1: 5%%';
    };
    expect(await render('[%|loc(to, 3)%]From %2 to %1: 5%%[%END%]', { to: '%2%%' }, { loc })).toBe(
      'Von 3 an %2%%: 5%',
    );
    expect(seen).toEqual([['From %2 to %1: 5%%', ['%2%%', '3']]]);
  });

  it('loc without a catalog keeps the text', async () => {
    expect(await render("[% 'Hello %1' | loc(name) %]", { name: 'Ann' }, {})).toBe('Hello Ann');
  });

  it('qencode is the function given, else the text itself', async () => {
    expect(await render("[% 'x' | qencode %]", {}, {})).toBe('x');
    expect(await render("[% 'x' | qencode %]", {}, { qencode: (text) => `=?${text}?=` })).toBe('=?x?=');
  });

  it('others get plain arguments; only own names count', async () => {
    const filters = {
      url_abs: (text: string, args: readonly unknown[]) => `${text} ${JSON.stringify(args)}`,
    };
    const source =
      "[% 'info' | url_abs([list.name, 2], a => 1) %][% TRY; 'x' | constructor; CATCH; error.info; END %]";
    const text = await render(source, { list: { name: 'l' } }, { filters });
    expect(text).toBe('info [["l",2],{"a":1}]constructor: filter not found');
  });
});
