import { beforeAll, describe, expect, it } from 'vitest';
import { announceKeys, planAnnouncement } from '../../src/flow/care/key-announcement.ts';
import { careForListKeys } from '../../src/flow/care/key-expiry.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import type { Notice } from '../../src/flow/mail/notify.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import type { KeyPair } from '../../src/pki/keys.ts';
import { addRole, ensureService } from '../../src/store/lists.ts';
import { addMembers, setMember } from '../../src/store/members.ts';
import { makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa('Root', { key: 'p256' });
});

/** A pair whose certificate ends after so many days. */
async function pair(days: number, suffix = '', o: { selfSigned?: boolean } = {}): Promise<KeyPair> {
  const options = {
    name: `Team ${suffix}`,
    address: 'team@lists.example',
    key: 'p256',
    notBefore: new Date(t0 - 30 * day),
    notAfter: new Date(t0 + days * day),
  } as const;
  const made = o.selfSigned ? await makeSelfSigned(options) : await ca.issue(options);
  return { certificate: parseCertificate(made.certDer), chain: [], key: made.key, suffix };
}

const keyringOf = (pairs: readonly KeyPair[], signing = pairs[0] ?? null, encryption = signing) => ({
  keysOf: async () => ({ pairs, problems: [] }),
  signingPair: async () => signing,
  encryptionPair: async () => encryption,
});

async function withOwner(
  site: TestSite,
  settings: Readonly<Record<string, string>> = {},
): Promise<ListContext> {
  const list = await makeList(site, settings);
  const owner = { listId: list.id, role: 'owner', name: '' } as const;
  await addRole(site.database.q, { ...owner, address: 'olga@example.org' });
  return list;
}

const service = 'reseal@lists.example';
const siteOf = (site: TestSite) => ({
  ...site,
  serviceAddress: service,
  postmaster: 'postmaster@lists.example',
});

const told = ({ notices }: TestSite) =>
  notices.splice(0).map((one: Notice) => `${one.to} ${one.variables.event}`);

describe('warnings before the certificate of a list ends', () => {
  it('go to the owner 30, 7 and 1 days before and when it is over, once each', async () => {
    const site = await makeSite();
    const list = await withOwner(site);
    const parts = { ...siteOf(site), keyring: keyringOf([await pair(31)]) };
    const until = '2026-02-05';
    for (const [pass, expected] of [
      [0, []],
      [2, [`olga@example.org the list's certificate ends on ${until}`]],
      [1, []],
      [21, [`olga@example.org the list's certificate ends on ${until}`]],
      [6, [`olga@example.org the list's certificate ends on ${until}`]],
      [0.5, []],
      [1, [`olga@example.org the list's certificate ended on ${until}`]],
      [30, []],
    ] as const) {
      site.clock.pass(pass * day);
      for (let time = 0; time < 2; time++) await careForListKeys(parts, [list]);
      expect(told(site), `${pass} days later`).toEqual(expected);
    }
  });

  it('say how to renew it: by the list itself, or by its authority', async () => {
    for (const [selfSigned, remedy] of [
      [true, /reseal key rotate team@lists\.example/],
      [false, /reseal key csr team@lists\.example/],
    ] as const) {
      const site = await makeSite();
      const list = await withOwner(site);
      await careForListKeys({ ...siteOf(site), keyring: keyringOf([await pair(5, '', { selfSigned })]) }, [
        list,
      ]);
      expect(site.notices.map((one) => String(one.variables.details))).toEqual([
        expect.stringMatching(remedy),
      ]);
    }
  });

  it('come for each of two pairs, and for none that is retired or cannot be used', async () => {
    const site = await makeSite();
    const list = await withOwner(site);
    const [signing, encryption, retired] = [
      await pair(5, '.sign'),
      await pair(6, '.enc'),
      await pair(4, '.old'),
    ];
    await careForListKeys(
      { ...siteOf(site), keyring: keyringOf([signing, encryption, retired], signing, encryption) },
      [list],
    );
    expect(told(site)).toHaveLength(2);
    await careForListKeys({ ...siteOf(site), keyring: keyringOf([]) }, [list]);
    expect(told(site)).toEqual([]);
  });

  it('of the service address go to the postmaster, who has no list', async () => {
    const site = await makeSite();
    await ensureService(site.database.q, { address: service, createdAt: t0 });
    const parts = { ...siteOf(site), keyring: keyringOf([await pair(30)]) };
    for (const days of [0, 22, 1, 6, 1, 5]) {
      site.clock.pass(days * day);
      for (let time = 0; time < 2; time++) await careForListKeys(parts, []);
    }
    const until = '2026-02-04';
    const ends = `postmaster@lists.example the service address's certificate ends on ${until}`;
    const ended = `postmaster@lists.example the service address's certificate ended on ${until}`;
    expect(site.notices.map(({ variables }) => variables.postmaster)).toEqual([true, true, true, true]);
    expect(String(site.notices[0]?.variables.details)).toContain(`reseal key csr ${service}`);
    expect(told(site)).toEqual([ends, ends, ends, ended]);
  });

  it('of two who warn at once come once, and leave one file', async () => {
    const site = await makeSite();
    const list = await withOwner(site);
    const parts = { ...siteOf(site), keyring: keyringOf([await pair(5)]) };
    await Promise.all([careForListKeys(parts, [list]), careForListKeys(parts, [list])]);
    expect(await site.spool.messages()).toHaveLength(1);
  });

  it('of one list do not fail because of another', async () => {
    const site = await makeSite();
    const broken = await makeList(site, {}, 'broken');
    await addRole(site.database.q, {
      listId: broken.id,
      role: 'owner',
      name: '',
      address: 'unwritable@example.org',
    });
    const list = await withOwner(site);
    await careForListKeys({ ...siteOf(site), keyring: keyringOf([await pair(5)]) }, [broken, list]);
    expect(told(site)).toHaveLength(1);
    expect(site.log.events()).toContain('notice-failed');
  });
});

describe('the announcement of a new key', () => {
  async function planned(d: {
    settings?: Readonly<Record<string, string>>;
    oldDays?: number;
    believed?: boolean;
  }) {
    const site = await makeSite();
    const list = await withOwner(site, d.settings);
    const member = (address: string) => ({ address, name: '', since: t0, settings: {} });
    const names = ['bob@example.org', 'olga@example.org', 'sue@example.org'];
    await addMembers(site.database.q, list.id, names.map(member));
    await setMember(site.database.q, { listId: list.id, address: 'sue@example.org' }, { state: 'suspended' });
    const [fresh, old] = [await pair(400), await pair(d.oldDays ?? 10, '.retired-20260105')];
    await site.database.write((tx) =>
      planAnnouncement(tx, list.address, {
        certificate: fresh.certificate.sha256,
        signedBy: d.believed === false ? null : old.certificate.sha256,
      }),
    );
    return { site, list, fresh, old, parts: { ...siteOf(site), keyring: keyringOf([fresh, old], fresh) } };
  }

  it('goes to the owner and to members who get mail, once, signed by the key that they know', async () => {
    const { site, parts, old } = await planned({});
    expect(await announceKeys(parts)).toBe(2);
    expect(site.notices.map((one) => one.to)).toEqual(['olga@example.org', 'bob@example.org']);
    for (const notice of site.notices) {
      expect(notice.signWith).toBe(old);
      expect(notice.variables).toMatchObject({ signed_by_old: 1 });
      expect(notice.attachments).toMatchObject([{ fileName: 'team.p7c' }]);
    }
    expect(await announceKeys(parts)).toBe(0);
  });

  it.each([
    ['that is over', { oldDays: -1 }],
    ['that nobody shall believe', { believed: false }],
  ])('is signed by the new key beside an old one %s', async (_, d) => {
    const { site, parts, fresh } = await planned(d);
    await announceKeys(parts);
    expect(site.notices[0]?.signWith).toBe(fresh);
    expect(site.notices[0]?.variables).toMatchObject({ signed_by_old: 0 });
  });

  it('waits while the keys cannot be used, and goes on where it was interrupted', async () => {
    const { site, parts, list } = await planned({});
    expect(await announceKeys({ ...parts, keyring: keyringOf([]) })).toBe(0);
    const compose: TestSite['compose'] = async (context, notice, at) => {
      if (notice.to.startsWith('bob')) throw new Error('the power is gone');
      return parts.compose(context, notice, at);
    };
    await expect(announceKeys({ ...parts, compose })).rejects.toThrow('the power is gone');
    await careForListKeys(parts, [list]);
    expect(site.notices.map((one) => one.to)).toEqual(['olga@example.org', 'bob@example.org']);
  });

  it('is not made where the list signs nothing', async () => {
    const { parts } = await planned({ settings: { 'send.sign': 'never' } });
    expect(await announceKeys(parts)).toBe(0);
  });
});
