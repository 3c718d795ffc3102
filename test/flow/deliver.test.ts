import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { brandComposed } from '../../src/base/bytes.ts';
import { type DeliverParts, startDelivery } from '../../src/flow/delivery/deliver.ts';
import type { Keyring } from '../../src/flow/lists/keyring.ts';
import { openCache } from '../../src/flow/post/open-cache.ts';
import { prepareFor } from '../../src/flow/post/prepare.ts';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { type CryptoWorkers, workerFault } from '../../src/smime/workers.ts';
import type { Copy } from '../../src/smtp/pool.ts';
import type { RelayedOutcome, Relays } from '../../src/smtp/relays.ts';
import { countByState, deliveriesOf, insertDeliveries } from '../../src/store/deliveries.ts';
import { addMembers } from '../../src/store/members.ts';
import { findPosting, recordVerdict } from '../../src/store/postings.ts';
import type { DeliveryRow, PostingState } from '../../src/store/schema.ts';
import { newId } from '../../src/store/spool.ts';
import { copy, envelope, memberName, openTest, post } from '../store/fixtures.ts';
import { t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const bob = 'bob@example.org';

const taken: RelayedOutcome = {
  to: bob,
  relay: 'mail.example:25',
  ofRecipient: false,
  kind: 'delivered',
  relayDown: false,
  code: 250,
  enhanced: '2.0.0',
  command: null,
  text: '250 2.0.0 taken',
};

/** A relay that takes every copy and keeps it; `first` resolves when the first one has come. */
function takingRelay() {
  const sent: Copy[] = [];
  let come = () => {};
  const first = new Promise<void>((resolve) => {
    come = resolve;
  });
  const send: Relays['send'] = async (one, settle) => {
    sent.push(one);
    come();
    await settle(one.to.map((to) => ({ ...taken, to })));
  };
  return {
    sent,
    first,
    send,
    connections: 1,
    turn: <T>(_copy: unknown, work: () => Promise<T>) => work(),
    together: (addresses: readonly string[]) => [[...addresses]],
  };
}

/** The delivery of a site whose posts came in clear and leave in clear: it has no worker and no key. */
function deliveryOf(site: TestSite, relays: DeliverParts['relays']) {
  return startDelivery({
    ...site,
    relays,
    lease: 'here',
    random: () => 0.5,
    workers: {} as CryptoWorkers,
    keyring: {} as Keyring,
    cache: openCache({ octets: 0, ageMs: 0, clock: site.clock }),
    findRecipients: async () => new Map(),
    openedSize: 1000,
    secret: Buffer.alloc(32),
  });
}

/** A post in clear that is in `state`, with one copy that is due. */
async function clearPost(
  site: TestSite,
  state: PostingState,
  prepared: Record<string, unknown> = {},
  members: readonly string[] = [bob],
) {
  const list = await makeList(site);
  await addMembers(
    site.database.q,
    list.id,
    members.map((address) => ({ address, name: '', since: t0 })),
  );
  const id = newId(t0);
  const line = formatEnvelopeLine({ ...envelope, receivedAt: t0 });
  await site.spool.place(id, line, brandComposed(Buffer.from('Subject: Agenda\r\n\r\nText\r\n')));
  const posting = await post(site.database, list.id, id);
  const fixed = prepareFor(list, {
    mode: 'clear',
    spoolId: id,
    hostname: 'lists.example',
    envelope,
    receivedAt: t0,
    decidedAt: t0,
  });
  await recordVerdict(site.database.q, posting, {
    state,
    reason: null,
    verdict: { encrypted: false },
    prepared: { ...fixed, ...prepared },
    decidedAt: t0,
  });
  await site.database.write((tx) =>
    insertDeliveries(
      tx,
      members.map((member) => copy(posting, member)),
    ),
  );
  return posting;
}

describe('the delivery', () => {
  it('hands a due copy to the relay and ends posting and copy', async () => {
    const site = await makeSite();
    const posting = await clearPost(site, 'distributing');
    const relay = takingRelay();
    const delivery = deliveryOf(site, relay);
    delivery.wake();
    await relay.first;
    await delivery.stop();
    expect(relay.sent.map((one) => [one.to, one.body.toString()])).toEqual([[[bob], 'Text\r\n']]);
    expect(await deliveriesOf(site.database.q, posting)).toMatchObject([{ state: 'delivered', attempts: 1 }]);
    expect(await findPosting(site.database.q, posting)).toMatchObject({ state: 'done' });
  });

  it('has the attempt on record, committed, before the relay hears of the copy', async () => {
    const site = await makeSite();
    const posting = await clearPost(site, 'distributing');
    // As another process sees it.
    const other = await openTest(join(site.folder, 'reseal.db'));
    onTestFinished(() => other.close());
    const relay = takingRelay();
    let seen: DeliveryRow[] = [];
    const send: Relays['send'] = async (one, settle) => {
      seen = await deliveriesOf(other.q, posting);
      await relay.send(one, settle);
    };
    const delivery = deliveryOf(site, { ...relay, send });
    delivery.wake();
    await relay.first;
    await delivery.stop();
    expect(seen).toMatchObject([{ state: 'in-flight', attempts: 1, lease: 'here' }]);
  });

  it('leaves a posting open whose fan-out goes on: else its other members would get nothing', async () => {
    const site = await makeSite();
    const posting = await clearPost(site, 'fanning-out');
    const relay = takingRelay();
    const delivery = deliveryOf(site, relay);
    delivery.wake();
    await relay.first;
    await delivery.stop();
    expect(await deliveriesOf(site.database.q, posting)).toMatchObject([{ state: 'delivered' }]);
    expect(await findPosting(site.database.q, posting)).toMatchObject({ state: 'fanning-out' });
  });

  it('puts the copies off if what was fixed for them cannot be read, and goes on', async () => {
    const site = await makeSite();
    const posting = await clearPost(site, 'distributing', { mode: 'by pigeon' });
    const relay = takingRelay();
    const delivery = deliveryOf(site, relay);
    delivery.wake();
    await vi.waitFor(() => expect(site.log.events()).toEqual(['batch-failed']));
    await delivery.stop();
    expect(relay.sent).toEqual([]);
    expect(await deliveriesOf(site.database.q, posting)).toMatchObject([
      { state: 'deferred', reason: 'prepared-malformed' },
    ]);
  });

  it('prepares the next batch of a posting when the first copy of one begins', async () => {
    const site = await makeSite();
    const members = Array.from({ length: 350 }, (_, n) => memberName(n));
    const posting = await clearPost(site, 'distributing', {}, members);
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    let begun = 0;
    const delivery = deliveryOf(site, {
      ...takingRelay(),
      together: (addresses) => addresses.map((address) => [address]),
      turn: async (_, work) => {
        if (++begun > 1) await opened;
        return work();
      },
      send: async (one, settle) => {
        await opened;
        await settle(one.to.map((to) => ({ ...taken, to })));
      },
    });
    const inFlight = async () => (await countByState(site.database.q))['in-flight'];
    delivery.wake();
    await vi.waitFor(async () => expect(await inFlight()).toBe(200));
    for (let look = 0; look < 50; look++) expect(await inFlight()).toBe(200);
    open();
    await vi.waitFor(async () => expect(await countByState(site.database.q)).toEqual({ delivered: 350 }));
    await delivery.stop();
    expect(await findPosting(site.database.q, posting)).toMatchObject({ state: 'done' });
  });

  it('claims what comes due while copies of a batch that took all there was wait for their turn', async () => {
    const site = await makeSite();
    const posting = await clearPost(site, 'distributing', {}, [bob, memberName(8), memberName(9)]);
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const relay = takingRelay();
    const sent: string[] = [];
    const delivery = deliveryOf(site, {
      ...relay,
      together: (addresses) => addresses.map((address) => [address]),
      turn: async ({ to }, work) => {
        if (to === memberName(8) || to === memberName(9)) await opened;
        return work();
      },
      send: async (one, settle) => {
        sent.push(...one.to);
        await opened;
        await settle(one.to.map((to) => ({ ...taken, to })));
      },
    });
    delivery.wake();
    await vi.waitFor(() => expect(sent).toEqual([bob]));
    const later = Array.from({ length: 3 }, (_, n) => memberName(n));
    const { listId = 0 } = (await findPosting(site.database.q, posting)) ?? {};
    await addMembers(
      site.database.q,
      listId,
      later.map((address) => ({ address, name: '', since: t0 - 1 })),
    );
    await site.database.write((tx) =>
      insertDeliveries(
        tx,
        later.map((member) => copy(posting, member)),
      ),
    );
    delivery.wake();
    await vi.waitFor(() => expect(sent).toHaveLength(4));
    open();
    await vi.waitFor(async () => expect(await countByState(site.database.q)).toEqual({ delivered: 6 }));
    await delivery.stop();
  });

  it('waits for no answer of a relay that handed the copy on to the next', async () => {
    const site = await makeSite();
    await clearPost(site, 'distributing');
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const delivery = deliveryOf(site, {
      ...takingRelay(),
      connections: 4,
      send: async (one, settle, ending) => {
        ending?.();
        ending?.();
        await settle(one.to.map((to) => ({ ...taken, to })));
      },
    });
    delivery.wake();
    // Its timer would not come to an end.
    for (let turn = 0; turn < 2000; turn++) await new Promise((resolve) => setImmediate(resolve));
    const isWritten = (await countByState(site.database.q)).delivered;
    vi.useRealTimers();
    await delivery.stop();
    expect(isWritten).toBe(1);
  });

  it('that fails leaves alone what it put back: another batch may have it on its way', async () => {
    const site = await makeSite();
    const carol = 'carol@example.org';
    const posting = await clearPost(site, 'distributing', {}, [bob, carol]);
    const gate = () => {
      let open = () => {};
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      return { open, opened };
    };
    const [restarted, answered] = [gate(), gate()];
    const sent: string[] = [];
    let isBack = false;
    let hasFailed = false;
    const delivery = deliveryOf(site, {
      ...takingRelay(),
      together: (addresses) => addresses.map((address) => [address]),
      turn: async ({ to }, work, sendBack) => {
        if (to === carol) {
          if (hasFailed) return sendBack(60_000);
          hasFailed = true;
          await restarted.opened;
          throw workerFault('worker-restarted', { job: 'lines' });
        }
        if (isBack) return work();
        isBack = true;
        return sendBack(0);
      },
      send: async (one, settle) => {
        sent.push(...one.to);
        await answered.opened;
        await settle(one.to.map((to) => ({ ...taken, to })));
      },
    });
    delivery.wake();
    await vi.waitFor(() => {
      delivery.wake();
      expect(sent).toEqual([bob]);
    });
    restarted.open();
    await vi.waitFor(() => expect(site.log.events()).toContain('batch-failed'));
    for (let look = 0; look < 50; look++) {
      delivery.wake();
      expect(await deliveriesOf(site.database.q, posting)).toContainEqual(
        expect.objectContaining({ member: bob, state: 'in-flight' }),
      );
    }
    answered.open();
    await delivery.stop();
    expect(sent).toEqual([bob]);
  });

  it('stopped while it claims, gives back what it got', async () => {
    const site = await makeSite();
    const posting = await clearPost(site, 'distributing');
    const relay = takingRelay();
    const delivery = deliveryOf(site, relay);
    delivery.wake();
    await delivery.stop();
    expect(relay.sent).toEqual([]);
    expect(await deliveriesOf(site.database.q, posting)).toMatchObject([
      { state: 'pending', attempts: 0, lease: null },
    ]);
  });
});
