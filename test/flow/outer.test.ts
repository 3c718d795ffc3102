import { describe, expect, it } from 'vitest';
import { listIdOf, loopsThrough, readOuter } from '../../src/flow/post/outer.ts';
import { messageOf } from './parts.ts';

const read = (text: string) => readOuter(Buffer.from(text.replace(/\n/g, '\r\n')));
const p7 = 'application/pkcs7-signature';
const signedAround = (type: string) =>
  `Content-Type: multipart/signed; protocol="${p7}"; boundary=b\n\n--b\nContent-Type: ${type}\n\nAAAA\n--b\nContent-Type: ${p7}\n\nAAAA\n--b--\n`;

describe('readOuter', () => {
  it('reads what decides before anything is opened', () => {
    const outer = read(
      'Received: b\nReceived: a\nFrom: Alice <Alice@Example.org>\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@x>\n\nhello\n',
    );
    expect({ ...outer, entity: null, bodySha256: null }).toMatchObject({
      from: 'alice@example.org',
      subject: 'grüße',
      messageId: '<1@x>',
      hops: 2,
      automatic: null,
      plain: true,
    });
  });

  it('has no From unless there is one without doubt', () => {
    expect(read('From: a@b.example\nFrom: c@d.example\n\n').from).toBeNull();
    expect(read('From: a@b.example, c@d.example\n\n').from).toBeNull();
    expect(read('Subject: x\n\n').from).toBeNull();
    expect(read('').from).toBeNull();
  });

  it.each<[string, string, string]>([
    ['text', 'Content-Type: text/plain\n\nx\n', 'plain'],
    ['nothing', '\n', 'plain'],
    [
      'enveloped',
      'Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nAAAA\n',
      'encrypted maybe',
    ],
    [
      'AuthEnveloped',
      'Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data\n\nAAAA\n',
      'encrypted maybe',
    ],
    ['no smime-type', 'Content-Type: application/x-pkcs7-mime; name=smime.p7m\n\nAAAA\n', 'encrypted maybe'],
    [
      'opaque signed, may hold anything',
      'Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nAAAA\n',
      'maybe',
    ],
    ['certificates', 'Content-Type: application/pkcs7-mime; smime-type=certs-only\n\nAAAA\n', 'maybe'],
    ['compressed', 'Content-Type: application/pkcs7-mime; smime-type=compressed-data\n\nAAAA\n', 'maybe'],
    ['compressed, by its name', 'Content-Type: application/octet-stream; name=smime.p7z\n\nAAAA\n', 'maybe'],
    [
      'S/MIME, by its name',
      'Content-Type: application/octet-stream; name=smime.p7m\n\nAAAA\n',
      'encrypted maybe',
    ],
    ['signed text', signedAround('text/plain'), ''],
    ['signed encryption', signedAround('application/pkcs7-mime'), 'maybe'],
    [
      'a multipart/signed without its parts',
      `Content-Type: multipart/signed; protocol="${p7}"; boundary=b\n\nx\n`,
      'plain',
    ],
    [
      'encryption inside a mixed',
      'Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pkcs7-mime\n\nAAAA\n--b--\n',
      'plain',
    ],
  ])('the wrapping of %s', (_, text, expected) => {
    const { encrypted, maybeEncrypted, plain } = read(`From: a@b.example\n${text}`);
    expect(
      [encrypted && 'encrypted', maybeEncrypted && 'maybe', plain && 'plain'].filter(Boolean).join(' '),
    ).toBe(expected);
  });

  it('the same post over another route has the same body', () => {
    const post = 'Received: from the author\nFrom: a@b.example\n\nhello\n';
    const again = read(`Received: by us at noon\n${post}`).bodySha256;
    expect(read(`Received: by us at one\n${post}`).bodySha256).toBe(again);
    expect(read(`Received: by us at one\n${post.replace('hello', 'hallo')}`).bodySha256).not.toBe(again);
    expect(read(`Received: by us at one\n${post.replace('a@b', 'c@b')}`).bodySha256).not.toBe(again);
  });
});

describe('loopsThrough', () => {
  it.each<[string, string, boolean]>([
    ['our List-Id', 'List-Id: <team.lists.example>', true],
    ['with a name and in capitals', 'List-Id: The Team <TEAM.lists.example>', true],
    ['our X-Loop', 'X-Loop: team@lists.example', true],
    ['our X-Loop in capitals', 'x-loop:  Team@Lists.Example ', true],
    ['the second of two', 'List-Id: <other.lists.example>\nList-Id: <team.lists.example>', true],
    ["another list's", 'List-Id: <other.lists.example>\nX-Loop: other@lists.example', false],
    ['one that only begins so', 'List-Id: <team.lists.example.com>', false],
    ['one that only ends so', 'List-Id: <a-team.lists.example>', false],
    ['the name outside the brackets', 'List-Id: team.lists.example <x.y>', false],
    ['nothing', 'Subject: team.lists.example', false],
  ])('%s', (_, header, expected) =>
    expect(loopsThrough(messageOf(`${header}\n\nx`), 'team@lists.example')).toBe(expected),
  );

  it('List-Id of a list (RFC 2919)', () => expect(listIdOf('team@lists.example')).toBe('team.lists.example'));
});
