import { describe, expect, it } from 'vitest';
import { storyLines } from '../../src/cli/story.ts';
import { clientOf } from '../../src/cli/story-words.ts';
import { storiesOf } from '../../src/flow/operator/explain.ts';
import type { Layer } from '../../src/smime/layers.ts';
import type { Database } from '../../src/store/database.ts';
import { insertDeliveries } from '../../src/store/deliveries.ts';
import { record } from '../../src/store/ledger.ts';
import { setMessageState } from '../../src/store/messages.ts';
import { defer, finish, hold } from '../../src/store/outcomes.ts';
import { recordVerdict, releasePosting, setPostingState } from '../../src/store/postings.ts';
import { claimOldest } from '../kit/claim.ts';
import { copy, day, envelope, listNamed, minute, openTest, post, sha256, t0 } from '../store/fixtures.ts';

const id = '01kd0000000000000000000001';
const list = 'council@lists.example.org';
const second = 1000;

const layers: readonly Layer[] = [
  {
    kind: 'encrypted',
    form: 'enveloped',
    cipher: 'aes-256-cbc',
    keyTransport: 'rsa',
    keyAgreement: null,
    kdf: null,
    wrap: null,
    recipients: 1,
    opened: true,
    keySha256: sha256('list'),
    reason: null,
  },
  {
    kind: 'signed',
    form: 'detached',
    reasons: [],
    signers: [
      {
        subject: 'CN=Alice',
        issuer: 'CN=Test CA',
        certificate: sha256('alice'),
        addresses: ['alice@example.org'],
        digest: 'sha256',
        algorithm: 'rsa-sha256',
        intact: true,
        trusted: true,
        signingTime: t0,
        reasons: [],
        flaws: [],
        remarks: [],
        missingIssuer: null,
      },
    ],
  },
];

/** A post that a moderator released the day after; one copy of each fate. */
async function arrange(database: Database): Promise<void> {
  const { id: listId } = await listNamed(database);
  const change = { envelope: { ...envelope, client: 'unknown [192.0.2.1]' }, messageId: '<a.1@example.org>' };
  const posting = await post(database, listId, id, change);
  const about = { messageId: id, list };
  const certificate = (purpose: 'sign' | 'enc') => ({
    ...about,
    at: t0 + second,
    member: 'alice@example.org',
    event: 'harvested' as const,
    detail: `${purpose === 'sign' ? 'signing' : 'encryption'} certificate of CN=Alice, issued by CN=Test CA`,
    data: { sha256: sha256('alice'), purpose, subject: 'CN=Alice', issuer: 'CN=Test CA' },
  });
  const verdict = {
    decision: 'held',
    rule: 'accept.max-age',
    verdict: 'signed',
    author: 'alice@example.org',
    from: 'alice@example.org',
    reasons: [],
    layers,
  };
  const decidedAt = t0 + 2 * second;
  const held = { state: 'held', reason: 'stale', verdict, prepared: {}, decidedAt } as const;
  const releasedAt = t0 + day;
  const detail = 'the signature is older than this list accepts';
  await setMessageState(database.q, id, { state: 'done', reason: null, detail: null, nextAt: null });
  await recordVerdict(database.q, posting, held);
  await database.write(async (tx) => {
    await record(tx, [
      { at: t0, messageId: id, event: 'received', detail: 'received from unknown [192.0.2.1], 1000 octets' },
      certificate('sign'),
      certificate('enc'),
      { ...about, at: decidedAt, postingId: posting, event: 'held', reason: 'stale', detail, data: verdict },
      { ...about, at: releasedAt, postingId: posting, event: 'released', detail: 'released by olga' },
    ]);
    await releasePosting(tx, posting, { state: 'fanning-out', reason: 'stale' });
    await insertDeliveries(
      tx,
      ['ann', 'bob', 'carol', 'dave', 'erin'].map((name) =>
        copy(posting, `${name}@example.org`, { createdAt: releasedAt, expiresAt: releasedAt + 5 * day }),
      ),
    );
    await setPostingState(tx, posting, 'distributing');
    const rows = await claimOldest(tx, { lease: 'x', now: releasedAt, limit: 10, leaseMs: minute });
    const idOf = (name: string) => rows.find((row) => row.member.startsWith(name))?.id ?? 0;
    const sealed = (name: string, keyTransport: string) => ({
      id: idOf(name),
      certificate: sha256(name),
      cipher: 'aes-256-cbc',
      keyTransport,
    });
    const at = releasedAt + 3 * second;
    await finish(
      tx,
      [
        {
          ...sealed('ann', 'rsa'),
          state: 'delivered',
          reason: null,
          detail: null,
          relay: 'mx1.example:25',
          reply: '250 2.0.0 Ok: queued as 1',
        },
        {
          ...sealed('dave', 'ecdh'),
          state: 'failed',
          reason: '5.1.1',
          detail: 'the relay refused it at RCPT: 550 5.1.1 no such user',
          relay: 'mx2.example:25',
          reply: '550 5.1.1 no such user',
        },
      ],
      at,
    );
    await defer(
      tx,
      [
        {
          ...sealed('bob', 'ecdh'),
          reason: '4.2.2',
          detail: 'the relay did not take it: 452 4.2.2 mailbox full',
          relay: 'mx1.example:25',
          reply: '452 4.2.2 mailbox full',
          nextAt: at + 5 * minute,
        },
      ],
      at,
    );
    const noCertificate = (name: string) => ({
      id: idOf(name),
      reason: 'no-certificate',
      detail: `no certificate is known for ${name}@example.org`,
      expiresAt: releasedAt + 14 * day,
    });
    await hold(tx, [noCertificate('carol'), noCertificate('erin')], at);
  });
}

describe('the story of a message', () => {
  it('is told in full, folded to 80 columns where it is no table', async () => {
    const database = await openTest();
    await arrange(database);
    const [story] = await storiesOf(database.q, 'a.1@example.org', null);
    if (!story) throw new Error('there is no story');
    const lines = storyLines(story, { width: 80 });
    expect(lines.filter((line) => line.length > (/^ {2}\S+ +[\w-]+ {2}.* {2}/.test(line) ? 90 : 80))).toEqual(
      [],
    );
    await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('golden/story.txt');
  });

  it('names the relay of each copy where there are several', async () => {
    const database = await openTest();
    await arrange(database);
    const [story] = await storiesOf(database.q, 'a.1@example.org', null);
    if (!story) throw new Error('there is no story');
    const one = storyLines(story, { width: 100 });
    expect(one.join('\n')).not.toContain('mx1');
    const lines = storyLines(story, { width: 100, namesRelays: true });
    const ofTable = (name: string) => lines.find((line) => line.startsWith(`  ${name}@example.org `))?.trim();
    expect(lines.find((line) => line.startsWith('  MEMBER'))).toMatch(/ TRIES {2}RELAY$/);
    expect(ofTable('ann')).toMatch(/ delivered .* 1 {6}mx1\.example:25$/);
    expect(ofTable('dave')).toMatch(/ failed .* 1 {6}mx2\.example:25$/);
    expect(ofTable('carol')).toMatch(/ held .* 1 {6}-$/);
    const history = lines.slice(lines.findIndex((line) => line.startsWith('History')));
    expect(history.join(' ').replace(/\s+/g, ' ')).toMatch(
      /failed dave@example\.org: the relay refused it at RCPT: 550 5\.1\.1 no such user \(relay mx2\.example:25\)/,
    );
  });

  it('names twenty members of each state, and counts the others', async () => {
    const database = await openTest();
    const { id: listId } = await listNamed(database);
    const posting = await post(database, listId, id);
    const until = t0 + 5 * day;
    const verdict = {
      decision: 'authorized',
      rule: 'member-may-post',
      verdict: 'signed',
      reasons: [],
      layers,
    };
    await recordVerdict(database.q, posting, {
      state: 'distributing',
      reason: null,
      verdict,
      prepared: {},
      decidedAt: t0,
    });
    await database.write(async (tx) => {
      const names = Array.from({ length: 300 }, (_, n) => `many-${n}@example.org`);
      await insertDeliveries(
        tx,
        names.map((name) => copy(posting, name, { createdAt: t0, expiresAt: until })),
      );
      const rows = await claimOldest(tx, { lease: 'x', now: t0, limit: 300, leaseMs: minute });
      const held = rows.slice(0, 150);
      const why = (member: string) => ({
        reason: 'pending',
        detail: `one for ${member} waits`,
        expiresAt: until,
      });
      await hold(
        tx,
        held.map((row) => ({ id: row.id, ...why(row.member) })),
        t0,
      );
      const gone = { state: 'failed', reason: '5.1.1', detail: 'no such user', reply: '550 no' } as const;
      await finish(
        tx,
        rows.slice(150).map((row) => ({ id: row.id, ...gone })),
        t0,
      );
    });
    const [story] = await storiesOf(database.q, id, null);
    if (!story) throw new Error('there is no story');
    const text = storyLines(story, { width: 80, most: 20 }).join('\n');
    expect(text.split('\n').length).toBeLessThan(240);
    expect(text).toMatch(/^ {2}300 copies: (150 failed, 150 held|150 held, 150 failed)\.$/m);
    expect(text.replace(/\s+/g, ' ')).toContain(
      `and 260 more: \`reseal explain ${id} --all\` names all, --member one.`,
    );
    expect(text).toContain('and 260 more lines about members');
    const all = storyLines(story, { width: 80 }).join('\n');
    for (let n = 0; n < 300; n++) expect(all).toMatch(new RegExp(`^ {2}many-${n}@`, 'm'));
  });

  it('of one that was refused in its session says by whom and what would change it', async () => {
    const database = await openTest();
    await database.write((tx) =>
      record(tx, {
        at: t0,
        messageId: id,
        list,
        event: 'refused',
        reason: 'may-not-post',
        detail: 'refused at the end of DATA: 5.7.1 You may not post to this list',
        data: { from: 'mallory@example.org', client: 'mx.example [192.0.2.9]' },
      }),
    );
    const [story] = await storiesOf(database.q, id, null);
    expect(story && storyLines(story, { width: 100 })).toEqual([
      `Message ${id}, refused before it was taken: only the ledger knows it.`,
      `${list} refused it at 12:00:00 at the end of DATA: 5.7.1 You may not post to this`,
      'list (From mallory@example.org, sent by mx.example [192.0.2.9]).',
      'What would change it: make the author a member, or widen accept.from or accept.others of the list;',
      'then he sends it again.',
      '',
      'History, 2026-01-05 (UTC):',
      '  12:00:00  refused  refused at the end of DATA: 5.7.1 You may not post to this list',
    ]);
  });
});

it.each([
  ['a', 'unknown [192.0.2.1]', 'a [192.0.2.1]'],
  ['a', 'a [192.0.2.1]', 'a [192.0.2.1]'],
  ['a', 'b [192.0.2.1]', 'a (b [192.0.2.1])'],
  ['', 'unknown [192.0.2.1]', 'unknown [192.0.2.1]'],
  ['a', 'local', 'local'],
])('who calls himself %o and is %o is %o', (helo, receivedFrom, words) => {
  expect(clientOf({ helo, receivedFrom })).toBe(words);
});
