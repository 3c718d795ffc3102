import { describe, expect, it } from 'vitest';
import { commandOf } from '../../src/flow/command-text.ts';

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
