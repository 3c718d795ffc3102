import { describe, expect, it } from 'vitest';
import { type Envelope, formatEnvelopeLine, parseEnvelopeLine } from '../../src/mime/envelope.ts';

const envelope: Envelope = {
  from: 'alice@example.org',
  to: ['list@example.org', 'jörg@example.org'],
  smtpUtf8: true,
  body8bit: false,
  requireTls: false,
  client: 'mx.example.org [192.0.2.1]',
  helo: 'mx.example.org',
  protocol: 'ESMTPS',
};
const receivedAt = Date.UTC(2026, 11, 1);

describe('the envelope line', () => {
  it('is one line of JSON, and comes back the same', () => {
    const line = formatEnvelopeLine({ ...envelope, receivedAt });
    expect(line.indexOf('\n')).toBe(line.length - 1);
    const parsed = parseEnvelopeLine(Buffer.concat([line, Buffer.from('Subject: x\r\n\r\n')]));
    expect(parsed).toEqual({ envelope, receivedAt, bodyStart: line.length });
  });

  it('keeps line ends in what the client said inside the line', () => {
    const line = formatEnvelopeLine({ ...envelope, helo: 'a\nb\r', receivedAt });
    expect(line.indexOf('\n')).toBe(line.length - 1);
    expect(parseEnvelopeLine(line).envelope.helo).toBe('a\nb\r');
  });

  it('writes nothing but the envelope', () => {
    const more = { ...envelope, receivedAt, secret: 'passphrase' };
    expect(formatEnvelopeLine(more).toString()).not.toContain('passphrase');
  });

  it('has room for a thousand recipients', () => {
    const to = Array.from({ length: 1000 }, (_, index) => `${'x'.repeat(200)}${index}@example.org`);
    expect(parseEnvelopeLine(formatEnvelopeLine({ ...envelope, to, receivedAt })).envelope.to).toEqual(to);
  });

  const good = JSON.parse(formatEnvelopeLine({ ...envelope, receivedAt }).toString());
  it.each([
    ['nothing', ''],
    ['no end', '{}'],
    ['no JSON', 'Subject: x\r\n'],
    ['no object', '[]\n'],
    ['null', 'null\n'],
    ['a future format', `${JSON.stringify({ ...good, format: 2 })}\n`],
    ['a missing member', `${JSON.stringify({ ...good, to: undefined })}\n`],
    ['a member too many', `${JSON.stringify({ ...good, extra: 1 })}\n`],
    ['a wrong type', `${JSON.stringify({ ...good, to: 'list@example.org' })}\n`],
    ['an unknown protocol', `${JSON.stringify({ ...good, protocol: 'UUCP' })}\n`],
    ['a time that is none', `${JSON.stringify({ ...good, receivedAt: 1.5 })}\n`],
    ['a line beyond a megabyte', `${' '.repeat(1024 * 1024)}${JSON.stringify(good)}\n`],
  ])('refuses %s', (_, text) => {
    expect(() => parseEnvelopeLine(Buffer.from(text))).toThrowError(
      expect.objectContaining({ code: 'envelope-malformed' }),
    );
  });

  it('says what is wrong, and quotes nothing', () => {
    const line = Buffer.from(`${JSON.stringify({ ...good, protocol: 'hunter2' })}\n`);
    expect(() => parseEnvelopeLine(line)).toThrowError(/protocol is wrong/);
    expect(() => parseEnvelopeLine(line)).not.toThrowError(/hunter2/);
  });
});
