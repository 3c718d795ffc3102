import { describe, expect, it } from 'vitest';
import { silentLog } from '../../src/base/log.ts';
import { intake } from '../../src/flow/pipeline/intake.ts';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { newId, openSpool } from '../../src/store/spool.ts';
import { tempFolder } from '../kit/tmp.ts';
import { envelope, openTest, t0 } from '../store/fixtures.ts';

async function start() {
  const database = await openTest();
  const spool = await openSpool(tempFolder());
  const parts = {
    database,
    spool,
    defaults: {},
    serviceAddress: 'reseal@lists.example',
    node: 'here',
    log: silentLog,
  };
  const arrive = async () => {
    const id = newId(t0);
    const line = formatEnvelopeLine({ ...envelope, receivedAt: t0 });
    await spool.receive(id, line, [Buffer.from(`Subject: ${id}\r\n\r\ntext\r\n`)]);
    await spool.commit(id);
    return { id, refused: [] };
  };
  const rows = async () => {
    const messages = await database.q.selectFrom('messages').select('id').orderBy('id').execute();
    const lines = await database.q.selectFrom('ledger').select(['messageId', 'event']).execute();
    return { messages: messages.map((one) => one.id), lines };
  };
  return { parts, spool, arrive, rows };
}

describe('the intake of several messages', () => {
  it('gives each its row and its ledger line, and moves its file', async () => {
    const { parts, spool, arrive, rows } = await start();
    const arrivals = [await arrive(), await arrive(), await arrive()];
    const ids = arrivals.map((one) => one.id).sort();
    await intake(parts, arrivals);
    const { messages, lines } = await rows();
    expect(messages).toEqual(ids);
    expect(lines.map((one) => one.messageId).sort()).toEqual(ids);
    expect(new Set(lines.map((one) => one.event))).toEqual(new Set(['received']));
    expect(await spool.messages()).toEqual(ids);
    expect(await spool.incoming()).toEqual([]);
  });

  it('is all or none: beside one that cannot be read the others wait where they are', async () => {
    const { parts, spool, arrive, rows } = await start();
    const good = await arrive();
    const gone = { id: newId(t0), refused: [] };
    await expect(intake(parts, [good, gone])).rejects.toMatchObject({ code: 'spool-missing' });
    expect(await rows()).toEqual({ messages: [], lines: [] });
    expect(await spool.incoming()).toEqual([good.id]);
  });

  it('has one in memory at a time', async () => {
    const { parts, spool, arrive } = await start();
    const arrivals = [await arrive(), await arrive(), await arrive()];
    let reading = 0;
    let most = 0;
    const read: typeof spool.read = async (id) => {
      most = Math.max(most, ++reading);
      const message = await spool.read(id);
      reading--;
      return message;
    };
    await intake({ ...parts, spool: { ...spool, read } }, arrivals);
    expect(most).toBe(1);
  });

  it('changes nothing when it is repeated, beside one that is new', async () => {
    const { parts, arrive, rows } = await start();
    const [first, second] = [await arrive(), await arrive()];
    await intake(parts, [first]);
    await intake(parts, [first, second]);
    const { messages, lines } = await rows();
    expect(messages).toHaveLength(2);
    expect(lines).toHaveLength(2);
  });
});
