import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { headerOf } from '../kit/smime-mime.ts';
import { clearPost, failureReport } from './posts.ts';
import { type List, makeWorld, type Sent, until, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(async () => {
  await world.stop();
  expect(world.leaks()).toEqual([]);
});

const author = 'alice@example.org';
const bob = 'bob@example.org';

/** A post whose copies the relay took, and its Message-ID. */
async function delivered(list: List): Promise<{ id: string; messageId: string }> {
  const post = clearPost(author, list.address);
  const { id } = await world.post(post, list.address);
  await world.untilDeliveries(id, (rows) => rows.every((row) => row.state === 'delivered'));
  return { id, messageId: headerOf(post, 'Message-ID') ?? '' };
}

interface Report {
  readonly for?: string;
  readonly messageId?: string;
  readonly status?: string;
  readonly action?: string;
  readonly to?: string;
  readonly from?: string;
}

/** What a mail server sends back when the copy it took comes to nothing. */
function sendReport(list: List, d: Report): Promise<Sent> {
  const { for: member = 'forwarded@elsewhere.example', messageId = '<nobody.knows@it.example>' } = d;
  const { to = list.at('bounces'), from = '', ...said } = d;
  const header = [
    'From: MAILER-DAEMON@mx.example',
    `To: ${to}`,
    'Subject: Undelivered Mail Returned to Sender',
    'MIME-Version: 1.0',
    '',
  ];
  const report = failureReport({ ...said, member, messageId });
  return world.send(Buffer.concat([Buffer.from(header.join('\r\n')), report]), to, from);
}

async function scoreOf(list: List, address: string): Promise<number> {
  const { stdout } = await world.daemon.run(['member', 'show', list.address, address, '--json']);
  return JSON.parse(stdout).bounces.score;
}

const bouncesIn = async (id: string) => (await world.ledger(id)).filter((line) => line.startsWith('bounce'));

/** The sender of a member's copy, as his mail server saw it. */
function senderOf(messageId: string, member: string): string {
  const copy = world.sink.messages.find(
    ({ to, bytes }) => to.includes(member) && headerOf(bytes, 'Message-ID') === messageId,
  );
  if (copy === undefined) throw new Error('he got his copy');
  return copy.from;
}

describe('a copy that comes back', () => {
  it('by VERP counts against the member whom its sender names, wherever his mail was forwarded', async () => {
    const list = await world.list({ bare: [author, bob], settings: { 'send.verp': 'yes' } });
    const { id, messageId } = await delivered(list);
    const sent = await sendReport(list, { to: senderOf(messageId, bob), messageId });
    expect(await world.fate(sent)).toMatchObject({ event: 'bounce', members: [bob] });
    await until(async () => (await scoreOf(list, bob)) === 1);
    expect(await scoreOf(list, author)).toBe(0);
    expect(await bouncesIn(id)).toEqual([`bounce 5.1.1 ${bob}`]);
    const told = await world.daemon.run(['explain', id]);
    expect(told.stdout.replace(/\s+/g, ' ')).toMatch(
      /bounce the copy for bob@example\.org came back: 5\.1\.1 550 no such user/,
    );
  }, 30_000);

  it.each<[string, (d: { list: List; messageId: string; other: string }) => string]>([
    ['LIST-bounces', ({ list }) => list.at('bounces')],
    ['an address with a tag that was guessed', ({ list }) => list.at('bounces+abcdefgh=bob=example.org')],
    ['the sender of his copy of another post', ({ other }) => senderOf(other, bob)],
    [
      'the sender of somebody else\u2019s copy, changed to his',
      ({ messageId }) => senderOf(messageId, author).replace('=alice=', '=bob='),
    ],
  ])(
    'by VERP does not count at %s: who cannot see his mail cannot forge it',
    async (_, to) => {
      const list = await world.list({
        bare: [author, bob],
        settings: { 'send.verp': 'yes', 'bounce.action': 'suspend', 'bounce.threshold': '1' },
      });
      const [{ id, messageId }, other] = [await delivered(list), await delivered(list)];
      const sent = await sendReport(list, {
        for: bob,
        to: to({ list, messageId, other: other.messageId }),
        messageId,
      });
      expect(await world.fate(sent)).toMatchObject({ event: 'bounce', members: [] });
      expect(await bouncesIn(id)).toEqual([]);
      expect(await scoreOf(list, bob)).toBe(0);
    },
    30_000,
  );

  it('by VERP counts against one whose address is too long for its sender, and against nobody else with it', async () => {
    const long = `${'very-'.repeat(8)}long@mail.example.org`;
    const list = await world.list({ bare: [author, bob, long], settings: { 'send.verp': 'yes' } });
    const { messageId } = await delivered(list);
    const to = senderOf(messageId, long);
    expect(to).toMatch(/-bounces\+[a-z2-7]{8}@/);
    expect(await world.fate(await sendReport(list, { for: bob, to, messageId }))).toMatchObject({
      members: [],
    });
    expect(await world.fate(await sendReport(list, { for: long, to, messageId }))).toMatchObject({
      members: [long],
    });
  }, 30_000);

  it('without a tag at all is sent to nobody: there is no such address', async () => {
    const list = await world.list({ bare: [author, bob], settings: { 'send.verp': 'yes' } });
    const sent = await sendReport(list, { to: list.at('bounces+bob=example.org') });
    expect(sent).toMatchObject({ code: 550 });
  });

  it('after two weeks counts no more', async () => {
    const list = await world.list({ bare: [author, bob] });
    const { id, messageId } = await delivered(list);
    const longAgo = Date.now() - 15 * 24 * 3_600_000;
    await world.onDatabase((q) =>
      q.updateTable('deliveries').set({ finishedAt: longAgo }).where('member', '=', bob).execute(),
    );
    await world.fate(await sendReport(list, { for: bob, messageId }));
    expect(await bouncesIn(id)).toEqual([]);
  }, 30_000);

  it('to LIST-bounces counts against the member whom the report names', async () => {
    const list = await world.list({ bare: [author, bob] });
    const { messageId } = await delivered(list);
    await world.fate(await sendReport(list, { for: bob, messageId }));
    await until(async () => (await scoreOf(list, bob)) === 1);
  }, 30_000);

  it('counts once, however often and on however many days it does, and nobody is answered', async () => {
    const list = await world.list({ bare: [author, bob] });
    const { id, messageId } = await delivered(list);
    const before = world.sink.messages.length;
    for (let n = 0; n < 10; n++) await world.fate(await sendReport(list, { for: bob, messageId }));
    expect(await bouncesIn(id)).toHaveLength(1);
    expect(await scoreOf(list, bob)).toBe(1);
    expect(world.sink.messages).toHaveLength(before);
  }, 30_000);

  it.each<[string, (d: { messageId: string; other: string }) => Report]>([
    ['names a message that nobody got', () => ({ for: bob })],
    ['names a post of another list', ({ other }) => ({ for: bob, messageId: other })],
    ['names somebody who got no copy', ({ messageId }) => ({ for: 'eve@example.org', messageId })],
    ['has a sender', ({ messageId }) => ({ for: bob, messageId, from: 'eve@example.org' })],
    ['tells of a delay', ({ messageId }) => ({ for: bob, messageId, action: 'delayed', status: '4.4.1' })],
    ['speaks of the message', ({ messageId }) => ({ for: bob, messageId, status: '5.7.1' })],
  ])(
    'does not count if the report %s',
    async (_, reportOf) => {
      const list = await world.list({ bare: [author, bob] });
      const elsewhere = await world.list({ bare: [author, bob] });
      const [{ messageId }, other] = [await delivered(list), await delivered(elsewhere)];
      const sent = await sendReport(list, reportOf({ messageId, other: other.messageId }));
      await world.fate(sent);
      expect((await bouncesIn(sent.id)).length).toBe(1);
      expect(await scoreOf(list, bob)).toBe(0);
    },
    30_000,
  );
});
