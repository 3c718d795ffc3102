import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { replaceExpired, useAgain } from '../../src/flow/certificates/best-certificate.ts';
import { openDirectoryDoor } from '../../src/flow/certificates/directory-door.ts';
import { importCertificates } from '../../src/flow/certificates/import-certificates.ts';
import { judgeImportsOf } from '../../src/flow/certificates/judge-import.ts';
import { mirrorAddress } from '../../src/flow/certificates/mirror.ts';
import { useFor } from '../../src/flow/certificates/use-certificate.ts';
import { fileHarvest, knownFor } from '../../src/flow/harvest/file-certificates.ts';
import { filingsFor } from '../../src/flow/harvest/harvest.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { revocationOff } from '../../src/pki/revocation.ts';
import { allBindings, bindingsOf, setBindingState } from '../../src/store/bindings.ts';
import { findCertificate, inUse } from '../../src/store/certificates.ts';
import { readCertificateName } from '../../src/store/directory.ts';
import type { BindingRow, BindingState, Purpose } from '../../src/store/schema.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { sympaDirectory, sympaName, sympaOldName } from '../kit/sympa.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

// Whatever happens to certificates, in whatever order: the directory says what the database says.

const day = 86_400_000;
const addresses = ['alice@example.org', "bob.o'hara@example.org", 'first_last@example.org'];
const uses = ['', '@sign', '@enc'] as const;
let ca: TestCa;
/** Certificates of one address: three for both uses (the third ends soon), one to sign, one to read. */
const people = new Map<string, Identity[]>();
beforeAll(async () => {
  ca = await makeCa('Test Root', { notBefore: new Date(Date.now() - 3650 * day) });
  for (const address of addresses) {
    const issue = (more: object) => ca.issue({ name: 'Somebody', address, key: 'p256', ...more });
    people.set(address, [
      await issue({}),
      await issue({}),
      await issue({ notAfter: new Date(Date.now() + 30 * day) }),
      await issue({ usage: 'digitalSignature' }),
      await issue({ usage: 'keyAgreement' }),
    ]);
  }
});

type Step =
  | {
      readonly do: 'harvest';
      readonly who: number;
      readonly which: number;
      readonly trusting: boolean;
      /** Days since it was signed. */
      readonly age: number;
    }
  | {
      readonly do: 'import';
      readonly who: number;
      readonly which: number;
      readonly named: 'not' | 'address' | 'pin';
    }
  | { readonly do: 'approve' | 'refuse'; readonly who: number; readonly which: number }
  | { readonly do: 'use again'; readonly who: number }
  | { readonly do: 'remove'; readonly who: number; readonly purpose: Purpose }
  | { readonly do: 'pass'; readonly days: number }
  | {
      readonly do: 'put';
      readonly who: number;
      readonly which: number;
      readonly use: number;
      readonly old: boolean;
    }
  | { readonly do: 'rubbish' | 'take away'; readonly who: number; readonly use: number }
  | { readonly do: 'restart' };

// Much about one of them, so that things come together.
const who = fc.constantFrom(0, 0, 0, 0, 1, 2);
const which = fc.constantFrom(0, 0, 1, 1, 2, 3, 4);
const use = fc.constantFrom(0, 0, 1, 2);
const steps: fc.Arbitrary<{ readonly step: Step; readonly crash: boolean }> = fc.record({
  step: fc.oneof<fc.Arbitrary<Step>[]>(
    fc.record({ do: fc.constant('harvest'), who, which, trusting: fc.boolean(), age: fc.constantFrom(0, 3) }),
    fc.record({
      do: fc.constant('import'),
      who,
      which,
      named: fc.constantFrom('not', 'not', 'address', 'pin'),
    }),
    fc.record({ do: fc.constantFrom('approve', 'approve', 'refuse'), who, which }),
    fc.record({ do: fc.constant('use again'), who }),
    fc.record({ do: fc.constant('remove'), who, purpose: fc.constantFrom<Purpose>('sign', 'enc') }),
    fc.record({ do: fc.constant('pass'), days: fc.constantFrom(1, 20) }),
    fc.record({ do: fc.constant('put'), who, which, use, old: fc.boolean() }),
    fc.record({ do: fc.constantFrom('rubbish', 'take away'), who, use }),
    fc.record({ do: fc.constant('restart') }),
  ),
  // The database is changed, and the process killed before it writes the directory.
  crash: fc.boolean(),
});

/** A site that does the steps as commands, mail and hands do. */
async function makeWorld() {
  const base = await makeSite();
  let now = Date.now();
  let hands = false;
  const site = { ...base, clock: { now: () => now } };
  const list = await makeList(site);
  const trusting = await makeList(site, { harvest: 'verified' }, 'trusting');
  const folder = join(site.folder, 'certificates');
  mkdirSync(folder);
  const parts = { ...site, folder, certificates: folder };
  let door = openDirectoryDoor(parts);
  const anchors = { certificates: [parseCertificate(ca.certDer)] };

  const identity = (n: number, k: number) => (people.get(addresses[n] ?? '') ?? [])[k] as Identity;
  const change = async (address: string, work: () => Promise<unknown>, crash: boolean) => {
    now += 10;
    await work();
    if (!crash) await mirrorAddress(site.database.q, folder, address);
  };

  const step = async (one: Step, crash: boolean): Promise<void> => {
    hands ||= one.do === 'put' || one.do === 'rubbish';
    const address = 'who' in one ? (addresses[one.who] ?? '') : '';
    switch (one.do) {
      case 'harvest':
        return change(
          address,
          () =>
            harvest(site, one.trusting ? trusting : list, identity(one.who, one.which), anchors, {
              at: now,
              signedAt: now - one.age * day,
            }),
          crash,
        );
      case 'import': {
        const certificate = parseCertificate(identity(one.who, one.which).certDer);
        now += 10;
        const order = {
          address: one.named === 'address' ? address : null,
          pin: one.named === 'pin' ? address : null,
          who: 'test',
          now,
        };
        const candidate = { certificate, where: 'here', named: null };
        const judge = await judgeImportsOf(
          {
            ...site,
            lists: [list],
            keyring: { anchorsOf: async () => anchors },
            revocation: { policyOf: async () => revocationOff },
            intermediates: async () => [],
          },
          order,
          [],
        );
        const verdict = await judge(candidate);
        if (verdict.outcome === 'imported') await importCertificates(parts, [verdict], order);
        return;
      }
      case 'approve':
      case 'refuse': {
        const { sha256 } = parseCertificate(identity(one.who, one.which).certDer);
        const work = () =>
          site.database.write(async (tx) => {
            const rows = await bindingsOf(tx, address);
            for (const row of rows.filter((r) => r.sha256 === sha256 && r.state === 'pending')) {
              const certificate = await findCertificate(tx, sha256);
              const by = 'test';
              if (one.do === 'refuse') await setBindingState(tx, row, 'refused', { at: now, by });
              else if (certificate)
                await useFor(tx, { address, purpose: row.purpose, certificate, source: row.source, now, by });
            }
          });
        return change(address, work, crash);
      }
      case 'use again': {
        now += 10;
        for (const { sha256, purpose } of await bindingsOf(site.database.q, address))
          await useAgain(parts, { address, purpose, sha256, why: 'it is of no use' });
        return;
      }
      case 'remove': {
        const work = () =>
          site.database.write(async (tx) => {
            for (const row of await bindingsOf(tx, address))
              if (row.state === 'in-use' && row.purpose === one.purpose)
                await setBindingState(tx, row, 'removed', { at: now, by: 'test' });
          });
        return change(address, work, crash);
      }
      case 'pass':
        now += one.days * day;
        await replaceExpired(parts);
        return;
      case 'put':
      case 'rubbish': {
        now += 5000;
        const name = (one.do === 'put' && one.old ? sympaOldName : sympaName)(address) + uses[one.use];
        const text = one.do === 'put' ? identity(one.who, one.which).certPem : 'rubbish';
        writeFileSync(join(folder, name), text);
        utimesSync(join(folder, name), now / 1000, now / 1000);
        return;
      }
      case 'take away':
        return rmSync(join(folder, sympaName(address) + uses[one.use]), { force: true });
      case 'restart':
        door = openDirectoryDoor(parts);
        return;
    }
  };

  const stored = async (): Promise<string[]> => {
    const lines: string[] = [];
    for (const address of addresses)
      for (const purpose of ['sign', 'enc'] as const) {
        const row = await inUse(site.database.q, address, purpose);
        if (row) lines.push(`${address} ${purpose} ${row.sha256}`);
      }
    return lines;
  };

  /** What stands in the directory and what the database has in use, as `address purpose sha256`. */
  const compare = async (): Promise<void> => {
    const before = await stored();
    await door.look(true);
    now += 3000;
    await door.look(true);
    const after = await stored();
    // What no hand has touched is our own mirror, however far behind, and brings nothing back.
    if (!hands) expect(after).toEqual(before);
    hands = false;
    const written: string[] = [];
    const unusable = new Set<string>();
    for (const file of readdirSync(folder)) {
      const read = readCertificateName(file);
      expect(read, file).not.toBeNull();
      if (!read) continue;
      const text = readFileSync(join(folder, file), 'utf8');
      const found = [...people.values()].flat().find((person) => person.certPem === text);
      const purposes = read.use === 'both' ? ['sign', 'enc'] : [read.use];
      if (door.problemOf(read.address) !== null) unusable.add(read.address);
      else
        for (const purpose of purposes)
          written.push(`${read.address} ${purpose} ${found ? parseCertificate(found.certDer).sha256 : text}`);
    }
    // A file that nobody can read is told of, and is a person's to mend.
    const told = (line: string) => ![...unusable].some((address) => line.startsWith(`${address} `));
    // The same may stand there twice, in the file for both uses and in one of its own.
    expect([...new Set(written)].filter(told).sort()).toEqual(after.filter(told).sort());
  };
  const byHand = () => {
    hands = true;
  };
  const inState = async (...states: readonly BindingState[]): Promise<BindingRow[]> =>
    (await allBindings(site.database.q, { limit: 1000 })).filter((row) => states.includes(row.state));
  return { step, compare, site, folder, byHand, inState, now: () => now };
}

async function harvest(
  site: Pick<TestSite, 'database'>,
  list: ListContext,
  person: Identity,
  anchors: { certificates: ReturnType<typeof parseCertificate>[] },
  { at, signedAt }: { at: number; signedAt: number },
): Promise<void> {
  const signature = {
    certificate: person.certDer,
    bag: [person.certDer],
    signatureSha256: 'ab',
    allSha256: ['ab'],
    others: [],
    signingTime: signedAt,
    capabilities: null,
    preference: null,
  };
  const { address } = person;
  await site.database.write(async (tx) => {
    const known = await knownFor(tx, address);
    const trust = { anchors, intermediates: [], revocation: revocationOff, revokedKeys: new Set<string>() };
    const facts = { address, signature, ...known, ...trust, receivedAt: at };
    const filings = filingsFor(list, facts);
    await fileHarvest(tx, { list, messageId: 'm', address, filings, signature, at, expiresAt: at + day });
  });
}

/** The first certificate is known, the second takes its place, and a person approves it. */
const changed: readonly Step[] = [
  { do: 'harvest', who: 0, which: 0, trusting: false, age: 0 },
  { do: 'harvest', who: 0, which: 1, trusting: false, age: 0 },
  { do: 'approve', who: 0, which: 1 },
];

const nameOf = ({ address, purpose, sha256 }: BindingRow): string => `${address} ${purpose} ${sha256}`;

/**
 * Whether the step is a person's word about this certificate, or a mail where the policy takes each that was signed after
 * it was settled.
 */
function isWordFor(step: Step, { address, sha256, since }: BindingRow, now: number): boolean {
  if (!('which' in step) || addresses[step.who] !== address) return false;
  const { certDer } = (people.get(address) ?? [])[step.which] as Identity;
  if (parseCertificate(certDer).sha256 !== sha256) return false;
  if (step.do === 'import') return step.named !== 'not';
  return step.do === 'harvest' ? now - step.age * day > since : step.do !== 'refuse';
}

it('any sequence of harvest, import, expiry, removal and hand edits leaves both agreeing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 20 }), async (sequence) => {
      const world = await makeWorld();
      /** What was said, or put, of certificates that are not used any more, since the door last looked. */
      let said: BindingRow[] = [];
      for (const { step, crash } of sequence) {
        const settled = await world.inState('replaced', 'refused', 'removed');
        await world.step(step, crash);
        said.push(...settled.filter((row) => isWordFor(step, row, world.now())));
        if (!crash) await world.compare();
        // Without a word about itself none comes back: by no old mail, no heap, no time that passes, no old file.
        const used = (await world.inState('in-use')).map(nameOf);
        const back = settled.map(nameOf).filter((one) => used.includes(one));
        expect(back.filter((one) => !said.map(nameOf).includes(one))).toEqual([]);
        if (!crash) said = [];
      }
      await world.compare();
      await world.site.database.close();
    }),
    {
      numRuns: 80,
      // The ways back that an old key might find, each once at least.
      examples: [
        { do: 'use again', who: 0 } as const,
        { do: 'import', who: 0, which: 0, named: 'not' } as const,
        { do: 'harvest', who: 0, which: 0, trusting: true, age: 3 } as const,
      ].map((way) => [[...changed, way].map((step) => ({ step, crash: false }))]),
    },
  );
}, 60_000);

it.each(['old', 'new'] as const)(
  'a directory that Sympa made (%s naming) is taken over at start and written by the new naming',
  async (naming) => {
    const { folder, site, compare, byHand } = await makeWorld();
    const certificates = addresses.map((address) => ({
      address,
      use: '' as const,
      pem: (people.get(address) as Identity[])[0]?.certPem ?? '',
    }));
    sympaDirectory(folder, { naming, certificates });
    byHand();
    rmSync(join(folder, '.nfs0001'));
    rmSync(join(folder, 'alice@example.org.soon_expired'));
    await compare();
    expect(readdirSync(folder).sort()).toEqual(addresses.map(sympaName).sort());
    expect(site.log.lines.filter((line) => line.level !== 'info')).toEqual([]);
    for (const address of addresses) {
      const { sha256 } = parseCertificate((people.get(address) as Identity[])[0]?.certDer ?? Buffer.alloc(0));
      expect(await inUse(site.database.q, address, 'enc')).toMatchObject({ sha256, boundBy: 'by hand' });
    }
  },
);
