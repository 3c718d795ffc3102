import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { mirrorAddress } from '../../src/flow/certificates/mirror.ts';
import { fileHarvest, knownFor } from '../../src/flow/harvest/file-certificates.ts';
import { filingsFor } from '../../src/flow/harvest/harvest.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { revocationOff } from '../../src/pki/revocation.ts';
import type { AuthorSignature } from '../../src/smime/author-signature.ts';
import { bindingsOf, setBindingState } from '../../src/store/bindings.ts';
import { capabilitiesOf, inUse } from '../../src/store/certificates.ts';
import { deliveriesOf } from '../../src/store/deliveries.ts';
import { ledgerOf } from '../../src/store/ledger.ts';
import { noticeDue } from '../../src/store/notices.ts';
import { hold } from '../../src/store/outcomes.ts';
import { claimOldest } from '../kit/claim.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { copies, memberName, post } from '../store/fixtures.ts';
import { day, hour } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const address = memberName(0);
const now = Date.now();
let ca: TestCa;
let middle: TestCa;
let bob: Identity;
let changed: Identity;
beforeAll(async () => {
  ca = await makeCa();
  middle = await ca.intermediate({ name: 'Middle' });
  bob = await middle.issue({ name: 'Bob', address });
  changed = await ca.issue({ name: 'Bob', address });
});

/** A mail that `who` signed comes in. */
async function harvest(
  site: TestSite,
  list: ListContext,
  who: Identity,
  d: { at?: number; capabilities?: Buffer } = {},
) {
  const at = d.at ?? now;
  const signature: AuthorSignature = {
    certificate: who.certDer,
    bag: [who.certDer, middle.certDer],
    signatureSha256: 'ab',
    allSha256: ['ab'],
    others: [],
    signingTime: at,
    capabilities: d.capabilities ?? null,
    preference: null,
  };
  const known = await knownFor(site.database.q, address);
  const anchors = { certificates: [parseCertificate(ca.certDer)] };
  const trust = { anchors, intermediates: [], revocation: revocationOff, revokedKeys: new Set<string>() };
  const filings = filingsFor(list, { address, signature, ...known, ...trust, receivedAt: at });
  return site.database.write((tx) =>
    fileHarvest(tx, { list, messageId: 'm1', address, filings, signature, at, expiresAt: at + day }),
  );
}

const idOf = (who: Identity) => parseCertificate(who.certDer).sha256;
const states = async (site: TestSite) =>
  (await bindingsOf(site.database.q, address))
    .map((one) => `${one.purpose} ${one.sha256 === idOf(bob) ? 'bob' : 'changed'} ${one.state}`)
    .sort();

describe('fileHarvest', () => {
  it('puts a first certificate to use, tells the ledger, and lets copies go that waited for it', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const posting = await post(site.database, list.id, 'm0');
    await copies(site.database, posting, 2);
    const rows = await claimOldest(site.database.q, { lease: 'x', now, limit: 9, leaseMs: day });
    await site.database.write(async (tx) => {
      await hold(
        tx,
        rows.map((row) => ({ id: row.id, reason: 'no-certificate', detail: null, expiresAt: now + day })),
        now,
      );
      await noticeDue(tx, { listId: list.id, member: address, kind: 'missing', now, everyMs: day });
    });
    const { released } = await harvest(site, list, bob);
    expect(released).toBe(1);
    expect((await deliveriesOf(site.database.q, posting)).map((row) => row.state)).toEqual([
      'pending',
      'held',
    ]);
    expect(await states(site)).toEqual(['enc bob in-use', 'sign bob in-use']);
    expect(
      (await ledgerOf(site.database.q, 'm1')).map((line) => [line.event, line.reason, line.member]),
    ).toEqual([
      ['harvested', 'first', address],
      ['harvested', 'first', address],
    ]);
    // `explain` tells of them by this.
    const { sha256, subject, issuer } = parseCertificate(bob.certDer);
    expect((await ledgerOf(site.database.q, 'm1')).map((line) => line.data)).toEqual(
      ['sign', 'enc'].map((purpose) => ({ sha256, purpose, subject, issuer })),
    );
    // If it is lost again, he is told again.
    const due = await site.database.write((tx) =>
      noticeDue(tx, { listId: list.id, member: address, kind: 'missing', now, everyMs: day }),
    );
    expect(due).toBe(true);
  });

  it('repeated gives the same rows and no more lines', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    await harvest(site, list, bob);
    const { released } = await harvest(site, list, bob);
    expect([released, (await ledgerOf(site.database.q, 'm1')).length]).toEqual([0, 2]);
    expect(await states(site)).toEqual(['enc bob in-use', 'sign bob in-use']);
  });

  it('keeps the authorities between, so that the path is there when it is encrypted to', async () => {
    const site = await makeSite();
    await harvest(site, await makeList(site), bob);
    const kept = await site.database.q.selectFrom('certificates').select('subject').execute();
    expect(kept.map((row) => row.subject)).toContain('CN=Middle');
  });

  it('another key waits, and the one in use stays', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    await harvest(site, list, bob);
    await harvest(site, list, changed, { at: now + hour });
    expect(await states(site)).toEqual([
      'enc bob in-use',
      'enc changed pending',
      'sign bob in-use',
      'sign changed pending',
    ]);
    expect((await inUse(site.database.q, address, 'enc'))?.sha256).toBe(idOf(bob));
  });

  it('what the owner refused does not come in by being sent again', async () => {
    const site = await makeSite();
    const list = await makeList(site, { 'harvest.first': 'owner' });
    await harvest(site, list, bob);
    for (const purpose of ['sign', 'enc'] as const)
      await setBindingState(site.database.q, { address, purpose, sha256: idOf(bob) }, 'refused');
    const open = await makeList(site, {}, 'council');
    await harvest(site, open, bob, { at: now + hour });
    expect(await states(site)).toEqual(['enc bob refused', 'sign bob refused']);
    await harvest(site, open, changed, { at: now + hour });
    expect(await inUse(site.database.q, address, 'enc')).toBeNull();
  });

  it('keeps capabilities by key, the newest', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const { spkiSha256 } = parseCertificate(bob.certDer);
    await harvest(site, list, bob, { at: now, capabilities: Buffer.from('new') });
    await harvest(site, list, bob, { at: now - hour, capabilities: Buffer.from('old') });
    expect((await capabilitiesOf(site.database.q, spkiSha256))?.der.toString()).toBe('new');
  });
});

describe('mirrorAddress', () => {
  it("writes Sympa's file names", async () => {
    const site = await makeSite();
    const list = await makeList(site, { harvest: 'verified' });
    const folder = join(site.folder, 'certificates');
    await harvest(site, list, bob);
    await mirrorAddress(site.database.q, folder, address);
    expect(readdirSync(folder)).toEqual([address]);
    expect(readFileSync(join(folder, address), 'utf8').trim()).toBe(bob.certPem.trim());
    const signs = await ca.issue({ name: 'Bob', address, usage: 'digitalSignature' });
    await harvest(site, list, signs, { at: now + 1000 });
    await mirrorAddress(site.database.q, folder, address);
    expect(readdirSync(folder).sort()).toEqual([`${address}@enc`, `${address}@sign`]);
    expect(readFileSync(join(folder, `${address}@sign`), 'utf8').trim()).toBe(signs.certPem.trim());
  });
});
