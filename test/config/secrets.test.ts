import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { passphraseOf, readSecret, relayPasswordOf } from '../../src/config/secrets.ts';
import { tempFolder } from '../kit/tmp.ts';

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

function secretFile(name: string, content: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe('readSecret', () => {
  it.each([
    ['s3cret', 's3cret'],
    ['s3cret\n', 's3cret'],
    ['s3cret\r\n', 's3cret'],
    [' s3 cret ', ' s3 cret '],
    ['pässwort\n', 'pässwort'],
  ])('%j is %j', async (content, secret) => {
    expect((await readSecret(secretFile('s', content))).toString()).toBe(secret);
  });

  it.each(['', '\n', 'one\ntwo\n', 's\0', 'x'.repeat(4097)])(
    'refuses content %#, without showing it',
    async (content) => {
      const path = secretFile('s', content);
      await expect(readSecret(path)).rejects.toMatchObject({ code: 'secret-malformed', data: { path } });
    },
  );

  it.each([0o640, 0o604, 0o620, 0o666])('refuses mode %i', async (mode) => {
    const path = secretFile('s', 's3cret', mode);
    const error = await readSecret(path).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'secret-mode' });
    expect(String(error)).not.toContain('s3cret');
  });

  it.each([0o600, 0o400])('takes mode %i', async (mode) => {
    expect((await readSecret(secretFile('s', 's3cret', mode))).toString()).toBe('s3cret');
  });

  it('says that there is no file, or only a folder', async () => {
    await expect(readSecret(join(folder, 'none'))).rejects.toMatchObject({ code: 'secret-missing' });
    await expect(readSecret(folder)).rejects.toMatchObject({ code: 'secret-malformed' });
    secretFile('file', 'x');
    await expect(readSecret(join(folder, 'file/below'))).rejects.toMatchObject({
      code: 'secret-unreadable',
      data: { why: 'ENOTDIR' },
    });
  });
});

describe('relayPasswordOf', () => {
  it('is in a file or a systemd credential; none if neither is named', async () => {
    const passwordFile = secretFile('p', 'of the file\n');
    secretFile('relay', 'of the credential', 0o400);
    const at = (credentials: string | null, relay: { file?: string; name?: string }) =>
      relayPasswordOf(
        { credentials },
        { passwordFile: relay.file ?? null, passwordCredential: relay.name ?? null },
      );
    expect(await at(folder, {})).toBeNull();
    expect(await at(null, { file: passwordFile })).toBe('of the file');
    expect(await at(folder, { name: 'relay' })).toBe('of the credential');
    await expect(at(folder, { name: 'other' })).rejects.toMatchObject({ code: 'secret-missing' });
    // A command, or a unit without LoadCredential.
    await expect(at(null, { name: 'relay' })).rejects.toMatchObject({ code: 'credentials-missing' });
  });
});

describe('passphraseOf', () => {
  const list = 'team@lists.example';
  const of = async (
    pattern: string | null,
    credentials: string | null,
    address = list,
    variables: Record<string, string> = {},
  ) => {
    const environment = (name: string) => variables[name];
    const site = { 'keys.passphrase-file': pattern, credentials, environment };
    return (await passphraseOf(site, address))?.toString() ?? null;
  };

  it('is none without a place to look', async () => expect(await of(null, null)).toBeNull());

  it('is the file of the pattern', async () => {
    secretFile(`${list}.pass`, 'of the list\n');
    expect(await of(join(folder, '{list}.pass'), null)).toBe('of the list');
    expect(await of(join(folder, '{list}.pass'), null, 'other@lists.example')).toBeNull();
  });

  it('is not taken from the credentials where a pattern is set', async () => {
    secretFile('passphrase', 'of all');
    expect(await of(join(folder, '{list}.pass'), folder)).toBeNull();
  });

  it('is the credential of the list before the one of all', async () => {
    expect(await of(null, folder)).toBeNull();
    secretFile('passphrase', 'of all', 0o400);
    expect(await of(null, folder)).toBe('of all');
    secretFile(`passphrase-${list}`, 'of the list', 0o400);
    expect(await of(null, folder)).toBe('of the list');
  });

  it('is the variable of the list before the one of all, after a credential, never beside a pattern', async () => {
    const variables = { RESEAL_PASSPHRASE: 'of all', RESEAL_PASSPHRASE_TEAM_LISTS_EXAMPLE: 'of the list' };
    expect(await of(null, folder, list, variables)).toBe('of the list');
    expect(await of(null, null, 'other@lists.example', variables)).toBe('of all');
    expect(await of(null, null, list, { RESEAL_PASSPHRASE: '' })).toBeNull();
    secretFile('passphrase', 'the credential', 0o400);
    expect(await of(null, folder, list, variables)).toBe('the credential');
    expect(await of(join(folder, '{list}.pass'), null, list, variables)).toBeNull();
  });

  it('is not replaced by another when its file is bad', async () => {
    secretFile('passphrase', 'of all');
    secretFile(`passphrase-${list}`, 'of the list', 0o644);
    await expect(of(null, folder)).rejects.toMatchObject({ code: 'secret-mode' });
  });

  it('is never looked for outside of its folder', async () => {
    mkdirSync(join(folder, 'inner'));
    secretFile('stolen', 'stolen');
    expect(await of(join(folder, 'inner/{list}'), null, '../stolen')).toBeNull();
  });
});
