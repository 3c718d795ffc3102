import { beforeAll, describe, expect, it } from 'vitest';
import * as w from '../../src/pki/der.ts';
import type { OpenReport } from '../../src/smime/open.ts';
import { contentTypeAttribute, digestAttribute, forgeSignedData } from '../cms/forge.ts';
import type { CertificateOptions, Identity } from '../kit/pki.ts';
import { cmsEntity } from '../kit/smime-mime.ts';
import { makePeople, open, type People, plain } from './messages.ts';

// Who speaks: what From says against what the verified signer's certificate says (RFC 8550 3, RULES 3). Each row makes a
// certificate of a trusted authority and signs with it. What can be read in two ways gives no rights: fail closed.

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

/** GeneralNames and attributes as odd as needed. */
const rfc822 = (text: string) => w.derContextPrimitive(1, Buffer.from(text, 'latin1'));
const utf8Mailbox = (text: string, value = w.derUtf8(text)) =>
  w.derContext(0, w.derOid('1.3.6.1.5.5.7.8.9'), w.derContext(0, value));
const dns = (text: string) => w.derContextPrimitive(2, Buffer.from(text));
const uri = (text: string) => w.derContextPrimitive(6, Buffer.from(text));
const email = (value: Buffer) => w.derSequence(w.derOid('1.2.840.113549.1.9.1'), value);
const commonName = (text: string) => w.derSequence(w.derOid('2.5.4.3'), w.derUtf8(text));
const bmp = (text: string) => w.der(0x1e, Buffer.from(text, 'utf16le').swap16());

/** A certificate with these alternative names. */
const names = (...given: Buffer[]): Partial<CertificateOptions> => ({
  extensions: [{ oid: '2.5.29.17', valueDer: w.derSequence(...given) }],
});
/** A certificate with these relative distinguished names. */
const subject = (...rdns: Buffer[][]): Partial<CertificateOptions> => ({
  subjectDer: w.derSequence(...rdns.map((rdn) => w.derSetOf(...rdn))),
});

async function reportOf(
  certificate: Partial<CertificateOptions>,
  header: string | Buffer,
): Promise<OpenReport> {
  const signer: Identity = await people.ca.issue({ name: 'Who', keyFrom: people.alice, ...certificate });
  const attributes = [contentTypeAttribute(), digestAttribute(plain)];
  const cms = forgeSignedData({ signer, content: plain, attributes });
  const fields = typeof header === 'string' ? Buffer.from(`${header}\r\n`) : Buffer.concat([header, crlf]);
  return open(people, Buffer.concat([fields, cmsEntity(cms, 'signed-data')]));
}

const crlf = Buffer.from('\r\n');
const good = 'alice@good.example';
const asAlice = names(rfc822(good));
const asMallory = names(rfc822('mallory@evil.example'));

type Row = readonly [
  what: string,
  certificate: Partial<CertificateOptions>,
  from: string | Buffer,
  verdict: string,
];

async function expectRow([, certificate, header, verdict]: Row): Promise<void> {
  const [word, ...rest] = verdict.split(' ');
  const report = await reportOf(certificate, header);
  const said = report.verdict === 'signed' ? report.author : report.reasons.join(' ');
  expect([report.verdict, said]).toEqual([word, rest.join(' ')]);
  expect(report.author).toBe(word === 'signed' ? rest.join(' ') : null);
}

describe('the From field', () => {
  it.each<Row>([
    ['is the signer', asAlice, `From: Alice <${good}>`, `signed ${good}`],
    ['in capitals', asAlice, 'From: ALICE@Good.EXAMPLE', `signed ${good}`],
    ['obsolete blanks before the colon', asAlice, `From : ${good}`, `signed ${good}`],
    ['folded', asAlice, `From: Alice\r\n\t<${good}>`, `signed ${good}`],
    ['a quoted local part that needs none', asAlice, 'From: "alice"@good.example', `signed ${good}`],
    ['missing', asAlice, 'Subject: x', 'mismatch two-from'],
    ['empty', asAlice, 'From:', 'mismatch two-from'],
    ['twice', asAlice, `From: ${good}\r\nFrom: mallory@evil.example`, 'mismatch two-from'],
    ['twice, the same', asAlice, `From: ${good}\r\nFrom: ${good}`, 'mismatch two-from'],
    ['twice, in other letters', asAlice, `From: mallory@evil.example\r\nfRoM : ${good}`, 'mismatch two-from'],
    ['two mailboxes', asAlice, `From: ${good}, mallory@evil.example`, 'mismatch two-from'],
    ['two mailboxes, the signer last', asAlice, `From: mallory@evil.example, ${good}`, 'mismatch two-from'],
    [
      'two mailboxes and a Sender',
      asAlice,
      `From: ${good}, b@evil.example\r\nSender: ${good}`,
      'mismatch two-from',
    ],
    ['a group', asAlice, `From: Friends: ${good};`, 'mismatch two-from'],
    ['a group of none', asAlice, 'From: undisclosed:;', 'mismatch two-from'],
    ['a source route', asAlice, `From: <@evil.example:${good}>`, 'mismatch two-from'],
    ['a dot at its end', asAlice, 'From: alice@good.example.', 'mismatch two-from'],
    ['no domain', asAlice, 'From: alice', 'mismatch two-from'],
    ['two @', asAlice, 'From: alice@good.example@evil.example', 'mismatch two-from'],
    ['percent routing', asAlice, 'From: alice%good.example@evil.example', 'mismatch no-address-match'],
    ['a subdomain', asAlice, 'From: alice@mail.good.example', 'mismatch no-address-match'],
    ['a longer domain', asAlice, 'From: alice@good.example.evil.example', 'mismatch no-address-match'],
    ['a tag', asAlice, 'From: alice+evil@good.example', 'mismatch no-address-match'],
    [
      'a quoted local part with a blank',
      names(rfc822('"a b"@good.example')),
      'From: "a b"@good.example',
      'mismatch two-from',
    ],
    [
      'Sender is the signer',
      asAlice,
      `From: boss@good.example\r\nSender: ${good}`,
      'mismatch signed-by-sender',
    ],
    [
      'Resent-From is the signer',
      asAlice,
      `From: boss@good.example\r\nResent-From: ${good}`,
      'mismatch no-address-match',
    ],
    [
      'Reply-To is the signer',
      asAlice,
      `From: boss@good.example\r\nReply-To: ${good}`,
      'mismatch no-address-match',
    ],
    [
      'the signer, with another Sender',
      asAlice,
      `From: ${good}\r\nSender: bot@good.example`,
      `signed ${good}`,
    ],
    ['after the blank line', asAlice, `Subject: x\r\n\r\nFrom: ${good}`, 'unsigned '],
  ])('%s: %#', async (...row) => expectRow(row));
});

describe('tricks with the display name', () => {
  it.each<Row>([
    // The quoted name is text: the one who speaks is the address.
    [
      'another address, quoted',
      asMallory,
      `From: "${good}" <mallory@evil.example>`,
      'signed mallory@evil.example',
    ],
    [
      'another address, quoted, that one signed',
      asAlice,
      `From: "${good}" <mallory@evil.example>`,
      'mismatch no-address-match',
    ],
    ['another address, bare', asMallory, `From: ${good} <mallory@evil.example>`, 'mismatch two-from'],
    [
      'another address, bare, that one signed',
      asAlice,
      `From: ${good} <mallory@evil.example>`,
      'mismatch two-from',
    ],
    ['another address in brackets', asMallory, `From: <${good}> <mallory@evil.example>`, 'mismatch two-from'],
    [
      'another address in encoded words',
      asMallory,
      'From: =?utf-8?q?alice=40good.example?= <mallory@evil.example>',
      'mismatch two-from',
    ],
    [
      'another address in base64',
      asMallory,
      `From: =?utf-8?b?${Buffer.from(good).toString('base64')}?= <mallory@evil.example>`,
      'mismatch two-from',
    ],
    [
      'a whole mailbox in encoded words',
      asMallory,
      'From: =?utf-8?q?Alice_=3Calice=40good.example=3E?= <mallory@evil.example>',
      'mismatch two-from',
    ],
    [
      'the own address in encoded words',
      asAlice,
      'From: =?utf-8?q?=C3=84lice_=28alice=40good.example=29?= <alice@good.example>',
      `signed ${good}`,
    ],
    [
      'the own address and another in encoded words',
      asAlice,
      'From: =?utf-8?q?alice=40good.example=2Cboss=40x.example?= <alice@good.example>',
      'mismatch two-from',
    ],
    [
      'an @ that is a word of its own',
      asAlice,
      'From: =?utf-8?q?=C3=84lice_=40_work?= <alice@good.example>',
      `signed ${good}`,
    ],
    [
      'a quoted local part in encoded words',
      asMallory,
      'From: =?utf-8?q?=22alice=22=40good.example?= <mallory@evil.example>',
      'mismatch two-from',
    ],
    ['the own address as name', asAlice, `From: ${good} <${good}>`, `signed ${good}`],
    [
      'a line end in encoded words',
      asMallory,
      'From: =?utf-8?q?x=0D=0AFrom=3A_alice?= <mallory@evil.example>',
      'signed mallory@evil.example',
    ],
    [
      'a comment with another address',
      asMallory,
      `From: mallory@evil.example (${good})`,
      'signed mallory@evil.example',
    ],
    [
      'a comment before the address',
      asMallory,
      `From: (${good}) mallory@evil.example`,
      'signed mallory@evil.example',
    ],
    ['a comment inside the address', asAlice, 'From: alice(x)@good.example', 'mismatch two-from'],
    ['a comment around the @', asAlice, 'From: alice (a) @ (b) good.example', 'mismatch two-from'],
    ['a comment that does not end', asAlice, `From: ${good} (x`, 'mismatch two-from'],
    ['a quote that does not end', asAlice, `From: "Alice <${good}>`, 'mismatch two-from'],
    ['text after the brackets', asAlice, `From: <${good}> mallory@evil.example`, 'mismatch two-from'],
  ])('%s: %#', async (...row) => expectRow(row));
});

describe('octets that are no text of an address', () => {
  it.each<Row>([
    ['an encoded word as address', asAlice, 'From: =?utf-8?q?alice=40good.example?=', 'mismatch two-from'],
    ['an encoded word as local part', asAlice, 'From: =?utf-8?q?alice?=@good.example', 'mismatch two-from'],
    // Mailsploit: what the reader decodes ends with the NUL.
    [
      'an encoded word with NUL before the domain',
      asAlice,
      `From: =?utf-8?b?${Buffer.from(`${good}\0`).toString('base64')}?=@evil.example`,
      'mismatch two-from',
    ],
    ['NUL', asAlice, `From: ${good}\0@evil.example`, 'mismatch two-from'],
    ['NUL after it', asAlice, `From: ${good}\0`, 'mismatch two-from'],
    ['a control character', asAlice, `From: ali\x01ce@good.example`, 'mismatch two-from'],
    ['a control character in the name', asAlice, `From: Ali\x02ce <${good}>`, 'mismatch two-from'],
    ['a bare CR', asAlice, `From: mallory@evil.example\r<${good}>`, 'malformed malformed'],
    ['DEL', asAlice, 'From: alice\x7f@good.example', 'mismatch two-from'],
    [
      'Latin-1 octets',
      asAlice,
      Buffer.from('From: \xe4lice@good.example', 'latin1'),
      'mismatch no-address-match',
    ],
    ['a zero-width space', asAlice, 'From: ali\u200bce@good.example', 'mismatch two-from'],
    ['right-to-left override', asAlice, 'From: \u202ealice@good.example', 'mismatch two-from'],
  ])('%s: %#', async (...row) => expectRow(row));
});

describe('letters that look alike', () => {
  const jörg = names(utf8Mailbox('jörg@bücher.example'));
  it.each<Row>([
    [
      'Cyrillic in the local part of From',
      asAlice,
      'From: \u0430lice@good.example',
      'mismatch no-address-match',
    ],
    [
      'Cyrillic in the certificate',
      names(utf8Mailbox('\u0430lice@good.example')),
      `From: ${good}`,
      'mismatch no-address-match',
    ],
    [
      'Cyrillic in both: himself',
      names(utf8Mailbox('\u0430lice@good.example')),
      'From: \u0430lice@good.example',
      'signed \u0430lice@good.example',
    ],
    ['Cyrillic in the domain', asAlice, 'From: alice@g\u043eod.example', 'mismatch no-address-match'],
    ['full-width in the local part', asAlice, 'From: \uff41lice@good.example', 'mismatch no-address-match'],
    ['full-width in the domain of From', asAlice, 'From: alice@\uff47ood.example', 'mismatch two-from'],
    [
      'full-width in the domain of the certificate',
      names(utf8Mailbox('j\u00f6rg@\uff47ood.example')),
      'From: j\u00f6rg@good.example',
      'mismatch no-address',
    ],
    ['an ideographic full stop', asAlice, 'From: alice@good\u3002example', 'mismatch two-from'],
    [
      'KELVIN SIGN for k',
      names(rfc822('kim@good.example')),
      'From: \u212aim@good.example',
      'mismatch two-from',
    ],
    [
      'KELVIN SIGN in the certificate',
      names(utf8Mailbox('\u212aim@good.example')),
      'From: kim@good.example',
      'mismatch no-address',
    ],
    ['a combining mark', asAlice, 'From: alice\u0301@good.example', 'mismatch no-address-match'],
    [
      'From decomposed (NFD), certificate composed: one address',
      jörg,
      'From: jo\u0308rg@b\u00fccher.example',
      'signed jörg@xn--bcher-kva.example',
    ],
    [
      'certificate decomposed: unusable',
      names(utf8Mailbox('jo\u0308rg@good.example')),
      'From: j\u00f6rg@good.example',
      'mismatch no-address',
    ],
    ['U-labels in both', jörg, 'From: jörg@bücher.example', 'signed jörg@xn--bcher-kva.example'],
    [
      'A-labels in From (RFC 8398 5)',
      jörg,
      'From: jörg@xn--bcher-kva.example',
      'signed jörg@xn--bcher-kva.example',
    ],
    [
      'A-labels in the certificate (RFC 9598 3)',
      names(utf8Mailbox('jörg@xn--bcher-kva.example')),
      'From: jörg@bücher.example',
      'signed jörg@xn--bcher-kva.example',
    ],
    [
      'A-labels in an rfc822Name',
      names(rfc822('ann@XN--BCHER-kva.example')),
      'From: ann@bücher.example',
      'signed ann@xn--bcher-kva.example',
    ],
    ['another international domain', jörg, 'From: jörg@bucher.example', 'mismatch no-address-match'],
    ['international letters keep their case', jörg, 'From: JÖRG@bücher.example', 'mismatch no-address-match'],
  ])('%s: %#', async (...row) => expectRow(row));
});

describe('addresses in the certificate', () => {
  const nul = (text: string) => names(rfc822(`${good}\0${text}`));
  it.each<Row>([
    ['none: the common name is no address', { name: good }, `From: ${good}`, 'mismatch no-address'],
    [
      'none but a host and a URI',
      names(dns('good.example'), uri(`mailto:${good}`)),
      `From: ${good}`,
      'mismatch no-address',
    ],
    ['emailAddress in the subject', { dnEmail: 'Alice@Good.example' }, `From: ${good}`, `signed ${good}`],
    [
      'emailAddress beside another alternative name',
      { ...asMallory, dnEmail: good },
      `From: ${good}`,
      `signed ${good}`,
    ],
    [
      'several alternative names',
      names(rfc822('a@b.example'), rfc822(good)),
      `From: ${good}`,
      `signed ${good}`,
    ],
    ['emailAddress as BMPString', subject([email(bmp(good))]), `From: ${good}`, `signed ${good}`],
    [
      'two emailAddress attributes',
      subject([email(w.derIa5('a@b.example'))], [email(w.derIa5(good))]),
      `From: ${good}`,
      `signed ${good}`,
    ],
    [
      'several addresses in one emailAddress',
      subject([email(w.derIa5(`a@b.example,${good}`))]),
      `From: ${good}`,
      'mismatch no-address',
    ],
    [
      'several with blanks',
      subject([email(w.derIa5(`${good} mallory@evil.example`))]),
      `From: ${good}`,
      'mismatch no-address',
    ],
    [
      'several with a semicolon',
      subject([email(w.derIa5(`${good};mallory@evil.example`))]),
      `From: ${good}`,
      'mismatch no-address',
    ],
    [
      'emailAddress with a display name',
      subject([email(w.derIa5(`Alice <${good}>`))]),
      `From: ${good}`,
      'mismatch no-address',
    ],
    [
      'emailAddress with NUL',
      subject([email(w.derIa5(`${good}\0.evil.example`))]),
      `From: ${good}`,
      'mismatch no-address',
    ],
    [
      'emailAddress as octets',
      subject([email(w.derOctets(Buffer.from(good)))]),
      `From: ${good}`,
      'mismatch no-address',
    ],
    [
      'an address in the common name',
      subject([commonName(`x,emailAddress=${good}`)]),
      `From: ${good}`,
      'mismatch no-address',
    ],
    ['NUL in an rfc822Name', nul('.evil.example'), `From: ${good}`, 'mismatch no-address'],
    ['NUL at its end', nul(''), `From: ${good}`, 'mismatch no-address'],
    [
      'a line end in an rfc822Name',
      names(rfc822(`${good}\r\nx@y.example`)),
      `From: ${good}`,
      'mismatch no-address',
    ],
    ['a blank before it', names(rfc822(` ${good}`)), `From: ${good}`, 'mismatch no-address'],
    ['a dot at its end', names(rfc822(`${good}.`)), `From: ${good}`, 'mismatch no-address-match'],
    ['a wildcard', names(rfc822('*@good.example')), `From: ${good}`, 'mismatch no-address-match'],
    ['a host alone', names(rfc822('good.example')), `From: ${good}`, 'mismatch no-address'],
    ['a quoted local part', names(rfc822('"alice"@good.example')), `From: ${good}`, 'mismatch no-address'],
    ['a source route', names(rfc822(`@evil.example:${good}`)), `From: ${good}`, 'mismatch no-address'],
    [
      'UTF-8 in an rfc822Name',
      names(w.derContextPrimitive(1, Buffer.from('jörg@good.example'))),
      'From: jörg@good.example',
      'mismatch no-address',
    ],
    // RFC 9598 3: else a name constraint on rfc822Name could be passed by.
    ['ASCII in a SmtpUTF8Mailbox', names(utf8Mailbox(good)), `From: ${good}`, 'mismatch no-address'],
    [
      'a SmtpUTF8Mailbox that is no UTF8String',
      names(utf8Mailbox('', w.derIa5('j\xf6rg@good.example'))),
      'From: jörg@good.example',
      'mismatch no-address',
    ],
    [
      'a byte order mark',
      names(utf8Mailbox('\ufeffjörg@good.example')),
      'From: jörg@good.example',
      'mismatch no-address',
    ],
    [
      'a principal name of Microsoft',
      names(w.derContext(0, w.derOid('1.3.6.1.4.1.311.20.2.3'), w.derContext(0, w.derUtf8(good)))),
      `From: ${good}`,
      'mismatch no-address',
    ],
  ])('%s: %#', async (...row) => expectRow(row));

  it('a name that cannot be used does not spoil the others', async () => {
    const report = await reportOf(names(rfc822(`x\0@y.example`), rfc822(good)), `From: ${good}`);
    expect([report.verdict, report.author]).toEqual(['signed', good]);
  });
});
