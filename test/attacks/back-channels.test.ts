import { beforeAll, describe, expect, it } from 'vitest';
import { printable } from '../../src/cli/output.ts';
import { distributionHeader } from '../../src/flow/delivery/distribution-header.ts';
import { mayGoOnUnopened } from '../../src/flow/post/authorize.ts';
import { type Prepared, prepareFor } from '../../src/flow/post/prepare.ts';
import { proveCrl } from '../../src/flow/revocation/crl-proof.ts';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { parseCrl } from '../../src/pki/crl.ts';
import type { Wanted } from '../../src/pki/wanted.ts';
import { listWith, messageOf, t0 } from '../flow/parts.ts';
import { keyIdOf, signCrl, spkiOf } from '../kit/issue.ts';
import { type Identity, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { placesOf } from '../kit/revocation.ts';
import { cmsEntity, mailOf, splitSigned } from '../kit/smime-mime.ts';
import { encrypted, from, makePeople, opaque, open, type People, plain, signed } from '../smime/messages.ts';
import { cbcEncrypt, cbcEnvelope } from './scene.ts';

// What the sender of a mail might do with what came for issue 3: looking up, keeping lists, signing as the list.

const day = 86_400_000;

describe('exfiltration by look-ups (Poddebniak et al. 2018, 6: certificates as back channels)', () => {
  const address = 'mallory@evil.example';
  const crl = 'http://pki.example/ca.crl';
  /** In an attack by CBC gadgets the end of the URL is what somebody else had encrypted. */
  const issuer = 'http://pki.example/the-wedding-is-on-Friday';
  const soft = { mode: 'soft', evidence: { crls: [], ocsp: [] } } as const;
  let people: People;
  let forged: Identity;
  let known: Identity;
  beforeAll(async () => {
    people = await makePeople();
    const nobody = await makeCa('Nobody');
    forged = await nobody.issue({ name: 'Mallory', address, extensions: placesOf({ issuer }) });
    known = await people.ca.issue({ name: 'Mallory', address, extensions: placesOf({ crl }) });
  });
  const urls = (entity: Buffer): string[] => {
    const message = mailOf(from(address), entity);
    return open(people, message, { revocation: soft }).wanted.map(({ url }: Wanted) => url);
  };

  it('a URL that no authority signed is not followed out of what can be changed unnoticed', async () => {
    const inside = await signed(forged, plain);
    expect(urls(await encrypted(people.list, inside))).toEqual([]);
    const twice = await encrypted(
      people.list,
      await encrypted(people.list, inside, { cipher: 'aes-256-gcm' }),
    );
    expect(urls(twice)).toEqual([]);
    expect(urls(cmsEntity(cbcEnvelope(people.list, cbcEncrypt(inside)), 'enveloped-data'))).toEqual([]);
  });

  it('it is in clear, and out of what a tag protects', async () => {
    const inside = await signed(forged, plain);
    expect(urls(inside)).toEqual([issuer]);
    expect(urls(await encrypted(people.list, inside, { cipher: 'aes-256-gcm' }))).toEqual([issuer]);
  });

  it('a URL that an authority signed is followed', async () => {
    expect(urls(await encrypted(people.list, await signed(known, plain)))).toEqual([crl]);
  });
});

describe('revocation lists that a sender brings', () => {
  let ca: TestCa;
  beforeAll(async () => {
    ca = await makeCa('List Root');
  });
  const listBy = (who: Identity, d: { filler?: number; digest?: 'sha1' } = {}) => {
    const signer = who.key;
    const at = new Date(Date.now() - day);
    return parseCrl(
      signCrl({
        issuerDer: who.subjectDer,
        thisUpdate: at,
        nextUpdate: new Date(Date.now() + day),
        revoked: d.filler ? [{ serial: Buffer.alloc(d.filler, 1), at }] : [],
        number: 1,
        authorityKeyId: keyIdOf(spkiOf(signer)),
        signer,
        digest: d.digest ?? 'sha256',
      }),
    );
  };
  const proves = (crl: ReturnType<typeof listBy>, ...others: readonly Identity[]) =>
    proveCrl(crl, {
      list: { floor: defaultFloor },
      anchors: { certificates: [parseCertificate(ca.certDer)] },
      others: others.map((one) => parseCertificate(one.certDer)),
      at: Date.now(),
    }) !== null;

  it('are not kept if a member signed them himself, whose certificate names no key usage', async () => {
    const member = await ca.issue({ name: 'Mallory', address: 'm@evil.example', key: 'p256', usage: 'none' });
    expect(proves(listBy(member), member)).toBe(false);
  });

  it('are kept if an authority signed them, or whom it lets sign them', async () => {
    const middle = await ca.intermediate({ name: 'Middle', key: 'p256' });
    const desk = await ca.issue({ name: 'Desk', key: 'p256', usage: 'cRLSign', eku: 'none' });
    expect([proves(listBy(ca)), proves(listBy(middle), middle), proves(listBy(desk), desk)]).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('are not kept if their digest is weak: they would take the place of those that count', () => {
    expect(proves(listBy(ca, { digest: 'sha1' }))).toBe(false);
  });

  it('cost little, however many certificates beside them claim to have signed them', async () => {
    const real = await ca.intermediate({ name: 'Many', key: 'p256' });
    const namesakes = await Promise.all(
      Array.from({ length: 150 }, () =>
        makeSelfSigned({ name: 'Many', key: 'p256', keyFrom: real, isCa: true, usage: 'none' }),
      ),
    );
    const others = await Promise.all(
      Array.from({ length: 40 }, () => makeSelfSigned({ name: 'Many', key: 'p256', isCa: true })),
    );
    const crl = listBy(real, { filler: 20_000_000 });
    const began = process.cpuUsage();
    proves(crl, ...others, ...namesakes);
    const { user, system } = process.cpuUsage(began);
    expect((user + system) / 1000).toBeLessThan(1000);
  });
});

describe('an oracle by what goes on unopened (RULES 6)', () => {
  const list = listWith({ 'unopened.action': 'members', 'accept.signature': 'optional' });
  const member = { member: true, suspended: false, owner: false, moderator: false };
  const goesOn = (people: People, entity: Buffer): boolean =>
    mayGoOnUnopened(list, { report: open(people, mailOf(from('m@evil.example'), entity)), roles: member });

  it('what is inside a ciphertext does not tell the members that it decrypted', async () => {
    const people = await makePeople();
    const forOther = await encrypted(people.alice, plain);
    expect(goesOn(people, forOther)).toBe(true);
    expect(goesOn(people, await encrypted(people.list, forOther))).toBe(false);
    const junk = cmsEntity(cbcEnvelope(people.list, Buffer.alloc(64, 1)), 'enveloped-data');
    expect(goesOn(people, junk)).toBe(false);
  });
});

describe('what the list signs as its own', () => {
  const shownFrom = (name: string): string | undefined => {
    const prepared: Prepared = prepareFor(listWith(), {
      mode: 'sealed',
      spoolId: '01kdzq0000aaaaaaaaaaaaaaaa',
      hostname: 'reseal.lists.example',
      envelope: {
        from: 'eve@evil.example',
        to: ['team@lists.example'],
        smtpUtf8: true,
        body8bit: true,
        requireTls: false,
        client: '',
        helo: '',
        protocol: 'ESMTPS',
      },
      receivedAt: t0,
      decidedAt: t0,
      sign: 'as-list',
    });
    const message = messageOf(`From: "${name}" <eve@evil.example>\nTo: team@lists.example\n\nhello\n`);
    const header = distributionHeader(message, listWith(), prepared, 'sealed').toString();
    return /^From: (.*)/m.exec(header)?.[1]?.trim();
  };

  it.each(['boss@corp.example', 'boss\uff20corp.example', 'boss\ufe6bcorp.example', '\uff1cboss'])(
    'has no name that looks like an address: %s',
    (name) => {
      expect(shownFrom(name)).toBe('eve via team <team@lists.example>');
    },
  );

  it('has other names', () => {
    expect(shownFrom('Eve')).toBe('Eve via team <team@lists.example>');
  });
});

describe('what a terminal is shown', () => {
  it.each(['\u061c', '\u200f', '\u202e', '\u2066', '\u009b', '\u001b'])('has no %j', (mark) => {
    expect(printable(`a${mark}b`)).toBe('a?b');
  });
});

describe('a poster as decryption oracle (EFAIL CBC gadgets around his own signed part)', () => {
  let people: People;
  beforeAll(async () => {
    people = await makePeople();
  });
  /** What a gadget leaves: sixteen random octets, then a block of somebody else's message. */
  const gadget = Buffer.concat([
    Buffer.from('8f01ff00c3283d9ea0a1fe7f9b02e1d4', 'hex'),
    Buffer.from('the secret block'),
  ]);
  const passedOn = (entity: Buffer): string =>
    open(people, mailOf(from('alice@example.org'), entity))
      .entity?.expose()
      .toString('latin1') ?? '';

  it.each<[string, (signed: Buffer) => Buffer]>([
    [
      'the preamble',
      (entity) =>
        Buffer.from(
          entity.toString('latin1').replace('\r\n\r\n', `\r\n\r\n${gadget.toString('latin1')}\r\n`),
          'latin1',
        ),
    ],
    ['the epilogue', (entity) => Buffer.concat([entity, gadget, Buffer.from('\r\n')])],
    [
      'the header',
      (entity) => Buffer.concat([Buffer.from('Content-Description: '), gadget, Buffer.from('\r\n'), entity]),
    ],
    [
      'beside the base64',
      (entity) =>
        Buffer.from(
          entity.toString('latin1').replace(/(\r\n--[^\r\n]*--\r\n)$/, `${gadget.toString('latin1')}$1`),
          'latin1',
        ),
    ],
  ])('%s', async (_, put) => {
    const inside = put(await signed(people.alice, plain));
    const given = passedOn(await encrypted(people.list, inside));
    expect(given).not.toContain('the secret block');
    const { content } = splitSigned(Buffer.from(given, 'latin1'));
    expect(content.equals(plain)).toBe(true);
    expect(open(people, mailOf(from('alice@example.org'), Buffer.from(given, 'latin1')))).toMatchObject({
      verdict: 'signed',
    });
    // A tag would have told: there it is what she wrote, and stays.
    expect(passedOn(await encrypted(people.list, inside, { cipher: 'aes-256-gcm' }))).toContain(
      'the secret block',
    );
  });

  it('beside an opaque signature', async () => {
    const entity = (await opaque(people.alice, plain)).toString('latin1');
    const inside = Buffer.from(
      entity.replace('\r\n\r\n', `\r\n\r\n${gadget.toString('latin1').replace(/[A-Za-z0-9+/=]/g, '.')}`),
      'latin1',
    );
    const given = passedOn(await encrypted(people.list, inside));
    expect(given).toMatch(/^Content-Type: application\/pkcs7-mime; smime-type=signed-data[ -~\r\n]+$/);
    expect(open(people, mailOf(from('alice@example.org'), Buffer.from(given, 'latin1')))).toMatchObject({
      verdict: 'signed',
    });
  });

  it('what honest programs write around it stays, octet by octet', async () => {
    const inside = await signed(people.alice, plain);
    expect(passedOn(await encrypted(people.list, inside))).toBe(inside.toString('latin1'));
  });
});
