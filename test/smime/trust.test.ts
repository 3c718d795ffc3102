import { beforeAll, describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { derAlgorithm } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import type { OpenReport } from '../../src/smime/open.ts';
import { contentInfo, nameOf, oid } from '../cms/forge.ts';
import { cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa, makeSelfSigned } from '../kit/pki.ts';
import { cmsEntity, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  from,
  makePeople,
  type Opening,
  opaque,
  open,
  type People,
  plain,
  signed,
} from './messages.ts';

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

const day = 86_400_000;
const brief = ({ verdict, author, reasons }: OpenReport) => ({ verdict, author, reasons });
const openFrom = (entity: Buffer, address: string, o: Opening = {}) =>
  open(people, mailOf(from(address), entity), o);

describe('who signed, and may he', () => {
  it('a certificate of an unknown authority: untrusted, and the missing issuer is named', async () => {
    const other = await makeCa('Unknown Authority');
    const zoe = await other.issue({ name: 'Zoe', address: 'zoe@example.org' });
    const report = openFrom(await signed(zoe, plain, { chain: [other] }), zoe.address);
    expect(brief(report)).toEqual({ verdict: 'untrusted', author: null, reasons: ['no-path'] });
    expect(report.missingIssuer).toContain('Unknown Authority');
    expect(report.signature).toBeNull();
  });

  it('trust is judged at the instant of receipt', async () => {
    const old = await people.ca.issue({
      name: 'Old',
      address: 'old@example.org',
      notBefore: new Date(Date.now() - 9 * day),
      notAfter: new Date(Date.now() - 2 * day),
    });
    const entity = await signed(old, plain);
    expect(brief(openFrom(entity, old.address))).toMatchObject({
      verdict: 'untrusted',
      reasons: ['expired'],
    });
    expect(brief(openFrom(entity, old.address, { at: Date.now() - 3 * day }))).toMatchObject({
      verdict: 'signed',
    });
    expect(brief(openFrom(entity, old.address, { at: Date.now() - 10 * day }))).toMatchObject({
      reasons: ['not-yet-valid'],
    });
  });

  it.each<[string, Partial<Parameters<People['ca']['issue']>[0]>, string]>([
    ['may encrypt only', { usage: 'keyEncipherment' }, 'wrong-usage'],
    ['is for web servers', { eku: 'serverAuth' }, 'wrong-extended-usage'],
    ['has a short key', { key: 'rsa1024' }, 'weak-key'],
  ])('a certificate that %s: untrusted', async (_, options, reason) => {
    const who = await people.ca.issue({ name: 'Who', address: 'who@example.org', ...options });
    const report = openFrom(await signed(who, plain), who.address);
    expect(report.verdict).toBe('untrusted');
    expect(report.reasons).toContain(reason);
  });

  it('a weak digest is not signed (RULES 5)', async () => {
    const entity = await signed(people.alice, plain, { digest: 'sha1' });
    expect(brief(openFrom(entity, people.alice.address))).toEqual({
      verdict: 'untrusted',
      author: null,
      reasons: ['weak-digest'],
    });
  });

  it('a certificate that is not in the message is asked for, and counts when it is given', async () => {
    for (const o of [{ noCertificates: true }, { noCertificates: true, keyId: true }]) {
      const entity = await signed(people.alice, plain, o);
      const first = openFrom(entity, people.alice.address);
      expect([first.verdict, first.reasons, first.needs.length]).toEqual([
        'untrusted',
        ['signer-unknown'],
        1,
      ]);
      const known = [people.mallory.certDer, people.alice.certDer];
      expect(brief(openFrom(entity, people.alice.address, { known }))).toMatchObject({ verdict: 'signed' });
      expect(
        brief(openFrom(entity, people.alice.address, { known: [people.mallory.certDer] })),
      ).toMatchObject({ verdict: 'untrusted' });
    }
  });

  it('an intermediate comes with the message and need not be an anchor', async () => {
    const middle = await people.ca.intermediate({ name: 'Middle' });
    const zoe = await middle.issue({ name: 'Zoe', address: 'zoe@example.org' });
    expect(brief(openFrom(await signed(zoe, plain, { chain: [middle] }), zoe.address))).toMatchObject({
      verdict: 'signed',
    });
    expect(brief(openFrom(await signed(zoe, plain), zoe.address))).toMatchObject({
      verdict: 'untrusted',
      reasons: ['no-path'],
    });
  });
});

describe('which certificate', () => {
  it('the trusted one, wherever it stands beside others around the same key', async () => {
    const { alice, ca } = people;
    const forged = await makeSelfSigned({
      name: 'Boss',
      address: 'boss@example.org',
      keyFrom: alice,
      serial: alice.serial,
      issuerDer: ca.subjectDer,
    });
    const expired = await ca.issue({
      name: 'Alice',
      address: alice.address,
      keyFrom: alice,
      serial: alice.serial,
      notBefore: new Date(Date.now() - 9 * day),
      notAfter: new Date(Date.now() - 8 * day),
    });
    for (const keyId of [false, true]) {
      const entity = await signed(alice, plain, { noCertificates: true, noAttributes: true, keyId });
      const ders = [forged.certDer, expired.certDer, alice.certDer];
      for (const known of [ders, ders.toReversed()]) {
        const report = openFrom(entity, alice.address, { known });
        expect(brief(report)).toMatchObject({ verdict: 'signed', author: alice.address });
        expect(report.signature && Buffer.from(report.signature.certificate).equals(alice.certDer)).toBe(
          true,
        );
        // The forged one gives nobody the right to be the boss.
        expect(openFrom(entity, 'boss@example.org', { known }).verdict).toBe('mismatch');
      }
    }
  });

  it('a second signature of the same signer, by an algorithm that we lack, is only reported (RFC 5752)', async () => {
    const entity = cmsEntity(
      withOddSigner(await cmsSign(people.alice, plain, { opaque: true }), people.alice),
      'signed-data',
    );
    const report = openFrom(entity, people.alice.address);
    expect(brief(report)).toEqual({ verdict: 'signed', author: people.alice.address, reasons: [] });
    expect(report.layers[0]?.kind === 'signed' && report.layers[0].signers.map((one) => one.reasons)).toEqual(
      [[], ['unsupported']],
    );
    const other = cmsEntity(
      withOddSigner(await cmsSign(people.alice, plain, { opaque: true }), people.mallory),
      'signed-data',
    );
    expect(brief(openFrom(other, people.alice.address))).toMatchObject({
      verdict: 'untrusted',
      reasons: ['unsupported'],
    });
  });
});

/** The signed data with one more SignerInfo, whose signature algorithm nobody knows. */
function withOddSigner(der: Buffer, who: Identity): Buffer {
  const info = parseContentInfo(der);
  const data = parseSignedData(info.content);
  const fields = info.content.children.map((node) => node.source.subarray(node.start, node.end));
  const signers = info.content.children.at(-1);
  const first = signers?.children[0];
  if (!signers || !first || data.signers.length !== 1) throw new Error('not one signer');
  const odd = w.derSequence(
    w.derInteger(1),
    nameOf(parseCertificate(who.certDer)),
    derAlgorithm('2.16.840.1.101.3.4.2.1'),
    derAlgorithm('1.3.6.1.4.1.99999.1'),
    w.derOctets(Buffer.alloc(64, 7)),
  );
  const set = w.der(0x31, first.source.subarray(first.start, first.end), odd);
  return contentInfo(oid.signedData, w.derSequence(...fields.slice(0, -1), set));
}

describe('From and its protection', () => {
  const lines = (text: string) => text.replace(/\n/g, '\r\n');
  const protectedPart = (header: string, hp = 'clear') =>
    Buffer.from(lines(`${header}Content-Type: text/plain; hp="${hp}"\n\nhello\n`));

  it.each<[string, string, string, string]>([
    ['two From fields', 'From: alice@example.org\nFrom: mallory@evil.example\n', 'mismatch', 'two-from'],
    ['two mailboxes', 'From: alice@example.org, mallory@evil.example\n', 'mismatch', 'two-from'],
    ['a group', 'From: us: alice@example.org;\n', 'mismatch', 'two-from'],
    ['no From', 'Subject: x\n', 'mismatch', 'two-from'],
    ['a name that is another address', 'From: "boss@example.org" <alice@example.org>\n', 'signed', ''],
    [
      'an unquoted name that is another address',
      'From: boss@example.org <alice@example.org>\n',
      'mismatch',
      'two-from',
    ],
    ['capitals', 'From: ALICE@Example.ORG\n', 'signed', ''],
    [
      'Sender is the signer',
      'From: boss@example.org\nSender: alice@example.org\n',
      'mismatch',
      'signed-by-sender',
    ],
    ['another address of the domain', 'From: bob@example.org\n', 'mismatch', 'no-address-match'],
  ])('%s', async (_, header, verdict, reason) => {
    const mail = Buffer.concat([Buffer.from(lines(header)), await signed(people.alice, plain)]);
    const report = open(people, mail);
    expect([report.verdict, report.reasons[0] ?? '']).toEqual([verdict, reason]);
    expect(report.author).toBe(verdict === 'signed' ? 'alice@example.org' : null);
  });

  it.each<[string, string, string, string]>([
    ['the same', 'From: alice@example.org\nSubject: inner\n', 'signed', ''],
    ['another', 'From: mallory@evil.example\n', 'mismatch', 'header-mismatch'],
    ['two', 'From: alice@example.org\nFrom: mallory@evil.example\n', 'mismatch', 'header-mismatch'],
    ['none', 'Subject: inner\n', 'signed', ''],
  ])('protected From: %s', async (_, header, verdict, reason) => {
    for (const hp of ['clear', 'cipher']) {
      const entity = await encrypted(people.list, await opaque(people.alice, protectedPart(header, hp)));
      const report = openFrom(entity, people.alice.address);
      expect([report.verdict, report.reasons[0] ?? '']).toEqual([verdict, reason]);
    }
  });

  it('reads what is protected', async () => {
    const header =
      'From: alice@example.org\nTo: other@lists.example, Team <team@lists.example>\nCc: x@y.example\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n';
    const report = openFrom(await signed(people.alice, protectedPart(header)), people.alice.address);
    expect(report.protected).toEqual({
      form: 'clear',
      authenticated: true,
      from: 'alice@example.org',
      hasFrom: true,
      subject: 'grüße',
      date: null,
      to: ['other@lists.example', 'team@lists.example'],
      recipients: ['other@lists.example', 'team@lists.example', 'x@y.example'],
      hidden: [],
    });
  });

  it.each<[string, string, readonly string[] | null]>([
    ['no To and no Cc', 'From: alice@example.org\n', null],
    ['a To that cannot be read', 'To: <<<\n', []],
    ['a To that names nobody', 'To: undisclosed-recipients:;\n', []],
    ['a Cc alone', 'Cc: team@lists.example\n', ['team@lists.example']],
  ])('protected recipients: %s', async (_, header, recipients) => {
    const report = openFrom(await signed(people.alice, protectedPart(header)), people.alice.address);
    expect(report.protected?.recipients).toEqual(recipients);
  });

  it('no protection without hp, whatever else the part carries', async () => {
    const part = Buffer.from(
      lines('From: mallory@evil.example\nContent-Type: text/plain; protected-headers="v1"\n\nx\n'),
    );
    const report = openFrom(await signed(people.alice, part), people.alice.address);
    expect([report.verdict, report.protected]).toEqual(['signed', null]);
  });
});

describe('pins', () => {
  it('make a self-signed certificate speak for one address, while it is valid and strong', async () => {
    const self = await makeSelfSigned({ name: 'Self', address: ['self@example.org', 'boss@example.org'] });
    const { sha256 } = parseCertificate(self.certDer);
    const entity = await signed(self, plain);
    const pins = [{ sha256, address: 'self@example.org' }];
    expect(brief(openFrom(entity, 'self@example.org'))).toMatchObject({ verdict: 'untrusted' });
    expect(brief(openFrom(entity, 'self@example.org', { pins }))).toEqual({
      verdict: 'signed',
      author: 'self@example.org',
      reasons: [],
    });
    expect(brief(openFrom(entity, 'boss@example.org', { pins }))).toMatchObject({
      verdict: 'mismatch',
      author: null,
    });
    const late = { pins, at: Date.now() + 3000 * day };
    expect(brief(openFrom(entity, 'self@example.org', late))).toMatchObject({
      verdict: 'untrusted',
      author: null,
    });
    const weak = await signed(self, plain, { digest: 'sha1' });
    expect(brief(openFrom(weak, 'self@example.org', { pins }))).toMatchObject({ verdict: 'untrusted' });
  });
});

describe('the author signature', () => {
  it('gives what harvesting and the replay memory need, in memory of its own', async () => {
    const encryption = await people.ca.issue({
      name: 'Alice',
      address: people.alice.address,
      usage: 'keyEncipherment',
    });
    const entity = await signed(people.alice, plain, { chain: [encryption] });
    const { signature } = openFrom(entity, people.alice.address);
    expect(signature && Buffer.from(signature.certificate).equals(people.alice.certDer)).toBe(true);
    expect(signature?.bag.map((der) => parseCertificate(Buffer.from(der)).sha256).sort()).toEqual(
      [people.alice, encryption].map((one) => parseCertificate(one.certDer).sha256).sort(),
    );
    expect(Math.abs((signature?.signingTime ?? 0) - Date.now())).toBeLessThan(120_000);
    expect(signature?.capabilities?.length).toBeGreaterThan(10);
    for (const bytes of [signature?.certificate, signature?.capabilities, ...(signature?.bag ?? [])])
      expect(bytes?.buffer.byteLength).toBe(bytes?.length);
  });

  it('the same signature has the same name however it is wrapped; a new one has another', async () => {
    const entity = await signed(people.alice, textEntity('hello'));
    const name = (wrapped: Buffer) => openFrom(wrapped, people.alice.address).signature?.signatureSha256;
    expect(await name(await encrypted(people.list, entity))).toBe(name(entity));
    expect(name(entity)).toMatch(/^[0-9a-f]{64}$/);
    expect(name(await signed(people.mallory, entity))).toBeUndefined();
    expect(name(await signed(people.alice, textEntity('hello again')))).not.toBe(name(entity));
  });
});

describe('an opaque entity', () => {
  it('has its content verified, not what stands beside it', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    const entity = Buffer.concat([
      cmsEntity(der, 'signed-data'),
      Buffer.from('\r\nan advert from a gateway\r\n'),
    ]);
    expect(openFrom(entity, people.alice.address).verdict).toBe('signed');
    expect(openFrom(signedEntity(textEntity('x'), der), people.alice.address).verdict).toBe('invalid');
  });
});
