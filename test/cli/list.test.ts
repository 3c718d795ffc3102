import { chmodSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { createTeam, makeRoot, type Root } from './kit.ts';

describe('list create', () => {
  it('makes folder, key, certificate and row, and says what to do next', async () => {
    const root = makeRoot();
    const made = await root.program(
      'list',
      'create',
      'Team@Lists.Example',
      '--owner',
      'Olga@example.org',
      '--key',
      'p-256',
      '--yes',
    );
    expect(made).toMatchObject({ code: 0 });
    expect(made.stdout).toContain(
      '/^team(-(sendcert|request|owner|editor|bounces(\\+[^@]+)?))?@lists\\.example$/  lmtp:[127.0.0.1]:8024',
    );
    const folder = join(root.path, 'etc/lists/team@lists.example');
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, 'private_key')).mode & 0o777).toBe(0o600);
    const [block] = pemBlocks(readFileSync(join(folder, 'cert.pem')));
    const certificate = parseCertificate(block?.der ?? Buffer.alloc(0));
    expect(certificate.addresses).toEqual(['team@lists.example']);
    expect(made.stdout).toContain(certificate.sha256);
    expect(await root.json('list', 'show', 'team')).toMatchObject({
      owners: ['olga@example.org'],
      state: 'open',
      keyProblems: [],
    });
    const shown = await root.run('list', 'show', 'team', '--cert');
    expect(shown.stdout).toBe(readFileSync(join(folder, 'cert.pem'), 'utf8'));
  });

  it.each([
    ['p-256', /not Thunderbird and Evolution.*nothing was changed; give --yes/s],
    ['ed25519', /hardly any mail program can encrypt to X25519.*nothing was changed; give --yes/s],
  ])('%s: says who cannot encrypt to it, and makes nothing where nobody says yes', async (kind, words) => {
    const root = makeRoot();
    const result = await root.run('list', 'create', 'team@lists.example', '--key', kind);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(words);
    expect(existsSync(join(root.path, 'etc/lists'))).toBe(false);
    expect(await root.json('list', 'list')).toEqual([]);
  });

  it('says how members get the certificate: by a signed mail', async () => {
    const made = await makeRoot().run('list', 'create', 'team@lists.example', '--key', 'p-256', '--yes');
    expect(made.stdout).toMatch(
      /signed mail to team-sendcert@lists\.example[\s\S]*GET CERT to team-request@lists\.example/,
    );
  });

  it('encrypts the key where a passphrase is set', async () => {
    const root = makeRoot('keys.passphrase-file: pass\n');
    root.file('pass', 'correct horse\n');
    const open = await root.run('list', 'create', 'team@lists.example', '--key', 'p-256', '--yes');
    expect(open).toMatchObject({ code: 2, stdout: '' });
    expect(open.stderr).toMatch(/^reseal: .*pass holds a secret and may be read by others: chmod 600 it\n$/);
    chmodSync(join(root.path, 'pass'), 0o600);
    await root.json('list', 'create', 'team@lists.example', '--key', 'p-256', '--yes');
    expect(readFileSync(join(root.path, 'etc/lists/team@lists.example/private_key'), 'utf8')).toContain(
      'BEGIN ENCRYPTED PRIVATE KEY',
    );
    expect(await root.json('key', 'list', 'team')).toMatchObject({
      problems: [],
      keys: [{ uses: ['decrypt', 'sign', 'encrypt'] }],
    });
  });

  it('goes on with the keys of a creation that was interrupted, and with keys brought along', async () => {
    const root = makeRoot();
    const first = await root.json('list', 'create', 'a@lists.example', '--key', 'p-256', '--yes');
    // As if the machine had died before the row was written.
    for (const end of ['', '-wal', '-shm']) rmSync(join(root.path, `spool/reseal.db${end}`), { force: true });
    const again = await root.json('list', 'create', 'a@lists.example');
    expect(again).toMatchObject({ key: 'kept', certificate: (first as { certificate: object }).certificate });
    root.file('etc/lists/b@lists.example/private_key', 'rubbish');
    const refused = await root.run('list', 'create', 'b@lists.example');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /etc\/lists\/b@lists\.example is there already and cannot be used \(.*\): mend that first/,
    );
    expect(await root.json('list', 'list')).toHaveLength(1);
  });

  it('leaves nothing behind when it fails', async () => {
    const root = makeRoot();
    const failed = await root.run(
      'list',
      'create',
      'team@lists.example',
      '--key',
      'p-256',
      '--yes',
      '--set',
      'accept.from=everybody',
    );
    expect(failed.code).toBe(2);
    expect(existsSync(join(root.path, 'etc/lists'))).toBe(false);
  });
});

describe('wrong usage', () => {
  let root: Root;
  beforeAll(async () => {
    root = makeRoot();
    await createTeam(root, 'o@example.org');
  });

  it.each<[string, string[], number, string]>([
    ['an unknown command', ['lst'], 2, 'reseal: unknown command "lst"; did you mean list?'],
    [
      'an unknown option',
      ['list', 'list', '--al'],
      2,
      'reseal: unknown option "--al": see `reseal list list --help`',
    ],
    [
      'a missing argument',
      ['list', 'create'],
      2,
      'reseal: missing required argument "address": see `reseal list create --help`',
    ],
    [
      'no address',
      ['list', 'create', 'team'],
      2,
      'reseal: "team" is not a mail address: give one like alice@example.org',
    ],
    [
      'a name with a reserved ending',
      ['list', 'create', 'team-owner@lists.example'],
      2,
      'reseal: "team-owner@lists.example" cannot be the address of a list: names ending in -owner belong to the list before the ending',
    ],
    [
      'a key that is not made',
      ['list', 'create', 'x@lists.example', '--key', 'dsa'],
      2,
      'reseal: --key cannot be "dsa": expected one of rsa-2048, rsa-3072, rsa-4096, p-256, p-384, ed25519',
    ],
    [
      'no number',
      ['list', 'create', 'x@lists.example', '--days', 'x'],
      2,
      'reseal: --days cannot be "x": expected a whole number from 1 to 36500',
    ],
    [
      'an unknown profile',
      ['list', 'set', 'team', '--profile', 'secret'],
      2,
      'reseal: There is no profile "secret": there are discussion, confidential, announce',
    ],
    [
      'an unknown setting',
      ['list', 'set', 'team', 'accept.form=members'],
      2,
      'reseal: There is no list setting "accept.form"; did you mean "accept.from"?',
    ],
    [
      'an unknown setting to unset',
      ['list', 'set', 'team', '--unset', 'accept.form'],
      2,
      'reseal: There is no list setting "accept.form"; did you mean "accept.from"?',
    ],
    [
      'a wrong value',
      ['list', 'set', 'team', 'accept.from=everybody'],
      2,
      'reseal: "accept.from" cannot be "everybody": expected one of members, moderators, anyone',
    ],
    [
      'no value',
      ['list', 'set', 'team', 'accept.from'],
      2,
      'reseal: a setting cannot be "accept.from": expected name=value',
    ],
    [
      'nothing to set',
      ['list', 'set', 'team'],
      2,
      'reseal: nothing to do: give name=value, --unset, --profile or an owner or moderator',
    ],
    [
      'a contradiction',
      ['list', 'set', 'team', 'accept.signature=required', 'accept.encrypted-unsigned=allow'],
      2,
      'reseal: these settings contradict each other: accept.encrypted-unsigned: allow contradicts accept.signature: required',
    ],
    [
      'a list that is not there',
      ['list', 'show', 'nix@lists.example'],
      1,
      'reseal: there is no list nix@lists.example; the only list is team@lists.example',
    ],
    [
      'a list whose name has a slip',
      ['member', 'list', 'taem'],
      1,
      'reseal: there is no list taem; did you mean team@lists.example?',
    ],
    [
      'a list whose domain has a slip',
      ['member', 'list', 'team@list.example'],
      1,
      'reseal: there is no list team@list.example; did you mean team@lists.example?',
    ],
    [
      'a list that is there',
      ['list', 'create', 'team@lists.example'],
      1,
      'reseal: there is a list team@lists.example already',
    ],
    [
      'an owner who is none',
      ['list', 'set', 'team', '--remove-owner', 'x@example.org'],
      1,
      'reseal: x@example.org is no owner of team@lists.example; nothing was changed',
    ],
    [
      'a root that is not there',
      ['list', 'list', '--root', '/nowhere'],
      2,
      'reseal: The root folder /nowhere does not exist or is no folder: give another with --root or RESEAL_ROOT',
    ],
  ])('%s', async (_, args, code, sentence) => {
    const result = await root.run(...args);
    expect(result).toEqual({ code, stdout: '', stderr: `${sentence}\n` });
  });

  it('the address of reseal itself', async () => {
    const other = makeRoot('service.address: reseal@lists.example\n');
    const result = await other.run('list', 'create', 'reseal@lists.example');
    expect(result).toMatchObject({
      code: 2,
      stderr:
        'reseal: reseal@lists.example is the address of reseal itself (service.address) and cannot be a list\n',
    });
  });
});

describe('list set, show, close and open', () => {
  it('shows for each value where it comes from, and warns of what is risky', async () => {
    const root = makeRoot('defaults: {accept.max-age: 2d}\n');
    await root.json(
      'list',
      'create',
      'team@lists.example',
      '--key',
      'p-256',
      '--yes',
      '--profile',
      'announce',
      '--set',
      'language=de',
    );
    const set = await root.run('list', 'set', 'team', 'send.sign=never', '--add-moderator', 'm@example.org');
    expect(set.stderr).toMatch(/^reseal: warning: send.sign: never leaves notices unsigned/);
    expect(await root.json('list', 'show', 'team@lists.example')).toMatchObject({
      profile: 'announce',
      moderators: ['m@example.org'],
      settings: {
        language: { value: 'de', origin: 'list' },
        'accept.from': { value: 'moderators', origin: 'profile' },
        'accept.max-age': { value: '2d', origin: 'site' },
        'send.sign': { value: 'never', origin: 'list' },
        harvest: { value: 'confirm-change', origin: 'default' },
      },
    });
    await root.json(
      'list',
      'set',
      'team',
      '--unset',
      'send.sign',
      '--profile',
      'none',
      '--remove-moderator',
      'm@example.org',
    );
    expect(await root.json('list', 'show', 'team')).toMatchObject({
      profile: null,
      moderators: [],
      settings: {
        'send.sign': { value: 'notices', origin: 'default' },
        'accept.from': { origin: 'default' },
      },
    });
    expect(await root.json('list', 'close', 'team')).toEqual({ list: 'team@lists.example', state: 'closed' });
    expect(await root.json('list', 'list')).toMatchObject([{ state: 'closed' }]);
    expect(await root.json('list', 'open', 'team')).toMatchObject({ state: 'open' });
  });

  it("tells at once what is wrong with a list's own authorities and revocation lists, below the root", async () => {
    const root = makeRoot();
    await root.json('list', 'create', 'team@lists.example', '--key', 'p-256', '--yes');
    const set = await root.run('list', 'set', 'team', 'trust.cafile=nix.pem', 'trust.crlfile=nix.crl');
    expect(set.code).toBe(0);
    for (const name of ['nix.pem', 'nix.crl'])
      expect(set.stderr).toContain(`in ${join(root.path, name)} cannot be read (ENOENT)`);
    const hard = await root.run('list', 'set', 'team', '--unset', 'trust.crlfile', 'revocation=hard');
    expect(hard.stderr).toContain('warning: revocation: hard trusts no certificate');
    const wrong = await root.run('list', 'set', 'team', 'fetch.hosts=x');
    expect(wrong.stderr).toContain('those of the site stand in etc/reseal.yaml');
  });
});
