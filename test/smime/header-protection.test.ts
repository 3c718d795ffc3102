import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseEntity } from '../../src/mime/entity.ts';
import { legacyDisplayOf } from '../../src/smime/legacy-display.ts';
import type { OpenReport } from '../../src/smime/open.ts';
import { needs } from '../kit/needs.ts';
import { mailOf } from '../kit/smime-mime.ts';
import { encrypted, from, makePeople, opaque, open, type People, shown, signed } from './messages.ts';

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

const crlf = (text: string) => Buffer.from(text.replace(/\n/g, '\r\n'));
const alice = 'alice@example.org';
const author = `From: Alice <${alice}>\n`;
/** A payload with header protection. */
const payload = (header: string, hp = 'cipher') =>
  crlf(`${header}Content-Type: text/plain; hp="${hp}"\n\nhello\n`);
/** A message wrapped as RFC 8551 3.1 has it. */
const wrapped = (header: string, parameters = '; forwarded=no', type = 'message/rfc822') =>
  crlf(`Content-Type: ${type}${parameters}\n\n${header}Content-Type: text/plain\n\nhello\n`);

type Wrap = 'signed' | 'opaque' | 'encrypted' | 'sealed' | 'outside' | 'clear';
/** `sealed`: signed, then encrypted. `outside`: encrypted, then signed. */
const wrappings: Readonly<Record<Wrap, (entity: Buffer) => Promise<Buffer>>> = {
  clear: async (entity) => entity,
  signed: (entity) => signed(people.alice, entity),
  opaque: (entity) => opaque(people.alice, entity),
  encrypted: (entity) => encrypted(people.list, entity),
  sealed: async (entity) => encrypted(people.list, await signed(people.alice, entity)),
  outside: async (entity) => signed(people.alice, await encrypted(people.list, entity)),
};

async function reportOf(how: Wrap, entity: Buffer, outer = from(alice)): Promise<OpenReport> {
  return open(people, mailOf(outer, await wrappings[how](entity)));
}
const outcome = (report: OpenReport) => [report.verdict, ...report.reasons].join(' ');

describe('which fields count', () => {
  const inner = `${author}Subject: inner\n`;
  const other = 'From: mallory@evil.example\nSubject: inner\n';
  it.each<
    [what: string, Wrap, entity: Buffer, verdict: string, authenticated: boolean | null, subject: string]
  >([
    ['hp=clear, signed', 'signed', payload(inner, 'clear'), 'signed', true, 'inner'],
    ['hp=clear, signed opaque', 'opaque', payload(inner, 'clear'), 'signed', true, 'inner'],
    ['hp=cipher, signed and encrypted', 'sealed', payload(inner), 'signed', true, 'inner'],
    ['hp in capitals', 'sealed', payload(inner, 'CIPHER'), 'signed', true, 'inner'],
    ['another From, signed', 'signed', payload(other, 'clear'), 'mismatch header-mismatch', true, 'inner'],
    [
      'another From, signed and encrypted',
      'sealed',
      payload(other),
      'mismatch header-mismatch',
      true,
      'inner',
    ],
    // Nobody knows who wrote it: the protected Subject is not believed, another From is not passed on.
    ['unsigned inside encryption', 'encrypted', payload(inner), 'unsigned', false, 'outer'],
    [
      'another From, unsigned inside encryption',
      'encrypted',
      payload(other),
      'mismatch header-mismatch',
      false,
      'outer',
    ],
    ['signed outside the encryption only', 'outside', payload(inner), 'unsigned outer-only', false, 'outer'],
    [
      'another From, signed outside only',
      'outside',
      payload(other),
      'mismatch header-mismatch outer-only',
      false,
      'outer',
    ],
    ['no layer: it is the outer header', 'clear', payload('', 'clear'), 'unsigned', null, 'outer'],
    ['an unknown form', 'signed', payload(other, 'strict'), 'signed', null, 'outer'],
    [
      'hp in a second Content-Type',
      'signed',
      crlf(`Content-Type: text/plain\n${payload(other, 'clear').toString('latin1').replace(/\r/g, '')}`),
      'mismatch header-mismatch',
      true,
      'inner',
    ],
    ['no Subject in it', 'signed', payload(author, 'clear'), 'signed', true, 'outer'],
    ['two Subjects in it', 'signed', payload(`${inner}Subject: two\n`, 'clear'), 'signed', true, 'outer'],
    ['RFC8551HP', 'signed', wrapped(inner), 'signed', true, 'inner'],
    ['RFC8551HP, signed and encrypted', 'sealed', wrapped(inner), 'signed', true, 'inner'],
    ['RFC8551HP, message/global', 'signed', wrapped(inner, '', 'message/global'), 'signed', true, 'inner'],
    ['RFC8551HP without the parameter, same From', 'signed', wrapped(inner, ''), 'signed', true, 'inner'],
    ['RFC8551HP, another From', 'signed', wrapped(other), 'mismatch header-mismatch', true, 'inner'],
    // A forwarded message is an attachment, whoever wrote it.
    ['forwarded: another From', 'signed', wrapped(other, ''), 'signed', null, 'outer'],
    ['forwarded=yes', 'signed', wrapped(inner, '; forwarded=yes'), 'signed', null, 'outer'],
    ['forwarded, two From fields in it', 'signed', wrapped(`${other}${author}`, ''), 'signed', null, 'outer'],
    [
      'forwarded, encoded',
      'signed',
      wrapped(inner, '; forwarded=no\nContent-Transfer-Encoding: base64'),
      'signed',
      null,
      'outer',
    ],
  ])('%s', async (_, how, entity, verdict, authenticated, subject) => {
    const report = await reportOf(how, entity);
    expect([outcome(report), report.protected?.authenticated ?? null, report.subject]).toEqual([
      verdict,
      authenticated,
      subject,
    ]);
    expect(report.author).toBe(verdict === 'signed' ? alice : null);
    expect(report.from).toEqual([alice]);
  });

  it('a broken signature protects nothing', async () => {
    const entity = await signed(people.alice, payload(inner, 'clear'));
    const text = entity.toString('latin1').replace('Subject: inner', 'Subject: forged');
    const report = open(people, mailOf(from(alice), Buffer.from(text, 'latin1')));
    expect([report.verdict, report.protected?.authenticated, report.subject]).toEqual([
      'invalid',
      false,
      'outer',
    ]);
  });

  it('a forwarded message with layers of its own is no wrapped one', async () => {
    const forwarded = Buffer.concat([
      crlf(`Content-Type: message/rfc822\n\n${author}`),
      await opaque(people.mallory, payload('')),
    ]);
    const report = await reportOf('signed', forwarded);
    expect([report.verdict, report.author, report.protected, report.layers.length]).toEqual([
      'signed',
      alice,
      null,
      1,
    ]);
  });

  it.each<[from: string, verdict: string]>([
    [`From: Another Name <${alice.toUpperCase()}>\n`, 'signed'],
    [`From: ${alice}, mallory@evil.example\n`, 'mismatch header-mismatch'],
    [`From: Friends: ${alice};\n`, 'mismatch header-mismatch'],
    ['From: \n', 'mismatch header-mismatch'],
    [`From: mallory@evil.example <${alice}>\n`, 'mismatch header-mismatch'],
    [`From: ${alice}\nFrom: ${alice}\n`, 'mismatch header-mismatch'],
    [`From: alice\u0301@example.org\n`, 'mismatch header-mismatch'],
  ])('protected %j', async (field, verdict) => {
    expect(outcome(await reportOf('signed', payload(field, 'clear')))).toBe(verdict);
  });

  it('the outer From is another one', async () => {
    const report = await reportOf('sealed', payload(inner), from('mallory@evil.example'));
    expect([outcome(report), report.author]).toEqual(['mismatch header-mismatch', null]);
  });

  it('gives Date, To and Cc', async () => {
    const date = 'Date: Sat, 20 Feb 2021 10:07:02 -0500\n';
    const addressed = 'To: Team <TEAM@lists.example>\nCc: x@y.example\n';
    const { protected: header } = await reportOf('sealed', payload(`${author}${date}${addressed}`));
    expect(header).toMatchObject({
      date: Date.UTC(2021, 1, 20, 15, 7, 2),
      to: ['team@lists.example'],
      recipients: ['team@lists.example', 'x@y.example'],
    });
    const twice = await reportOf('signed', payload(`${date}${date}`, 'clear'));
    expect(twice.protected).toMatchObject({ date: null, to: null, recipients: null });
  });
});

describe('what the author hid (RFC 9788 4.3)', () => {
  const inner = `${author}Subject: secret\nTo: team@lists.example\nKeywords: x\nMIME-Version: 1.0\n`;
  const left = `HP-Outer: From: Alice <${alice}>\nHP-Outer: Subject: [...]\nHP-Outer: To:\n team@lists.example\n`;
  it.each<[string, Wrap, Buffer, readonly string[]]>([
    ['what HP-Outer does not name as it is', 'sealed', payload(`${inner}${left}`), ['subject', 'keywords']],
    ['without HP-Outer: all', 'encrypted', payload(inner), ['from', 'subject', 'to', 'keywords']],
    ['hp=clear hides nothing', 'sealed', payload(inner, 'clear'), []],
    ['nor does what is not encrypted', 'signed', payload(inner), []],
    [
      'RFC8551HP: what the outer header does not have',
      'sealed',
      wrapped('From: alice@example.org\nTo: team@lists.example\nSubject: x\n'),
      ['subject'],
    ],
  ])('%s', async (_, how, entity, hidden) => {
    expect((await reportOf(how, entity)).protected?.hidden).toEqual(hidden);
  });
});

describe('the entity to pass on', () => {
  it('keeps the protected header, signed or not, and the wrapped message', async () => {
    for (const entity of [payload(author), wrapped(author)]) {
      const inside = [entity, await opaque(people.alice, entity), await signed(people.alice, entity)];
      for (const inner of inside)
        expect(shown(await reportOf('encrypted', inner))).toBe(inner.toString('latin1'));
    }
  });

  it('has no field around a wrapped message that is not signed', async () => {
    const around = Buffer.concat([crlf('Subject: forged\n'), wrapped(author)]);
    expect(shown(await reportOf('encrypted', around))).toBe(wrapped(author).toString('latin1'));
  });
});

describe('the legacy display element', () => {
  const display = (body: string, type = 'text/plain; hp-legacy-display="1"', more = '') =>
    legacyDisplayOf(parseEntity(crlf(`Content-Type: ${type}\n${more}\n${body}`)));
  const part = (type: string, body: string) => `--b\nContent-Type: ${type}\n\n${body}\n`;
  const element = 'Subject: GET CERT\nFrom: Alice\n';

  it.each<[string, string, ReturnType<typeof display>]>([
    ['ends with the first blank line', `${element}\nHELP\n\nbye\n`, { element, text: 'HELP\n\nbye\n' }],
    ['may be all there is', element, { element, text: '' }],
    ['may be empty', '\nHELP\n', { element: '', text: 'HELP\n' }],
  ])('%s', (_, body, expected) => expect(display(body)).toEqual(expected));

  it('is decoded before it is looked for', () => {
    const base64 = Buffer.from(`Betreff: grüße\r\n\r\nHELP\r\n`).toString('base64');
    const more = 'Content-Transfer-Encoding: base64\n';
    const found = display(base64, 'text/plain; charset=utf-8; hp-legacy-display=1', more);
    expect(found).toEqual({ element: 'Betreff: grüße\n', text: 'HELP\n' });
  });

  it.each<[string, string, string]>([
    ['no parameter', 'text/plain', element],
    ['another value', 'text/plain; hp-legacy-display="0"', element],
    ['not a text', 'text/html; hp-legacy-display="1"', element],
    [
      'an attached message',
      'message/rfc822',
      `Content-Type: text/plain; hp-legacy-display="1"\n\n${element}`,
    ],
    [
      'the second text',
      'multipart/mixed; boundary=b',
      `${part('text/plain', 'x')}${part('text/plain; hp-legacy-display="1"', element)}--b--\n`,
    ],
  ])('none: %s', (_, type, body) => expect(display(body, type)).toBeNull());

  it('is found in the parts of a signed multipart', () => {
    const alternative = `${part('multipart/alternative; boundary=c', `--c\nContent-Type: text/plain; hp-legacy-display="1"\n\n${element}\nHELP\n--c--`)}`;
    const found = display(
      `${alternative}${part('application/pkcs7-signature', 'AAAA')}--b--\n`,
      'multipart/signed; boundary=b',
    );
    expect(found?.text.trim()).toBe('HELP');
  });

  it('is not looked for without end', () => {
    let nested = `Content-Type: text/plain; hp-legacy-display="1"\n\n${element}`;
    for (let i = 0; i < 30; i++)
      nested = `Content-Type: multipart/mixed; boundary=b${i}\n\n--b${i}\n${nested}\n--b${i}--\n`;
    expect(legacyDisplayOf(parseEntity(crlf(nested)))).toBeNull();
  });
});

const corpora = '../shared/corpora';
const present = needs('the corpora rfc9788-hp and rfc9216', existsSync(join(corpora, 'rfc9788-hp')));

describe.skipIf(!present)('the message of RFC 9788 C.1.5', () => {
  const mail = readIfPresent('rfc9788-hp/smime-multipart-hp.eml');
  const ca = readIfPresent('rfc9216/ca.rsa.crt');
  const at = Date.UTC(2021, 1, 21);
  const anchors = () => [pemOf(ca)];
  const openIt = (message: Buffer) => open(people, message, { anchors: anchors(), at });

  it('is signed by its author, who protected its header', () => {
    const report = openIt(mail);
    expect([report.verdict, report.author, report.subject]).toEqual([
      'signed',
      'alice@smime.example',
      'smime-multipart-hp',
    ]);
    expect(report.protected).toEqual({
      form: 'clear',
      authenticated: true,
      from: 'alice@smime.example',
      hasFrom: true,
      subject: 'smime-multipart-hp',
      date: Date.UTC(2021, 1, 20, 15, 7, 2),
      to: ['bob@smime.example'],
      recipients: ['bob@smime.example'],
      hidden: [],
    });
  });

  it.each<[string, RegExp, string, string]>([
    ['another outer From', /^From: .*$/m, 'From: Bob <bob@smime.example>', 'mismatch header-mismatch'],
    ['another outer Subject: the protected one counts', /^Subject: .*$/m, 'Subject: GET CERT', 'signed'],
    [
      'a changed protected Subject',
      /(boundary[\s\S]*)^Subject: smime-multipart-hp/m,
      '$1Subject: other',
      'invalid bad-digest',
    ],
    ['no hp parameter', /; hp="clear"/, '', 'invalid bad-digest'],
  ])('%s', (_, pattern, change, expected) => {
    const report = openIt(Buffer.from(mail.toString('latin1').replace(pattern, change), 'latin1'));
    expect(outcome(report)).toBe(expected);
    if (expected === 'signed') expect(report.subject).toBe('smime-multipart-hp');
  });

  function readIfPresent(name: string): Buffer {
    return present ? readFileSync(join(corpora, name)) : Buffer.alloc(0);
  }
  function pemOf(text: Buffer): Buffer {
    return Buffer.from(text.toString('latin1').replace(/-----[^-]+-----/g, ''), 'base64');
  }
});
