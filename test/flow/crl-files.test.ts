import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { outdatedIn, readCrlFiles } from '../../src/flow/lists/crl-files.ts';
import { openKeyring } from '../../src/flow/lists/keyring.ts';
import { makeCa, type TestCa } from '../kit/pki.ts';
import { derOf } from '../kit/revocation.ts';
import { tempFolder } from '../kit/tmp.ts';
import { keptLog, listWith } from './parts.ts';

let one: TestCa;
let two: TestCa;
beforeAll(async () => {
  [one, two] = [await makeCa('One'), await makeCa('Two')];
});

const none = { crlfile: null, crlpath: null };
const over = new Date(Date.now() - 1000);

function folderOf(files: Readonly<Record<string, string | Buffer>>): string {
  const folder = join(tempFolder(), 'crls');
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

const issuers = async (source: Partial<typeof none> | object): Promise<string[]> =>
  (await readCrlFiles({ ...none, ...source })).crls.map((crl) => crl.issuer);

describe('readCrlFiles', () => {
  it('reads a bundle, a DER file, a folder, both, or nothing', async () => {
    const folder = folderOf({
      'both.pem': one.crl() + two.crl(),
      'one.crl': derOf(one.crl({ number: 2 })),
      '1a2b3c4d.r0': two.crl({ number: 2 }),
      README: 'not read',
      '1a2b3c4d.0': one.certPem,
    });
    expect(await issuers({})).toEqual([]);
    expect(await issuers({ crlfile: join(folder, 'both.pem') })).toEqual(['CN=One', 'CN=Two']);
    expect(await issuers({ crlfile: join(folder, 'one.crl') })).toEqual(['CN=One']);
    expect((await issuers({ crlpath: folder })).sort()).toEqual(['CN=One', 'CN=One', 'CN=Two', 'CN=Two']);
  });

  it('shares the octets between threads', async () => {
    const { crls } = await readCrlFiles({ ...none, crlpath: folderOf({ 'a.crl': derOf(one.crl()) }) });
    expect(crls[0]?.der.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it('leaves out of a folder what is broken, aloud', async () => {
    const folder = folderOf({
      'a.pem': one.crl(),
      'b.pem': 'rubbish',
      'c.crl': derOf(two.crl()).subarray(5),
    });
    symlinkSync('/nowhere/at/all', join(folder, 'd.r0.pem'));
    const { crls, problems, fault } = await readCrlFiles({ ...none, crlpath: folder });
    expect([crls.length, fault]).toEqual([1, null]);
    expect(problems.map((problem) => problem.replace(folder, ''))).toEqual([
      expect.stringMatching(/^\/b\.pem: it holds no revocation list/),
      expect.stringMatching(/^\/c\.crl: /),
      expect.stringMatching(/^\/d\.r0\.pem: it cannot be read \(ENOENT\)/),
    ]);
  });

  it.each(['crlfile', 'crlpath'])('says that %s itself cannot be read', async (name) => {
    const { fault } = await readCrlFiles({ ...none, [name]: '/nowhere/x' });
    expect(fault?.message).toMatch(/in \/nowhere\/x cannot be read \(ENOENT\): check trust\.crlfile/);
  });
});

describe('outdatedIn', () => {
  const outdated = async (...texts: readonly string[]): Promise<string[]> => {
    const folder = folderOf(Object.fromEntries(texts.map((text, n) => [`${n}.pem`, text])));
    return outdatedIn((await readCrlFiles({ ...none, crlpath: folder })).crls, Date.now()).map(
      (crl) => crl.issuer,
    );
  };

  it('names lists whose time is over, unless another file has a newer one', async () => {
    expect(await outdated(one.crl())).toEqual([]);
    expect(await outdated(one.crl({ nextUpdate: over }), two.crl())).toEqual(['CN=One']);
    expect(await outdated(one.crl({ nextUpdate: over }), one.crl({ number: 2 }))).toEqual([]);
  });
});

describe('the keyring', () => {
  const keyringFor = (site: object) => {
    const log = keptLog();
    const siteTrust = { cafile: null, capath: null, ...none, ...site };
    const parts = { folderOf: () => '/nowhere', passphraseOf: async () => null, siteTrust, log };
    return { log, keyring: openKeyring(parts) };
  };

  it("gives a list its own, else the site's, and reads them again after `reload`", async () => {
    const folder = folderOf({ 'one.pem': one.crl(), 'two.pem': two.crl() });
    const path = join(folder, 'one.pem');
    const { keyring } = keyringFor({ crlfile: path });
    const names = async (list: ReturnType<typeof listWith>) =>
      (await keyring.crlsOf(list)).crls.map((crl) => crl.issuer);
    expect(await names(listWith())).toEqual(['CN=One']);
    expect(await names(listWith({ 'trust.crlfile': join(folder, 'two.pem') }))).toEqual(['CN=Two']);
    writeFileSync(path, two.crl());
    expect(await names(listWith())).toEqual(['CN=One']);
    keyring.reload();
    expect(await names(listWith())).toEqual(['CN=Two']);
  });

  it('calls lists that cannot be read a problem, once in the log, unless the list looks none up', async () => {
    const { keyring, log } = keyringFor({ crlfile: '/nowhere/x' });
    expect((await keyring.trustProblemOf(listWith()))?.code).toBe('crl-unreadable');
    expect(await keyring.trustProblemOf(listWith({ revocation: 'off' }))).toBeNull();
    expect(log.events().filter((event) => event === 'crl-unreadable')).toHaveLength(1);
  });
});
