import { describe, expect, it } from 'vitest';
import { brandReceived } from '../../src/base/bytes.ts';
import { distributionHeader } from '../../src/flow/delivery/distribution-header.ts';
import {
  clearCopy,
  intactCopy,
  type Prepared,
  prepareFor,
  readPrepared,
  sealedHead,
} from '../../src/flow/post/prepare.ts';
import { parseEntity } from '../../src/mime/entity.ts';
import type { Envelope } from '../../src/mime/envelope.ts';
import { mayLeaveClear } from '../../src/policy/clear.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import { listWith, messageOf, t0 } from './parts.ts';

const envelope: Envelope = {
  from: 'alice@example.org',
  to: ['team@lists.example'],
  smtpUtf8: false,
  body8bit: false,
  requireTls: false,
  client: 'mail.example.org [192.0.2.1]',
  helo: 'mail.example.org',
  protocol: 'ESMTPS',
};
const preparedWith = (settings: Partial<ListPolicy> = {}, from: Partial<Envelope> = {}): Prepared =>
  prepareFor(listWith(settings), {
    mode: 'sealed',
    spoolId: '01kdzq0000aaaaaaaaaaaaaaaa',
    hostname: 'reseal.lists.example',
    envelope: { ...envelope, ...from },
    receivedAt: t0,
    decidedAt: t0 + 1000,
  });

const headerOf = (text: string, settings: Partial<ListPolicy> = {}, from: Partial<Envelope> = {}): string =>
  distributionHeader(messageOf(text), listWith(settings), preparedWith(settings, from), 'sealed')
    .toString('utf8')
    .replace(/\r\n/g, '\n');

const ours = `Received: from mail.example.org (mail.example.org [192.0.2.1])
	by reseal.lists.example with ESMTPS id 01kdzq0000aaaaaaaaaaaaaaaa
	for <team@lists.example>;
	Mon, 05 Jan 2026 12:00:00 +0000
`;
const theLists = `Sender: team@lists.example
List-Id: <team.lists.example>
List-Post: <mailto:team@lists.example>
List-Help: <mailto:team-request@lists.example?subject=HELP>
List-Owner: <mailto:team-owner@lists.example>
List-Unsubscribe: <mailto:team-owner@lists.example?subject=unsubscribe>
Precedence: list
X-Loop: team@lists.example
`;

describe('distributionHeader', () => {
  it("is ours first, then the author's fields as they came, then the list's", () => {
    const post = `Return-Path: <alice@example.org>
Delivered-To: team@lists.example
Received: from laptop (unknown [10.0.0.7])
	by mail.example.org; Mon, 5 Jan 2026 11:59:58 +0000
DKIM-Signature: v=1; d=example.org;
	b=abcd
Authentication-Results: mx; dkim=pass
From:  Alice   <alice@example.org>
to: team@lists.example
Bcc: boss@example.org
Date: Mon, 5 Jan 2026 12:59:57 +0100
Message-ID: <1@example.org>
References: <0@example.org>
	<00@example.org>
Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=
Sender: alice-secretary@example.org
Precedence: first-class
List-Id: <fake.example>
X-Loop: elsewhere@lists.example
Disposition-Notification-To: alice@example.org
X-Mailer: Example 1.0
MIME-Version: 1.0
Content-Type: application/pkcs7-mime;
	smime-type=enveloped-data
Content-Transfer-Encoding: base64
X-Reseal-Verdict: signed

AAAA
`;
    expect(headerOf(post)).toBe(`${ours}Received: from laptop (unknown [10.0.0.7])
	by mail.example.org; Mon, 5 Jan 2026 11:59:58 +0000
From:  Alice   <alice@example.org>
to: team@lists.example
Date: Mon, 5 Jan 2026 12:59:57 +0100
Message-ID: <1@example.org>
References: <0@example.org>
	<00@example.org>
X-Loop: elsewhere@lists.example
X-Mailer: Example 1.0
Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=
${theLists}`);
  });

  it.each([
    'Bcc',
    'BCC',
    'Resent-Bcc',
    'Return-Receipt-To',
    'X-Confirm-Reading-To',
    'Apparently-To',
    'ARC-Seal',
    'List-Unsubscribe-Post',
    'Content-Language',
    'Auto-Submitted',
    'Archived-At',
    'Errors-To',
  ])('%s does not reach the members', (name) => {
    expect(headerOf(`From: a@b.example\n${name}: secret\n\nx`)).not.toContain('secret');
    expect(headerOf(`From: a@b.example\n${name} : secret\n\nx`)).not.toContain('secret');
  });

  it('send.received: drop leaves only our own trace', () => {
    const post =
      'Received: from home [198.51.100.9]\nX-Originating-IP: 198.51.100.9\nX-Forwarded-For: 198.51.100.9\nX-Received: x 198.51.100.9\nFrom: a@b.example\n\nx';
    expect(headerOf(post)).toContain('198.51.100.9');
    const hidden = headerOf(post, { 'send.received': 'drop' });
    expect(hidden).not.toContain('198.51.100.9');
    expect(hidden.startsWith(ours)).toBe(true);
  });

  it("send.reply-to: list replaces the author's", () => {
    const post = 'From: a@b.example\nReply-To: me@home.example\n\nx';
    expect(headerOf(post)).toContain('Reply-To: me@home.example\n');
    const changed = headerOf(post, { 'send.reply-to': 'list' });
    expect(changed.match(/^Reply-To:.*$/gm)).toEqual(['Reply-To: team@lists.example']);
  });

  it.each<[string, string, string]>([
    ['plain', 'Subject: lunch', 'Subject: [team] lunch'],
    ['an answer', 'Subject: Re: [team] lunch', 'Subject: Re: [team] lunch'],
    [
      'encoded words',
      'Subject: Re: =?utf-8?q?gr=C3=BC=C3=9Fe?=',
      'Subject: Re: [team] =?utf-8?q?gr=C3=BC=C3=9Fe?=',
    ],
    ['none', 'X-A: b', 'Subject: [team]'],
    ['hidden (RFC 9788)', 'Subject: [...]', 'Subject: [...]'],
    ['two: the first', 'Subject: one\nSubject: two', 'Subject: [team] one'],
  ])('the tag, with a Subject that is %s', (_, subject, expected) => {
    const made = headerOf(`From: a@b.example\n${subject}\n\nx`, { 'send.subject-tag': '[team]' });
    expect(made.match(/^Subject:.*$/gm)).toEqual([expected]);
    const bare = headerOf(`From: a@b.example\n${subject}\n\nx`, { 'send.subject-tag': 'team' });
    expect(bare.match(/^Subject:.*$/gm)).toEqual([expected]);
  });

  describe('of what the list signs as its own (RULES 10)', () => {
    const signed = (text: string, settings: Partial<ListPolicy> = {}): string =>
      distributionHeader(
        messageOf(text),
        listWith(settings),
        { ...preparedWith(settings), sign: 'as-list' },
        'clear',
      ).toString();
    const from = (field: string) => /^From:.*(?:\r\n[ \t].*)*$/m.exec(signed(`${field}\n\nx`))?.[0];

    it.each([
      ['From: Alice <a@b.example>', 'From: Alice via team <team@lists.example>'],
      ['From: a@b.example', 'From: a via team <team@lists.example>'],
      ['From: "boss@bank.example" <a@b.example>', 'From: a via team <team@lists.example>'],
      ['From: "<boss>" <a@b.example>', 'From: a via team <team@lists.example>'],
      ['From: "A. \\"B\\" C" <a@b.example>', 'From: "A. \\"B\\" C via team" <team@lists.example>'],
      ['From: =?utf-8?q?=E2=80=AEecila?= <a@b.example>', 'From: ecila via team <team@lists.example>'],
      ['From: =?utf-8?q?a=0D=0ABcc:_b?= <a@b.example>', 'From: Somebody via team <team@lists.example>'],
      ['From: =?utf-8?q?Dr=2E_A=3A_B?= <a@b.example>', 'From: "Dr. A: B via team" <team@lists.example>'],
      [`From: ${'x'.repeat(200)} <a@b.example>`, `From: ${'x'.repeat(60)} via team\r\n <team@lists.example>`],
    ])('%s', (field, expected) => expect(from(field)).toBe(expected));

    it('answers go to the author, or where he says, or to the list', () => {
      const answers = (text: string, settings: Partial<ListPolicy> = {}) =>
        signed(`From: Alice <a@b.example>\n${text}\nx`, settings).match(/^Reply-To:.*$/gm);
      expect(answers('')).toEqual(['Reply-To: Alice <a@b.example>']);
      expect(answers('Reply-To: me@home.example\n')).toEqual(['Reply-To: me@home.example']);
      expect(answers('', { 'send.reply-to': 'list' })).toEqual(['Reply-To: team@lists.example']);
    });

    it('From is there once', () =>
      expect(signed('from: a@b.example\nFrom: c@d.example\n\nx').match(/^From:/gim)).toHaveLength(1));
  });

  it('hides the Subject of sealed copies only, and without a tag', () => {
    const prepared = { ...preparedWith({ 'send.subject-tag': 'team' }), hidesSubject: true };
    const subjects = (text: string, copies: 'sealed' | 'clear') =>
      distributionHeader(messageOf(text), listWith(), prepared, copies)
        .toString()
        .match(/^Subject:.*$/gm);
    expect(subjects('Subject: lunch\n\nx', 'sealed')).toEqual(['Subject: [...]']);
    expect(subjects('Subject: lunch\n\nx', 'clear')).toEqual(['Subject: [team] lunch']);
    for (const copies of ['sealed', 'clear'] as const)
      expect(subjects('Subject:  [...] \n\nx', copies)?.map((one) => one.replace(/ +/g, ' ').trim())).toEqual(
        ['Subject: [...]'],
      );
  });

  it('adds no line that the client made up', () => {
    const evil = 'x\r\nBcc: victim@example.org\r\n\r\nbody';
    const made = headerOf(
      'From: a@b.example\nSubject: =?utf-8?q?a=0D=0ABcc:_victim@example.org?=\n\nx',
      { 'send.subject-tag': 't' },
      { client: evil, helo: evil },
    );
    expect(made).not.toMatch(/^Bcc:/m);
    expect(made).not.toMatch(/^body/m);
    expect(made.split('\n').every((line) => line === '' || /^([!-9;-~]+:|[ \t])/.test(line))).toBe(true);
  });

  it('ends each field, even one that the end of the message cut off', () => {
    const cut = (text: string) =>
      distributionHeader(parseEntity(Buffer.from(text)), listWith(), preparedWith(), 'clear').toString();
    expect(cut('From: a@b.example\r\nSubject: cut')).toContain(
      'Subject: cut\r\nSender: team@lists.example\r\n',
    );
    expect(cut('Subject: x\r\nFrom: a@b.example')).toContain('From: a@b.example\r\nSubject: x\r\n');
  });

  it('has no blank line, so that nothing of it is read as content', () => {
    expect(headerOf('From: a@b.example\n\nx')).not.toContain('\n\n');
    expect(headerOf('no field at all\n\nx')).not.toContain('\n\n');
  });
});

describe('copies', () => {
  it('sealed: the header, then what describes the encrypted content', () => {
    const head = sealedHead(
      Buffer.from('From: a@b.example\r\n'),
      'application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"',
    );
    expect(head.toString().split('\r\n')).toEqual([
      'From: a@b.example',
      'MIME-Version: 1.0',
      'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"',
      'Content-Transfer-Encoding: base64',
      'Content-Disposition: attachment; filename="smime.p7m"',
      '',
      '',
    ]);
  });

  it('in clear and intact: its own content fields and body, byte for byte', () => {
    const message = messageOf(
      'From: a@b.example\nMIME-Version: 1.0\nContent-Type: multipart/signed;\n boundary=b\ncontent-language: de\n\n--b\n  x \n--b--\n',
    );
    const permit = mayLeaveClear(listWith().policy, { receivedEncrypted: false });
    if (!permit) throw new Error('no permit');
    const header = Buffer.from('From: a@b.example\r\n');
    for (const { head, body } of [
      clearCopy(message, header, permit),
      intactCopy(brandReceived(message.source), message, header),
    ]) {
      expect(head.toString()).toBe(
        'From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed;\r\n boundary=b\r\ncontent-language: de\r\n\r\n',
      );
      expect(body.toString()).toBe('--b\r\n  x \r\n--b--\r\n');
    }
  });
});

describe('what is fixed for the copies', () => {
  it('is read back from its column as it was', () => {
    const prepared = preparedWith({ 'send.subject-tag': 'team' });
    expect(readPrepared({ id: 7, prepared: JSON.parse(JSON.stringify(prepared)) })).toEqual(prepared);
  });

  it('written before there were signatures of the list: nothing is signed, nothing hidden', () => {
    const { sign: _, hidesSubject: __, ...old } = preparedWith();
    expect(readPrepared({ id: 7, prepared: old })).toEqual({ ...old, sign: 'none', hidesSubject: false });
  });

  it.each([
    ['nothing', null, 'all of it'],
    ['an unknown mode', { ...preparedWith(), mode: 'by pigeon' }, 'mode'],
    ['a field that is missing', { ...preparedWith(), replyToList: undefined }, 'replyToList'],
  ])('is a Fault if the column holds %s', (_, prepared, what) => {
    expect(() => readPrepared({ id: 7, prepared })).toThrowError(
      expect.objectContaining({ code: 'prepared-malformed', data: { posting: 7, what } }),
    );
  });
});
