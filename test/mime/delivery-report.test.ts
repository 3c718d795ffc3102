import { describe, expect, it } from 'vitest';
import { readDeliveryReport } from '../../src/mime/delivery-report.ts';
import { parseEntity } from '../../src/mime/entity.ts';

const group = (more: readonly string[]): string => ['', ...more].join('\r\n');

/** A report as Postfix writes it, with these groups about recipients. */
function report(
  groups: readonly (readonly string[])[],
  d: { type?: string; kind?: string; returned?: string } = {},
): Buffer {
  const { kind = 'delivery-status', type = 'message/delivery-status' } = d;
  const { returned = 'Content-Type: message/rfc822\r\n\r\nMessage-ID: <1@x.example>\r\n\r\ntext' } = d;
  return Buffer.from(
    `From: MAILER-DAEMON@mx.example\r\nContent-Type: multipart/report; report-type=${kind}; boundary=b\r\n\r\n` +
      `--b\r\n\r\nI am sorry\r\n--b\r\nContent-Type: ${type}\r\n\r\nReporting-MTA: dns; mx.example\r\n` +
      `${groups.map(group).join('\r\n')}\r\n--b\r\n${returned}\r\n--b--\r\n`,
  );
}

const read = (message: Buffer) => readDeliveryReport(parseEntity(message));

const failedFor = (address: string): string[] => [
  `Final-Recipient: rfc822; ${address}`,
  'Action: failed',
  'Status: 5.1.1',
  'Diagnostic-Code: smtp; 550 5.1.1\r\n  <x>: no\tsuch user',
];

describe('a delivery report (RFC 3464)', () => {
  it('says whose copy failed, why, and of which message', () => {
    expect(read(report([failedFor('Bob@Example.ORG')]))).toEqual({
      failed: [{ addresses: ['bob@example.org'], status: '5.1.1', words: '550 5.1.1 <x>: no such user' }],
      messageId: '<1@x.example>',
    });
  });

  it('names every recipient, as he was addressed and where that led; delays and successes are no failures', () => {
    const groups = [
      ['Original-Recipient: rfc822;bob@example.org', ...failedFor('<b0b@mx.example.org>')],
      ['Final-Recipient: rfc822;late@example.org', 'Action: delayed', 'Status: 4.4.1'],
      ['Final-Recipient: rfc822;there@example.org', 'Action: delivered', 'Status: 2.0.0'],
      ['Final-Recipient: X400; /C=de/', 'Action: FAILED', 'Status: five'],
    ];
    expect(read(report(groups))?.failed).toEqual([
      { addresses: ['bob@example.org', 'b0b@mx.example.org'], status: '5.1.1', words: expect.any(String) },
      { addresses: [], status: null, words: '' },
    ]);
  });

  it.each([
    [
      'only the header of what came back',
      'Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1@x.example>\r\n',
      '<1@x.example>',
    ],
    [
      'in base64',
      `Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n${Buffer.from('Message-ID: <2@x>\r\n\r\n').toString('base64')}`,
      '<2@x>',
    ],
    ['nothing of it', 'Content-Type: text/plain\r\n\r\nMessage-ID: <1@x.example>\r\n', null],
  ])('brings %s', (_, returned, messageId) => {
    expect(read(report([failedFor('bob@example.org')], { returned }))?.messageId).toBe(messageId);
  });

  it.each([
    ['a report of another kind', report([failedFor('b@x.example')], { kind: 'disposition-notification' })],
    ['one without the part for machines', report([failedFor('b@x.example')], { type: 'text/plain' })],
    ['plain mail', Buffer.from('Subject: Undelivered\r\n\r\nFinal-Recipient: rfc822; b@x.example\r\n')],
  ])('%s is none', (_, message) => {
    expect(read(message)).toBeNull();
  });

  it.each([
    [
      'rubbish between the groups',
      report([failedFor('a@x.example'), ['what is this', ...failedFor('b@x.example')]]),
    ],
    ['a thousand groups', report(Array.from({ length: 1000 }, () => failedFor('a@x.example')))],
  ])('%s comes to an end', (_, message) => {
    expect(read(message)?.failed.length).toBeLessThanOrEqual(100);
  });
});
