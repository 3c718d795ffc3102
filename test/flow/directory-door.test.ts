import { chmodSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openDirectoryDoor } from '../../src/flow/certificates/directory-door.ts';
import { mirrorAddress } from '../../src/flow/certificates/mirror.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { bind } from '../../src/store/bindings.ts';
import { certificateRow } from '../../src/store/certificate-row.ts';
import { findCertificate, inUse, upsertCertificate } from '../../src/store/certificates.ts';
import { deliveriesOf } from '../../src/store/deliveries.ts';
import { hold } from '../../src/store/outcomes.ts';
import type { Purpose } from '../../src/store/schema.ts';
import { claimOldest } from '../kit/claim.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { copies, memberName, post } from '../store/fixtures.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

let ca: TestCa;
let alice: Identity;
let again: Identity;
beforeAll(async () => {
  ca = await makeCa();
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org' });
  again = await ca.issue({ name: 'Alice', address: 'alice@example.org' });
});

async function setUp() {
  const site = await makeSite();
  const folder = join(site.folder, 'certificates');
  mkdirSync(folder);
  const parts = { ...site, folder };
  return {
    site,
    folder,
    parts,
    door: openDirectoryDoor(parts),
    put: (file: string, text: string | Buffer) => writeFileSync(join(folder, file), text),
  };
}

const idOf = (who: Identity): string => parseCertificate(who.certDer).sha256;
const used = async (site: TestSite, address: string): Promise<(string | null)[]> =>
  Promise.all(
    (['sign', 'enc'] as const).map(
      async (purpose: Purpose) => (await inUse(site.database.q, address, purpose))?.sha256 ?? null,
    ),
  );
const ledger = async (site: TestSite) =>
  site.database.q.selectFrom('ledger').select(['event', 'member', 'reason']).orderBy('id').execute();

describe('a file in the certificate directory', () => {
  it.each<[string, boolean, boolean]>([
    ['alice@example.org', true, true],
    ['alice@example.org@sign', true, false],
    ['alice@example.org@enc', false, true],
  ])('%s is taken over at once', async (file, sign, enc) => {
    const { site, door, put } = await setUp();
    put(file, alice.certPem);
    await door.look(true);
    expect(await used(site, 'alice@example.org')).toEqual([
      sign ? idOf(alice) : null,
      enc ? idOf(alice) : null,
    ]);
    expect(await findCertificate(site.database.q, idOf(alice))).toMatchObject({ source: 'by hand' });
    const line = { event: 'certificate-in-use', member: 'alice@example.org', reason: 'by hand' };
    const lines = [sign, enc].filter(Boolean).map(() => line);
    expect(await ledger(site)).toEqual(lines);
    await door.look(true);
    expect(await ledger(site)).toEqual(lines);
  });

  it('takes the place of another, and of one that waits', async () => {
    const { site, door, put } = await setUp();
    put('alice@example.org', alice.certPem);
    await door.look(true);
    put('alice@example.org', `${again.certPem}\n`);
    await door.look(true);
    expect(await used(site, 'alice@example.org')).toEqual([idOf(again), idOf(again)]);
  });

  it('lets the copies go that waited for it', async () => {
    const { site, door, put } = await setUp();
    const posting = await post(site.database, (await makeList(site)).id, 'm1');
    await copies(site.database, posting, 2);
    const rows = await claimOldest(site.database.q, { lease: 'x', now: t0, limit: 9, leaseMs: day });
    await site.database.write((tx) =>
      hold(
        tx,
        rows.map((row) => ({ id: row.id, reason: 'no-certificate', detail: null, expiresAt: t0 + day })),
        t0,
      ),
    );
    const member = await ca.issue({ name: 'Member', address: memberName(1) });
    put(`${memberName(1)}@enc`, member.certPem);
    await door.look(true);
    expect((await deliveriesOf(site.database.q, posting)).map((row) => row.state)).toEqual([
      'held',
      'pending',
    ]);
    expect(site.woken()).toBe(1);
  });

  it.each([
    ['the new escaping', 'first_5flast@example.org', 'first_last@example.org'],
    ['the old escaping', 'o%27hara@example.org', "o'hara@example.org"],
    ['a name that fits both, meant as the old', 'a_21b@example.org', 'a_21b@example.org'],
    ['a name that fits both, meant as the new', 'a_21b@example.org', 'a!b@example.org'],
  ])('%s: %s is %s', async (_, file, address) => {
    const { site, door, put } = await setUp();
    const who = await ca.issue({ name: 'Who', address });
    put(file, who.certPem);
    await door.look(true);
    expect(await used(site, address)).toEqual([idOf(who), idOf(who)]);
  });

  it('rubbish counts as none, and says so to whoever asks', async () => {
    const { site, door, put } = await setUp();
    put('alice@example.org', 'rubbish');
    put('bob@example.org', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    put('no-address', 'rubbish');
    put('.hidden@example.org', 'rubbish');
    await door.look(true);
    expect(door.problemOf('alice@example.org')).toContain('alice@example.org of the certificate directory');
    expect(door.problemOf('bob@example.org')).toContain('holds no certificate');
    expect(door.problemOf('carol@example.org')).toBeNull();
    expect(site.log.lines.map((line) => line.file).sort()).toEqual([
      'alice@example.org',
      'bob@example.org',
      'no-address',
    ]);
    put('alice@example.org', alice.certPem);
    await door.look(true);
    expect([door.problemOf('alice@example.org'), ...(await used(site, 'alice@example.org'))]).toEqual([
      null,
      idOf(alice),
      idOf(alice),
    ]);
  });

  it('a certificate for another use than the name says is not taken', async () => {
    const { site, door, put } = await setUp();
    const signs = await ca.issue({ name: 'Alice', address: 'alice@example.org', usage: 'digitalSignature' });
    put('alice@example.org@enc', signs.certPem);
    await door.look(true);
    expect(await used(site, 'alice@example.org')).toEqual([null, null]);
    expect(door.problemOf('alice@example.org')).toContain('key usage');
    put('alice@example.org', signs.certPem);
    await door.look(true);
    expect(await used(site, 'alice@example.org')).toEqual([idOf(signs), null]);
  });

  it('one that cannot be read keeps no other from being looked at, and is tried again', async () => {
    const { site, door, folder, put } = await setUp();
    mkdirSync(join(folder, 'target'));
    put('alice@example.org', alice.certPem);
    put('zoe@example.org', alice.certPem);
    chmodSync(join(folder, 'alice@example.org'), 0);
    await door.look(true);
    expect(await used(site, 'zoe@example.org')).toEqual([idOf(alice), idOf(alice)]);
    if (process.getuid?.() !== 0) expect(door.problemOf('alice@example.org')).toContain('cannot be used');
    chmodSync(join(folder, 'alice@example.org'), 0o600);
    await door.look(true);
    expect([door.problemOf('alice@example.org'), ...(await used(site, 'alice@example.org'))]).toEqual([
      null,
      idOf(alice),
      idOf(alice),
    ]);
  });

  it('taken away comes back: it is no way to remove a certificate', async () => {
    const { site, door, folder, put } = await setUp();
    put('alice@example.org', alice.certPem);
    await door.look(true);
    utimesSync(join(folder, 'alice@example.org'), 1000, 1000);
    await door.look(true);
    rmSync(join(folder, 'alice@example.org'));
    await door.look(true);
    expect(readFileSync(join(folder, 'alice@example.org'), 'utf8')).toBe(alice.certPem);
    expect(await used(site, 'alice@example.org')).toEqual([idOf(alice), idOf(alice)]);
  });

  it('taken away comes back after a start, too, if it could not be written at once', async () => {
    const { site, door, folder, parts, put } = await setUp();
    put('alice@example.org', alice.certPem);
    await door.look(true);
    utimesSync(join(folder, 'alice@example.org'), 1000, 1000);
    await door.look(true);
    rmSync(join(folder, 'alice@example.org'));
    // A crash at this moment, or whatever else keeps it from being written: here a folder of that name.
    mkdirSync(join(folder, 'alice@example.org'));
    await door.look(true);
    expect(site.log.events()).toContain('directory-failed');
    rmSync(join(folder, 'alice@example.org'), { recursive: true });
    await openDirectoryDoor(parts).look(true);
    expect(readFileSync(join(folder, 'alice@example.org'), 'utf8')).toBe(alice.certPem);
  });

  it('that the disk did not take at a start is written at the next look', async () => {
    const { site, folder, door } = await setUp();
    const certificate = parseCertificate(alice.certDer);
    const binding = {
      address: 'alice@example.org',
      sha256: certificate.sha256,
      state: 'in-use',
      since: t0,
      source: 'imported',
      signingTime: null,
    } as const;
    await site.database.write(async (tx) => {
      await upsertCertificate(
        tx,
        certificateRow(certificate, { source: 'imported', at: t0, signingTime: null }),
      );
      await bind(tx, { ...binding, purpose: 'enc' });
    });
    const file = join(folder, 'alice@example.org@enc');
    // Nothing can be renamed to where a folder is.
    mkdirSync(join(file, 'full'), { recursive: true });
    await door.look(true);
    rmSync(file, { recursive: true });
    await door.look(true);
    expect(readFileSync(file, 'latin1').trim()).toBe(alice.certPem.trim());
  });

  it('is not looked for where the folder is as it was, unless asked to', async () => {
    const { site, door, folder, put } = await setUp();
    put('alice@example.org', alice.certPem);
    utimesSync(folder, 1000, 1000);
    await door.look();
    put('bob@example.org', alice.certPem);
    utimesSync(folder, 1000, 1000);
    await door.look();
    expect(await used(site, 'bob@example.org')).toEqual([null, null]);
    await door.look(true);
    expect(await used(site, 'bob@example.org')).toEqual([idOf(alice), idOf(alice)]);
  });

  it('is not looked for at a start either, where the folder is as it was', async () => {
    const { site, door, folder, parts, put } = await setUp();
    put('alice@example.org', alice.certPem);
    await door.look(true);
    site.clock.pass(day);
    utimesSync(folder, 1000, 1000);
    for (let n = 0; n < 2; n++) await door.look(true);
    put('bob@example.org', alice.certPem);
    utimesSync(folder, 1000, 1000);
    const next = openDirectoryDoor(parts);
    await next.look();
    expect(await used(site, 'bob@example.org')).toEqual([null, null]);
    // Nor is a file read that is as it was.
    put('alice@example.org', 'x'.repeat(alice.certPem.length));
    utimesSync(join(folder, 'alice@example.org'), t0 / 1000, t0 / 1000);
    await next.look(true);
    expect(await used(site, 'bob@example.org')).toEqual([idOf(alice), idOf(alice)]);
    expect(next.problemOf('alice@example.org')).toBeNull();
  });

  it('no folder is no error', async () => {
    const { site, door, folder } = await setUp();
    rmSync(folder, { recursive: true });
    await door.look(true);
    expect(site.log.lines).toEqual([]);
  });
});

describe('the mirror', () => {
  async function use(site: TestSite, who: Identity, since: number) {
    const certificate = parseCertificate(who.certDer);
    await site.database.write(async (tx) => {
      await upsertCertificate(
        tx,
        certificateRow(certificate, { source: 'harvested', at: since, signingTime: since }),
      );
      for (const purpose of ['sign', 'enc'] as const)
        await bind(tx, {
          address: 'alice@example.org',
          purpose,
          sha256: certificate.sha256,
          state: 'in-use',
          since,
          source: 'harvested',
          signingTime: since,
        });
    });
  }

  it('that we wrote ourselves is no hand', async () => {
    const { site, folder, door } = await setUp();
    await use(site, alice, Date.now());
    await mirrorAddress(site.database.q, folder, 'alice@example.org');
    await door.look(true);
    expect(await ledger(site)).toEqual([]);
  });

  it('that a crash kept from being renewed does not bring the old certificate back', async () => {
    const { site, folder, parts } = await setUp();
    await use(site, alice, Date.now() - day);
    await mirrorAddress(site.database.q, folder, 'alice@example.org');
    await use(site, again, Date.now() + 1000);
    await openDirectoryDoor(parts).look(true);
    expect(await used(site, 'alice@example.org')).toEqual([idOf(again), idOf(again)]);
    // Written after the change it is somebody's wish.
    expect(readFileSync(join(folder, 'alice@example.org'), 'utf8')).toBe(again.certPem);
    writeFileSync(join(folder, 'alice@example.org'), alice.certPem);
    utimesSync(join(folder, 'alice@example.org'), new Date(), new Date(Date.now() + day));
    await openDirectoryDoor(parts).look(true);
    expect(await used(site, 'alice@example.org')).toEqual([idOf(alice), idOf(alice)]);
  });
});
