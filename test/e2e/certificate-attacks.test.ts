import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { formatCapabilities, ownCapabilities } from '../../src/cms/capabilities.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { derOid, derSequence } from '../../src/pki/der.ts';
import { bindingsOf } from '../../src/store/bindings.ts';
import { capabilitiesOf } from '../../src/store/certificates.ts';
import type { DeliveryRow } from '../../src/store/schema.ts';
import type { Identity } from '../kit/pki.ts';
import { headerOf, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import {
  countersigned,
  openCopy,
  postHeaders,
  signatureDer,
  signed,
  signedAndEncrypted,
  signedBy,
} from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

// Who can once read a mailbox can get a trusted certificate for it (RULES 15). What he then tries, and what a stranger
// with a certificate of his own and a mail client tries, by mail to a real site.

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

let people = 0;
/** A name that no other test knows anything of. */
const someone = (): string => `person-${++people}`;

/** `enc intruder pending`, sorted. */
async function states(address: string, names: Readonly<Record<string, Identity>>): Promise<string[]> {
  const rows = await world.onDatabase((q) => bindingsOf(q, address));
  const nameOf = (sha256: string) =>
    Object.entries(names).find(([, one]) => parseCertificate(one.certDer).sha256 === sha256)?.[0] ?? '?';
  return rows.map((row) => `${row.purpose} ${nameOf(row.sha256)} ${row.state}`).sort();
}
const used = async (address: string, names: Readonly<Record<string, Identity>>): Promise<string[]> =>
  (await states(address, names)).filter((one) => one.endsWith(' in-use'));

const bothOf = (name: string): string[] => [`enc ${name} in-use`, `sign ${name} in-use`];

const enrol = (from: string, list: List, entity: Buffer) =>
  world.post(mailOf(postHeaders(from, list.at('sendcert')), entity), list.at('sendcert'));

describe('taking over the address of somebody whose certificate is known', () => {
  it('by a signature of his own beside one that the victim made for somebody else', async () => {
    const victim = await world.person(someone());
    const intruder = await world.person(victim.name);
    const list = await world.list({ members: [victim] });
    // She wrote this to the intruder himself, and it says nothing of a certificate.
    const entity = textEntity('Dear Ivan, see you tomorrow.\n');
    const hers = signatureDer(entity, { by: victim });
    const his = signatureDer(entity, { by: intruder });
    await enrol(victim.address, list, countersigned(entity, hers, his));
    expect(await states(victim.address, { victim, intruder })).toEqual([
      'enc intruder pending',
      'enc victim in-use',
      'sign intruder pending',
      'sign victim in-use',
    ]);
  });

  it('by a second mail, where only her encryption certificate is known', async () => {
    const victim = await world.person(someone(), { usage: 'keyAgreement' });
    const intruder = await world.person(victim.name);
    const list = await world.list({ members: [victim] });
    for (const text of ['one\n', 'two\n'])
      await enrol(victim.address, list, await signed(intruder, textEntity(text)));
    expect(await used(victim.address, { victim, intruder })).not.toContain('enc intruder in-use');
  });

  it('by a certificate of his own that names her address too, where she only signs', async () => {
    const victim = await world.person(someone(), { usage: 'digitalSignature' });
    const intruder = await world.ca.issue({
      name: 'Ivan',
      address: [`${someone()}@example.org`, victim.address],
      key: 'p256',
    });
    const list = await world.list({ bare: [victim.address] });
    await enrol(victim.address, list, await signed(victim, textEntity('hers\n')));
    await enrol(intruder.address, list, await signed(intruder, textEntity('his\n')));
    expect(await states(victim.address, { victim, intruder })).toEqual(['sign victim in-use']);
  });

  it.each([
    ['harvest', { harvest: 'verified' }, 'confirm-change', true],
    ['harvest.first', {}, 'owner', false],
  ])('through another list whose %s asks for less', async (setting, lax, strict, isKnown) => {
    const victim = await world.person(someone());
    const intruder = await world.person(victim.name);
    const hers = isKnown ? { members: [victim] } : { bare: [victim.address] };
    await world.list({ ...hers, settings: { [setting]: strict } });
    const other = await world.list({ settings: lax });
    await enrol(victim.address, other, await signed(intruder, textEntity('mine\n')));
    expect(await used(victim.address, { victim, intruder })).toEqual(isKnown ? bothOf('victim') : []);
    expect(await states(victim.address, { victim, intruder })).toContain('enc intruder pending');
  });

  it('through another list, where she owns the careful one', async () => {
    const careful = await world.list();
    const owner = await world.ca.issue({ name: 'Owner', address: careful.owner, key: 'p256' });
    const intruder = await world.ca.issue({ name: 'Owner', address: careful.owner, key: 'p256' });
    const other = await world.list({ settings: { harvest: 'verified' } });
    await enrol(careful.owner, careful, await signed(owner, textEntity('hers\n')));
    await enrol(careful.owner, other, await signed(intruder, textEntity('his\n')));
    expect(await used(careful.owner, { owner, intruder })).toEqual(bothOf('owner'));
  });

  it.each(['owner', 'off'])(
    'through a laxer list, before she joins one with harvest.first: %s',
    async (first) => {
      const victim = await world.person(someone());
      const intruder = await world.person(victim.name);
      const author = await world.person(someone());
      const lax = await world.list({ members: [author], bare: [victim.address] });
      await enrol(victim.address, lax, await signed(intruder, textEntity('mine\n')));
      expect(await used(victim.address, { victim, intruder })).toEqual(bothOf('intruder'));
      const careful = await world.list({
        members: [author],
        bare: [victim.address],
        settings: { 'harvest.first': first },
      });
      const { id } = await world.post(await signedAndEncrypted(author, careful), careful.address);
      const hers = (rows: readonly DeliveryRow[]) => rows.find((row) => row.member === victim.address);
      const rows = await world.untilDeliveries(id, (all) =>
        ['held', 'delivered'].includes(hers(all)?.state ?? ''),
      );
      expect(hers(rows)).toMatchObject({ state: 'held', reason: 'pending' });
      // Once, though she is written to again, and renews it for the same key.
      const { sha256 } = parseCertificate(intruder.certDer);
      const approve = `reseal cert approve ${victim.address} ${sha256.slice(0, 16)}`;
      const again = await world.post(await signedAndEncrypted(author, careful), careful.address);
      await world.untilDeliveries(again.id, (all) => hers(all)?.state === 'held');
      const questions = async () =>
        (await world.mailTo(careful.owner)).filter(({ bytes }) =>
          bytes.toString().replace(/=\r\n/g, '').replace(/\s+/g, ' ').includes(approve),
        );
      expect(await questions()).toHaveLength(1);
      const problems = await world.daemon.run(['cert', 'list', '--problems', '--address', victim.address]);
      expect(problems.stdout.replace(/\s+/g, ' ')).toMatch(new RegExp(`pending .* \\(so ${careful.address}`));
      expect((await world.daemon.run(['cert', 'pending'])).stdout).toContain(sha256.slice(0, 8));
      // The laxer list goes on.
      const other = await world.post(await signedAndEncrypted(author, lax), lax.address);
      await world.untilDeliveries(other.id, (all) => hers(all)?.state === 'delivered');
      const renewed = await world.person(victim.name, { keyFrom: intruder });
      await enrol(victim.address, lax, await signed(renewed, textEntity('renewed\n')));
      expect(await used(victim.address, { intruder, renewed })).toEqual(bothOf('renewed'));
      const third = await world.post(await signedAndEncrypted(author, careful), careful.address);
      expect(hers(await world.untilDeliveries(third.id, (all) => hers(all)?.state === 'held'))).toBeDefined();
      const word = await world.daemon.run([
        'cert',
        'approve',
        victim.address,
        parseCertificate(renewed.certDer).sha256,
      ]);
      expect(word.code, word.stderr).toBe(0);
      for (const one of [id, again.id, third.id])
        await world.untilDeliveries(one, (all) => hers(all)?.state === 'delivered');
      // A renewal for a key that was approved is approved.
      const last = await world.person(victim.name, { keyFrom: intruder });
      await enrol(victim.address, lax, await signed(last, textEntity('renewed again\n')));
      expect(await used(victim.address, { last })).toEqual(bothOf('last'));
      const fourth = await world.post(await signedAndEncrypted(author, careful), careful.address);
      await world.untilDeliveries(fourth.id, (all) => hers(all)?.state === 'delivered');
    },
  );

  it('by an old mail of hers, after an operator brought her new certificate', async () => {
    const victim = await world.person(someone());
    const lost = await world.person(victim.name);
    const list = await world.list({ bare: [victim.address], settings: { harvest: 'verified' } });
    const old = (text: string) => signedBy(lost, textEntity(text), { at: Date.now() - 3_600_000 });
    await enrol(victim.address, list, old('one\n'));
    const done = await world.daemon.run(['cert', 'import', victim.certPath]);
    expect(done.code, done.stderr).toBe(0);
    expect(await used(victim.address, { victim, lost })).toEqual(bothOf('victim'));
    await enrol(victim.address, list, old('two\n'));
    expect(await used(victim.address, { victim, lost })).toEqual(bothOf('victim'));
  });
});

it.each([
  ['waits', 0],
  ['may not even wait', 5],
])(
  'what a certificate that %s says of the algorithms of the one in use is not believed',
  async (_, others) => {
    const victim = await world.person(someone());
    const intruder = await world.person(victim.name);
    const list = await world.list({ members: [victim] });
    for (let n = 0; n < others; n++)
      await enrol(victim.address, list, await signed(await world.person(victim.name), textEntity(`${n}\n`)));
    const entity = textEntity('weak, please\n');
    const weak = formatCapabilities({ ...ownCapabilities('ec'), ciphers: ['des-ede3-cbc'] });
    await enrol(
      victim.address,
      list,
      signedEntity(entity, signatureDer(entity, { by: intruder, prefers: victim, capabilities: weak })),
    );
    const { spkiSha256 } = parseCertificate(victim.certDer);
    expect(await world.onDatabase((q) => capabilitiesOf(q, spkiSha256))).toBeNull();
  },
);

it('capabilities of a member are kept up to a size, for they are read for each copy', async () => {
  const member = await world.person(someone());
  const list = await world.list({ members: [member] });
  const { spkiSha256 } = parseCertificate(member.certDer);
  const kept = async () => (await world.onDatabase((q) => capabilitiesOf(q, spkiSha256)))?.der.length ?? 0;
  const one = derSequence(derOid('1.2.3.4'));
  for (const count of [1, 50_000]) {
    const capabilities = derSequence(...Array.from({ length: count }, () => one));
    await enrol(
      member.address,
      list,
      signedBy(member, textEntity(`${count}\n`), { capabilities, at: Date.now() + count }),
    );
  }
  expect(await kept()).toBe(derSequence(one).length);
});

describe('what still works', () => {
  it('the old key vouches for the certificate that it names, beside the new key\u2019s signature', async () => {
    const old = await world.person(someone());
    const fresh = await world.person(old.name);
    const list = await world.list({ members: [old] });
    const entity = textEntity('my new one\n');
    const both = [
      signatureDer(entity, { by: old, prefers: fresh }),
      signatureDer(entity, { by: fresh }),
    ] as const;
    await enrol(old.address, list, countersigned(entity, ...both));
    expect(await used(old.address, { old, fresh })).toEqual(bothOf('fresh'));
  });
});

it('an old certificate that was revoked after the question was sent confirms nothing', async () => {
  const path = join(world.root, 'etc/later.crl');
  writeFileSync(path, world.ca.crl());
  const old = await world.person(someone());
  const fresh = await world.person(old.name);
  const list = await world.list({ members: [old], settings: { 'trust.crlfile': path } });
  await enrol(old.address, list, await signed(fresh, textEntity('new\n')));
  const [question] = await world.mailTo(old.address);
  const text = (await openCopy(old, question?.bytes ?? Buffer.alloc(0))).toString('latin1');
  const token = /confirm-[a-z2-7]{32}/.exec(text)?.[0] ?? 'none';
  writeFileSync(path, world.ca.crl({ revoked: [old], number: 2 }));
  const seen = world.daemon.log.length;
  world.daemon.signal('SIGHUP');
  await world.daemon.logged((line) => world.daemon.log.indexOf(line) >= seen && line.event === 'reload');
  await enrol(old.address, list, await signed(fresh, textEntity(`yes ${token}\n`)));
  expect(await used(old.address, { old, fresh })).toEqual(bothOf('old'));
});

it('a certificate that somebody else announced before its holder is confirmed by its holder all the same', async () => {
  const old = await world.person(someone());
  const fresh = await world.person(old.name);
  const intruder = await world.person(old.name);
  const list = await world.list({ members: [old] });
  const entity = textEntity('hers, says he\n');
  await enrol(
    old.address,
    list,
    signedEntity(entity, signatureDer(entity, { by: intruder, prefers: fresh })),
  );
  await world.mailTo(old.address);
  await enrol(old.address, list, await signed(fresh, textEntity('my new one\n')));
  await until(async () => (await world.mailTo(old.address)).filter(isQuestion).length === 2);
  for (const { bytes } of (await world.mailTo(old.address)).filter(isQuestion)) {
    const text = (await openCopy(old, bytes)).toString('latin1');
    const token = /confirm-[a-z2-7]{32}/.exec(text)?.[0] ?? 'none';
    await enrol(old.address, list, await signed(fresh, textEntity(`mine: ${token}\n`)));
  }
  expect(await used(old.address, { old, fresh, intruder })).toEqual(bothOf('fresh'));
});
const isQuestion = ({ bytes }: { readonly bytes: Buffer }): boolean => headerOf(bytes, 'Subject') === '[...]';

describe('what strangers write', () => {
  it('cannot command the terminal of who reads a notice about it', async () => {
    const author = await world.person(someone());
    const list = await world.list({ members: [author], bare: [`${someone()}@example.org`] });
    const subject = '=?utf-8?q?Hello=1B]0;x=07=E2=80=AEdlrow?=';
    const post = await signedAndEncrypted(author, list, { headers: [['Subject', subject]] });
    await world.post(post, list.address);
    const [notice] = await world.mailTo(`person-${people}@example.org`);
    const text = notice?.bytes.toString('latin1') ?? '';
    expect(text).toContain('Hello');
    expect(text).not.toMatch(/=1B|\x1b|=07|\x07|=E2=80=AE/);
  });

  it('cannot command the terminal of who runs a command that fails', async () => {
    const { code, stderr } = await world.daemon.run([
      'cert',
      'import',
      join(world.root, 'a\u001b]0;x\u0007b'),
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(']0;x');
    expect(stderr).not.toMatch(/[\u001b\u0007]/);
  });
});

describe('making the site write mail', () => {
  it('a captured mail is answered once, to whatever lists and with whatever Subject it comes again', async () => {
    const victim = await world.person(someone());
    const lists = [await world.list({ members: [victim] }), await world.list(), await world.list()];
    const captured = await signed(victim, textEntity('for somebody else\n'));
    for (const list of lists)
      for (const ending of ['sendcert', 'request']) {
        const to = list.at(ending);
        await world.post(mailOf(postHeaders(victim.address, to, [['Subject', 'GET CERT']]), captured), to);
      }
    const [list] = lists;
    const last = await signed(victim, textEntity('a mail of her own\n'));
    const to = list?.at('request') ?? '';
    await world.post(mailOf(postHeaders(victim.address, to, [['Subject', 'GET CERT']]), last), to);
    await until(async () => (await world.mailTo(victim.address)).length >= 2);
    expect(await world.mailTo(victim.address)).toHaveLength(2);
  });

  it('somebody without an old certificate to answer by is asked once, not by each list', async () => {
    const victim = await world.person(someone(), { usage: 'digitalSignature' });
    const intruder = await world.person(victim.name);
    const lists = [await world.list({ bare: [victim.address] }), await world.list()];
    for (const [index, list] of lists.entries()) {
      if (index === 0) await enrol(victim.address, list, await signed(victim, textEntity('hers\n')));
      await enrol(victim.address, list, await signed(intruder, textEntity(`${index}\n`)));
      // Written before the owners' mail.
      await until(async () =>
        (await world.mailTo(list.owner)).some(({ bytes }) => bytes.includes('waits for your approval')),
      );
    }
    const questions = (await world.mailTo(victim.address)).filter(({ bytes }) =>
      (headerOf(bytes, 'Subject') ?? '').includes('is this your new'),
    );
    expect(questions).toHaveLength(1);
  });

  it('the owners are asked about the certificates of strangers once a day, of however many addresses', async () => {
    const list = await world.list();
    for (let n = 0; n < 3; n++) {
      const name = someone();
      for (const one of [await world.person(name), await world.person(name)])
        await enrol(one.address, list, await signed(one, textEntity(`${name}\n`)));
      await world.mailTo(`${name}@example.org`, 2);
    }
    const asked = (await world.mailTo(list.owner)).filter(({ bytes }) =>
      (headerOf(bytes, 'Subject') ?? '').includes('approval'),
    );
    expect(asked).toHaveLength(1);
  });

  it('an address that no file can be named by is taken all the same, and keeps nothing waiting', async () => {
    const list = await world.list();
    const address = `${'_'.repeat(64)}@${'a'.repeat(60)}.${'b'.repeat(60)}.example`;
    const one = await world.ca.issue({ name: 'Long', address, key: 'p256' });
    const mail = mailOf(postHeaders(address, list.at('sendcert')), await signed(one, textEntity('mine\n')));
    expect(await world.post(mail, list.at('sendcert'), address)).toMatchObject({
      event: 'certificate-received',
    });
  });
});

it('a command that the owners are to copy runs nothing that a stranger wrote into his address', async () => {
  const list = await world.list();
  const address = 'x|id>&2;`reboot`@example.org'.replace(/[;>]/g, '');
  const make = () => world.ca.issue({ name: 'x', address, key: 'p256' });
  for (const one of [await make(), await make()])
    await enrol(address, list, await signed(one, textEntity('hello\n')));
  const [mail] = (await world.mailTo(list.owner)).filter(({ bytes }) =>
    (headerOf(bytes, 'Subject') ?? '').includes('approval'),
  );
  const text = (mail?.bytes.toString('latin1') ?? '').replace(/=\r\n/g, '').replace(/\s+/g, ' ');
  expect(text).toContain(`reseal cert approve '${address}' `);
});
