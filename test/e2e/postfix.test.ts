import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasProgram, needs } from '../kit/needs.ts';
import type { Identity } from '../kit/pki.ts';
import { freePort, type Postfix, startPostfix } from '../kit/postfix.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { sendMail } from '../kit/smtp-send.ts';
import { readCopy, secretEntity, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

const canRun = needs('Postfix and root to start one', hasProgram('postfix') && process.getuid?.() === 0);

/** The lines for main.cf as README.md prints them. */
function linesOfReadme(): string {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const [, lines] = /`\/etc\/postfix\/main\.cf`[^`]*```\n([\s\S]*?)```/.exec(readme) ?? [];
  if (!lines?.includes('127.0.0.1]:8024')) throw new Error('README.md has no lines for Postfix');
  return lines;
}

describe.skipIf(!canRun)('behind Postfix, with the lines of the README', () => {
  let world: World;
  let postfix: Postfix;
  let list: List;
  let author: Identity;
  let member: Identity;
  const gone = 'gone@example.org';

  beforeAll(async () => {
    const port = await freePort();
    world = await makeWorld({
      protocol: 'lmtp',
      // The rest of the world, where one member's mailbox is gone.
      sink: {
        answer: (stage, { line }) =>
          stage === 'RCPT' && line.includes(gone) ? '550 5.1.1 No such mailbox' : null,
      },
    });
    await world.daemon.stop();
    const yaml = join(world.root, 'etc/reseal.yaml');
    const ours = readFileSync(yaml, 'utf8');
    // TLS as by default: used if offered, though nobody knows the CA of this certificate.
    writeFileSync(yaml, ours.replace(/^relay: .*$/m, `relay: { port: ${port} }`));
    await world.restart();
    const lines = linesOfReadme()
      .replace('8024', String(world.daemon.port()))
      .replace(/(expire_time) = 1m/, '$1 = 2s');
    const tls = await world.ca.issue({ name: 'mail.example' });
    postfix = await startPostfix({ port, lines, worldPort: world.sink.port, tls });
    author = await world.person('author', { key: 'rsa' });
    member = await world.person('member');
    list = await world.list({ members: [author, member] });
  });
  afterAll(async () => {
    await postfix?.stop();
    await world?.stop();
  });

  afterEach(({ task }) => {
    if (task.result?.state === 'fail') console.log(postfix.log());
  });

  const send = (from: string, to: string, data: Buffer) =>
    sendMail({ port: postfix.port, from, to: [to], data });

  it('takes a post to the list in and the copies out', async () => {
    const entity = secretEntity();
    const post = await signedAndEncrypted(author, list, { entity });
    expect(await send(author.address, list.address, post)).toMatchObject({ code: 250 });
    for (const one of [author, member]) {
      const copy = await world.copyFor(one, post);
      expect(copy).toMatchObject({ from: list.at('bounces'), to: [one.address] });
      expect(headerOf(copy.bytes, 'Received')).toContain('mail.example');
      expect(await readCopy(world.ca, one, copy.bytes)).toEqual(entity);
    }
    expect(postfix.log()).toContain('TLS connection established');
  });

  it.each(['nobody@lists.example', 'list-1-nothing@lists.example'])(
    'refuses %s at the door',
    async (address) => {
      const result = await send(author.address, address, Buffer.from('Subject: x\r\n\r\nx\r\n'));
      expect(result).toMatchObject({ code: 550, text: expect.stringContaining('5.1.1') });
    },
  );

  it('knows a list that is made after its address was refused', async () => {
    const later = 'later@lists.example';
    const post = () => signedAndEncrypted(author, { address: later, identity: list.identity });
    expect(await send(author.address, later, await post())).toMatchObject({ code: 550 });
    const made = await world.list({ name: 'later', identity: list.identity, members: [author] });
    expect(made.address).toBe(later);
    await until(async () => (await send(author.address, later, await post())).code === 250);
  });

  it('asks nobody about the members: their mailboxes are not probed', async () => {
    const probes = world.sink.commands.filter((line) => /MAIL FROM:<double-bounce@/.test(line));
    expect(probes).toEqual([]);
  });

  it('brings bounces back, which are recorded and never answered', async () => {
    const other = await world.list({ members: [author], settings: { 'send.verp': 'yes' } });
    await world.join(other, await world.person('gone'));
    const post = await signedAndEncrypted(author, other);
    await send(author.address, other.address, post);
    const bounce = await world.daemon.logged((line) => line.event === 'bounce');
    await world.copyFor(author, post);
    const id = String(bounce.id);
    // Postfix had taken the copy: it counts against the member as a refusal would.
    expect(await world.ledger(id)).toContain('bounce gone@example.org');
    const shown = await world.daemon.run(['member', 'show', other.address, gone]);
    expect(shown.stdout).toMatch(/score 1 of 5.*\n.* 5\.1\.1 .*No such mailbox/);
    const composed = await world.onDatabase((q) =>
      q.selectFrom('messages').selectAll().where('origin', '=', 'local').execute(),
    );
    expect(composed).toEqual([]);
    expect(await world.deliveries(id)).toEqual([]);
  });
});
