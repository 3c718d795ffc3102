import { describe, expect, it } from 'vitest';
import { outcomeOf, type Phase, plainWords, type RelayError, readReply } from '../../src/smtp/outcome.ts';

const error = (code: string, command: string, response?: string): RelayError => ({
  message: 'words of nodemailer',
  code,
  command,
  response,
});

/** What happened | phase | the error | kind | relay down | command | reply code | enhanced code */
const table: [string, Phase, RelayError, string, boolean, string | null, number | null, string | null][] = [
  ['connection refused', 'setup', error('ESOCKET', 'CONN'), 'deferred', true, 'CONN', null, null],
  ['no connection in time', 'setup', error('ETIMEDOUT', 'CONN'), 'deferred', true, 'CONN', null, null],
  ['closed before the greeting', 'setup', error('ECONNECTION', 'CONN'), 'deferred', true, 'CONN', null, null],
  [
    'greeting 554',
    'setup',
    error('EPROTOCOL', 'CONN', '554 5.3.2 no service'),
    'deferred',
    true,
    'CONN',
    554,
    '5.3.2',
  ],
  ['greeting 421', 'setup', error('EPROTOCOL', 'CONN', '421 busy'), 'deferred', true, 'CONN', 421, null],
  [
    'greeting is garbage',
    'setup',
    error('EPROTOCOL', 'CONN', 'SSH-2.0'),
    'deferred',
    true,
    'CONN',
    null,
    null,
  ],
  ['EHLO and HELO 550', 'setup', error('EPROTOCOL', 'HELO', '550 no'), 'deferred', true, 'HELO', 550, null],
  ['LHLO 500', 'setup', error('EPROTOCOL', 'LHLO', '500 what'), 'deferred', true, 'LHLO', 500, null],
  [
    'STARTTLS 454',
    'setup',
    error('ETLS', 'STARTTLS', '454 4.7.0 no'),
    'deferred',
    true,
    'STARTTLS',
    454,
    '4.7.0',
  ],
  ['wrong certificate', 'setup', error('ETLS', 'STARTTLS'), 'deferred', true, 'STARTTLS', null, null],
  [
    'wrong password',
    'setup',
    error('EAUTH', 'AUTH PLAIN', '535 5.7.8 no'),
    'deferred',
    true,
    'AUTH',
    535,
    '5.7.8',
  ],
  [
    'MAIL 451',
    'transaction',
    error('EENVELOPE', 'MAIL FROM', '451 4.3.0 later'),
    'deferred',
    false,
    'MAIL',
    451,
    '4.3.0',
  ],
  [
    'MAIL 550',
    'transaction',
    error('EENVELOPE', 'MAIL FROM', '550 5.7.1 no'),
    'refused',
    false,
    'MAIL',
    550,
    '5.7.1',
  ],
  [
    'MAIL 530',
    'transaction',
    error('EENVELOPE', 'MAIL FROM', '530 5.7.0 log in'),
    'deferred',
    true,
    'MAIL',
    530,
    '5.7.0',
  ],
  [
    'MAIL 421',
    'transaction',
    error('EENVELOPE', 'MAIL FROM', '421 4.3.2 bye'),
    'deferred',
    true,
    'MAIL',
    421,
    '4.3.2',
  ],
  [
    'MAIL answered by garbage',
    'transaction',
    error('EENVELOPE', 'MAIL FROM', 'hello'),
    'deferred',
    true,
    'MAIL',
    null,
    null,
  ],
  [
    'MAIL answered by 999',
    'transaction',
    error('EENVELOPE', 'MAIL FROM', '999 ?'),
    'deferred',
    true,
    'MAIL',
    null,
    null,
  ],
  [
    'MAIL answered by 354',
    'transaction',
    error('EENVELOPE', 'MAIL FROM', '354 ?'),
    'deferred',
    true,
    'MAIL',
    354,
    null,
  ],
  [
    'RCPT 450',
    'transaction',
    error('EENVELOPE', 'RCPT TO', '450 4.2.1 full'),
    'deferred',
    false,
    'RCPT',
    450,
    '4.2.1',
  ],
  [
    'RCPT 550',
    'transaction',
    error('EENVELOPE', 'RCPT TO', '550 5.1.1 who?'),
    'refused',
    false,
    'RCPT',
    550,
    '5.1.1',
  ],
  [
    'RCPT 503',
    'transaction',
    error('EENVELOPE', 'RCPT TO', '503 5.5.1 order'),
    'deferred',
    false,
    'RCPT',
    503,
    '5.5.1',
  ],
  ['DATA 451', 'transaction', error('EENVELOPE', 'DATA', '451 later'), 'deferred', false, 'DATA', 451, null],
  ['DATA 554', 'transaction', error('EENVELOPE', 'DATA', '554 no'), 'refused', false, 'DATA', 554, null],
  [
    'final dot 452',
    'transaction',
    error('EMESSAGE', 'DATA', '452 4.3.1 full'),
    'deferred',
    false,
    '.',
    452,
    '4.3.1',
  ],
  [
    'final dot 554',
    'transaction',
    error('EMESSAGE', 'DATA', '554 5.6.0 spam'),
    'refused',
    false,
    '.',
    554,
    '5.6.0',
  ],
  [
    '421 in the middle',
    'transaction',
    error('ECONNECTION', 'CONN', '421 4.3.2 bye'),
    'deferred',
    true,
    'CONN',
    421,
    '4.3.2',
  ],
  ['silence', 'transaction', error('ETIMEDOUT', 'CONN'), 'deferred', true, 'CONN', null, null],
  ['connection broken', 'transaction', error('ECONNECTION', 'CONN'), 'deferred', false, 'CONN', null, null],
  ['reset by peer', 'transaction', error('ESOCKET', 'CONN'), 'deferred', false, 'CONN', null, null],
  [
    '550 that nobody asked for',
    'transaction',
    error('EPROTOCOL', 'CONN', '550 no'),
    'deferred',
    true,
    'CONN',
    550,
    null,
  ],
  [
    '550 and closed',
    'transaction',
    error('ECONNECTION', 'CONN', '550 no'),
    'deferred',
    false,
    'CONN',
    550,
    null,
  ],
  ['RSET 500', 'transaction', error('EPROTOCOL', 'RSET', '500 what'), 'deferred', true, 'RSET', 500, null],
  [
    'address that breaks the line',
    'transaction',
    error('EENVELOPE', 'API'),
    'refused',
    false,
    null,
    null,
    null,
  ],
];

describe('outcomeOf', () => {
  it.each(table)('%s', (_what, phase, failure, kind, relayDown, command, code, enhanced) => {
    expect(outcomeOf(failure, phase)).toMatchObject({ kind, relayDown, command, code, enhanced });
  });

  it('tells the words of the relay, or of the error when there are none', () => {
    expect(outcomeOf(error('EENVELOPE', 'RCPT TO', '550 5.1.1 who?'), 'transaction').text).toBe('who?');
    expect(outcomeOf(error('ESOCKET', 'CONN'), 'setup').text).toBe('words of nodemailer');
  });
});

describe('readReply', () => {
  it('joins the lines of a reply and takes the codes off each', () => {
    expect(readReply('550-5.7.1 not\n550-5.7.1 welcome\n550 5.7.1 here')).toEqual({
      code: 550,
      enhanced: '5.7.1',
      text: 'not welcome here',
    });
  });

  it('leaves an enhanced code of another class among the words', () => {
    // RFC 5321 4.2.1: all lines have one code.
    expect(readReply('250-taken\n550 5.7.1 or not').code).toBeNull();
    expect(readReply('450 5.1.1 odd')).toEqual({ code: 450, enhanced: null, text: '5.1.1 odd' });
  });

  it('takes a bare code', () => {
    expect(readReply('250')).toEqual({ code: 250, enhanced: null, text: '' });
  });
});

describe('plainWords', () => {
  it('is one printable line', () => {
    expect(plainWords('a\r\nb\0c\u001b[31m\u202ed\u2028e')).toBe('a b c [31m d e');
  });

  it('is at most 300 octets, cut between characters', () => {
    const words = plainWords(`x${'ü'.repeat(300)}`);
    expect(Buffer.byteLength(words)).toBe(299);
    expect(words).not.toContain('\uFFFD');
  });
});
