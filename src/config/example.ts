import type { SettingTable } from '../policy/setting.ts';
import { listSettings } from '../policy/settings.ts';
import { defaultsPrefix, siteSettings } from './settings.ts';

/** One row of the manual's table of settings. */
export interface SettingRow {
  readonly name: string;
  readonly scope: 'site' | 'list';
  /** What may stand there. */
  readonly expected: string;
  /** The default as one would write it, or in words what holds without a value. */
  readonly default: string;
  /** Whether `default` is words and not a value. */
  readonly absent: boolean;
  readonly meaning: string;
  /** A value to show. */
  readonly example: string;
}

/** All settings of site and lists, in the order of their tables: for the manual and the example file. */
export function settingsTable(): readonly SettingRow[] {
  return [...rowsOf(siteSettings, 'site'), ...rowsOf(listSettings, 'list')];
}

function rowsOf(table: SettingTable, scope: 'site' | 'list'): SettingRow[] {
  return Object.entries(table).map(([name, row]) => ({
    name,
    scope,
    expected: row.kind.expected,
    default: row.absent ?? row.example,
    absent: row.absent !== null,
    meaning: row.meaning,
    example: row.example,
  }));
}

const head = `# reseal: the settings of the site. Copy this file to reseal.yaml in the same folder.
#
# Every setting stands here with its default; to change one, remove the # before its name. Where there is no
# default value the line shows an example. Relative paths are below the root folder (--root, else RESEAL_ROOT,
# else the folder of the program). \`relay.host: x\` may also be written as
#
#   relay:
#     host: x
#
# To listen on several sockets:
#
#   listen:
#     - {protocol: lmtp, path: /run/reseal/lmtp.sock}
#     - {protocol: smtp, host: 127.0.0.1, port: 8025}
#
# To have several relays: the first takes the copies, the second while the first is down; the third, what is for a
# partner's domain, and nothing else takes that.
#
#   relay:
#     - {host: mail1.example, tls: required}
#     - {host: mail2.example, tls: required}
#     - {host: mx.partner.example, tls: required, domains: [partner.example], rate: 60/m}
#
# This file is generated from the program's tables of settings.
`;

const headOfLists = `
# ---------------------------------------------------------------------------------------------------------------
# Settings of the lists: defaults for all of them. The profile of a list, and its own settings, override these.
`;

/** The text of etc/reseal.yaml.example: every setting commented out, with its meaning, what is expected, and its default. */
export function exampleYaml(): string {
  const rows = settingsTable();
  const site = rows.filter((row) => row.scope === 'site').map((row) => paragraph(row, row.name));
  const list = rows
    .filter((row) => row.scope === 'list')
    .map((row) => paragraph(row, defaultsPrefix + row.name));
  return [head, ...site, headOfLists, ...list].join('\n');
}

function paragraph(row: SettingRow, name: string): string {
  const words = `${row.meaning} Expected: ${row.expected}.${row.absent ? ` Default: ${row.default}.` : ''}`;
  return `${wrap(words)}#${name}: ${quoted(row.example)}\n`;
}

/** Comment lines of at most 110 characters. */
function wrap(words: string): string {
  let lines = '';
  let line = '#';
  for (const word of words.split(' ')) {
    if (line.length + 1 + word.length > 110) {
      lines += `${line}\n`;
      line = '#';
    }
    line += ` ${word}`;
  }
  return `${lines}${line}\n`;
}

/** The value as YAML, in quotes where it needs them. */
function quoted(value: string): string {
  return value === '' ? "''" : value;
}
