import { beforeAll, describe, expect, it } from 'vitest';
import { filingsFor } from '../../src/flow/harvest/harvest.ts';
import { openPosting } from '../../src/flow/post/open-posting.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type OpenReport, openMessage } from '../../src/smime/open.ts';
import { certificatesNamed } from '../../src/store/certificates.ts';
import { cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { derOf, placesOf, servePki, withCrls } from '../kit/revocation.ts';
import { mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import { lookUps, type Options } from './look-ups.ts';
import { minute } from './parts.ts';

// What an opening lacks is looked up, fetched, and the message opened again; what proved right is kept.

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

async function setUp(o: Omit<Options, 'anchors'> = {}) {
  const all = await lookUps({ anchors: [ca], ...o });
  const reports: OpenReport[] = [];
  const parts = {
    q: all.site.database.q,
    keyring: all.keyring,
    revocation: all.book,
    clock: all.clock,
    openedSize: 1_000_000,
    workers: {
      open: async (request: Parameters<typeof openMessage>[0]) => {
        const report = openMessage(request);
        reports.push(report);
        return report;
      },
    },
  };
  return {
    ...all,
    reports,
    open: (message: Buffer) => openPosting(parts, all.list, message, all.clock.now()),
    /** The verdict, and its reasons. */
    async ask(message: Buffer): Promise<string> {
      const { verdict, reasons } = await openPosting(parts, all.list, message, all.clock.now());
      return [verdict, ...reasons].join(' ');
    },
  };
}

const hard = { revocation: 'hard' } as const;
const entity = textEntity('Dear friends\n');
const mailBy = (who: Identity, der: Buffer): Buffer =>
  mailOf(
    [
      ['From', who.address],
      ['To', 'team@lists.example'],
    ],
    signedEntity(entity, der),
  );
const alice = (from: TestCa, places: Parameters<typeof placesOf>[0] = {}) =>
  from.issue({ name: 'alice', address: 'alice@example.org', key: 'p256', extensions: placesOf(places) });

describe('a signer', () => {
  it('whose list is in a file is settled by one opening', async () => {
    const who = await alice(ca);
    const mail = mailBy(who, await cmsSign(who, entity));
    const { ask, reports } = await setUp({ settings: hard, files: [derOf(ca.crl())] });
    expect([await ask(mail), reports.length]).toEqual(['signed', 1]);
    const revoking = await setUp({ settings: hard, files: [derOf(ca.crl({ revoked: [who] }))] });
    expect(await revoking.ask(mail)).toBe('untrusted revoked');
  });

  it('whose list is where his certificate says is settled by two, later ones by one', async () => {
    const pki = await servePki({ '/ca.crl': derOf(ca.crl()) });
    const who = await alice(ca, { crl: pki.url('/ca.crl') });
    const mail = mailBy(who, await cmsSign(who, entity));
    const { ask, reports } = await setUp({ settings: hard, port: pki.port });
    expect([await ask(mail), reports.length]).toEqual(['signed', 2]);
    expect([await ask(mail), reports.length, pki.asked.length]).toEqual(['signed', 3, 1]);
  });

  it('whose list names him stays revoked, the list kept', async () => {
    const files: Record<string, Buffer> = {};
    const pki = await servePki(files);
    const who = await alice(ca, { crl: pki.url('/ca.crl') });
    files['/ca.crl'] = derOf(ca.crl({ revoked: [who] }));
    const mail = mailBy(who, await cmsSign(who, entity));
    const { ask, site } = await setUp({ port: pki.port });
    expect([await ask(mail), await ask(mail), pki.asked.length]).toEqual([
      'untrusted revoked',
      'untrusted revoked',
      1,
    ]);
    expect(await (await setUp({ site })).ask(mail)).toBe('untrusted revoked');
  });

  it('of whom nothing can be had is judged by what there is, the entity of the last opening whole', async () => {
    const pki = await servePki({});
    const who = await alice(ca, { crl: pki.url('/ca.crl') });
    const mail = mailBy(who, await cmsSign(who, entity));
    const { open, reports } = await setUp({ port: pki.port });
    const report = await open(mail);
    expect([report.verdict, report.remarks, reports.length]).toEqual(['signed', ['crl-missing'], 1]);
    expect(report.entity?.expose().includes('Dear friends')).toBe(true);
  });

  it('without his authority: it is fetched with both lists, then kept, and its like taken by harvest', async () => {
    const files: Record<string, Buffer> = { '/root.crl': derOf(ca.crl()) };
    const pki = await servePki(files);
    const middle = await ca.intermediate({
      name: 'Middle',
      extensions: placesOf({ crl: pki.url('/root.crl') }),
    });
    files['/middle.cer'] = middle.certDer;
    files['/middle.crl'] = derOf(middle.crl());
    const who = await alice(middle, { crl: pki.url('/middle.crl'), issuer: pki.url('/middle.cer') });
    const mail = mailBy(who, await cmsSign(who, entity));
    const { open, reports, site, book, list, intermediates, authorities, clock } = await setUp({
      settings: hard,
      port: pki.port,
    });
    const report = await open(mail);
    expect(report.verdict).toBe('signed');
    for (const earlier of reports.slice(0, -1))
      expect(() => earlier.entity?.expose(), 'an earlier opening is wiped').toThrow();
    expect((await certificatesNamed(site.database.q, 'CN=Middle')).length).toBe(1);

    const { signature } = report;
    if (!signature) throw new Error('no signature');
    const filings = filingsFor(list, {
      address: who.address,
      signature,
      inUse: { sign: null, enc: null },
      waiting: { sign: [], enc: [] },
      refused: { sign: [], enc: [] },
      replaced: { sign: new Map(), enc: new Map() },
      known: { sign: false, enc: false },
      anchors: authorities.anchors,
      intermediates: await intermediates(parseCertificate(who.certDer)),
      revocation: await book.policyOf(list),
      revokedKeys: new Set(),
      receivedAt: clock.now(),
    });
    expect(filings.map(({ purpose, chain }) => [purpose, chain.map((one) => one.subject)])).toEqual([
      ['sign', ['CN=Middle']],
      ['enc', ['CN=Middle']],
    ]);

    pki.asked.length = 0;
    const later = await setUp({ settings: hard, site, port: pki.port });
    expect(await later.ask(mail)).toBe('signed');
    expect([later.reports.length, pki.asked]).toEqual([2, []]);
  });

  it('of whom each answer asks for more is not followed without end', async () => {
    const files: Record<string, Buffer> = {};
    const pki = await servePki(files);
    let above: TestCa = ca;
    for (let n = 0; n < 6; n++) {
      above = await above.intermediate({
        name: `Level ${n}`,
        extensions: placesOf({ issuer: pki.url(`/${n - 1}.cer`) }),
      });
      files[`/${n}.cer`] = above.certDer;
    }
    const who = await alice(above, { issuer: pki.url('/5.cer') });
    const mail = mailBy(who, await cmsSign(who, entity));
    const { ask, reports } = await setUp({ port: pki.port });
    expect([await ask(mail), reports.length]).toEqual(['untrusted no-path', 4]);
  });
});

describe('lists that come with a message', () => {
  const withList = async (who: Identity, ...crls: readonly Buffer[]): Promise<Buffer> =>
    mailBy(who, withCrls(await cmsSign(who, entity), ...crls));

  it('are kept if an authority of this list signed them', async () => {
    const who = await alice(ca);
    const { ask, store, site } = await setUp({ settings: hard });
    expect(await ask(await withList(who, derOf(ca.crl())))).toBe('signed');
    expect((await store.crls()).map((one) => [one.crl.issuer, one.url])).toEqual([['CN=Test Root', null]]);
    expect(site.log.events()).toContain('crl-stored');
    expect(await ask(mailBy(who, await cmsSign(who, entity)))).toBe('signed');
  });

  it.each<[string, (other: TestCa) => Buffer]>([
    ['another authority', (other) => derOf(other.crl())],
    ['nobody', () => Buffer.concat([derOf(ca.crl()).subarray(0, -9), Buffer.alloc(9)])],
    ['an authority that is over', () => derOf(ca.crl({ nextUpdate: new Date(Date.now() - minute) }))],
  ])('are not kept if %s signed them', async (_, make) => {
    const who = await alice(ca);
    const { ask, store } = await setUp();
    expect(await ask(await withList(who, make(await makeCa('Other Root'))))).toBe('signed');
    expect(await store.crls()).toEqual([]);
  });

  it('are not kept if the authority that signed them only calls itself like one of ours', async () => {
    const who = await alice(ca);
    const forger = await makeCa('Test Root');
    const der = withCrls(
      await cmsSign(who, entity, { chain: [forger] }),
      derOf(forger.crl({ revoked: [who] })),
    );
    const { ask, store } = await setUp();
    expect(await ask(mailBy(who, der))).toBe('signed');
    expect(await store.crls()).toEqual([]);
  });

  it('do not turn time back: an old one does not displace what is known', async () => {
    const [who, victim] = [await alice(ca), await ca.issue({ name: 'bob', address: 'bob@example.org' })];
    const old = derOf(ca.crl({ thisUpdate: new Date(Date.now() - 60 * minute) }));
    const fresh = derOf(ca.crl({ thisUpdate: new Date(Date.now() - minute), revoked: [victim], number: 2 }));
    const { ask, store } = await setUp();
    await ask(await withList(who, fresh));
    await ask(await withList(who, old));
    expect((await store.crls()).map((one) => Number(one.crl.number))).toEqual([2]);
  });

  it('are not looked at where revocation is off', async () => {
    const who = await alice(ca);
    const { ask, store } = await setUp({ settings: { revocation: 'off' } });
    await ask(await withList(who, derOf(ca.crl({ revoked: [who] }))));
    expect(await store.crls()).toEqual([]);
  });
});
