import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { brandComposed } from '../../src/base/bytes.ts';
import { recover } from '../../src/flow/pipeline/recover.ts';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { deliveriesOf, duePostings, nextDueAt } from '../../src/store/deliveries.ts';
import { ledgerOf } from '../../src/store/ledger.ts';
import { countOpen, findMessage, setMessageState } from '../../src/store/messages.ts';
import { newId } from '../../src/store/spool.ts';
import { recentCrashes, recordCleanStop, recordStart } from '../../src/store/starts.ts';
import { claimOldest } from '../kit/claim.ts';
import { copies, envelope, post } from '../store/fixtures.ts';
import { day, hour, minute, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const start = (site: TestSite, now = t0, boot = 'now') => recover({ ...site, boot, now });
const local = { ...envelope, client: 'local', protocol: 'local', helo: '' } as const;
const place = (site: TestSite, id: string, from: typeof envelope) =>
  site.spool.place(
    id,
    formatEnvelopeLine({ ...from, receivedAt: t0 }),
    brandComposed(Buffer.from('Subject: x\r\n\r\ny\r\n')),
  );

describe('recover', () => {
  it('gives back copies that were in flight, with their attempt counted', async () => {
    const site = await makeSite();
    const posting = await post(site.database, (await makeList(site)).id, 'm1');
    await copies(site.database, posting, 3);
    await claimOldest(site.database.q, { lease: 'dead', now: t0, limit: 2, leaseMs: day });
    await start(site);
    const rows = await deliveriesOf(site.database.q, posting);
    expect(rows.map((row) => [row.state, row.lease, row.attempts])).toEqual([
      ['pending', null, 1],
      ['pending', null, 1],
      ['pending', null, 0],
    ]);
    expect(rows.every((row) => row.nextAt <= t0)).toBe(true);
  });

  it('parks what was in work at the third start in five minutes, and nothing else', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    for (const id of ['opened', 'never']) await post(site.database, list.id, id);
    await countOpen(site.database.q, 'opened');
    await recordStart(site.database.q, { boot: 'first', at: t0 - 4 * minute });
    await start(site);
    expect(await findMessage(site.database.q, 'opened')).toMatchObject({ state: 'queued' });
    await start(site, t0 + 1000, 'again');
    expect(await findMessage(site.database.q, 'opened')).toMatchObject({
      state: 'parked',
      reason: 'parked',
      nextAt: t0 + 1000 + hour,
      detail: 'in work when the daemon died, which it did twice in five minutes',
    });
    expect(await findMessage(site.database.q, 'never')).toMatchObject({ state: 'queued' });
    expect(site.log.lines.find((line) => line.event === 'parked')).toMatchObject({
      level: 'warn',
      id: 'opened',
    });
  });

  it('parks a message whose copies were being sent as well: they wait, those of others do not', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const postings = await Promise.all(['sent', 'waits'].map((id) => post(site.database, list.id, id)));
    for (const posting of postings) await copies(site.database, posting, 3);
    const done = { state: 'done', reason: null, detail: null, nextAt: null } as const;
    for (const id of ['sent', 'waits']) await setMessageState(site.database.q, id, done);
    for (const boot of ['a', 'b']) await recordStart(site.database.q, { boot, at: t0 - minute });
    await claimOldest(site.database.q, { lease: 'dead', now: t0, limit: 2, leaseMs: day });
    await start(site);
    expect(await findMessage(site.database.q, 'sent')).toMatchObject({ state: 'parked', nextAt: t0 + hour });
    expect((await ledgerOf(site.database.q, 'sent')).map((line) => line.event)).toEqual(['parked']);
    const due = () => duePostings(site.database.q, { now: t0 });
    expect((await due()).map((one) => one.postingId)).toEqual([postings[1]]);
    await claimOldest(site.database.q, { lease: 'now', now: t0, limit: 10, leaseMs: day });
    expect(await nextDueAt(site.database.q)).toBeNull();
    await setMessageState(site.database.q, 'sent', done);
    expect((await due()).map((one) => one.postingId)).toEqual([postings[0]]);
  });

  it.each(['parked', 'unopened'] as const)(
    'parks again what was opened again after it was %s, and leaves alone what was not due',
    async (state) => {
      const site = await makeSite();
      const list = await makeList(site);
      for (const [id, nextAt] of [
        ['due', t0 - 1],
        ['later', t0 + minute],
        ['never', null],
      ] as const) {
        await post(site.database, list.id, id);
        await countOpen(site.database.q, id);
        await setMessageState(site.database.q, id, { state, reason: 'x', detail: null, nextAt });
      }
      for (const boot of ['a', 'b']) await recordStart(site.database.q, { boot, at: t0 - minute });
      await start(site);
      const found = async (id: string) => (await findMessage(site.database.q, id)) ?? {};
      expect(await found('due')).toMatchObject({ state: 'parked', reason: 'parked', nextAt: t0 + hour });
      expect(await found('later')).toMatchObject({ state, nextAt: t0 + minute });
      expect(await found('never')).toMatchObject({ state, nextAt: null });
    },
  );

  it('does not count deaths that a clock wrote which was ahead', async () => {
    const site = await makeSite();
    await post(site.database, (await makeList(site)).id, 'm1');
    await countOpen(site.database.q, 'm1');
    for (const boot of ['a', 'b', 'c', 'd']) await recordStart(site.database.q, { boot, at: t0 + day });
    await start(site);
    expect(await findMessage(site.database.q, 'm1')).toMatchObject({ state: 'queued' });
  });

  it('does not count deaths long ago, nor ends in good order', async () => {
    const site = await makeSite();
    await post(site.database, (await makeList(site)).id, 'm1');
    await countOpen(site.database.q, 'm1');
    for (const boot of ['a', 'b', 'c', 'd'])
      await recordStart(site.database.q, { boot, at: t0 - 6 * minute });
    for (const boot of ['e', 'f', 'g', 'h']) {
      await recordStart(site.database.q, { boot, at: t0 - minute });
      await recordCleanStop(site.database.q, boot);
    }
    await start(site);
    expect(await findMessage(site.database.q, 'm1')).toMatchObject({ state: 'queued' });
    expect(await recentCrashes(site.database.q, { now: t0, windowMs: 5 * minute })).toBe(1);
  });

  it('a file without a row: our own unsent mail goes, anything else is put aside and never sent', async () => {
    const site = await makeSite();
    const [ours, posted, rubbish, known] = [newId(t0), newId(t0), newId(t0), newId(t0)];
    await place(site, ours, local as never);
    await place(site, posted, envelope);
    await place(site, known, envelope);
    writeFileSync(join(site.folder, 'spool', 'messages', rubbish), 'no envelope');
    await post(site.database, (await makeList(site)).id, known);
    await start(site);
    expect(await site.spool.messages()).toEqual([known]);
    expect((await site.spool.quarantined()).map((one) => one.id).sort()).toEqual([posted, rubbish].sort());
    expect(await ledgerOf(site.database.q, posted)).toMatchObject([
      { event: 'quarantined', reason: 'no-row' },
    ]);
    await start(site, t0 + 1000, 'again');
    expect((await site.spool.quarantined()).length).toBe(2);
  });

  it('removes what was never answered with 250', async () => {
    const site = await makeSite();
    writeFileSync(join(site.folder, 'spool', 'tmp', newId(t0)), 'half a mess');
    await start(site, Date.now() + minute);
    expect(readdirSync(join(site.folder, 'spool', 'tmp'))).toEqual([]);
  });

  it('on an empty site does nothing but say so', async () => {
    const site = await makeSite();
    await start(site);
    expect(site.log.events()).toEqual(['recovered']);
  });
});
