import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa, makeSelfSigned } from '../kit/pki.ts';
import { headerOf, mailOf, signedEntity, splitSigned, textEntity } from '../kit/smime-mime.ts';
import {
  clearPost,
  encrypted,
  encryptedOnly,
  openCopy,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
  signedBy,
} from './posts.ts';
import { type List, makeWorld, secret, type World } from './world.ts';

const hour = 3_600_000;
const day = 24 * hour;

let world: World;
let alice: Identity;
let mallory: Identity;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
  mallory = await world.person('mallory');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

/** Nobody has or will have a copy of this message: no delivery was made, and the post waits or is over. */
async function reachesNobody(id: string): Promise<void> {
  expect(await world.deliveries(id)).toEqual([]);
  const postings = await world.onDatabase((q) =>
    q.selectFrom('postings').select('state').where('messageId', '=', id).execute(),
  );
  for (const { state } of postings) expect(['held', 'refused', 'dropped']).toContain(state);
}

/** The encrypted entity of a post, as somebody on the way could copy it. */
const captured = (post: Buffer): Buffer => {
  const start = post.indexOf('Content-Type:');
  return post.subarray(start);
};

describe('a captured post (RULES 1)', () => {
  let list: List;
  let post: Buffer;
  beforeAll(async () => {
    list = await world.list({ members: [alice, mallory] });
    post = await signedAndEncrypted(alice, list);
  });

  it('again as it is, under another Message-ID, before the list has seen it: Alice\u2019s, and once only', async () => {
    const first = await world.post(post, list.address, 'mallory@example.org');
    expect(first).toMatchObject({ event: 'authorized', author: alice.address });
    const copy = mailOf(postHeaders(alice.address, list.address), captured(post));
    const again = await world.post(copy, list.address, 'mallory@example.org');
    expect(again).toMatchObject({ event: 'dropped', reason: 'replay' });
    await reachesNobody(again.id);
  });

  it('also after a restart', async () => {
    await world.daemon.kill();
    await world.restart();
    const copy = mailOf(postHeaders(alice.address, list.address), captured(post));
    const again = await world.post(copy, list.address);
    expect(again).toMatchObject({ event: 'dropped', reason: 'replay' });
    await reachesNobody(again.id);
  });

  it('under the attacker\u2019s own From, he a member', async () => {
    const fresh = await signedAndEncrypted(alice, list);
    const copy = mailOf(postHeaders(mallory.address, list.address), captured(fresh));
    const fate = await world.post(copy, list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'encrypted-unsigned' });
    await reachesNobody(fate.id);
  });

  it.each([
    ['a member', (): Identity => mallory],
    ['no member', (): Identity => eve],
  ])('inside his own outer signature, he %s', async (_, who) => {
    const fresh = await signedAndEncrypted(alice, list);
    const inner = captured(fresh);
    const wrapped = signedEntity(inner, await cmsSign(who(), inner));
    for (const from of [who().address, alice.address]) {
      const sent = await world.send(mailOf(postHeaders(from, list.address), wrapped), list.address);
      if (from === eve.address) expect(sent).toMatchObject({ code: 550 });
      else {
        const fate = await world.fate(sent);
        // What Alice signed inside stays hers, whoever carries it; anybody else's name on it makes it nobody's.
        if (from === alice.address) expect(fate).toMatchObject({ author: alice.address });
        else {
          expect(fate).toMatchObject({ event: 'held', reason: 'encrypted-unsigned' });
          await reachesNobody(sent.id);
        }
      }
    }
  });

  it('encrypted only, inside the attacker\u2019s signature: the signature proves nothing', async () => {
    const inner = captured(await encryptedOnly(alice.address, list));
    const wrapped = signedEntity(inner, await cmsSign(mallory, inner));
    const fate = await world.post(mailOf(postHeaders(mallory.address, list.address), wrapped), list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'encrypted-unsigned', author: null });
    expect(await world.ledger(fate.id)).toContain('held encrypted-unsigned');
    await reachesNobody(fate.id);
  });

  it('encrypted again by the attacker together with his own signature', async () => {
    const inner = captured(await encryptedOnly(alice.address, list));
    const data = mailOf(
      postHeaders(mallory.address, list.address),
      await encrypted(list.identity, await signed(mallory, inner)),
    );
    const fate = await world.post(data, list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'encrypted-unsigned' });
    await reachesNobody(fate.id);
  });

  it('what Alice signed, unwrapped by a member, in clear or under encryption of his own', async () => {
    const entity = secretEntity();
    const inner = await signed(alice, textEntity('no secret\n'));
    const first = mailOf(postHeaders(alice.address, list.address), await encrypted(list.identity, inner));
    expect(await world.post(first, list.address)).toMatchObject({ event: 'authorized' });
    for (const again of [inner, await encrypted(list.identity, inner)]) {
      const fate = await world.post(mailOf(postHeaders(alice.address, list.address), again), list.address);
      expect(fate).toMatchObject({ event: 'dropped', reason: 'replay' });
    }
    // As a part of something else a signature is content: it speaks for nobody.
    const mixed = Buffer.concat([
      Buffer.from('Content-Type: multipart/mixed; boundary="=_mixed"\r\n\r\n--=_mixed\r\n'),
      await signed(alice, entity),
      Buffer.from('\r\n--=_mixed--\r\n'),
    ]);
    const part = mailOf(postHeaders(alice.address, list.address), await encrypted(list.identity, mixed));
    expect(await world.post(part, list.address)).toMatchObject({
      event: 'held',
      reason: 'encrypted-unsigned',
    });
  });

  it('on another list with the same key (surreptitious forwarding)', async () => {
    const other = await world.list({ keyFrom: list.identity, members: [alice, mallory] });
    const shared = await world.list({ identity: list.identity, members: [alice, mallory] });
    expect(other.address).not.toBe(shared.address);
    const fresh = await signedAndEncrypted(alice, list);
    await world.post(fresh, list.address);
    const fate = await world.post(
      mailOf(postHeaders(alice.address, shared.address), captured(fresh)),
      shared.address,
    );
    expect(fate).toMatchObject({ event: 'held', reason: 'replay-elsewhere' });
    await reachesNobody(fate.id);
  });
});

let eve: Identity;
beforeAll(async () => {
  eve = await world.person('eve');
});

describe('From is the signer (RULES 3)', () => {
  let list: List;
  beforeAll(async () => {
    list = await world.list({ members: [alice, mallory] });
  });

  it('another member\u2019s signature under Alice\u2019s name', async () => {
    const post = await signedAndEncrypted(mallory, list, { headers: [['From', alice.address]] });
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'encrypted-unsigned' });
    await reachesNobody(fate.id);
  });

  it('Sender names the signer, From somebody else', async () => {
    const headers = [
      ['From', alice.address],
      ['Sender', mallory.address],
    ] as const;
    const entity = await signed(mallory, textEntity('clear but signed\n'));
    const fate = await world.post(
      mailOf(postHeaders(alice.address, list.address, headers), entity),
      list.address,
    );
    expect(fate).toMatchObject({ event: 'held', reason: 'signed-by-sender' });
    await reachesNobody(fate.id);
  });

  it('a certificate without an address', async () => {
    const nameless = await world.ca.issue({ name: 'Nameless', key: 'p256' });
    const entity = await signed(nameless, textEntity('clear but signed\n'));
    const fate = await world.post(mailOf(postHeaders(alice.address, list.address), entity), list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'no-address' });
    await reachesNobody(fate.id);
  });

  it('the protected From names somebody else: refused', async () => {
    const entity = Buffer.concat([
      Buffer.from(`From: ${mallory.address}\r\nContent-Type: text/plain; charset=utf-8; hp="cipher"\r\n\r\n`),
      Buffer.from(`${secret}\r\n`),
    ]);
    const post = await signedAndEncrypted(alice, list, { entity });
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'refused', reason: 'header-mismatch' });
    await reachesNobody(fate.id);
  });

  it('two From fields: refused in the session', async () => {
    const post = await signedAndEncrypted(alice, list, {
      headers: [
        ['from', mallory.address],
        ['From', alice.address],
      ],
    });
    const sent = await world.send(post, list.address, alice.address);
    expect(sent).toMatchObject({ code: 550 });
    expect(sent.text).toContain('exactly one author');
  });
});

describe('no replay, not stale, not ahead (RULES 4)', () => {
  let list: List;
  beforeAll(async () => {
    list = await world.list({ members: [alice] });
  });
  const at = async (when: number): Promise<Buffer> =>
    mailOf(
      postHeaders(alice.address, list.address),
      await encrypted(list.identity, signedBy(alice, secretEntity(), { at: when })),
    );

  it.each([
    ['four days old', -4 * day, 'held', 'stale'],
    ['two days old', -2 * day, 'authorized', null],
    ['two hours ahead', 2 * hour, 'held', 'future'],
    ['half an hour ahead', hour / 2, 'authorized', null],
  ])('%s', async (_, offset, event, reason) => {
    const fate = await world.post(await at(Date.now() + offset), list.address);
    expect(fate).toMatchObject({ event, reason });
    if (event === 'held') await reachesNobody(fate.id);
  });

  it('accept.max-age is the list\u2019s to set', async () => {
    const strict = await world.list({
      identity: list.identity,
      members: [alice],
      settings: { 'accept.max-age': '1h' },
    });
    const fate = await world.post(await at(Date.now() - 2 * hour), strict.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'stale' });
  });

  it('a protected To that names another list', async () => {
    const entity = Buffer.from(
      `From: ${alice.address}\r\nTo: elsewhere@lists.example\r\nContent-Type: text/plain; hp="cipher"\r\n\r\n${secret}\r\n`,
    );
    const fate = await world.post(await signedAndEncrypted(alice, list, { entity }), list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'not-for-this-list' });
    await reachesNobody(fate.id);
  });

  it('the same mail again is a duplicate', async () => {
    const post = await at(Date.now());
    const first = await world.post(post, list.address);
    const again = await world.post(post, list.address);
    expect(first.event).toBe('authorized');
    expect(again).toMatchObject({ event: 'dropped', reason: 'duplicate' });
    expect(await world.ledger(again.id)).toEqual(['received', 'dropped duplicate']);
  });

  it('the same mail by another way is one too, another text under the same Message-ID is not', async () => {
    const plain = (received: string, text: string): Buffer => {
      const headers = [
        ['Received', received],
        ['Message-ID', '<same@client.example>'],
        ['Date', 'Tue, 1 Sep 2026 10:00:00 +0000'],
      ] as const;
      const rest = clearPost(alice.address, list.address, [], text).toString();
      const own = rest.replace(/^(Message-ID|Date): .*\r\n/gm, '');
      return Buffer.from(`${headers.map(([n, v]) => `${n}: ${v}\r\n`).join('')}${own}`);
    };
    expect(await world.post(plain('from a by b; 1', 'one\n'), list.address)).toMatchObject({
      event: 'authorized',
    });
    expect(await world.post(plain('from c by d; 2', 'one\n'), list.address)).toMatchObject({
      event: 'dropped',
      reason: 'duplicate',
    });
    expect(await world.post(plain('from c by d; 2', 'two\n'), list.address)).toMatchObject({
      event: 'authorized',
    });
  });
});

describe('encrypted without a valid signature (RULES 2)', () => {
  it.each([
    ['moderate', 'held'],
    ['refuse', 'refused'],
    ['allow', 'authorized'],
  ])('accept.encrypted-unsigned: %s', async (value, event) => {
    const list = await world.list({
      key: 'p256',
      members: [alice],
      settings: { 'accept.encrypted-unsigned': value },
    });
    const fate = await world.post(await encryptedOnly(alice.address, list), list.address);
    expect(fate).toMatchObject({ event, author: null });
    if (event !== 'authorized') await reachesNobody(fate.id);
    if (event === 'held') {
      const [notice] = await world.mailTo(list.owner);
      expect(headerOf(notice?.bytes ?? Buffer.alloc(0), 'Auto-Submitted')).toBe('auto-generated');
    }
  });

  it.each([
    ['aes-256-gcm', 'held'],
    ['aes-256-cbc', 'held'],
  ] as const)('%s alike', async (cipher, event) => {
    const list = await world.list({ members: [alice] });
    const post = await encryptedOnly(alice.address, list, { encrypt: { cipher } });
    expect(await world.post(post, list.address)).toMatchObject({ event, reason: 'encrypted-unsigned' });
  });

  it('tampered content counts as no signature, even where unsigned ones are allowed', async () => {
    const list = await world.list({
      key: 'p256',
      members: [alice],
      settings: { 'accept.encrypted-unsigned': 'allow' },
    });
    const genuine = await signed(alice, secretEntity());
    const tampered = Buffer.from(
      genuine.toString('latin1').replace('Dear friends', 'Dear enemies'),
      'latin1',
    );
    const post = mailOf(postHeaders(alice.address, list.address), await encrypted(list.identity, tampered));
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'encrypted-unsigned' });
    await reachesNobody(fate.id);
  });
});

describe('a moderator', () => {
  it('releases: the members have it, sealed', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const entity = secretEntity();
    const post = await encryptedOnly(alice.address, list, { entity });
    const fate = await world.post(post, list.address);
    expect(fate.event).toBe('held');
    const released = await world.daemon.run(['queue', 'release', fate.id]);
    expect(released.code, released.stderr).toBe(0);
    expect(await openCopy(alice, (await world.copyFor(alice, post)).bytes)).toEqual(entity);
  });

  it('refuses: nobody has it, and it cannot be released afterwards', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const fate = await world.post(await encryptedOnly(alice.address, list), list.address);
    expect((await world.daemon.run(['queue', 'refuse', fate.id])).code).toBe(0);
    expect((await world.daemon.run(['queue', 'release', fate.id])).code).not.toBe(0);
    await reachesNobody(fate.id);
  });
});

describe('what is no valid signature', () => {
  const cases: [name: string, make: (list: List) => Promise<Buffer>, reason: string][] = [
    ['SHA-1', (list) => signedAndEncrypted(alice, list, { sign: { digest: 'sha1' } }), 'weak-digest'],
    [
      'an unknown authority',
      async (list) => {
        const stranger = await (await makeCa('Stranger')).issue({
          name: 'Alice',
          address: alice.address,
          key: 'p256',
        });
        return signedAndEncrypted(stranger, list);
      },
      'no-path',
    ],
    [
      'self-signed',
      async (list) => {
        const own = await makeSelfSigned({ name: 'Alice', address: alice.address, key: 'p256' });
        return signedAndEncrypted(own, list);
      },
      'no-path',
    ],
    [
      'an expired certificate',
      async (list) => {
        const old = await world.ca.issue({
          name: 'Alice',
          address: alice.address,
          key: 'p256',
          notBefore: new Date(Date.now() - 9 * day),
          notAfter: new Date(Date.now() - day),
        });
        return signedAndEncrypted(old, list);
      },
      'expired',
    ],
    [
      'tampered content',
      async (list) => {
        const genuine = await signed(alice, secretEntity());
        const tampered = Buffer.from(genuine.toString('latin1').replace('Dear', 'Dire'), 'latin1');
        return mailOf(postHeaders(alice.address, list.address), await encrypted(list.identity, tampered));
      },
      'bad-digest',
    ],
    [
      'a signature over something else',
      async (list) => {
        const entity = secretEntity();
        const other = await signed(alice, textEntity('something else\n'));
        const { signatureDer } = splitSigned(other);
        return mailOf(
          postHeaders(alice.address, list.address),
          await encrypted(list.identity, signedEntity(entity, signatureDer)),
        );
      },
      'bad-digest',
    ],
  ];
  it.each(cases)('%s: refused with the reason where a signature is required', async (_, make, reason) => {
    const list = await world.list({
      key: 'p256',
      members: [alice],
      settings: { 'accept.signature': 'required' },
    });
    const fate = await world.post(await make(list), list.address);
    expect(fate).toMatchObject({ event: 'refused', reason, rule: 'accept.signature' });
    await reachesNobody(fate.id);
  });

  it('weak.action: mark lets a weak one of a clear post through, refuse does not', async () => {
    for (const [value, event] of [
      ['mark', 'authorized'],
      ['refuse', 'refused'],
    ] as const) {
      const list = await world.list({ key: 'p256', members: [alice], settings: { 'weak.action': value } });
      const entity = await signed(alice, textEntity(`weak ${value}\n`), { digest: 'sha1' });
      const fate = await world.post(mailOf(postHeaders(alice.address, list.address), entity), list.address);
      expect(fate).toMatchObject({ event });
    }
  });
});

describe('who may post', () => {
  it('owners and moderators, members; nobody else; a suspended member not', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const owner = await world.ca.issue({ name: 'Owner', address: list.owner, key: 'p256' });
    const post = await signedAndEncrypted(owner, list);
    expect(await world.post(post, list.address)).toMatchObject({
      event: 'authorized',
      rule: 'owner-may-post',
    });
    expect(await readCopy(world.ca, alice, (await world.copyFor(alice, post)).bytes)).toBeTruthy();
    await world.onDatabase((q) =>
      q.updateTable('members').set({ state: 'suspended' }).where('listId', '=', list.id).execute(),
    );
    expect(await world.send(await signedAndEncrypted(alice, list), list.address)).toMatchObject({
      code: 550,
    });
  });

  it('a stranger under accept.others: moderate waits, with a notice to the owner', async () => {
    const list = await world.list({
      key: 'p256',
      members: [alice],
      settings: { 'accept.others': 'moderate' },
    });
    const fate = await world.post(await signedAndEncrypted(mallory, list), list.address);
    expect(fate).toMatchObject({ event: 'held', reason: 'may-not-post' });
    await reachesNobody(fate.id);
    const [notice] = await world.mailTo(list.owner);
    expect(notice?.bytes.toString()).toContain('mallory@example.org');
  });
});

describe('answers to what is refused after 250 (RULES 20)', () => {
  let list: List;
  beforeAll(async () => {
    list = await world.list({
      key: 'p256',
      members: [alice],
      settings: { 'accept.max-age': '1h', 'accept.encryption': 'required' },
    });
  });

  it('one mail, the same words for everybody, if the envelope sender is the verified author', async () => {
    const signer = await world.person('answered');
    await world.join(list, signer);
    // Signed only: the outer multipart/signed could hide encryption, so it is found out after 250.
    const post = async () =>
      mailOf(postHeaders(signer.address, list.address), await encryptedThenNothing(signer));
    const encryptedThenNothing = async (who: Identity) =>
      signed(who, await signed(who, textEntity('clear\n'), { opaque: true }));
    const fate = await world.post(await post(), list.address);
    expect(fate).toMatchObject({ event: 'refused', reason: 'not-encrypted' });
    const [answer] = await world.mailTo(signer.address);
    expect(answer?.from).toBe('');
    expect(headerOf(answer?.bytes ?? Buffer.alloc(0), 'Auto-Submitted')).toBe('auto-replied');
    expect(answer?.bytes.toString()).toContain('was not accepted');
    expect(answer?.bytes.toString()).not.toContain('encrypted only');
    const second = await world.post(await post(), list.address);
    expect(await world.ledger(second.id)).toContain('refused not-encrypted');
    expect((await world.mailTo(signer.address)).length).toBe(1);
  });

  it('none if another address sent it, or nobody is verified', async () => {
    const signer = await world.person('not-answered');
    await world.join(list, signer);
    const clear = await signed(signer, await signed(signer, textEntity('clear too\n'), { opaque: true }));
    const byAnother = await world.post(
      mailOf(postHeaders(signer.address, list.address), clear),
      list.address,
      'other@example.org',
    );
    expect(byAnother.event).toBe('refused');
    const forged = await signed(eve, await signed(eve, textEntity('forged\n'), { opaque: true }));
    const unverified = await world.post(
      mailOf(postHeaders(signer.address, list.address), forged),
      list.address,
    );
    expect(unverified.event).toBe('refused');
    const local = await world.onDatabase((q) =>
      q.selectFrom('messages').select(['envelope']).where('origin', '=', 'local').execute(),
    );
    expect(local.filter(({ envelope }) => /not-answered|other@/.test(envelope))).toEqual([]);
  });
});
