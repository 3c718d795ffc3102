import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { loadPrivateKey } from '../../src/pki/keys.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { type CertificateOptions, type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { makeTeam, type Root } from './kit.ts';

const list = 'team@lists.example';
let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

const folderOf = (root: Root) => join(root.path, 'etc/lists', list);

/** What the authority makes of the list's request. */
async function issued(root: Root, options: Partial<CertificateOptions> = {}): Promise<Identity> {
  const key = await loadPrivateKey(join(folderOf(root), 'private_key'), null);
  return ca.issue({ name: 'Team', address: list, ...options, keyFrom: { key } as Identity });
}

describe('list create --csr and key import', () => {
  it('makes a request with the list in it, and takes the certificate with its chain', async () => {
    const root = await makeTeam(ca, '--csr');
    const csr = await root.run('key', 'csr', list);
    const [block] = pemBlocks(Buffer.from(csr.stdout));
    expect(block?.label).toBe('CERTIFICATE REQUEST');
    expect(block?.der.includes(Buffer.from(list))).toBe(true);
    expect(await root.run('list', 'show', 'team', '--cert')).toMatchObject({ code: 1, stdout: '' });
    // Whoever follows an advice to move the key away could never use what the authority sends.
    for (const command of [['check'], ['key', 'list', 'team']]) {
      const told = (await root.run(...command)).stdout.replace(/\s+/g, ' ');
      expect(told).toMatch(
        /private_key is not used yet: it waits .*`reseal key import team@lists\.example FILE`/,
      );
      expect(told).not.toContain('move both away');
    }

    const certificate = await issued(root);
    const file = root.file('team.pem', certificate.certPem);
    const done = await root.run('key', 'import', 'team', file, '--chain', root.file('chain.pem', ca.certPem));
    expect(done).toMatchObject({ code: 0, stderr: '' });
    const stored = readFileSync(join(folderOf(root), 'cert.pem'));
    expect(pemBlocks(stored).map((one) => one.der)).toEqual([certificate.certDer, ca.certDer]);
    expect(statSync(join(folderOf(root), 'cert.pem')).mode & 0o077).toBe(0);
    expect((await root.run('list', 'show', 'team', '--cert')).stdout.trim()).toBe(certificate.certPem.trim());
  });

  it('keeps the certificate that it replaces, so that mail to it can be opened', async () => {
    const root = await makeTeam(ca);
    const before = parseCertificate(
      pemBlocks(readFileSync(join(folderOf(root), 'cert.pem')))[0]?.der ?? Buffer.alloc(0),
    );
    const certificate = await issued(root);
    await root.json('key', 'import', 'team', root.file('team.pem', certificate.certPem));
    const value = (await root.json('key', 'list', 'team')) as {
      keys: { sha256: string; uses: string[] }[];
      problems: string[];
    };
    expect(value.problems).toEqual([]);
    expect(value.keys).toMatchObject([
      { sha256: parseCertificate(certificate.certDer).sha256, uses: ['decrypt', 'sign', 'encrypt'] },
      { sha256: before.sha256, uses: ['decrypt'] },
    ]);
    await root.json('key', 'import', 'team', root.file('team.pem', certificate.certPem));
    expect(await root.json('key', 'list', 'team')).toEqual(value);
  });

  it.each<[string, Partial<CertificateOptions>, RegExp]>([
    [
      'another address',
      { address: 'other@lists.example' },
      /does not name team@lists\.example, but other@lists\.example/,
    ],
    [
      'an expired one',
      { notBefore: new Date(0), notAfter: new Date(86_400_000) },
      /cannot serve a list: it expired on 1970-01-02/,
    ],
    ['one for servers', { eku: 'serverAuth' }, /cannot serve a list: its key usage allows neither/],
  ])('refuses %s', async (_, options, sentence) => {
    const root = await makeTeam(ca);
    const before = readFileSync(join(folderOf(root), 'cert.pem'));
    const result = await root.run(
      'key',
      'import',
      'team',
      root.file('team.pem', (await issued(root, options)).certPem),
    );
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(sentence);
    expect(readFileSync(join(folderOf(root), 'cert.pem'))).toEqual(before);
  });

  it('refuses what belongs to another key, and what is no certificate', async () => {
    const root = await makeTeam(ca);
    const foreign = await ca.issue({ name: 'Team', address: list, key: 'p256' });
    const other = await root.run('key', 'import', 'team', root.file('foreign.pem', foreign.certPem));
    expect(other.stderr).toMatch(
      /^reseal: the certificate does not belong to any private key in .*: it was made for another request\n$/,
    );
    const none = await root.run('key', 'import', 'team', root.file('none.pem', 'none'));
    expect(none).toMatchObject({ code: 1 });
    expect(none.stderr).toMatch(/holds no certificate/);
  });

  it('warns of a certificate that can only sign', async () => {
    const root = await makeTeam(ca);
    const result = await root.run(
      'key',
      'import',
      'team',
      root.file('s.pem', (await issued(root, { usage: 'digitalSignature' })).certPem),
    );
    expect(result.code).toBe(0);
    expect(result.stderr).toMatch(/^reseal: warning: its key usage does not allow encryption/);
  });
});

describe('key generate', () => {
  const service = 'reseal@lists.example';
  const checked = async (root: Root, about: string) => {
    const { stdout } = await root.run('check', '--json');
    const { findings } = JSON.parse(stdout) as { findings: { about: string; level: string; text: string }[] };
    return findings.filter((one) => one.about === about && /key pair/.test(one.text));
  };

  it('makes the key pair of the service address that check asks for, once', async () => {
    const root = await makeTeam(ca);
    expect(await checked(root, service)).toEqual([
      {
        about: service,
        level: 'warning',
        text: expect.stringContaining(`\`reseal key generate ${service}\` makes one`),
      },
    ]);
    const made = (await root.json('key', 'generate', service, '--key', 'p-256', '--yes')) as {
      folder: string;
    };
    expect(made).toMatchObject({ address: service, key: 'certificate', request: null });
    const certificate = readFileSync(join(made.folder, 'cert.pem'));
    expect(parseCertificate(pemBlocks(certificate)[0]?.der ?? Buffer.alloc(0)).addresses).toEqual([service]);
    expect(await checked(root, service)).toMatchObject([{ level: 'good' }]);
    const again = await root.run('key', 'generate', service, '--key', 'p-256', '--yes');
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect(again.stderr).toMatch(/^reseal: reseal@lists\.example has a key pair already, in .*\n$/);
    expect(readFileSync(join(made.folder, 'cert.pem'))).toEqual(certificate);
    expect(await root.json('key', 'list', service)).toMatchObject({ keys: [{ uses: expect.any(Array) }] });
  });

  it('makes a request for it, and takes what comes back', async () => {
    const root = await makeTeam(ca);
    const made = (await root.json('key', 'generate', service, '--csr', '--key', 'p-256', '--yes')) as {
      folder: string;
    };
    expect(made).toMatchObject({
      key: 'request',
      request: expect.stringMatching(/^-----BEGIN CERTIFICATE REQ/),
    });
    const key = await loadPrivateKey(join(made.folder, 'private_key'), null);
    const certificate = await ca.issue({ name: 'R', address: service, keyFrom: { key } as Identity });
    await root.json('key', 'import', service, root.file('r.pem', certificate.certPem));
    expect(await checked(root, service)).toMatchObject([{ level: 'good' }]);
  });

  it('makes new keys for a list that lost its own, and for no list that has them', async () => {
    const root = await makeTeam(ca);
    expect(await root.run('key', 'generate', 'team')).toMatchObject({ code: 1, stdout: '' });
    rmSync(folderOf(root), { recursive: true });
    expect(await checked(root, list)).toMatchObject([
      { level: 'problem', text: expect.stringContaining(`\`reseal key generate ${list}\``) },
    ]);
    await root.json('key', 'generate', 'team', '--key', 'p-256', '--yes');
    expect(await checked(root, list)).toMatchObject([{ level: 'good' }]);
  });

  it('touches nothing that it cannot use', async () => {
    const root = await makeTeam(ca);
    writeFileSync(join(folderOf(root), 'private_key'), 'broken');
    const result = await root.run('key', 'generate', 'team');
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(
      /is there already and cannot be used .*: mend that first; move the folder away only if its keys are lost for good\n$/,
    );
    expect(readFileSync(join(folderOf(root), 'private_key'), 'latin1')).toBe('broken');
  });
});
