import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { bind } from '../../src/store/bindings.ts';
import { certificateRow } from '../../src/store/certificate-row.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { openDatabase } from '../../src/store/database.ts';
import type { BindingState, CertificateSource } from '../../src/store/schema.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { makeTeam, type Root } from './kit.ts';

const now = Date.now();
const day = 86_400_000;
let ca: TestCa;
let other: TestCa;
beforeAll(async () => {
  ca = await makeCa();
  other = await makeCa('Another Root');
});

interface Use {
  readonly state?: BindingState;
  readonly source?: CertificateSource;
}

/** Brings certificates into use as time and owners do, past the import's judgement. */
async function use(root: Root, address: string, identity: Identity, d: Use = {}): Promise<void> {
  const database = await openDatabase(join(root.path, 'spool/reseal.db'));
  const certificate = parseCertificate(identity.certDer);
  const { state = 'in-use', source = 'harvested' } = d;
  await database.write(async (tx) => {
    await upsertCertificate(tx, certificateRow(certificate, { source, at: now, signingTime: null }));
    for (const purpose of ['sign', 'enc'] as const)
      await bind(tx, {
        address,
        purpose,
        sha256: certificate.sha256,
        state,
        source,
        since: now,
        signingTime: null,
      });
  });
  await database.close();
}

const issue = (name: string, more: object = {}, by = ca) =>
  by.issue({ name, address: `${name}@example.org`, key: 'p256', ...more });

it('cert list --problems tells what cannot be used or soon cannot, why and what to do', async () => {
  const root = await makeTeam(ca);
  await use(root, 'good@example.org', await issue('good', { notAfter: new Date(now + 90 * day) }));
  await use(root, 'pinned@example.org', await issue('pinned', {}, other), { source: 'pinned' });
  await use(
    root,
    'expired@example.org',
    await issue('expired', { notBefore: new Date(now - 9 * day), notAfter: new Date(now - day) }),
  );
  await use(root, 'ending@example.org', await issue('ending', { notAfter: new Date(now + 29 * day) }));
  await use(root, 'stranger@example.org', await issue('stranger', {}, other));
  await use(root, 'weak@example.org', await issue('weak', { key: 'rsa1024' }));
  await use(root, 'signer@example.org', await issue('signer', { usage: 'digitalSignature' }));
  const next = await issue('good', { key: 'p384' });
  await use(root, 'good@example.org', next, { state: 'pending' });
  const lost = await issue('lost');
  await use(root, 'lost@example.org', lost);
  root.file('ca.crl', ca.crl({ revoked: [lost] }));
  await root.json('list', 'set', 'team', `trust.crlfile=${join(root.path, 'ca.crl')}`);

  const both = ['enc', 'sign'];
  const problems = await root.json('cert', 'list', '--problems');
  const brief = (problems as { address: string; reason: string; purposes: string[]; why: string }[]).map(
    (one) => [one.address.split('@')[0], one.reason, one.purposes],
  );
  expect(brief).toEqual([
    ['ending', 'ending', both],
    ['expired', 'expired', both],
    ['good', 'pending', both],
    ['lost', 'revoked', both],
    ['signer', 'wrong-usage', ['enc']],
    ['stranger', 'not-trusted', both],
    ['weak', 'weak-key', both],
  ]);
  const sha256 = parseCertificate(next.certDer).sha256;
  expect(await root.json('cert', 'list', '--problems', '--address', 'good@example.org')).toMatchObject([
    {
      sha256,
      remedy: expect.stringContaining(`\`reseal cert approve good@example.org ${sha256.slice(0, 8)}\``),
    },
  ]);
  const text = (await root.run('cert', 'list', '--problems')).stdout;
  const words = text.replace(/\s+/g, ' ');
  const day1 = new Date(now - day).toISOString().slice(0, 10);
  expect(words).toContain(`the certificate of CN=expired (issued by CN=Test Root) had expired (${day1}).`);
  expect(words).toContain('the certificate of CN=lost (issued by CN=Test Root) was revoked.');
  expect(text).toContain('Another Root, which is not');
  expect(text).toMatch(/What to do: trust\.cafile gets the authority/);
  expect(text).toMatch(/\n7 problems\.\n$/);
});

it('asks the lists that the address is a member of, and says which of them refuse it', async () => {
  const root = await makeTeam(ca);
  await use(root, 'stranger@example.org', await issue('stranger', {}, other));
  root.file('other.pem', other.certPem);
  const trust = `trust.cafile=${join(root.path, 'other.pem')}`;
  await root.json(
    'list',
    'create',
    'second@lists.example',
    '--key',
    'p-256',
    '--yes',
    '--owner',
    'olga@example.org',
  );
  await root.json('list', 'set', 'second', trust);
  const reasons = async () =>
    ((await root.json('cert', 'list', '--problems')) as { reason: string }[]).map((one) => one.reason);
  expect(await reasons()).toEqual([]);
  await root.json('member', 'add', 'team', 'stranger@example.org');
  expect(await reasons()).toEqual(['not-trusted']);
  await root.json('member', 'add', 'second', 'stranger@example.org');
  expect(await root.json('cert', 'list', '--problems')).toMatchObject([
    { reason: 'not-trusted', refusedBy: ['team@lists.example'] },
  ]);
  expect((await root.run('cert', 'list', '--problems')).stdout).toMatch(
    /\(so team@lists\.example; other\s+lists take it/,
  );
  await root.json('member', 'remove', 'team', 'stranger@example.org');
  expect(await reasons()).toEqual([]);
  expect((await root.run('cert', 'list', '--problems')).stdout).toMatch(/^All certificates in use are good/);
});
