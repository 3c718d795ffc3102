import { describe, expect, it } from 'vitest';
import { judgeableUntil } from '../../src/flow/decision/judge-again.ts';
import type { Reason } from '../../src/pki/reasons.ts';
import type { SignerVerdict } from '../../src/smime/layers.ts';
import type { Findings } from '../../src/smime/open.ts';
import { judgeAgain } from '../../src/store/judge-again.ts';
import { findMessage, markRemoved, messagesToClean, setMessageState } from '../../src/store/messages.ts';
import { findPosting, recordVerdict, releasePosting } from '../../src/store/postings.ts';
import type { PostingState } from '../../src/store/schema.ts';
import { day, listNamed, openTest, post, t0 } from '../store/fixtures.ts';
import { listWith, report } from './parts.ts';

const refused = { kind: 'refused', rule: 'accept.signature', reason: 'no-path' } as const;

const signedLayer = (reason: Reason, isOwn: boolean) => ({
  kind: 'signed' as const,
  form: 'detached' as const,
  reasons: [],
  signers: [{ flaws: [{ reason, subject: 'CN=x', issuer: 'CN=y', isOwn }] } as unknown as SignerVerdict],
});

describe('whether a decision may be taken anew', () => {
  it.each<[string, Partial<Findings>, boolean]>([
    ['nobody vouches for it', { verdict: 'untrusted', reasons: ['no-path'] }, true],
    ['its revocation is not known', { verdict: 'untrusted', reasons: ['crl-missing'] }, true],
    ['its signer is not known', { verdict: 'untrusted', reasons: ['signer-unknown'] }, true],
    ['a pin may name it', { verdict: 'mismatch', reasons: ['no-address'] }, true],
    ['it is weak', { verdict: 'untrusted', reasons: ['weak', 'weak-digest'] }, false],
    [
      'its own certificate had ended',
      { verdict: 'untrusted', reasons: ['expired'], layers: [signedLayer('expired', true)] },
      false,
    ],
    [
      'that of an authority had ended',
      { verdict: 'untrusted', reasons: ['expired'], layers: [signedLayer('expired', false)] },
      true,
    ],
    ['it was revoked', { verdict: 'untrusted', reasons: ['revoked'] }, false],
    ['it is broken', { verdict: 'invalid', reasons: ['bad-digest'] }, false],
    ['nobody signed it', { verdict: 'unsigned', reasons: ['no-signers'] }, false],
    ['it is too old', { verdict: 'signed', reasons: [] }, false],
  ])('%s: %o', (_, change, isOpen) => {
    const list = listWith({ 'unopened.retry-days': 3 });
    const until = judgeableUntil(list, report(change), { decision: refused, receivedAt: t0 });
    expect(until).toBe(isOpen ? t0 + 3 * day : null);
  });

  it('never of what was accepted or dropped', () => {
    const found = report({ verdict: 'untrusted', reasons: ['no-path'] });
    for (const decision of [
      { kind: 'authorized', rule: 'x', author: null } as const,
      { ...refused, kind: 'dropped' } as const,
    ])
      expect(judgeableUntil(listWith(), found, { decision, receivedAt: t0 })).toBeNull();
  });
});

describe('a decided posting that waits to be judged again', () => {
  async function decided(state: PostingState, retryUntil: number | null = t0 + day) {
    const database = await openTest();
    const list = await listNamed(database);
    const id = await post(database, list.id, 'a');
    const verdict = { state, reason: 'no-path', verdict: {}, prepared: null, decidedAt: t0, retryUntil };
    await recordVerdict(database.q, id, verdict);
    const over = { state: 'done', reason: null, detail: null, nextAt: null } as const;
    await setMessageState(database.q, 'a', over);
    const again = (now: number) => database.write((tx) => judgeAgain(tx, { now }));
    return { database, id, again, verdict };
  }

  it.each<[PostingState, number | null, number, number]>([
    ['held', t0 + day, t0 + 2 * day, 1],
    ['refused', t0 + day, t0 + day - 1, 1],
    ['refused', t0 + day, t0 + day, 0],
    ['refused', null, t0, 0],
    ['distributing', t0 + day, t0, 0],
    ['done', t0 + day, t0, 0],
    ['dropped', t0 + day, t0, 0],
  ])('%s until %s, asked at %s: %s', async (state, until, now, count) => {
    const { database, again } = await decided(state, until);
    expect(await again(now)).toBe(count);
    expect((await findMessage(database.q, 'a'))?.state).toBe(count === 1 ? 'queued' : 'done');
  });

  it('keeps its bytes as long, and cannot without them', async () => {
    const { database, again } = await decided('refused');
    const clean = (before: number) => messagesToClean(database.q, { node: 'node-a', before, limit: 9 });
    expect(await clean(t0 + day - 1)).toEqual([]);
    expect(await clean(t0 + day)).toEqual(['a']);
    await markRemoved(database.q, 'a', t0);
    expect(await again(t0 + 1)).toBe(0);
  });

  it('is decided a second time once, and only if it is still as it was', async () => {
    const { database, id, again, verdict } = await decided('held');
    const anew = { ...verdict, state: 'fanning-out', retryUntil: null, decidedAt: t0 + 5 } as const;
    const decide = () => recordVerdict(database.q, id, { ...anew, again: 'held' });
    expect(await decide()).toBe(false);
    await again(t0);
    expect(await decide()).toBe(true);
    expect(await decide()).toBe(false);
    expect(await findPosting(database.q, id)).toMatchObject({ state: 'fanning-out', decidedAt: t0 + 5 });
    expect(await again(t0)).toBe(0);
  });

  it('is left alone when a moderator was quicker, whatever he said', async () => {
    const { database, id, again, verdict } = await decided('held');
    await again(t0);
    await releasePosting(database.q, id, { state: 'refused', reason: 'by-moderator' });
    const anew = { ...verdict, state: 'fanning-out', again: 'refused' } as const;
    expect(await recordVerdict(database.q, id, anew)).toBe(false);
    expect(await again(t0)).toBe(0);
  });
});
