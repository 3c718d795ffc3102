import { describe, expect, it } from 'vitest';
import { commandOf, commandSubject } from '../../src/flow/decision/command-text.ts';

const mail = (text: string) =>
  Buffer.from(`From: a@b.example\nContent-Type: text/plain\n\n${text}`.replace(/\n/g, '\r\n'));

describe('commandOf', () => {
  it.each<[string, string | null, string, string | null]>([
    ['in the Subject', 'HELP', '', 'help'],
    ['in an answer', 'Re: AW: get  cert', '', 'get-cert'],
    ['in the text', 'hello', 'help\n', 'help'],
    ['after blanks and quotes', null, '\n> help\n\n  GET CERTIFICATE  \n', 'get-cert'],
    ['not after other words', null, 'Dear list,\nhelp\n', null],
    ['not in the signature', null, '-- \nhelp\n', null],
    ['not as a part of a line', 'help me', 'please help\n', null],
    ['nothing', null, '', null],
  ])('%s', async (_, subject, text, expected) => expect(await commandOf(subject, mail(text))).toBe(expected));

  it('reads no copy of a header field as text (RFC 9788 4.8.2)', async () => {
    const displayed = (type: string) =>
      Buffer.from(`Content-Type: ${type}\r\n\r\nhelp\r\nSubject: x\r\n\r\nget cert\r\n`);
    expect(await commandOf(null, displayed('text/plain; hp-legacy-display="1"'))).toBe('get-cert');
    expect(await commandOf(null, displayed('text/plain'))).toBe('help');
    const part = 'Content-Type: text/plain; hp-legacy-display="1"\r\n\r\nhelp\r\n\r\nDear all\r\n';
    const mixed = `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n${part}--b--\r\n`;
    expect(await commandOf(null, Buffer.from(mixed))).toBeNull();
  });

  it.each([
    [
      'very many parts',
      `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(200_000)}`,
    ],
    [
      'parts in parts',
      Array.from(
        { length: 20_000 },
        (_, i) => `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}\r\n`,
      ).join(''),
    ],
    ['a header without end', `X: ${'y'.repeat(5_000_000)}`],
    ['very many addresses', `To: ${'a,'.repeat(1_000_000)}\r\n\r\n`],
    ['no mail', '\0\xff'.repeat(1000)],
  ])('%s: no command, no error, no long time', async (_, text) => {
    const started = performance.now();
    expect(await commandOf(null, Buffer.from(text, 'latin1'))).toBeNull();
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe('commandSubject', () => {
  const header = {
    form: 'clear',
    from: null,
    hasFrom: false,
    date: null,
    to: null,
    recipients: null,
    hidden: [],
  } as const;

  it('is the protected Subject where a signature covers it, else the outer one (RFC 9788 4.8.1)', () => {
    const subject = (authenticated: boolean, inside: string | null) =>
      commandSubject({ protected: { ...header, authenticated, subject: inside } }, 'GET CERT');
    expect(commandSubject({ protected: null }, 'GET CERT')).toBe('GET CERT');
    expect(subject(true, 'HELP')).toBe('HELP');
    expect(subject(true, null)).toBeNull();
    expect(subject(false, 'HELP')).toBe('GET CERT');
  });
});
