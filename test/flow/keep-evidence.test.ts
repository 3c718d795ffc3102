import { beforeAll, describe, expect, it } from 'vitest';
import { careForEvidence } from '../../src/flow/revocation/keep-evidence.ts';
import { parseCrl } from '../../src/pki/crl.ts';
import { deliveriesOf } from '../../src/store/deliveries.ts';
import { hold } from '../../src/store/outcomes.ts';
import { setPostingState } from '../../src/store/postings.ts';
import { newId } from '../../src/store/spool.ts';
import { claimOldest } from '../kit/claim.ts';
import { makeCa, type TestCa } from '../kit/pki.ts';
import { derOf } from '../kit/revocation.ts';
import { copies, post } from '../store/fixtures.ts';
import { lookUps } from './look-ups.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite } from './site.ts';

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

async function setUp(d: { mayFetch: boolean; crl?: Parameters<TestCa['crl']>[0] }) {
  const site = await makeSite();
  const all = await lookUps({ anchors: [ca], site, files: d.crl ? [derOf(ca.crl(d.crl))] : [] });
  const care = careForEvidence({ ...site, ...all, revocation: all.book, mayFetch: d.mayFetch });
  return { ...all, site, care };
}

/** Two copies that wait, for want of a list and of a certificate. */
async function waiting({ site }: Awaited<ReturnType<typeof setUp>>) {
  const list = await makeList(site);
  const posting = await post(site.database, list.id, newId(t0));
  await setPostingState(site.database.q, posting, 'distributing');
  await copies(site.database, posting, 2);
  const rows = await claimOldest(site.database.q, { lease: 'x', now: t0, limit: 10, leaseMs: day });
  const reasons = ['not-checked', 'no-certificate'];
  const held = rows.map(({ id }, n) => ({ id, reason: reasons[n] ?? '', detail: null, expiresAt: t0 + day }));
  await site.database.write((tx) => hold(tx, held, t0));
  return async () => (await deliveriesOf(site.database.q, posting)).map((row) => row.state);
}

describe('copies that wait for a revocation list', () => {
  it('are tried again each hour where lists may be fetched', async () => {
    const all = await setUp({ mayFetch: true });
    const states = await waiting(all);
    await all.care.keep();
    expect([await states(), all.site.woken()]).toEqual([['pending', 'held'], 1]);
  });

  it('are tried again where a list came with mail, and else wait', async () => {
    const all = await setUp({ mayFetch: false });
    const states = await waiting(all);
    await all.care.keep();
    expect(await states()).toEqual(['held', 'held']);
    const crls = [{ crl: parseCrl(derOf(ca.crl())), url: null }];
    const proof = { authorities: all.authorities, open: new Set<string>(), path: [] };
    await all.book.keep({ crls, answers: [], issuers: [] }, proof);
    await all.care.keep();
    expect([await states(), all.site.woken()]).toEqual([['pending', 'held'], 1]);
  });
});

describe('a list in a file', () => {
  const outdated = (log: { lines: readonly { event: string }[] }) =>
    log.lines.filter((line) => line.event === 'crl-outdated');

  it('is warned of when its time is over, once', async () => {
    const all = await setUp({ mayFetch: false, crl: { nextUpdate: new Date(Date.now() + day) } });
    await makeList(all.site);
    await makeList(all.site, {}, 'second');
    await all.care.warn();
    expect(outdated(all.site.log)).toEqual([]);
    all.clock.pass(2 * day);
    await all.care.keep();
    await all.care.warn();
    expect(outdated(all.site.log)).toEqual([
      expect.objectContaining({
        level: 'warn',
        issuer: 'CN=Test Root',
        remedy: expect.stringContaining('SIGHUP'),
      }),
    ]);
  });

  it('is nobody’s concern where revocation is off', async () => {
    const all = await setUp({ mayFetch: false, crl: { nextUpdate: new Date(Date.now() - day) } });
    await makeList(all.site, { revocation: 'off' });
    await all.care.warn();
    expect(outdated(all.site.log)).toEqual([]);
  });
});
