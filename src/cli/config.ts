import type { Command } from 'commander';
import { exampleYaml, settingsTable } from '../config/example.ts';
import { defaultsPrefix, siteSettings } from '../config/settings.ts';
import type { Site } from '../config/site.ts';
import type { SettingTable } from '../policy/setting.ts';
import { listSettings } from '../policy/settings.ts';
import { outputTo, table } from './output.ts';
import { type GlobalOptions, loadFor } from './site-command.ts';

/** `config example|show`. */
export function addConfig(program: Command): void {
  const config = program.command('config').description('show the settings of the site');
  config
    .command('example')
    .description('print every setting with its meaning and default, to begin with')
    .action((_options: unknown, command: Command) => {
      const json = command.optsWithGlobals<GlobalOptions>().json === true;
      const text = exampleYaml();
      outputTo({ json, out: process.stdout, err: process.stderr }).result(
        { example: text, settings: settingsTable() },
        text.trimEnd().split('\n'),
      );
    });
  config
    .command('show')
    .description('print the values that hold')
    .action(async (_options: unknown, command: Command) => {
      const { site, output } = await loadFor(command);
      const values = valuesOf(site);
      const rows = Object.entries(values).map(([name, value]) => [name, written(name, value)]);
      output.result(values, table(['SETTING', 'VALUE'], rows, ''));
    });
}

/** Flat, with the defaults for lists below their prefix as in the file. Times in milliseconds, sizes in octets. */
function valuesOf(site: Site): Record<string, unknown> {
  const { defaults, credentials: _, ...values } = site;
  const below = Object.entries(defaults).map(([name, value]) => [defaultsPrefix + name, value]);
  return { ...values, ...Object.fromEntries(below) };
}

/** A value as one would write it in the file: `5d`, not milliseconds. */
function written(name: string, value: unknown): string {
  if (value === null) return '-';
  const table: SettingTable = { ...siteSettings, ...listSettings };
  const row = table[name.startsWith(defaultsPrefix) ? name.slice(defaultsPrefix.length) : name];
  if (row) return row.kind.format(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
