import { open, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { fault } from './faults.ts';
import type { RenderOptions } from './filters.ts';
import { type Output, TextOutput } from './output.ts';
import { compileTemplate, type Template } from './parser.ts';
import { type Files, renderTo } from './render.ts';
import type { Variables } from './values.ts';

export type { RenderOptions } from './filters.ts';
export { compileTemplate, type Template } from './parser.ts';
export type { Variable, Variables } from './values.ts';

/** The templates of some folders. */
export interface Templates {
  /** Renders the file `name`, with or without its `.tt2`. Fault 'template-error' (type `file`) if there is none. */
  render(name: string, variables: Variables, options?: RenderOptions): Promise<string>;
  /** The same, into an Output. */
  renderTo(output: Output, name: string, variables: Variables, options?: RenderOptions): Promise<void>;
}

/** A file as read last; read again when its size or time changes. */
interface Known {
  readonly stamp: string;
  readonly text: string;
  template: Template | null;
}

const largest = 1_000_000;
const mostKnown = 500;

/**
 * The templates in `folders`, the first that has a file wins: a list's own folder, the site's, ours. In each folder
 * the language's subfolder (`de-AT`, then `de`) comes before the folder itself. Names cannot leave the folders, by
 * `..` or by a symbolic link.
 */
export function openTemplates(folders: readonly string[]): Templates {
  const known = new Map<string, Known>();

  async function find(name: string, language: string | undefined): Promise<Known | null> {
    if (!isInside(name)) return null;
    for (const folder of folders) {
      for (const sub of [...languageFolders(language), '']) {
        const file = await readFileInside(join(folder, sub, name), folders, known);
        if (file !== null) return file;
      }
    }
    return null;
  }

  function filesFor(language: string | undefined): Files {
    return {
      text: async (name) => (await find(name, language))?.text ?? null,
      template: async (name) => {
        const file = await find(name, language);
        if (file === null) return null;
        file.template ??= compileTemplate(name, file.text);
        return file.template;
      },
    };
  }

  async function renderFile(output: Output, name: string, variables: Variables, options: RenderOptions = {}) {
    const fileName = name.endsWith('.tt2') ? name : `${name}.tt2`;
    const files = filesFor(options.language);
    const template = await files.template(fileName);
    if (template === null) {
      throw fault('template-error', {
        template: fileName,
        line: 1,
        type: 'file',
        info: `${fileName}: not found`,
      });
    }
    await renderTo(output, template, variables, options, files);
  }

  return {
    renderTo: renderFile,
    render: async (name, variables, options) => {
      const output = new TextOutput();
      await renderFile(output, name, variables, options);
      return output.toString();
    },
  };
}

/** A relative name below a folder: no `..`, no hidden file, no backslash, no control character. */
const isInside = (name: string): boolean =>
  !/[\p{Cc}\\]/u.test(name) && name.split('/').every((part) => part !== '' && !part.startsWith('.'));

/** `pt-BR` → pt-BR, pt_BR, pt. Anything that is no language tag gives none. */
function languageFolders(language: string | undefined): string[] {
  if (language === undefined || !/^[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*$/.test(language)) return [];
  const [main = language] = language.split(/[-_]/);
  return [...new Set([language, language.replaceAll('-', '_'), main])];
}

async function readFileInside(
  path: string,
  folders: readonly string[],
  known: Map<string, Known>,
): Promise<Known | null> {
  try {
    const real = await realpath(path);
    const roots = await Promise.all(folders.map((folder) => realpath(folder).catch(() => null)));
    if (!roots.some((root) => root !== null && real.startsWith(root + sep))) return null;
    return await readKnown(real, known);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    if (code === null) throw error;
    throw fault('template-error', {
      template: path,
      line: 1,
      type: 'file',
      info: `it cannot be read (${code})`,
    });
  }
}

async function readKnown(path: string, known: Map<string, Known>): Promise<Known | null> {
  const handle = await open(path, 'r');
  try {
    const { size, mtimeMs, ino, isFile } = await statOf(handle);
    if (!isFile) return null;
    const stamp = `${size} ${mtimeMs} ${ino}`;
    const before = known.get(path);
    if (before?.stamp === stamp) return before;
    if (size > largest) {
      throw fault('template-error', {
        template: path,
        line: 1,
        type: 'file',
        info: `it is larger than ${largest} octets`,
      });
    }
    const file: Known = { stamp, text: decoded(await handle.readFile()), template: null };
    if (known.size >= mostKnown) known.clear();
    known.set(path, file);
    return file;
  } finally {
    await handle.close();
  }
}

async function statOf(handle: Awaited<ReturnType<typeof open>>) {
  const stat = await handle.stat();
  return { size: stat.size, mtimeMs: stat.mtimeMs, ino: stat.ino, isFile: stat.isFile() };
}

/** UTF-8 without its mark; files of old Sympa sites in another charset are taken as ISO 8859-1. */
function decoded(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return bytes.toString('latin1');
  }
}
