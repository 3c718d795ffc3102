import { describe, expect, it } from 'vitest';
import { brandReceived, Plaintext } from '../../src/base/bytes.ts';
import { type OutgoingParts, outgoingOf } from '../../src/flow/delivery/outgoing.ts';
import { openCache } from '../../src/flow/post/open-cache.ts';
import type { Prepared } from '../../src/flow/post/prepare.ts';
import { mayLeaveClear } from '../../src/policy/clear.ts';
import type { SignOptions } from '../../src/smime/workers.ts';
import type { PostingRow } from '../../src/store/postings.ts';
import type { SpooledMessage } from '../../src/store/spool.ts';
import { listWith, stoppedClock, t0 } from './parts.ts';

const message = Buffer.from(
  'From: Alice <a@b.example>\r\nSubject: x\r\nContent-Type: text/plain\r\n\r\nhello\r\n',
);
const entity = 'Content-Type: text/plain\r\n\r\nhello\r\n';
const prepared: Prepared = {
  mode: 'sealed',
  spoolId: 'spool',
  hostname: 'h',
  client: 'c',
  helo: 'h',
  protocol: 'ESMTP',
  receivedAt: t0,
  decidedAt: t0,
  subjectTag: '',
  replyToList: false,
  hidesNetwork: false,
  sign: 'none',
  hidesSubject: false,
};

/** A posting in clear, a key (or none), and workers that put `signed(…)` around what they sign. */
function outgoing(sign: Prepared['sign'], d: { locked?: boolean; during?: () => void } = {}) {
  const clock = stoppedClock();
  const cache = openCache({ octets: 1000, ageMs: 1000, clock });
  const asked: SignOptions[] = [];
  const signed = (bytes: Uint8Array, options: SignOptions): Buffer => {
    asked.push(options);
    return Buffer.from(`signed(${Buffer.from(bytes).toString()})`);
  };
  const certificate = { sha256: 's', der: Buffer.from('c') };
  const lines: unknown[] = [];
  const parts = {
    cache,
    database: { write: async (work: unknown) => void lines.push(work) },
    clock,
    keyring: {
      signingPair: async () => {
        d.during?.();
        return d.locked ? null : { key: null, certificate, chain: [] };
      },
      encryptionPair: async () => null,
    },
    workers: {
      sign: async (bytes: Uint8Array, _: unknown, options: SignOptions) => signed(bytes, options),
      signPlaintext: async (content: Plaintext, _: unknown, options: SignOptions) =>
        new Plaintext(signed(content.expose(), options)),
    },
  } as unknown as OutgoingParts;
  const made = outgoingOf(parts, {
    posting: { id: 1, verdict: { encrypted: false } } as unknown as PostingRow,
    list: listWith(),
    spooled: { bytes: brandReceived(message) } as SpooledMessage,
    prepared: { ...prepared, sign },
  });
  return { made, cache, asked, lines, clock, text: async () => (await made.toSeal()).expose().toString() };
}

describe('what the copies carry', () => {
  it('unsigned: the entity itself, from the cache if it is there', async () => {
    const { text, cache, asked } = outgoing('none');
    expect(await text()).toBe(entity);
    cache.put(1, new Plaintext(Buffer.from('opened before')));
    expect(await text()).toBe('opened before');
    expect(asked).toEqual([]);
  });

  it('signed around: once, and not again while the cache has it', async () => {
    const { text, asked, lines } = outgoing('around');
    expect(await text()).toBe(`signed(${entity})`);
    expect(await text()).toBe(`signed(${entity})`);
    // One line in the ledger for one signature, however many copies.
    expect(lines).toHaveLength(1);
    expect(asked).toEqual([{ boundary: '=_list_spool', at: t0 }]);
  });

  it('signed: never takes what was opened for what was signed', async () => {
    const { text, cache, asked } = outgoing('around');
    cache.put(1, new Plaintext(Buffer.from('opened before')));
    expect(await text()).toBe('signed(opened before)');
    cache.put(1, new Plaintext(Buffer.from('opened again')));
    expect(await text()).toBe('signed(opened again)');
    cache.drop(1);
    expect(await text()).toBe(`signed(${entity})`);
    expect(asked).toHaveLength(3);
  });

  it('never signs the zeros of an entity that the cache wiped meanwhile', async () => {
    const wipe: { now?: () => void } = {};
    const { text, cache } = outgoing('around', { during: () => wipe.now?.() });
    cache.put(1, new Plaintext(Buffer.from('opened before')));
    wipe.now = () => cache.clear();
    expect(await text()).toBe(`signed(${entity})`);
  });

  it("as the list's own: with the header as it stands outside, of sealed and of clear copies", async () => {
    const { made, text, asked } = outgoing('as-list');
    await text();
    const permit = mayLeaveClear(listWith().policy, { receivedEncrypted: false });
    if (!permit) throw new Error('no permit');
    const [copy, again] = [await made.inClear(permit), await made.inClear(permit)];
    expect(asked.map(({ wrapper }) => [wrapper?.encrypted, wrapper?.headers[0]])).toEqual([
      [true, ['From', 'Alice via team <team@lists.example>']],
      [false, ['From', 'Alice via team <team@lists.example>']],
    ]);
    expect(copy.head.toString()).toMatch(
      /From: Alice via team <team@lists\.example>\r\n(.*\r\n)*MIME-Version: 1\.0\r\n$/,
    );
    expect(copy.body.toString()).toBe(`signed(${entity})`);
    expect(again.body).toBe(copy.body);
  });

  it('without the key that there was when it was decided, it waits: nothing leaves unsigned', async () => {
    const { made, text } = outgoing('as-list', { locked: true });
    const permit = mayLeaveClear(listWith().policy, { receivedEncrypted: false });
    if (!permit) throw new Error('no permit');
    const locked = expect.objectContaining({ code: 'key-locked' });
    await expect(text()).rejects.toThrowError(locked);
    await expect(made.inClear(permit)).rejects.toThrowError(locked);
  });
});
