import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { exampleYaml, settingsTable } from '../../src/config/example.ts';
import { parseSite, type Site } from '../../src/config/site.ts';
import { type ListPolicy, listSettings, type SettingName } from '../../src/policy/settings.ts';

const file = fileURLToPath(new URL('../../etc/reseal.yaml.example', import.meta.url));
const got = `${file}.got`;
const example = exampleYaml();
/** A line that sets something once the # is taken away; prose has a blank after its #. */
const settingLine = /^#(?=[a-z])/;

function siteOf(text: string): Site {
  const { site, mistakes } = parseSite(text, {
    root: '/srv/reseal',
    file: '/srv/reseal/etc/reseal.yaml',
    machine: 'machine.example',
    credentials: null,
  });
  expect(mistakes.map((one) => one.message)).toEqual([]);
  return site;
}

/** The example with all settings active except those whose name `leave` matches. */
function uncommented(leave: RegExp): string {
  const active = (line: string) => settingLine.test(line) && !leave.test(line);
  return example
    .split('\n')
    .map((line) => (active(line) ? line.replace(settingLine, '') : line))
    .join('\n');
}

describe('etc/reseal.yaml.example', () => {
  it('is what the tables say; if not, read and rename etc/reseal.yaml.example.got', () => {
    let there = '';
    try {
      there = readFileSync(file, 'utf8');
    } catch {
      // Not there: the test fails below.
    }
    if (there !== example) writeFileSync(got, example);
    expect(there).toBe(example);
  });

  it('sets nothing as it is', () => {
    expect(example.split('\n').every((line) => line === '' || line.startsWith('#'))).toBe(true);
    expect(siteOf(example)).toEqual(siteOf(''));
  });

  it('names every setting once', () => {
    const names = example.split('\n').flatMap((line) => /^#([a-z.-]+):/.exec(line)?.[1] ?? []);
    const rows = settingsTable().map((row) => (row.scope === 'list' ? `defaults.${row.name}` : row.name));
    expect(names).toEqual(rows);
    expect(new Set(names).size).toBe(names.length);
  });

  it('has lines of at most 120 characters', () => {
    expect(example.split('\n').filter((line) => line.length > 120)).toEqual([]);
  });

  it('means its defaults: active, they change nothing but what has no default', () => {
    const none = siteOf('');
    const all = siteOf(
      uncommented(
        /^#(listen|relay)\.path:|^#listen\.(mode|tls\..*):|^#relay\.(user|password-.*|cafile|rate):/,
      ),
    );
    const absent = new Set(
      settingsTable()
        .filter((row) => row.scope === 'site' && row.absent)
        .map((row) => row.name),
    );
    for (const [name, value] of Object.entries(none)) {
      if (name === 'defaults' || absent.has(name)) continue;
      expect([name, all[name as keyof Site]]).toEqual([name, value]);
    }
    for (const [name, value] of Object.entries(all.defaults)) {
      const row = listSettings[name as SettingName];
      if (row.absent === null) expect([name, value]).toEqual([name, row.default]);
    }
    expect(Object.keys(all.defaults satisfies Partial<ListPolicy>)).toEqual(Object.keys(listSettings));
  });

  it('is right with sockets too', () => {
    const site = siteOf(uncommented(/^#(listen|relay)\.(host|port):|^#relay\.(password-credential|cafile):/));
    const tls = { cert: '/srv/reseal/etc/tls/cert.pem', key: '/srv/reseal/etc/tls/key.pem' };
    expect(site.listen).toEqual([{ protocol: 'lmtp', tls, path: '/run/reseal/lmtp.sock', mode: 0o660 }]);
    expect(site.relays).toMatchObject([{ path: '/var/run/relay.sock', user: 'reseal', perMinute: 600 }]);
  });

  it('has right examples of groups and of several sockets in its head', () => {
    const head = example.slice(0, example.indexOf('\n\n'));
    const blocks = head.split('\n#\n').filter((block) => block.startsWith('#   '));
    const yamls = blocks.map((block) => block.replace(/^# {3}/gm, ''));
    expect(yamls.map((yaml) => siteOf(yaml))).toMatchObject([
      { relays: [{ host: 'x' }] },
      { listen: [{}, {}] },
      { relays: [{ domains: [] }, { domains: [] }, { domains: ['partner.example'], perMinute: 60 }] },
    ]);
  });
});
