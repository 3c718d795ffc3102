import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { bind } from '../../src/store/bindings.ts';
import { certificateRow } from '../../src/store/certificate-row.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { type Database, openDatabase, type Queries } from '../../src/store/database.ts';
import { deliveriesOf } from '../../src/store/deliveries.ts';
import { ensureService, findList } from '../../src/store/lists.ts';
import { finish } from '../../src/store/outcomes.ts';
import { recordVerdict } from '../../src/store/postings.ts';
import type { BindingState } from '../../src/store/schema.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { copies, post } from '../store/fixtures.ts';
import { makeTeam, type Root } from './kit.ts';

// `reseal housekeeping` does all that the daemon does each hour (test/e2e/hourly.test.ts).

const day = 86_400_000;
const bob = 'bob@example.org';
let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

async function arrange<T>(root: Root, work: (database: Database) => Promise<T>): Promise<T> {
  const database = await openDatabase(join(root.path, 'spool/reseal.db'), { check: false });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

const ending = (days: number, keyFrom?: Identity): Promise<Identity> =>
  ca.issue({
    name: 'Bob',
    address: bob,
    key: 'p256',
    notBefore: new Date(Date.now() - 90 * day),
    notAfter: new Date(Date.now() + days * day),
    ...(keyFrom && { keyFrom }),
  });

async function give(tx: Queries, who: Identity, state: BindingState, since: number): Promise<string> {
  const certificate = parseCertificate(who.certDer);
  await upsertCertificate(
    tx,
    certificateRow(certificate, { source: 'harvested', at: since, signingTime: null }),
  );
  const row = { address: bob, sha256: certificate.sha256, state, since, source: 'harvested' } as const;
  await bind(tx, { ...row, purpose: 'enc', signingTime: null });
  return certificate.sha256;
}

/** Who was written to, and how often. */
const written = (root: Root): Promise<Record<string, number>> =>
  arrange(root, async ({ q }) => {
    const rows = await q
      .selectFrom('deliveries as d')
      .innerJoin('postings as p', 'p.id', 'd.postingId')
      .select('d.member')
      .where('p.kind', '=', 'local')
      .execute();
    const counts: Record<string, number> = {};
    for (const { member } of rows) counts[member] = (counts[member] ?? 0) + 1;
    return counts;
  });

it('warns, asks, reports and replaces, each once; what fails keeps nothing else from being done, and is said', async () => {
  const root = await makeTeam(ca);
  await root.json('member', 'add', 'team', bob);
  const now = Date.now();
  const service = await ca.issue({
    name: 'Service',
    address: 'reseal@lists.example',
    notAfter: new Date(now + 5 * day),
  });
  mkdirSync(join(root.path, 'etc/service/lists.example'), { recursive: true, mode: 0o700 });
  root.file('etc/service/lists.example/cert.pem', service.certPem);
  chmodSync(root.file('etc/service/lists.example/private_key', readFileSync(service.keyPath)), 0o600);
  const holds = await ending(5);
  const [expired, waits] = [await ending(-1, holds), await ending(60)];
  const before = await arrange(root, async (database) => {
    const { q } = database;
    await ensureService(q, { address: 'reseal@lists.example', createdAt: now });
    const team = (await findList(q, 'team@lists.example'))?.id ?? 0;
    const posting = await post(database, team, 'm1');
    await recordVerdict(q, posting, {
      state: 'distributing',
      reason: null,
      verdict: {},
      prepared: null,
      decidedAt: now,
    });
    await copies(database, posting, 1);
    const [row] = await deliveriesOf(q, posting);
    const outcome = { id: row?.id ?? 0, state: 'failed', reason: '5.1.1', detail: 'gone' } as const;
    await database.write((tx) => finish(tx, [outcome], now));
    return database.write(async (tx) => {
      const sha256 = await give(tx, holds, 'in-use', now - 80 * day);
      await give(tx, expired, 'in-use', now - 70 * day);
      await give(tx, waits, 'pending', now - 8 * day);
      return sha256;
    });
  });
  for (let time = 0; time < 2; time++) {
    const done = await root.run('housekeeping');
    expect(done.code, done.stdout).toBe(0);
    const said =
      'certificates that gave way to another: 1\nquestions to owners about certificates that wait: 1\n';
    expect(done.stdout).toMatch(time === 0 ? new RegExp(`^${said}`) : /^Nothing was due\.\n$/);
    // The owner: what bob's certificate comes to, what waits, what was not delivered.
    expect(await written(root)).toEqual({ [bob]: 1, 'olga@example.org': 3, 'postmaster@lists.example': 1 });
  }
  const inUse = await arrange(root, ({ q }) =>
    q.selectFrom('bindings').select('sha256').where('state', '=', 'in-use').execute(),
  );
  expect(inUse).toEqual([{ sha256: before }]);

  await arrange(root, ({ q }) => q.deleteFrom('notices').execute());
  await arrange(root, ({ q }) => q.schema.dropTable('tokens').execute());
  const failed = await root.run('housekeeping');
  expect(failed.code).toBe(1);
  expect(failed.stdout).toMatch(/^Not done: forgotten: .*tokens$/m);
  expect(await written(root)).toEqual({ [bob]: 2, 'olga@example.org': 5, 'postmaster@lists.example': 2 });
});
