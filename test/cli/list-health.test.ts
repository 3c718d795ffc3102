import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { makeTeam, type Root } from './kit.ts';

let ca: TestCa;
let alice: Identity;
let carol: Identity;
let root: Root;

beforeAll(async () => {
  ca = await makeCa();
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org' });
  carol = await ca.issue({ name: 'Carol', address: 'carol@example.org', key: 'p256' });
  root = await makeTeam(ca);
  await root.json('cert', 'import', root.file('alice.pem', alice.certPem));
  await root.json('cert', 'import', root.file('carol.pem', carol.certPem));
  for (const one of ['alice', 'bob', 'carol']) await root.json('member', 'add', 'team', `${one}@example.org`);
  await root.json('member', 'set', 'team', 'carol@example.org', '--suspend');
});

describe('list health', () => {
  it('says of each member whether a copy could be sealed, with what and until when, or why not', async () => {
    const { sha256, notAfter } = parseCertificate(alice.certDer);
    expect(await root.json('list', 'health', 'team')).toMatchObject({
      list: 'team@lists.example',
      state: 'open',
      counts: { active: 2, suspended: 1, ready: 1, missing: 1 },
      members: [
        {
          address: 'alice@example.org',
          ready: true,
          certificate: sha256,
          notAfter: new Date(notAfter).toISOString().replace('.000', ''),
          cipher: 'aes-256-cbc',
          keyTransport: 'rsa',
          reason: null,
        },
        {
          address: 'bob@example.org',
          ready: false,
          certificate: null,
          cipher: null,
          reason: 'no-certificate',
          detail: 'no certificate is known for bob@example.org',
        },
        { address: 'carol@example.org', state: 'suspended', ready: true },
      ],
      keys: [{ suffix: '', uses: ['sign', 'encrypt', 'decrypt'], expired: false, problems: [] }],
      problems: [],
    });
  });

  it('shows it on a screen', async () => {
    const { code, stdout } = await root.run('list', 'health', 'team');
    expect(code).toBe(0);
    expect(stdout).toContain('members:    2 active, 1 suspended\n');
    expect(stdout).toContain('encrypted:  1 could receive a post now, 1 could not\n');
    expect(stdout).toContain('missing:    bob@example.org: no certificate is known\n');
    expect(stdout).toMatch(/^key: {8}cert\.pem \(sign, encrypt, decrypt\), valid until \d{4}-/m);
    expect(stdout).toMatch(/^alice@example\.org +active +\d{4}-\d\d-\d\d +aes-256-cbc +rsa /m);
    expect(stdout.split('\n').length).toBeLessThan(24);
  });

  it('stays one screen of 24 lines and 80 columns with many members, and counts the reasons', async () => {
    const many = await makeTeam(ca);
    const signer = await ca.issue({ name: 'Sig', address: 'sig@example.org', usage: 'digitalSignature' });
    await many.json('cert', 'import', many.file('sig.pem', signer.certPem));
    const rest = Array.from({ length: 60 }, (_, n) => `somebody-with-a-long-name-${n}@example.org`);
    await many.json('member', 'import', 'team', many.file('m.txt', ['sig@example.org', ...rest].join('\n')));
    const { stdout } = await many.run('list', 'health', 'team');
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toContain('            no-certificate 60, wrong-usage 1');
    expect(lines).toContain('missing:    and 51 more: --json names all');
    expect(lines.length).toBeLessThanOrEqual(24);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  it('says that nobody can be trusted while the authorities cannot be read', async () => {
    const lost = await makeTeam(ca, '--set', 'trust.cafile=nix.pem');
    const { code, stdout } = await lost.run('list', 'health', 'team');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^problem: {4}.*nix\.pem/ms);
  });
});
