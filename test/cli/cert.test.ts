import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { bind } from '../../src/store/bindings.ts';
import { certificateRow } from '../../src/store/certificate-row.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { openDatabase } from '../../src/store/database.ts';
import { type Identity, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { makeRoot, makeTeam, type Root } from './kit.ts';

interface Told {
  readonly certificates: readonly {
    readonly outcome: string;
    readonly why: string | null;
    readonly addresses: readonly string[];
  }[];
}

let ca: TestCa;
let alice: Identity;
let bob: Identity;
const sha256 = (one: Identity) => parseCertificate(one.certDer).sha256;

beforeAll(async () => {
  ca = await makeCa();
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org' });
  bob = await ca.issue({ name: 'Bob', address: 'bob@example.org', key: 'p256' });
});

/** Runs an import that may refuse, and gives its verdicts by the subject's order in the output. */
async function imported(root: Root, ...args: string[]): Promise<{ code: number; told: Told }> {
  const { code, stdout } = await root.run('cert', 'import', ...args, '--json');
  return { code, told: JSON.parse(stdout) as Told };
}

describe('cert import', () => {
  it('takes PEM bundles, DER, folders and standard input, once', async () => {
    const root = await makeTeam(ca);
    const bundle = root.file('in/both.pem', alice.certPem + bob.certPem + ca.certPem);
    const dry = await imported(root, bundle, '--dry-run');
    expect(dry.code).toBe(0);
    expect(await root.json('cert', 'list')).toEqual([]);

    root.file('in/alice.der', alice.certDer);
    const folder = await imported(root, join(root.path, 'in'));
    expect(folder.code).toBe(0);
    expect(folder.told.certificates.map((one) => one.outcome).sort()).toEqual([
      'imported',
      'imported',
      'refused',
    ]);
    expect(await root.json('cert', 'list', '--address', 'alice@example.org')).toMatchObject([
      { purpose: 'enc', state: 'in-use', source: 'imported', sha256: sha256(alice) },
      { purpose: 'sign', state: 'in-use', sha256: sha256(alice) },
    ]);
    expect(readdirSync(join(root.path, 'spool/certificates'))).toEqual([
      'alice@example.org',
      'bob@example.org',
    ]);
    const again = await root.pipe(bob.certPem, 'cert', 'import');
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toMatch(/^known {5}[0-9a-f]{8} CN=Bob: signing and encryption for bob@example\.org/);
  });

  it('says of each why it is refused, and takes the others', async () => {
    const root = await makeTeam(ca);
    const other = await makeCa('Another Root');
    const bad: [Identity, RegExp][] = [
      [await ca.issue({ name: 'Nameless' }), /names no mail address/],
      [
        await ca.issue({
          name: 'Old',
          address: 'old@example.org',
          notBefore: new Date(0),
          notAfter: new Date(86_400_000),
        }),
        /had expired \(1970-01-02\)$/,
      ],
      [
        await ca.issue({ name: 'Server', address: 'srv@example.org', eku: 'serverAuth' }),
        /key usage allows neither/,
      ],
      [
        await ca.issue({ name: 'Weak', address: 'weak@example.org', key: 'rsa1024' }),
        /weaker than every list accepts/,
      ],
      [
        await other.issue({ name: 'Stranger', address: 'stranger@example.org' }),
        /no list trusts it: .*Another Root/,
      ],
    ];
    const bundle = root.file(
      'all.pem',
      [alice, ...bad.map(([one]) => one)].map((one) => one.certPem).join('\n'),
    );
    const { code, told } = await imported(root, bundle);
    expect(code).toBe(1);
    for (const [, why] of bad) {
      expect(
        told.certificates.filter((one) => one.outcome === 'refused' && why.test(one.why ?? '')),
        String(why),
      ).toHaveLength(1);
    }
    expect(await root.json('cert', 'list')).toHaveLength(2);
    const broken = await root.run('cert', 'import', root.file('rubbish', 'rubbish'));
    expect(broken).toMatchObject({ code: 1, stdout: '' });
    expect(broken.stderr).toMatch(
      /rubbish: it holds no certificate in PEM or DER, PKCS #7, vCard or LDIF\n$/,
    );
  });

  it('binds to one address, or pins', async () => {
    const root = await makeTeam(ca);
    const two = await ca.issue({ name: 'Two', address: ['two@example.org', 'zwei@example.org'] });
    const file = root.file('two.pem', two.certPem);
    const wrong = await imported(root, file, '--address', 'alice@example.org');
    expect(wrong.told.certificates[0]?.why).toBe(
      'it does not name alice@example.org, but two@example.org, zwei@example.org',
    );
    await imported(root, file, '--address', 'zwei@example.org');
    expect(await root.json('cert', 'list')).toMatchObject([
      { address: 'zwei@example.org' },
      { address: 'zwei@example.org' },
    ]);

    const self = await makeSelfSigned({ name: 'Self', address: 'self@example.org' });
    const own = root.file('self.pem', self.certPem);
    expect((await imported(root, own)).code).toBe(1);
    expect((await imported(root, own, '--pin', 'carol@example.org')).told.certificates).toMatchObject([
      { outcome: 'imported', addresses: ['carol@example.org'] },
    ]);
    expect(await root.json('cert', 'show', 'carol@example.org')).toMatchObject([
      { source: 'pinned', sha256: sha256(self) },
    ]);
    const both = await root.run(
      'cert',
      'import',
      own,
      '--pin',
      'a@example.org',
      '--address',
      'b@example.org',
    );
    expect(both).toMatchObject({ code: 2, stdout: '' });
  });

  it('takes a self-signed one that calls itself an authority by a pin to the address that it names', async () => {
    const root = await makeTeam(ca);
    const options = { name: 'Hank', address: 'hank@example.org', isCa: true } as const;
    const self = await makeSelfSigned({ ...options, usage: 'none' });
    const file = root.file('hank.pem', self.certPem);
    const refused = await imported(root, file);
    expect(refused.told.certificates[0]?.why).toMatch(/self-signed, --pin hank@example\.org binds it$/);
    expect((await imported(root, file, '--pin', 'other@example.org')).code).toBe(1);
    expect((await imported(root, file, '--pin', 'hank@example.org')).told.certificates).toMatchObject([
      { outcome: 'imported', addresses: ['hank@example.org'] },
    ]);
    const authority = root.file('ca.pem', ca.certPem);
    expect((await imported(root, authority, '--pin', 'hank@example.org')).code).toBe(1);
  });

  it('says that a folder holds no files, and that folders in it are not looked into', async () => {
    const root = await makeTeam(ca);
    root.file('sympa/X509-user-certs/alice@example.org', alice.certPem);
    const { code, stderr } = await root.run('cert', 'import', join(root.path, 'sympa'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/sympa: it holds no files; folders in it are not looked into\n$/);
  });

  it('needs somebody who can vouch', async () => {
    const root = makeRoot();
    const file = root.file('alice.pem', alice.certPem);
    expect((await imported(root, file)).told.certificates[0]?.why).toMatch(/^there is no list yet/);
    await root.json('list', 'create', 'team@lists.example', '--key', 'p-256', '--yes');
    expect((await imported(root, file)).told.certificates[0]?.why).toMatch(
      /^no authority is trusted here yet/,
    );
  });

  it('says when it takes the place of one with another key, and before it does', async () => {
    const root = await makeTeam(ca);
    const issue = (keyFrom?: Identity) =>
      ca.issue({ name: 'Alice', address: 'alice@example.org', key: 'p256', ...(keyFrom && { keyFrom }) });
    const old = await issue();
    const renewed = await issue(old);
    const other = await issue();
    const shaOf = ({ certDer }: Identity) => parseCertificate(certDer).sha256;
    await root.json('cert', 'import', root.file('old.pem', old.certPem));
    const file = root.file('renewed.pem', renewed.certPem);
    expect((await root.run('cert', 'import', file)).stdout).not.toContain('another key');
    const words = `in the place of ${shaOf(renewed).slice(0, 8)} of alice@example.org, which has another key`;
    const path = root.file('other.pem', other.certPem);
    expect((await root.run('cert', 'import', '--dry-run', path)).stdout).toContain(words);
    const replaced = { address: 'alice@example.org', sha256: shaOf(renewed) };
    expect(await root.json('cert', 'import', path)).toMatchObject({
      certificates: [
        {
          replaces: [
            { ...replaced, purpose: 'sign' },
            { ...replaced, purpose: 'enc' },
          ],
        },
      ],
    });
  });

  it('of two for one address the newer one comes into use', async () => {
    const root = await makeTeam(ca);
    const year = (n: number) => new Date(Date.UTC(new Date().getUTCFullYear() - n, 0, 1));
    const newer = await ca.issue({ name: 'A', address: 'alice@example.org', notBefore: year(1) });
    const older = await ca.issue({ name: 'A', address: 'alice@example.org', notBefore: year(3) });
    await imported(root, root.file('both.pem', newer.certPem + older.certPem));
    const exported = await root.run('cert', 'export', 'alice@example.org');
    expect(exported.stdout).toBe(newer.certPem.endsWith('\n') ? newer.certPem : `${newer.certPem}\n`);
    const states = ((await root.json('cert', 'list')) as { state: string }[]).map((one) => one.state).sort();
    expect(states).toEqual(['in-use', 'in-use', 'superseded', 'superseded']);
  });
});

describe('cert show, export, remove', () => {
  it('finds by the beginning of the fingerprint and by address', async () => {
    const root = await makeTeam(ca);
    await root.json('cert', 'import', root.file('alice.pem', alice.certPem));
    const digits = sha256(alice)
      .slice(0, 12)
      .toUpperCase()
      .replace(/(..)(?=.)/g, '$1:');
    expect(await root.json('cert', 'show', digits)).toMatchObject([
      { subject: 'CN=Alice', addresses: ['alice@example.org'] },
    ]);
    expect((await root.run('cert', 'show', 'alice@example.org')).stdout).toContain(
      'names:    alice@example.org\n',
    );
    expect(await root.run('cert', 'show', 'ffffff000000')).toMatchObject({ code: 1, stdout: '' });
    expect(await root.run('cert', 'show', 'xyz')).toMatchObject({ code: 2, stdout: '' });
    expect(await root.run('cert', 'export', 'nobody@example.org')).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        /no certificate is in use for nobody@example\.org to encrypt to: see `reseal cert list/,
      ),
    });
  });

  it('after remove nothing is in use and the directory is empty', async () => {
    const root = await makeTeam(ca);
    await root.json('cert', 'import', root.file('alice.pem', alice.certPem));
    await root.json('cert', 'remove', 'alice@example.org', '--purpose', 'sign');
    expect(readdirSync(join(root.path, 'spool/certificates'))).toEqual(['alice@example.org@enc']);
    await root.json('cert', 'remove', 'alice@example.org');
    expect(readdirSync(join(root.path, 'spool/certificates'))).toEqual([]);
    expect((await root.run('cert', 'remove', 'alice@example.org')).code).toBe(1);
    await root.json('cert', 'approve', 'alice@example.org', sha256(alice).slice(0, 8));
    expect(readFileSync(join(root.path, 'spool/certificates/alice@example.org'), 'utf8')).toContain(
      'BEGIN CERTIFICATE',
    );
  });
});

describe('cert pending, approve, refuse', () => {
  it('an import vouches for one that came by mail alone', async () => {
    const root = await makeTeam(ca);
    const database = await openDatabase(join(root.path, 'spool/reseal.db'));
    const file = root.file('alice.pem', alice.certPem);
    await root.json('cert', 'import', file);
    await database.q.updateTable('bindings').set({ source: 'harvested' }).execute();
    for (const outcome of ['imported', 'known']) {
      expect(await root.json('cert', 'import', file)).toMatchObject({ certificates: [{ outcome }] });
      const rows = await database.q.selectFrom('bindings').select(['state', 'source']).execute();
      expect(rows).toEqual(rows.map(() => ({ state: 'in-use', source: 'imported' })));
    }
    await database.close();
  });

  it('decides about what harvesting left to a person', async () => {
    const root = await makeTeam(ca);
    const file = root.file('alice.pem', alice.certPem);
    await root.json('cert', 'import', file);
    const database = await openDatabase(join(root.path, 'spool/reseal.db'));
    await database.write(async (tx) => {
      const row = {
        purpose: 'enc',
        state: 'pending',
        since: 0,
        source: 'harvested',
        signingTime: null,
      } as const;
      await bind(tx, { ...row, address: 'carol@example.org', sha256: sha256(alice) });
      await bind(tx, { ...row, address: 'dave@example.org', sha256: sha256(alice) });
    });
    await database.close();
    expect(await root.json('cert', 'pending')).toMatchObject([
      { address: 'carol@example.org' },
      { address: 'dave@example.org' },
    ]);
    const prefix = sha256(alice).slice(0, 10);
    const none = await root.run('cert', 'approve', 'carol@example.org', '000000');
    expect(none).toMatchObject({ code: 1 });
    expect(none.stderr).toMatch(
      /certificates of carol@example\.org that wait, none that begins with 000000;/,
    );
    expect(await root.json('cert', 'approve', 'carol@example.org', prefix)).toMatchObject({
      approved: [{ purpose: 'enc' }],
      released: 0,
    });
    expect(await root.json('cert', 'refuse', 'dave@example.org', prefix)).toMatchObject({
      refused: [{ purpose: 'enc' }],
    });
    expect(await root.json('cert', 'pending')).toEqual([]);
    const again = await root.run('cert', 'approve', 'carol@example.org', prefix);
    expect(again.stderr).toContain(`${prefix} does not: it is in-use; see`);
    expect(existsSync(join(root.path, 'spool/certificates/carol@example.org@enc'))).toBe(true);
    expect(await root.json('cert', 'list', '--address', 'dave@example.org')).toMatchObject([
      { state: 'refused' },
    ]);
  });

  it('what was replaced by approval does not come back with a heap, only by name', async () => {
    const root = await makeTeam(ca);
    const fresh = await ca.issue({ name: 'Alice', address: alice.address, key: 'p256' });
    const file = root.file('heap/alice.pem', alice.certPem);
    await root.json('cert', 'import', file);
    const database = await openDatabase(join(root.path, 'spool/reseal.db'));
    await database.write(async (tx) => {
      const row = { address: alice.address, state: 'pending', since: Date.now(), signingTime: null } as const;
      const certificate = certificateRow(parseCertificate(fresh.certDer), {
        source: 'harvested',
        at: Date.now(),
        signingTime: null,
      });
      await upsertCertificate(tx, certificate);
      for (const purpose of ['sign', 'enc'] as const)
        await bind(tx, { ...row, purpose, sha256: sha256(fresh), source: 'harvested' });
    });
    await database.close();
    const states = async () =>
      ((await root.json('cert', 'list', '--address', alice.address)) as { sha256: string; state: string }[])
        .map((one) => `${one.sha256 === sha256(fresh) ? 'new' : 'old'} ${one.state}`)
        .sort();
    await root.json('cert', 'approve', alice.address, sha256(fresh));
    const settled = ['new in-use', 'new in-use', 'old replaced', 'old replaced'];
    expect(await states()).toEqual(settled);
    expect((await imported(root, join(root.path, 'heap'))).told.certificates).toMatchObject([
      {
        outcome: 'refused',
        reason: 'refused-before',
        why: expect.stringMatching(/^it was replaced for alice@/),
      },
    ]);
    await imported(root, file, '--address', alice.address);
    expect(await states()).toEqual(['new replaced', 'new replaced', 'old in-use', 'old in-use']);
  });
});
