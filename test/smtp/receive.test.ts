import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isFault } from '../../src/base/errors.ts';
import type { Envelope } from '../../src/mime/envelope.ts';
import type { Reply } from '../../src/smtp/receive.ts';
import { Client, parseDialogue, runDialogue } from '../kit/dialogue.ts';
import { tempFolder } from '../kit/tmp.ts';
import { startIntake } from './intake.ts';

const upToData = `
S: 220
C: EHLO client.example
S: 250
C: MAIL FROM:<a@sender.example>
S: 250
C: RCPT TO:<list@lists.example>
S: 250
C: DATA
S: 354
`;
const play = (port: number | null, text: string): Promise<void> =>
  runDialogue({ port: port ?? 0 }, parseDialogue(text));

/** A promise and its resolver. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let release: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { opened, open: () => release() };
}

describe('the stream that store reads', () => {
  it.each([
    ['client-gone', `${upToData}C: half\nHANGUP`],
    ['bare-line-end', `${upToData}C> a\\nb\\r\\n.\\r\\n\nS: 550 5.6.0`],
    ['message-too-big', `${upToData}C> ${'x'.repeat(1100)}\\r\\n.\\r\\n\nS: 552 5.3.4`],
  ])('throws Fault %s', async (code, text) => {
    const { receiver, aborted, settled, troubles } = await startIntake(new Map());
    await play(receiver.port, text);
    await receiver.close(100);
    await settled();
    expect(aborted).toHaveLength(1);
    expect(isFault(aborted[0], code)).toBe(true);
    // The client's own doing is nothing for our log of errors.
    expect(troubles).toEqual([]);
  });

  it('is not believed when store swallows what it throws', async () => {
    const committed: unknown[] = [];
    const { receiver, discarded } = await startIntake(new Map(), {
      store: async (_envelope: Envelope, message: AsyncIterable<Buffer>) => {
        try {
          for await (const _ of message);
        } catch {}
        return { id: 'half', bytes: Buffer.alloc(0) };
      },
      commit: async (stored) => {
        committed.push(stored);
      },
    });
    await play(receiver.port, `${upToData}C> a\\nb\\r\\n.\\r\\n\nS: 550 5.6.0`);
    await receiver.close(100);
    expect(committed).toEqual([]);
    expect(discarded.map((kept) => kept.id)).toEqual(['half']);
  });
});

describe('the order of 250 and commit', () => {
  it('the client hears 250 after commit only', async () => {
    const begun = gate();
    const may = gate();
    const order: string[] = [];
    const { receiver } = await startIntake(new Map(), {
      commit: async () => {
        begun.open();
        await may.opened;
        order.push('committed');
      },
    });
    const client = play(receiver.port, `${upToData}C: x\nC: .\nS: 250`).then(() => order.push('250'));
    await begun.opened;
    may.open();
    await client;
    expect(order).toEqual(['committed', '250']);
    await receiver.close(100);
  });

  it('a client that has gone changes nothing, and close waits for commit', async () => {
    const begun = gate();
    const may = gate();
    const order: string[] = [];
    const { receiver } = await startIntake(new Map(), {
      commit: async () => {
        begun.open();
        await may.opened;
        order.push('committed');
      },
    });
    await play(receiver.port, `${upToData}C: x\nC: .\nHANGUP`);
    await begun.opened;
    const closed = receiver.close(0).then(() => order.push('closed'));
    // Until nobody listens any more; a close that waits for nothing would be through by then.
    while (
      await play(receiver.port, 'S: 421').then(
        () => true,
        () => false,
      )
    );
    may.open();
    await closed;
    expect(order).toEqual(['committed', 'closed']);
  });

  it('a judge with the wrong number of replies is not followed', async () => {
    const { receiver, committed, troubles } = await startIntake(new Map(), {
      judge: async (): Promise<Reply[]> => [],
    });
    await play(receiver.port, `${upToData}C: x\nC: .\nS: 451 4.3.0`);
    await receiver.close(100);
    expect(committed).toEqual([]);
    expect(troubles).toEqual(['judge']);
  });
});

describe('limits', () => {
  it('one client too many gets 421, and the place is free again when another leaves', async () => {
    const turnedAway: unknown[] = [];
    const { receiver } = await startIntake(new Map(), {
      maxClients: 1,
      turnedAway: (...which) => turnedAway.push(which),
    });
    const port = receiver.port ?? 0;
    const first = new Client({ port });
    expect(await first.reply()).toMatch(/^220 /);
    await play(port, 'S: 421 lists.example Too many\nEND');
    expect(turnedAway).toEqual([['all', '127.0.0.1']]);
    first.send('QUIT\r\n');
    expect(await first.reply()).toMatch(/^221 /);
    expect(await first.reply()).toBeNull();
    await play(port, 'S: 220');
    await receiver.close(100);
  });

  it('of one address: one client too many gets 421 with the reason, and others come in', async () => {
    const { receiver } = await startIntake(new Map(), { maxPerAddress: 2 });
    const port = receiver.port ?? 0;
    const kept = [new Client({ port }), new Client({ port })];
    for (const client of kept) expect(await client.reply()).toMatch(/^220 /);
    const many = Array.from({ length: 30 }, () => new Client({ port }));
    for (const client of many) {
      expect(await client.reply()).toBe(
        '421 4.7.0 too many connections from your address, try again in a moment (127.0.0.1)',
      );
      expect(await client.reply()).toBeNull();
    }
    const other = new Client({ port, from: '127.0.0.2' });
    expect(await other.reply()).toMatch(/^220 /);
    await kept[0]?.hangUp();
    let greeting: string | null;
    do greeting = await new Client({ port }).reply();
    while (greeting?.startsWith('421'));
    expect(greeting).toMatch(/^220 /);
    await receiver.close(100);
  });

  it('are greeted at once: a mail server may make a connection for each message', async () => {
    const { receiver } = await startIntake(new Map());
    const began = performance.now();
    for (let n = 0; n < 30; n++) await play(receiver.port, 'S: 220\nC: QUIT\nS: 221\nEND');
    // With smtp-server's own delay of 100 ms it takes more than 3 s.
    expect(performance.now() - began).toBeLessThan(2500);
    await receiver.close(0);
  });

  it('a silent client is sent away', async () => {
    const { receiver } = await startIntake(new Map(), { idleMs: 200 });
    await play(receiver.port, 'S: 220\nS: 421 4.4.2\nEND');
    await receiver.close(0);
  });
});

describe('close', () => {
  /** Sends the lines and reads a reply to each, the greeting first. */
  async function upTo(client: Client, ...lines: string[]): Promise<void> {
    expect(await client.reply()).toMatch(/^220 /);
    for (const line of lines) {
      client.send(`${line}\r\n`);
      expect(await client.reply()).toMatch(/^(250|354)/);
    }
  }
  const transaction = ['EHLO c.example', 'MAIL FROM:<a@sender.example>', 'RCPT TO:<list@lists.example>'];

  it('lets open transactions finish, sends idle and new clients away with 421', async () => {
    const { receiver, committed } = await startIntake(new Map());
    const port = receiver.port ?? 0;
    const [idle, early, late] = [new Client({ port }), new Client({ port }), new Client({ port })];
    await upTo(idle, 'EHLO c.example');
    await upTo(early, ...transaction);
    await upTo(late, ...transaction, 'DATA');

    const closed = receiver.close(5000);
    expect(await idle.reply()).toMatch(/^421 4\.3\.2 /);
    expect(await idle.reply()).toBeNull();
    await play(port, 'S: 421 4.3.2 closing\nEND');

    early.send('DATA\r\n');
    expect(await early.reply()).toMatch(/^354/);
    for (const client of [early, late]) {
      client.send('x\r\n.\r\n');
      expect(await client.reply()).toMatch(/^250 2\.6\.0 accepted/);
      expect(await client.reply()).toMatch(/^421 4\.3\.2 /);
      expect(await client.reply()).toBeNull();
    }
    await closed;
    expect(committed).toHaveLength(2);
    await expect(play(port, 'S: 421')).rejects.toThrow('got END');
  });

  it('cuts what is left after the grace, and nothing of it is kept', async () => {
    const { receiver, aborted, stored, settled } = await startIntake(new Map());
    const client = new Client({ port: receiver.port ?? 0 });
    await upTo(client, ...transaction, 'DATA');
    client.send('half');
    await receiver.close(10);
    expect(await client.reply()).toBeNull();
    await settled();
    expect(aborted).toHaveLength(1);
    expect(stored).toEqual([]);
  });
});

describe('unix sockets', () => {
  it('have the mode asked for, say local, and go when closed', async () => {
    const path = join(tempFolder(), 'lmtp');
    const { receiver, envelopes } = await startIntake(new Map([['lmtp', '']]), {
      listen: { path, mode: 0o666 },
    });
    expect(receiver).toMatchObject({ address: path, port: null });
    expect(statSync(path).mode & 0o777).toBe(0o666);
    const text = upToData.replace('EHLO', 'LHLO');
    await runDialogue({ path }, parseDialogue(`${text}C: x\nC: .\nS: 250 2.6.0`));
    await receiver.close(100);
    expect(envelopes[0]?.client).toBe('local');
    expect(existsSync(path)).toBe(false);
  });

  it('replace a file that a dead process left', async () => {
    const path = join(tempFolder(), 'lmtp');
    const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', program]);
    expect(lstatSync(path).isSocket()).toBe(true);
    const { receiver } = await startIntake(new Map(), { listen: { path } });
    expect(statSync(path).mode & 0o777).toBe(0o660);
    await receiver.close(0);
  });

  it('are not taken away from a living process, nor is another file', async () => {
    const folder = tempFolder();
    const path = join(folder, 'lmtp');
    const { receiver } = await startIntake(new Map(), { listen: { path } });
    await expect(startIntake(new Map(), { listen: { path } })).rejects.toMatchObject({
      code: 'listen-failed',
    });
    expect(lstatSync(path).isSocket()).toBe(true);
    await receiver.close(0);
    writeFileSync(join(folder, 'file'), 'precious');
    const onFile = startIntake(new Map(), { listen: { path: join(folder, 'file') } });
    await expect(onFile).rejects.toMatchObject({ code: 'listen-failed' });
    expect(existsSync(join(folder, 'file'))).toBe(true);
  });
});

describe('listening', () => {
  it('says which address is taken', async () => {
    const { receiver } = await startIntake(new Map());
    const listen = { host: '127.0.0.1', port: receiver.port ?? 0 };
    await expect(startIntake(new Map(), { listen })).rejects.toThrow(
      new RegExp(`^cannot listen on 127.0.0.1:${receiver.port}: .*EADDRINUSE`),
    );
    await receiver.close(0);
  });

  it('says that a folder is missing', async () => {
    const path = join(tempFolder(), 'missing', 'lmtp');
    await expect(startIntake(new Map(), { listen: { path } })).rejects.toMatchObject({
      code: 'listen-failed',
    });
  });
});
