import { describe, expect, it } from 'vitest';
import { settleMissing } from '../../src/flow/delivery/missing.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { bind } from '../../src/store/bindings.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { claim, deliveriesOf, insertDeliveries } from '../../src/store/deliveries.ts';
import { ledgerOf } from '../../src/store/ledger.ts';
import { addRole } from '../../src/store/lists.ts';
import { findMessage } from '../../src/store/messages.ts';
import { certificate as certificateOf, copy, post } from '../store/fixtures.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const bob = 'bob@example.org';
const certificate = {
  usable: false,
  reason: 'expired',
  detail: 'the certificate expired (2025-12-31)',
} as const;
const unapproved = { usable: false, reason: 'pending', detail: 'it waits for an owner' } as const;

/** A post, and what becomes of one member's copy of it. */
async function postFor(
  site: TestSite,
  list: ListContext,
  id: string,
  member = bob,
  why: typeof certificate | typeof unapproved = certificate,
) {
  const posting = await post(site.database, list.id, id);
  const at = site.clock.now();
  const row = copy(posting, member, { createdAt: at, nextAt: at, expiresAt: at + 5 * day });
  await site.database.write((tx) => insertDeliveries(tx, [row]));
  const turn = { postingId: posting, lease: 'x', now: at, limit: 1, leaseMs: day };
  const [claimed] = await claim(site.database.q, turn);
  const message = await findMessage(site.database.q, id);
  if (!claimed || !message) throw new Error('nothing claimed');
  return {
    posting,
    settle: () => settleMissing(site, { list, message, row: claimed, certificate: why, language: 'de' }),
  };
}

async function settled(site: TestSite, list: ListContext, id: string, member = bob) {
  const { posting, settle } = await postFor(site, list, id, member);
  const settlement = await settle();
  await site.database.write(settlement.apply);
  await settlement.cleanUp();
  const [row] = await deliveriesOf(site.database.q, posting);
  return row;
}

const spooled = async (site: TestSite): Promise<number> => (await site.spool.messages()).length;

describe('a member without a usable certificate', () => {
  it('hold: the copy waits, he gets one notice, and both are in the ledger', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const row = await settled(site, list, 'm1');
    expect(row).toMatchObject({
      state: 'held',
      reason: 'expired',
      detail: certificate.detail,
      notifiedAt: t0,
      expiresAt: t0 + 14 * day,
      lease: null,
    });
    expect(site.notices).toMatchObject([
      {
        template: 'x509-user-cert-missing',
        to: bob,
        language: 'de',
        replyTo: 'sendcert',
        kind: 'auto-generated',
        variables: { reason: 'expired', waiting: 1, expires: '2026-01-19' },
      },
    ]);
    expect(
      (await ledgerOf(site.database.q, 'm1')).map((line) => [line.event, line.member, line.reason]),
    ).toEqual([['held', bob, 'expired']]);
    const [id] = await site.spool.messages();
    expect(await findMessage(site.database.q, id ?? '')).toMatchObject({
      origin: 'local',
      state: 'done',
      envelope: { to: [bob] },
    });
  });

  it('is told once, and again when missing.notice-every is over', async () => {
    const site = await makeSite();
    const list = await makeList(site, { 'missing.notice-every': '2d' });
    const told: (number | null)[] = [];
    for (const [index, days] of [0, 1, 0.9, 0.1].entries()) {
      site.clock.pass(days * day);
      told.push((await settled(site, list, `m${index}`))?.notifiedAt ?? null);
    }
    expect(told).toEqual([t0, null, null, t0 + 2 * day]);
    expect(site.notices.map((notice) => notice.variables.waiting)).toEqual([1, 4]);
    expect(await spooled(site)).toBe(2);
  });

  it('is told by each list, and each member for himself', async () => {
    const site = await makeSite();
    const [team, council] = [await makeList(site), await makeList(site, {}, 'council')];
    await settled(site, team, 'm1');
    await settled(site, council, 'm2');
    await settled(site, team, 'm3', 'carol@example.org');
    expect(site.notices.map((notice) => notice.to)).toEqual([bob, bob, 'carol@example.org']);
  });

  it('notify: told, and the copy is dropped', async () => {
    const site = await makeSite();
    const row = await settled(site, await makeList(site, { 'missing.action': 'notify' }), 'm1');
    expect(row).toMatchObject({ state: 'dropped', reason: 'expired', finishedAt: t0 });
    expect(site.notices).toMatchObject([{ to: bob, variables: { waiting: 0 } }]);
  });

  it('drop: not a word', async () => {
    const site = await makeSite();
    const row = await settled(site, await makeList(site, { 'missing.action': 'drop' }), 'm1');
    expect([row?.state, site.notices.length, await spooled(site)]).toEqual(['dropped', 0, 0]);
  });

  it('two batches at once make one notice, and the other one leaves no file', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const both = [await postFor(site, list, 'm1'), await postFor(site, list, 'm2')];
    const settlements = await Promise.all(both.map((one) => one.settle()));
    expect(await spooled(site)).toBe(2);
    for (const one of settlements) {
      await site.database.write(one.apply);
      await one.cleanUp();
    }
    expect(await spooled(site)).toBe(1);
    const rows = (await Promise.all(both.map((one) => deliveriesOf(site.database.q, one.posting)))).flat();
    expect(rows.map((row) => [row.state, row.notifiedAt])).toEqual([
      ['held', t0],
      ['held', null],
    ]);
  });

  it('a transaction that failed and is tried again tells once', async () => {
    const site = await makeSite();
    const { posting, settle } = await postFor(site, await makeList(site), 'm1');
    const settlement = await settle();
    const failing = site.database.write(async (tx) => {
      await settlement.apply(tx);
      throw new Error('another row of the group');
    });
    await expect(failing).rejects.toThrow('another row');
    await site.database.write(settlement.apply);
    await settlement.cleanUp();
    expect(await deliveriesOf(site.database.q, posting)).toMatchObject([{ state: 'held', notifiedAt: t0 }]);
    expect(await spooled(site)).toBe(1);
  });

  it('whose notice cannot be written is held all the same, and is told with the next post', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const row = await settled(site, list, 'm1', 'unwritable@example.org');
    expect(row).toMatchObject({ state: 'held', notifiedAt: null });
    expect(site.log.lines).toMatchObject([
      { level: 'error', event: 'notice-failed', code: 'template-error' },
      { level: 'info', event: 'copy-held', id: 'm1', member: 'unwritable@example.org', reason: 'expired' },
    ]);
  });

  it('the list itself as a member gets no notice: it would come back', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    expect((await settled(site, list, 'm1', list.address))?.state).toBe('held');
    expect(site.notices).toEqual([]);
  });
});

describe('a member whose certificate waits for an owner', () => {
  const olga = 'olga@example.org';

  async function arrange() {
    const site = await makeSite();
    const list = await makeList(site, { 'harvest.first': 'owner', 'missing.action': 'drop' });
    await addRole(site.database.q, { listId: list.id, address: olga, role: 'owner', name: '' });
    const used = certificateOf('bob');
    await site.database.write(async (tx) => {
      await upsertCertificate(tx, used);
      const binding = { address: bob, sha256: used.sha256, state: 'in-use', since: t0 } as const;
      await bind(tx, { ...binding, purpose: 'enc', source: 'harvested', signingTime: null });
    });
    const settle = async (id: string) => (await postFor(site, list, id, bob, unapproved)).settle();
    const questions = async () =>
      (await site.database.q.selectFrom('deliveries').select('member').execute()).filter(
        ({ member }) => member === olga,
      ).length;
    return { site, settle, questions };
  }

  it('the owner is asked once, in the transaction that writes what became of the copy', async () => {
    const { site, settle, questions } = await arrange();
    const both = [await settle('m1'), await settle('m2')];
    expect([await questions(), await spooled(site)]).toEqual([0, 2]);
    for (const one of both) {
      await site.database.write(one.apply);
      await one.cleanUp();
    }
    expect([await questions(), await spooled(site)]).toEqual([1, 1]);
  });

  it('is not asked about if the copy went its way meanwhile: the next one asks', async () => {
    const { site, settle, questions } = await arrange();
    const settlement = await settle('m1');
    await site.database.q
      .updateTable('deliveries')
      .set({ state: 'delivered', finishedAt: t0, lease: null })
      .execute();
    await site.database.write(settlement.apply);
    await settlement.cleanUp();
    expect([await questions(), await spooled(site)]).toEqual([0, 0]);
    const next = await settle('m2');
    await site.database.write(next.apply);
    expect(await questions()).toBe(1);
  });
});
