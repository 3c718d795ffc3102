import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { parseCrl } from '../../src/pki/crl.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import { certificatesNamed } from '../../src/store/certificates.ts';
import { type CertificateOptions, type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { derOf, ocspAnswer, placesOf, servePki } from '../kit/revocation.ts';
import { lookUps, type Options } from './look-ups.ts';
import { day, hour, minute } from './parts.ts';

// Members' certificates are looked up when a copy is to be encrypted to them.

let ca: TestCa;
let other: TestCa;
beforeAll(async () => {
  ca = await makeCa();
  other = await makeCa('Other Root');
});

const crlOf = (...o: Parameters<TestCa['crl']>) => derOf(ca.crl(...o));

const setUp = (o: Omit<Options, 'anchors'> = {}) => lookUps({ anchors: [ca], ...o });

const hard = { revocation: 'hard' } as const;
const soft = { revocation: 'soft' } as const;
const off = { revocation: 'off' } as const;

const bob = (o: Partial<CertificateOptions> = {}) =>
  ca.issue({ name: 'bob', address: 'bob@example.org', key: 'p256', ...o });

describe('lists in files', () => {
  it.each<[string, Partial<ListPolicy>, 'none' | 'current' | 'revoking' | 'outdated', string]>([
    ['nothing is known', off, 'none', 'valid'],
    ['nothing is known', soft, 'none', 'valid crl-missing'],
    ['nothing is known', hard, 'none', 'crl-missing'],
    ['a list is current', soft, 'current', 'valid'],
    ['a list is current', hard, 'current', 'valid'],
    ['a list names it', off, 'revoking', 'valid'],
    ['a list names it', soft, 'revoking', 'revoked'],
    ['a list names it', hard, 'revoking', 'revoked'],
    ['a list is out of date', soft, 'outdated', 'valid crl-expired'],
    ['a list is out of date', hard, 'outdated', 'crl-expired'],
  ])('%s: %j', async (_, settings, kind, expected) => {
    const who = await bob();
    const lists = {
      none: [],
      current: [crlOf()],
      revoking: [crlOf({ revoked: [who] })],
      outdated: [crlOf({ nextUpdate: new Date(Date.now() - hour) })],
    };
    const { ask } = await setUp({ settings, files: lists[kind] });
    expect(await ask(who)).toBe(expected);
  });

  it('that cannot be read are missed under soft too', async () => {
    const who = await bob();
    expect(await (await setUp({ settings: soft, unreadable: true })).ask(who)).toBe('crl-missing');
    expect(await (await setUp({ settings: off, unreadable: true })).ask(who)).toBe('valid');
  });
});

describe('a list where the certificate says', () => {
  it('is not fetched unless the host is allowed, and not if the list does not look', async () => {
    const pki = await servePki({ '/ca.crl': crlOf() });
    const who = await bob({ extensions: placesOf({ crl: pki.url('/ca.crl') }) });
    expect(await (await setUp({ settings: hard })).ask(who)).toBe('crl-missing');
    expect(await (await setUp({ settings: off, port: pki.port })).ask(who)).toBe('valid');
    expect(pki.asked).toEqual([]);
  });

  it('is fetched once, kept, and used after a restart', async () => {
    const pki = await servePki({ '/ca.crl': crlOf() });
    const extensions = placesOf({ crl: pki.url('/ca.crl') });
    const [first, second] = [await bob({ extensions }), await bob({ name: 'bea', extensions })];
    const { ask, site } = await setUp({ settings: hard, port: pki.port });
    expect([await ask(first), await ask(second), await ask(first)]).toEqual(['valid', 'valid', 'valid']);
    expect(pki.asked).toEqual(['/ca.crl']);
    expect(site.log.lines).toContainEqual(
      expect.objectContaining({ event: 'crl-stored', url: pki.url('/ca.crl'), issuer: 'CN=Test Root' }),
    );
    expect(await (await setUp({ settings: hard, site })).ask(first)).toBe('valid');
  });

  it('serves many that ask at once', async () => {
    const pki = await servePki({ '/ca.crl': crlOf() });
    const extensions = placesOf({ crl: pki.url('/ca.crl') });
    const many = await Promise.all(Array.from({ length: 5 }, (_, n) => bob({ name: `b${n}`, extensions })));
    const { ask } = await setUp({ settings: hard, port: pki.port });
    expect(await Promise.all(many.map(ask))).toEqual(many.map(() => 'valid'));
    expect(pki.asked).toEqual(['/ca.crl']);
  });

  it('may be PEM', async () => {
    const pki = await servePki({ '/ca.crl': Buffer.from(ca.crl()) });
    const who = await bob({ extensions: placesOf({ crl: pki.url('/ca.crl') }) });
    expect(await (await setUp({ settings: hard, port: pki.port })).ask(who)).toBe('valid');
  });

  it('shows who was revoked, and what was believed before is judged again', async () => {
    const pki = await servePki({ '/ca.crl': crlOf() });
    const extensions = placesOf({ crl: pki.url('/ca.crl') });
    const who = await bob({ extensions });
    const { ask, clock, book, authorities } = await setUp({ settings: soft, port: pki.port });
    expect(await ask(who)).toBe('valid');
    const late = await servePki({ '/ca.crl': crlOf({ revoked: [who], number: 2, thisUpdate: new Date() }) });
    const obtained = {
      crls: [
        {
          crl: parseCrl(crlOf({ revoked: [who], number: 2, thisUpdate: new Date(Date.now() - hour) })),
          url: late.url('/ca.crl'),
        },
      ],
      answers: [],
      issuers: [],
    };
    clock.pass(minute);
    await book.keep(obtained, { authorities, open: new Set(), path: [] });
    expect(await ask(who)).toBe('revoked');
  });

  it.each<[string, () => Buffer]>([
    ['another authority signed', () => derOf(other.crl())],
    ['was changed', () => Buffer.concat([crlOf().subarray(0, -20), Buffer.alloc(20, 1)])],
    ['is rubbish', () => Buffer.from('<html>')],
    ['is out of date', () => crlOf({ nextUpdate: new Date(Date.now() - 1000) })],
    ['is of the future', () => crlOf({ thisUpdate: new Date(Date.now() + 2 * day) })],
  ])('is not kept if it %s, and asked for again after five minutes', async (_, make) => {
    const pki = await servePki({ '/ca.crl': make() });
    const who = await bob({ extensions: placesOf({ crl: pki.url('/ca.crl') }) });
    const { ask, clock, store } = await setUp({ settings: soft, port: pki.port });
    expect(await ask(who)).toMatch(/^valid|^crl/);
    clock.pass(20 * minute);
    const asked = pki.asked.length;
    await ask(who);
    expect([await store.crls(), pki.asked.length - asked]).toEqual([[], 1]);
    await ask(await bob({ name: 'ben', extensions: placesOf({ crl: pki.url('/ca.crl') }) }));
    expect(pki.asked.length - asked).toBe(1);
  });

  it('is missed aloud if it is not there, once in five minutes', async () => {
    const pki = await servePki({});
    const extensions = placesOf({ crl: pki.url('/ca.crl') });
    const { ask, site } = await setUp({ settings: hard, port: pki.port });
    expect([await ask(await bob({ extensions })), await ask(await bob({ extensions }))]).toEqual([
      'crl-missing',
      'crl-missing',
    ]);
    expect(site.log.lines).toEqual([
      expect.objectContaining({ event: 'fetch-failed', url: pki.url('/ca.crl'), code: 'fetch-answer' }),
    ]);
    expect(pki.asked).toHaveLength(1);
  });
});

describe('an OCSP responder that the certificate names', () => {
  async function responder(revoked: boolean) {
    const people: Identity[] = [];
    const answer = (request: Buffer) =>
      ocspAnswer(ca, request, { known: people, revoked: revoked ? people : [], days: 60 });
    const pki = await servePki({ '/ocsp': answer });
    const who = await bob({ extensions: placesOf({ ocsp: pki.url('/ocsp') }) });
    people.push(who);
    return { pki, who };
  }

  it.each([
    [false, 'valid'],
    [true, 'revoked'],
  ])('is asked, its answer kept: revoked %s', async (revoked, expected) => {
    const { pki, who } = await responder(revoked);
    const { ask, site } = await setUp({ settings: hard, port: pki.port });
    expect([await ask(who), await ask(who)]).toEqual([expected, expected]);
    expect(await (await setUp({ settings: hard, site })).ask(who)).toBe(expected);
    expect(pki.asked).toEqual(['/ocsp']);
  });

  it('is asked again after a week, though its answer holds longer', async () => {
    const { pki, who } = await responder(false);
    const { ask, clock } = await setUp({ settings: soft, port: pki.port });
    await ask(who);
    clock.pass(7 * day);
    await ask(who);
    expect(pki.asked).toHaveLength(2);
  });

  it('does not count if it speaks for another authority', async () => {
    const people: Identity[] = [];
    const pki = await servePki({ '/ocsp': (request) => ocspAnswer(other, request, { known: people }) });
    const who = await bob({ extensions: placesOf({ ocsp: pki.url('/ocsp') }) });
    people.push(who);
    const { ask, store } = await setUp({ settings: hard, port: pki.port });
    expect(await ask(who)).toMatch(/^crl-/);
    expect(await store.answer(parseCertificate(who.certDer).sha256)).toBeNull();
  });
});

describe("the issuer's certificate where the certificate says", () => {
  it('is fetched with its list, and kept because it leads to an anchor', async () => {
    const files: Record<string, Buffer> = { '/root.crl': crlOf() };
    const pki = await servePki(files);
    const middle = await ca.intermediate({
      name: 'Middle',
      extensions: placesOf({ crl: pki.url('/root.crl') }),
    });
    files['/middle.cer'] = middle.certDer;
    files['/middle.crl'] = derOf(middle.crl());
    const places = { crl: pki.url('/middle.crl'), issuer: pki.url('/middle.cer') };
    const who = await middle.issue({ name: 'bob', address: 'bob@example.org', extensions: placesOf(places) });
    const { ask, site } = await setUp({ settings: hard, port: pki.port });
    expect(await ask(who)).toBe('valid');
    expect(pki.asked.sort()).toEqual(['/middle.cer', '/middle.crl', '/root.crl']);
    expect((await certificatesNamed(site.database.q, 'CN=Middle')).map((row) => row.source)).toEqual([
      'harvested',
    ]);
    expect(await (await setUp({ settings: hard, site })).ask(who)).toBe('valid');
  });

  it('is not kept if it leads to none', async () => {
    const files: Record<string, Buffer> = {};
    const pki = await servePki(files);
    const middle = await other.intermediate({ name: 'Foreign' });
    files['/middle.cer'] = middle.certDer;
    const who = await middle.issue({
      name: 'bob',
      address: 'bob@example.org',
      extensions: placesOf({ issuer: pki.url('/middle.cer') }),
    });
    const { ask, site } = await setUp({ settings: soft, port: pki.port });
    expect(await ask(who)).toBe('no-path');
    expect(await certificatesNamed(site.database.q, 'CN=Foreign')).toEqual([]);
  });
});

describe('refresh', () => {
  it('fetches a list again before it ends, and leaves the others', async () => {
    const files = { '/ca.crl': crlOf({ nextUpdate: new Date(Date.now() + day) }) };
    const pki = await servePki(files);
    const who = await bob({ extensions: placesOf({ crl: pki.url('/ca.crl') }) });
    const { ask, book, clock, authorities, store } = await setUp({ settings: hard, port: pki.port });
    await ask(who);
    await book.refresh([authorities]);
    expect(pki.asked).toHaveLength(1);
    clock.pass(23 * hour);
    files['/ca.crl'] = crlOf({
      nextUpdate: new Date(Date.now() + 2 * day),
      number: 2,
      thisUpdate: new Date(Date.now() - hour),
    });
    await book.refresh([{ ...authorities, at: clock.now() }]);
    expect((await store.crls()).map((one) => Number(one.crl.number))).toEqual([2]);
    clock.pass(2 * hour);
    expect(await ask(who)).toBe('valid');
    expect(pki.asked).toHaveLength(2);
  });
});
