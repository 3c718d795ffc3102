import { beforeAll, describe, expect, it } from 'vitest';
import { formatCapabilities } from '../../src/cms/capabilities.ts';
import { findRecipientsWith, pinsOf } from '../../src/flow/certificates/member-certificate.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { validatePath } from '../../src/pki/path.ts';
import { noEvidence, type RevocationPolicy, revocationOff } from '../../src/pki/revocation.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import { bind, setBindingState } from '../../src/store/bindings.ts';
import { certificateRow } from '../../src/store/certificate-row.ts';
import { saveCapabilities, upsertCertificate } from '../../src/store/certificates.ts';
import type { CertificateSource, JsonObject } from '../../src/store/schema.ts';
import { type CertificateOptions, type Identity, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { derOf } from '../kit/revocation.ts';
import { day, listWith } from './parts.ts';
import { makeSite } from './site.ts';

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

const now = Date.now();

async function setUp(settings: Partial<ListPolicy> = {}, revocation: RevocationPolicy = revocationOff) {
  const { database } = await makeSite();
  const anchors = { certificates: [parseCertificate(ca.certDer)] };
  const list = listWith(settings);
  const instead: string[] = [];
  const find = findRecipientsWith({
    useInstead: async (_, row, why) => void instead.push(`${row.subject}: ${why}`),
    q: database.q,
    clock: { now: () => now },
    pathOf: async (_, certificate) =>
      validatePath(await certificate.read(), {
        anchors,
        intermediates: [],
        at: now,
        purpose: 'encrypt',
        floor: list.floor,
        revocation,
      }),
    fileProblemOf: (address) => (address.startsWith('rubbish') ? 'the file is rubbish' : null),
  });
  return {
    instead,
    setState: (who: Identity, state: 'removed') =>
      setBindingState(
        database.q,
        { address: who.address, purpose: 'enc', sha256: parseCertificate(who.certDer).sha256 },
        state,
      ),
    give: async (
      who: Identity,
      d: {
        source?: CertificateSource;
        capabilities?: Buffer;
        purpose?: 'sign';
        state?: 'pending';
      } = {},
    ) => {
      const certificate = parseCertificate(who.certDer);
      const { source = 'harvested', capabilities } = d;
      await database.write(async (tx) => {
        await upsertCertificate(tx, certificateRow(certificate, { source, at: now, signingTime: now }));
        await bind(tx, {
          address: who.address,
          purpose: d.purpose ?? 'enc',
          sha256: certificate.sha256,
          state: d.state ?? 'in-use',
          since: now,
          source,
          signingTime: now,
        });
        if (capabilities)
          await saveCapabilities(tx, {
            spkiSha256: certificate.spkiSha256,
            signingTime: now,
            der: capabilities,
          });
      });
    },
    /** `aes-256-cbc rsa`, or why not. */
    ask: async (address: string, member: JsonObject = {}, receivedBits = 0): Promise<string> => {
      const found = (await find(list, [{ address, settings: member }], receivedBits)).get(address);
      if (!found) return 'nothing';
      return found.usable
        ? `${found.choice.cipher} ${found.recipient.transport}${found.choice.weaker ? ' weaker' : ''}`
        : `${found.reason}: ${found.detail}`;
    },
    find: (addresses: readonly string[]) =>
      find(
        list,
        addresses.map((address) => ({ address, settings: {} })),
        0,
      ),
  };
}

describe('a member has', () => {
  it('no certificate, or a rubbish file', async () => {
    const { ask } = await setUp();
    expect(await ask('nobody@example.org')).toBe(
      'no-certificate: no certificate is known for nobody@example.org',
    );
    expect(await ask('rubbish@example.org')).toBe('no-certificate: the file is rubbish');
  });

  it('one that can only sign, or one that waits for approval: that is said, not that none is known', async () => {
    const { give, ask } = await setUp();
    const dave = { name: 'Dave', address: 'dave@example.org', usage: 'digitalSignature' } as const;
    await give(await ca.issue(dave), { purpose: 'sign' });
    expect(await ask('dave@example.org')).toBe(
      'wrong-usage: the certificate of CN=Dave may only sign, and none to encrypt to is known for dave@example.org',
    );
    await give(await ca.issue({ name: 'Erin', address: 'erin@example.org' }), { state: 'pending' });
    expect(await ask('erin@example.org')).toBe(
      'pending: a certificate for erin@example.org waits for approval',
    );
    await give(await ca.issue({ name: 'Fay', address: 'fay@example.org' }), { purpose: 'sign' });
    expect(await ask('fay@example.org')).toMatch(/^no-certificate/);
  });

  it.each<[string, Partial<CertificateOptions>, string]>([
    ['RSA', {}, 'aes-256-cbc rsa'],
    ['P-256', { key: 'p256' }, 'aes-256-cbc ecdh'],
    ['X25519', { key: 'x25519' }, 'aes-256-cbc ecdh'],
    ['RSA for signatures', { key: 'rsa-pss' }, 'wrong-usage'],
    ['Ed25519', { key: 'ed25519' }, 'wrong-usage'],
    ['a key for signatures', { usage: 'digitalSignature' }, 'wrong-usage'],
    ['a short key', { key: 'rsa1024' }, 'weak-key'],
    ['a web certificate', { eku: 'serverAuth' }, 'wrong-usage'],
    ['an expired one', { notBefore: new Date(now - 9 * day), notAfter: new Date(now - day) }, 'expired'],
    ['one for later', { notBefore: new Date(now + day), notAfter: new Date(now + 9 * day) }, 'not-yet-valid'],
  ])('%s', async (_, options, expected) => {
    const { give, ask } = await setUp();
    await give(await ca.issue({ name: 'Bob', address: 'bob@example.org', ...options }));
    expect((await ask('bob@example.org')).split(':')[0]).toBe(expected);
  });

  it('one that cannot be used beside one that can: that one is used at once, unless it was removed', async () => {
    const { give, ask, instead, setState } = await setUp();
    const bob = { name: 'Bob', address: 'bob@example.org' };
    const good = await ca.issue({ ...bob, key: 'p256' });
    const ended = (days: number) =>
      ca.issue({
        ...bob,
        keyFrom: good,
        notBefore: new Date(now - days * day),
        notAfter: new Date(now - day),
      });
    await give(await ended(9));
    await give(good);
    await give(await ended(5));
    expect(await ask('bob@example.org')).toBe('aes-256-cbc ecdh');
    expect(instead).toEqual([
      `CN=Bob: the certificate of CN=Bob (issued by CN=Test Root) had expired (${new Date(now - day).toISOString().slice(0, 10)})`,
    ]);
    await setState(good, 'removed');
    expect(await ask('bob@example.org')).toMatch(/^expired/);
  });

  it('one that was replaced by one with another key: it is not used again, whatever becomes of that', async () => {
    const { give, ask, instead } = await setUp();
    const bob = { name: 'Bob', address: 'bob@example.org' };
    await give(await ca.issue({ ...bob, key: 'p256' }));
    await give(await ca.issue({ ...bob, notBefore: new Date(now - 5 * day), notAfter: new Date(now - day) }));
    expect(await ask('bob@example.org')).toMatch(/^expired/);
    expect(instead).toEqual([]);
  });

  it('another of the same key as one that is revoked: the key is lost under both', async () => {
    const bob = { name: 'Bob', address: 'bob@example.org' };
    const before = await ca.issue(bob);
    const gone = await ca.issue({ ...bob, keyFrom: before });
    const evidence = { crls: [derOf(ca.crl({ revoked: [gone] }))], ocsp: [] };
    const { give, ask, instead } = await setUp({}, { mode: 'soft', evidence });
    await give(before);
    await give(gone);
    expect(await ask('bob@example.org')).toMatch(/^revoked/);
    expect(instead).toEqual([]);
  });

  it('one that is pinned for somebody else: that says nothing for him', async () => {
    const { give, ask } = await setUp();
    const self = await makeSelfSigned({ name: 'Self', address: 'bob@example.org' });
    await give({ ...self, address: 'carol@example.org' }, { source: 'pinned' });
    await give(self);
    expect(await ask('carol@example.org')).toBe('aes-256-cbc rsa');
    expect(await ask('bob@example.org')).toMatch(/^not-trusted/);
  });

  it('one that no authority vouches for, unless it is pinned', async () => {
    for (const [source, expected] of [
      ['harvested', 'not-trusted'],
      ['by hand', 'not-trusted'],
      ['pinned', 'aes-256-cbc rsa'],
    ] as const) {
      const { give, ask } = await setUp();
      await give(await makeSelfSigned({ name: 'Bob', address: 'bob@example.org' }), { source });
      expect((await ask('bob@example.org')).split(':')[0]).toBe(expected);
    }
  });

  it.each<[ListPolicy['harvest.first'], CertificateSource, boolean]>([
    ['verified', 'harvested', true],
    ['owner', 'harvested', false],
    ['off', 'harvested', false],
    ['owner', 'approved', true],
    ['owner', 'imported', true],
    ['owner', 'by hand', true],
    ['owner', 'pinned', true],
    ['off', 'imported', true],
  ])('harvest.first is %s, and it is %s: it is used: %s', async (first, source, isUsed) => {
    const { give, ask, instead } = await setUp({ 'harvest.first': first });
    // One that it replaced is not brought back: other lists use the new one.
    const bob = await ca.issue({ name: 'Bob', address: 'bob@example.org' });
    await give(await ca.issue({ name: 'Bob', address: 'bob@example.org', keyFrom: bob }), {
      source: 'imported',
    });
    await give(bob, { source });
    expect(await ask('bob@example.org')).toBe(
      isUsed
        ? 'aes-256-cbc rsa'
        : 'pending: the certificate of CN=Bob came by mail alone, and waits until an owner approves it (harvest.first)',
    );
    expect(instead).toEqual([]);
  });

  it.each<[string, RevocationPolicy['mode'], CertificateSource, string]>([
    [
      'revoked',
      'soft',
      'harvested',
      'revoked: the certificate of CN=Bob (issued by CN=Test Root) was revoked',
    ],
    ['revoked', 'soft', 'pinned', 'revoked: the certificate of CN=Bob (issued by CN=Test Root) was revoked'],
    ['revoked', 'hard', 'pinned', 'revoked: the certificate of CN=Bob (issued by CN=Test Root) was revoked'],
    ['unknown', 'soft', 'harvested', 'aes-256-cbc rsa'],
    [
      'unknown',
      'hard',
      'harvested',
      'not-checked: no current revocation list was found for the certificate of CN=Bob (issued by CN=Test Root)',
    ],
    ['unknown', 'hard', 'pinned', 'aes-256-cbc rsa'],
  ])('one that is %s, where revocation is %s, %s', async (status, mode, source, expected) => {
    const bob = await ca.issue({ name: 'Bob', address: 'bob@example.org' });
    const crls = status === 'revoked' ? [derOf(ca.crl({ revoked: [bob] }))] : [];
    const { give, ask } = await setUp({}, { mode, evidence: { crls, ocsp: [] } });
    await give(bob, { source });
    expect(await ask('bob@example.org')).toBe(expected);
  });

  it('not-trusted where more is wrong than that nobody knows of a revocation', async () => {
    const { give, ask } = await setUp({}, { mode: 'hard', evidence: noEvidence });
    await give(await makeSelfSigned({ name: 'Bob', address: 'bob@example.org' }));
    expect(await ask('bob@example.org')).toMatch(/^not-trusted: /);
  });

  it('capabilities, pins and a floor below which nothing is sent', async () => {
    const { give, ask } = await setUp({ 'minimum.cipher': 256 });
    const capabilities = formatCapabilities({
      ciphers: ['aes-128-cbc', 'aes-256-gcm'],
      oaep: ['sha256'],
      agreements: [],
    });
    await give(await ca.issue({ name: 'Bob', address: 'bob@example.org' }), { capabilities });
    expect(await ask('bob@example.org')).toBe('aes-256-gcm rsa-oaep-sha256');
    expect(await ask('bob@example.org', { cipher: 'aes-256-cbc', keyTransport: 'rsa' })).toBe(
      'aes-256-cbc rsa',
    );
    expect(await ask('bob@example.org', { cipher: 'aes-128-cbc' })).toMatch(/^weak-cipher: /);
  });

  it('no less than the post came with, unless he is pinned or reads no better: that is told', async () => {
    const { give, ask } = await setUp({ 'send.cipher': 'aes-128-cbc' });
    await give(await ca.issue({ name: 'Bob', address: 'bob@example.org' }));
    expect(await ask('bob@example.org', {}, 256)).toBe('aes-256-cbc rsa');
    expect(await ask('bob@example.org', { cipher: 'aes-128-cbc' }, 256)).toBe('aes-128-cbc rsa weaker');
    const old = formatCapabilities({ ciphers: ['aes-128-cbc'], oaep: [], agreements: [] });
    await give(await ca.issue({ name: 'Carol', address: 'carol@example.org' }), { capabilities: old });
    expect(await ask('carol@example.org', {}, 256)).toBe('aes-128-cbc rsa weaker');
    expect(await ask('carol@example.org', {}, 128)).toBe('aes-128-cbc rsa');
  });

  it.each([
    ['rubbish', Buffer.from('rubbish')],
    ['no list', Buffer.from('0500', 'hex')],
    ['nothing', Buffer.alloc(0)],
    ['lengths without end', Buffer.from('3084ffffffff', 'hex')],
  ])('capabilities that are %s: they say nothing, and nobody else waits for it', async (_, capabilities) => {
    const { give, find } = await setUp();
    await give(await ca.issue({ name: 'Bob', address: 'bob@example.org' }), { capabilities });
    await give(await ca.issue({ name: 'Carol', address: 'carol@example.org' }));
    const found = await find(['bob@example.org', 'carol@example.org']);
    expect([...found.values()].map((one) => one.usable)).toEqual([true, true]);
  });
});

describe('pinsOf', () => {
  it('believes only what `member set` may write', () => {
    expect(pinsOf({ cipher: 'aes-128-cbc', keyTransport: 'rsa-oaep-sha256' })).toEqual({
      cipher: 'aes-128-cbc',
      keyTransport: 'rsa-oaep-sha256',
    });
    expect(pinsOf({ cipher: 'none', keyTransport: 'ecdh' })).toEqual({
      cipher: undefined,
      keyTransport: undefined,
    });
    expect(pinsOf({ cipher: 5, keyTransport: null })).toEqual({ cipher: undefined, keyTransport: undefined });
  });
});
