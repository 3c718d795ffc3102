import { describe, expect, it } from 'vitest';
import { isAutomatic } from '../../src/mime/auto.ts';
import { formatDate, parseDate } from '../../src/mime/date.ts';
import { parseFields } from '../../src/mime/header.ts';
import { belowNewestReceived, received } from '../../src/mime/trace.ts';

const read = (text: string) => {
  const source = Buffer.from(`${text}\r\n\r\n`, 'utf8');
  return { source, fields: parseFields(source, 0, source.length).fields };
};

describe('received', () => {
  const data = {
    from: 'mx.example.org [192.0.2.1]',
    helo: 'mx.example.org',
    by: 'lists.example.org',
    protocol: 'ESMTPS',
    id: 'abc-1',
    for: 'list@example.org',
    at: Date.UTC(2026, 11, 1, 12),
  };

  it('is a field as RFC 5321 4.4 has it', () => {
    expect(received(data).toString()).toBe(
      'Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n' +
        '\tby lists.example.org with ESMTPS id abc-1\r\n' +
        '\tfor <list@example.org>;\r\n' +
        '\tTue, 01 Dec 2026 12:00:00 +0000\r\n',
    );
  });

  it('is shorter for local mail and several recipients', () => {
    expect(received({ ...data, from: 'local', helo: '', protocol: 'local', for: null }).toString()).toBe(
      'Received: by lists.example.org with local id abc-1;\r\n\tTue, 01 Dec 2026 12:00:00 +0000\r\n',
    );
  });

  it.each(['a\r\nBcc: x', 'a) (b', 'a; b', '<x>', '\0', 'jörg', '', 'x'.repeat(5000)])(
    'survives HELO %j',
    (helo) => {
      const bytes = received({ ...data, helo, from: `${helo} [192.0.2.1]` });
      const { fields } = read(bytes.toString().trimEnd());
      expect(fields.map(({ name }) => name)).toEqual(['Received']);
      expect(fields[0]?.value).toMatch(
        /^from [!-~]+ \([!-~ ]+\)\tby lists\.example\.org with ESMTPS id abc-1\tfor [^;()]+;\t[^;]+$/,
      );
      for (const line of bytes.toString().split('\r\n')) expect(line.length).toBeLessThan(998);
    },
  );

  it('leaves out an international recipient', () => {
    expect(received({ ...data, for: 'jörg@example.org' }).toString()).not.toContain('for');
  });
});

describe('belowNewestReceived', () => {
  it('is what follows the newest Received field', () => {
    const { source, fields } = read('Return-Path: <>\r\nReceived: new\r\n folded\r\nReceived: old\r\nA: b');
    expect(belowNewestReceived(source, fields).toString()).toBe('Received: old\r\nA: b\r\n\r\n');
  });
  it('is all without one', () => {
    const { source, fields } = read('A: b');
    expect(belowNewestReceived(source, fields)).toEqual(source);
  });
});

describe('isAutomatic', () => {
  it.each([
    ['Subject: hello', false],
    ['Auto-Submitted: no', false],
    ['Auto-Submitted: No (really)', false],
    ['Auto-Submitted: auto-replied; owner-email="a@b"', true],
    ['auto-submitted: auto-generated', true],
    ['Auto-Submitted: no\r\nAuto-Submitted: auto-replied', true],
    ['Precedence: list', false],
    ['Precedence: first-class', false],
    ['Precedence: BULK', true],
    ['Precedence: junk', true],
    ['Precedence: auto_reply', true],
    ['X-Autoreply: yes', true],
    ['X-Autorespond: out of office', true],
    ['X-Auto-Response-Suppress: None', false],
    ['X-Auto-Response-Suppress: DR, OOF, AutoReply', true],
    ['Content-Identifier: Auto-replied', true],
    ['Content-Identifier: 12345', false],
    ['Content-Type: multipart/report; report-type=delivery-status; boundary=x', true],
    ['Content-Type: multipart/mixed; boundary=x', false],
  ])('%s: %s', (header, automatic) => {
    expect(isAutomatic(read(header).fields) !== null).toBe(automatic);
  });

  it('gives the reason in words', () => {
    expect(isAutomatic(read('Precedence: bulk').fields)).toBe('its header says Precedence: bulk');
  });
});

describe('dates', () => {
  const instant = (text: string) => Date.parse(text);
  it.each([
    // RFC 5322 3.3, A.1.1, A.5, A.6.2
    ['Fri, 21 Nov 1997 09:55:06 -0600', '1997-11-21T15:55:06Z'],
    ['Tue, 1 Jul 2003 10:52:37 +0200', '2003-07-01T08:52:37Z'],
    [
      'Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)',
      '1969-02-14T03:02:00Z',
    ],
    ['21 Nov 97 09:55:06 GMT', '1997-11-21T09:55:06Z'],
    ['Fri, 21 Nov 1997 09(comment):   55  :  06 -0600', '1997-11-21T15:55:06Z'],
    ['21 Nov 49 00:00 UT', '2049-11-21T00:00:00Z'],
    ['21 Nov 126 00:00 Z', '2026-11-21T00:00:00Z'],
    ['1 Dec 2026 12:00:00 EST', '2026-12-01T17:00:00Z'],
    ['1 Dec 2026 12:00:00 pdt', '2026-12-01T19:00:00Z'],
    ['1 Dec 2026 12:00:00', '2026-12-01T12:00:00Z'],
    ['Tuesday, 1 December 2026 12:00:00 +0000', '2026-12-01T12:00:00Z'],
    ['31 Dec 2026 23:59:60 +0000', '2026-12-31T23:59:59Z'],
    ['29 Feb 2028 00:00:00 +0000', '2028-02-29T00:00:00Z'],
  ])('%j', (value, expected) => {
    expect(parseDate(value)).toBe(instant(expected));
  });

  it.each([
    '',
    'yesterday',
    '29 Feb 2026 00:00:00 +0000',
    '31 Nov 2026 00:00 Z',
    '1 Foo 2026 00:00 Z',
    '1 Dec 2026',
    '0 Dec 2026 00:00',
    '1 Dec 2026 24:00:00 Z',
    '1 Dec 2026 00:60 Z',
    '1 Dec 2026 00:00:61 Z',
    '1 Dec 2026 00:00:00 +0061',
    '2026-12-01T00:00:00Z',
    '('.repeat(100_000),
    ' '.repeat(100_000),
    ': '.repeat(100_000),
  ])('none: %.40j', (value) => {
    expect(parseDate(value)).toBeNull();
  });

  it('formats in UTC', () => {
    expect(formatDate(instant('2026-12-01T01:02:03.999Z'))).toBe('Tue, 01 Dec 2026 01:02:03 +0000');
    expect(parseDate(formatDate(0))).toBe(0);
  });
});
