import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalAddress } from '../../src/mime/address.ts';
import { type CertificateUse, scanDirectory, writeCertificates } from '../../src/store/directory.ts';
import { escapeName, escapeOldName, unescapeName } from '../../src/store/file-name.ts';
import { tempFolder } from '../kit/tmp.ts';

const alice = 'alice@example.org';

describe('names of both generations (reference/sympa.md 1.3)', () => {
  // address, up to 6.2.62, since 6.2.63b.1: as Sympa itself wrote them
  const table: [string, string, string][] = [
    ['alice@example.org', 'alice@example.org', 'alice@example.org'],
    ['alice+lists@example.org', 'alice%2blists@example.org', 'alice+lists@example.org'],
    ["bob.o'brien@example.org", 'bob.o%27brien@example.org', 'bob.o_27brien@example.org'],
    ['x/y@example.org', 'x%a5y@example.org', 'x_2fy@example.org'],
    ['a%b@example.org', 'a%25b@example.org', 'a_25b@example.org'],
    ['a&b=c@example.org', 'a%26b%3dc@example.org', 'a_26b_3dc@example.org'],
    ['first_last@example.org', 'first_last@example.org', 'first_5flast@example.org'],
    ['~t^u{v}|w`@example.org', '~t^u{v}|w`@example.org', '_7et_5eu_7bv_7d_7cw_60@example.org'],
    ['"q r"@example.org', '%22q%20r%22@example.org', '_22q_20r_22@example.org'],
    ['a%26b@example.org', 'a%2526b@example.org', 'a_2526b@example.org'],
    ['café@example.org', 'caf%c3%a9@example.org', 'caf_c3_a9@example.org'],
  ];

  it.each(table)('%s is written %s and %s', (address, old, fresh) => {
    expect(escapeOldName(address)).toBe(old);
    expect(escapeName(address)).toBe(fresh);
  });

  it.each(table.filter(([address]) => canonicalAddress(address) === address))(
    '%s is read from %s and %s',
    (address, old, fresh) => {
      expect(unescapeName(fresh)?.address).toBe(address);
      const read = unescapeName(old);
      expect([read?.address, read?.otherAddress]).toContain(address);
    },
  );

  it.each<[string, string | null, string | null]>([
    // `_2d` would be `-`, which the new naming does not escape; `_la` is no hexadecimal
    ['john_2doe@example.org', 'john_2doe@example.org', null],
    ['first_last@example.org', 'first_last@example.org', null],
    // both readings are addresses: the certificate tells
    ['anna_21@example.org', 'anna!@example.org', 'anna_21@example.org'],
    // the new reading would have a blank or broken UTF-8
    ['user_20@example.org', 'user_20@example.org', null],
    ['a_dad@example.org', 'a_dad@example.org', null],
    // written by hand
    ['Alice@Example.ORG', 'alice@example.org', null],
    ['README', null, null],
    ['a%2cb@example.org', null, null],
    ['a%00b@example.org', null, null],
  ])('reads %s as %s or %s', (name, address, otherAddress) => {
    expect(unescapeName(name)).toEqual(address === null ? null : { address, otherAddress });
  });

  it('leads every address back to itself, and to a name that is safe', () => {
    const local = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+/=?^_`{|}~é-]{1,30}$/);
    fc.assert(
      fc.property(local, (text) => {
        const address = canonicalAddress(`${text}@example.org`);
        if (address === null) return;
        expect(escapeName(address)).toMatch(/^[-+.0-9@A-Za-z_]+$/);
        expect(unescapeName(escapeName(address))?.address).toBe(address);
      }),
    );
  });
});

const since = Date.UTC(2026, 0, 5);
const write = (folder: string, address: string, files: Partial<Record<CertificateUse, string>>) =>
  writeCertificates(
    folder,
    address,
    Object.entries(files).map(([use, pem]) => ({ use: use as CertificateUse, pem, since })),
  );

describe('writeCertificates', () => {
  it('makes the files what is given, and gives them the time of their binding', async () => {
    const folder = join(tempFolder(), 'certificates');
    await write(folder, alice, { sign: 'S', enc: 'E' });
    expect(readdirSync(folder).sort()).toEqual([`${alice}@enc`, `${alice}@sign`]);
    expect(statSync(join(folder, `${alice}@enc`)).mtimeMs).toBe(since);
    await write(folder, alice, { both: 'B' });
    expect(readdirSync(folder)).toEqual([alice]);
    await write(folder, alice, { both: 'B2' });
    expect(readFileSync(join(folder, alice), 'utf8')).toBe('B2');
    await write(folder, alice, { enc: 'E2' });
    expect(readdirSync(folder)).toEqual([`${alice}@enc`]);
    await write(folder, alice, {});
    expect(readdirSync(folder)).toEqual([]);
  });

  it('writes nothing that is there already', async () => {
    const folder = tempFolder();
    await write(folder, alice, { both: 'B' });
    const { ino } = statSync(join(folder, alice));
    await write(folder, alice, { both: 'B' });
    expect(statSync(join(folder, alice)).ino).toBe(ino);
  });

  it('takes over from files of the older naming, but not from another person', async () => {
    const folder = tempFolder();
    for (const name of [
      'al%2bl@example.org',
      'al%2bl@example.org@enc',
      'first_last@example.org',
      'anna_21@example.org',
    ])
      writeFileSync(join(folder, name), 'old');
    await write(folder, 'al+l@example.org', { both: 'new' });
    await write(folder, 'first_last@example.org', { both: 'new' });
    // `anna_21@…` is the name of `anna!@…` now
    await write(folder, 'anna_21@example.org', { both: 'new' });
    expect(readdirSync(folder).sort()).toEqual([
      'al+l@example.org',
      'anna_21@example.org',
      'anna_5f21@example.org',
      'first_5flast@example.org',
    ]);
    expect(readFileSync(join(folder, 'anna_21@example.org'), 'utf8')).toBe('old');
    await write(folder, 'al+l@example.org', {});
    expect(readdirSync(folder)).toHaveLength(3);
  });

  it.each(['no-address', '.hidden@example.org', `${'é'.repeat(90)}@example.org`])(
    'refuses %s',
    async (address) => {
      const folder = tempFolder();
      await expect(write(folder, address, { both: 'x' })).rejects.toMatchObject({ code: 'certificate-name' });
      expect(readdirSync(folder)).toEqual([]);
    },
  );
});

describe('scanDirectory', () => {
  it('lists certificates by address and use and tells what it cannot read', async () => {
    const folder = tempFolder();
    for (const name of [
      alice,
      'bob@example.org@sign',
      'bob@example.org@enc',
      'first_5flast@example.org',
      'al%2bl@example.org@enc',
      'carol@sign',
      'notes.txt',
      'dora@example.org.soon_expired',
      '.hidden@example.org',
    ])
      writeFileSync(join(folder, name), 'PEM');
    mkdirSync(join(folder, 'eve@example.org'));
    const unread: string[] = [];
    const { files, news: entries } = await scanDirectory(folder, { unread: (file) => unread.push(file) });
    expect([...files]).toEqual(entries.map((entry) => entry.file));
    expect(entries.map((e) => [e.file, e.address, e.use, e.size])).toEqual([
      ['al%2bl@example.org@enc', 'al+l@example.org', 'enc', 3],
      [alice, alice, 'both', 3],
      ['bob@example.org@enc', 'bob@example.org', 'enc', 3],
      ['bob@example.org@sign', 'bob@example.org', 'sign', 3],
      ['carol@sign', 'carol@sign', 'both', 3],
      ['first_5flast@example.org', 'first_last@example.org', 'both', 3],
    ]);
    expect(unread).toEqual(['notes.txt']);
    expect(entries.every((entry) => entry.mtime > 0)).toBe(true);
    const rest = await scanDirectory(folder, { isKnown: ({ file, size }) => file === alice && size === 3 });
    expect([rest.files.has(alice), rest.news.length]).toEqual([true, entries.length - 1]);
  });

  it('gives nothing for a folder that is not there', async () => {
    expect(await scanDirectory(join(tempFolder(), 'none'))).toEqual({ files: new Set(), news: [] });
  });

  it('does not call a file a folder', async () => {
    const path = join(tempFolder(), 'file');
    writeFileSync(path, '');
    chmodSync(path, 0o600);
    await expect(scanDirectory(path)).rejects.toMatchObject({ code: 'ENOTDIR' });
  });
});
