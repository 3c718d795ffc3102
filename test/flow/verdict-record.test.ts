import { describe, expect, it } from 'vitest';
import type { DecisionReason } from '../../src/flow/post/authorize.ts';
import { sentenceFor, toJson, verdictRecord } from '../../src/flow/post/verdict-record.ts';
import { type Reason, reasons } from '../../src/pki/reasons.ts';
import { decryptionKey } from '../cms/keys.ts';
import { mailOf } from '../kit/smime-mime.ts';
import { encrypted, from, makePeople, open, signed } from '../smime/messages.ts';
import { report, t0 } from './parts.ts';

/** What `authorize` says beside the engine's reasons. */
const decisions: readonly Exclude<DecisionReason, Reason>[] = [
  'may-not-post',
  'list-closed',
  'not-encrypted',
  'not-signed',
  'encrypted-unsigned',
  'replay',
  'replay-elsewhere',
  'not-for-this-list',
  'from-not-one',
  'undated',
];

const secret = 'the wedding is on Friday';

describe('verdictRecord', () => {
  it('says what was decided and why, and holds no text of the message', async () => {
    const people = await makePeople();
    const part = Buffer.from(
      `From: alice@example.org\r\nTo: team@lists.example\r\nSubject: ${secret}\r\nContent-Type: text/plain; hp="cipher"\r\n\r\n${secret}\r\n`,
    );
    const mail = mailOf(
      from('alice@example.org'),
      await encrypted(people.list, await signed(people.alice, part)),
    );
    const opened = open(people, mail);
    expect(opened.protected?.subject).toBe(secret);
    const record = verdictRecord(opened, { decision: 'authorized', rule: 'member-may-post', receivedAt: t0 });
    expect(record).toMatchObject({
      receivedAt: t0,
      verdict: 'signed',
      author: 'alice@example.org',
      from: 'alice@example.org',
      decision: 'authorized',
      rule: 'member-may-post',
      encrypted: true,
      receivedCipher: 'aes-256-cbc',
      receivedBits: 256,
      listKey: decryptionKey(people.list).certificate.sha256,
      signer: { subject: 'CN=Alice' },
    });
    expect(record.signer?.certificate).toMatch(/^[0-9a-f]{64}$/);
    const text = JSON.stringify(toJson(record));
    expect(text).not.toContain('wedding');
    expect(text).not.toContain(Buffer.from(secret).toString('base64').slice(0, 10));
    expect(JSON.parse(text)).toEqual(toJson(record));
  });

  it('of a message in clear has no cipher', () => {
    const record = verdictRecord(report(), { decision: 'refused', rule: 'accept.signature', receivedAt: t0 });
    expect(record).toMatchObject({
      encrypted: false,
      receivedCipher: null,
      receivedBits: null,
      listKey: null,
      signer: null,
    });
  });

  it('keeps the weakest of several ciphers', () => {
    const layer = {
      kind: 'encrypted',
      form: 'enveloped',
      keyTransport: 'rsa',
      keyAgreement: null,
      kdf: null,
      wrap: null,
      recipients: 1,
      opened: true,
      keySha256: 'ab',
      reason: null,
    } as const;
    const layers = [
      { ...layer, cipher: 'des-ede3-cbc' },
      { ...layer, cipher: 'aes-256-cbc' },
    ];
    const record = verdictRecord(report({ encrypted: true, layers }), {
      decision: 'held',
      rule: 'x',
      receivedAt: t0,
    });
    expect(record).toMatchObject({ receivedCipher: 'aes-256-cbc', receivedBits: 112 });
  });
});

describe('sentenceFor', () => {
  it.each([...reasons, ...decisions])('%s is a sentence', (reason) => {
    const sentence = sentenceFor(reason, { missingIssuer: 'CN=Somewhere', claimed: 'alice@example.org' });
    expect(sentence.split(' ').length).toBeGreaterThan(2);
    expect(sentence).not.toMatch(/null|undefined|\[object/);
    expect(sentenceFor(reason, null)).not.toMatch(/null|undefined|\[object/);
  });
});
