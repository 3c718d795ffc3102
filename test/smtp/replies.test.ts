import { describe, expect, it } from 'vitest';
import { answers, wireText } from '../../src/smtp/replies.ts';

describe('wireText', () => {
  it.each([
    [550, '5.7.1 not for you', '5.7.1 not for you'],
    [250, 'fine', '2.0.0 fine'],
    [550, '2.0.0 fine', '5.0.0 fine'],
    [451, '5.7.1 not now', '4.0.0 not now'],
    [250, '', '2.0.0 ok'],
    [550, '5.7.1', '5.7.1 refused'],
    [550, '5.7.1 a\r\n250 b', '5.7.1 a 250 b'],
    [550, '5.7.1 Straße\u0000x', '5.7.1 Stra e x'],
    [550, '1.2.3.4 is listed', '5.0.0 1.2.3.4 is listed'],
  ])('%i %j becomes %j', (code, text, expected) => {
    expect(wireText({ code, text })).toBe(expected);
  });

  it('is short enough for a line (RFC 5321 4.5.3.1.5: 512 octets)', () => {
    expect(wireText({ code: 550, text: 'x'.repeat(2000) }).length).toBeLessThan(500);
  });

  it.each(Object.entries(answers))('%s stands on the wire as it is written', (_name, answer) => {
    expect(wireText(answer)).toBe(answer.text);
  });
});
