import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { derAlgorithm } from '../../src/pki/algorithms.ts';
import * as w from '../../src/pki/der.ts';
import { contentInfo, oid } from '../cms/forge.ts';
import { cmsEntity, mailOf, splitSigned, textEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  from,
  layersOf,
  makePeople,
  type Opening,
  opaque,
  open,
  openEntity,
  type People,
  plain,
  shown,
  signed,
} from './messages.ts';

// What is inside: compressed layers (RFC 3274), and the hash that names the innermost entity (RULES 22).

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
const compressedOid = '1.2.840.113549.1.9.16.1.9';
const zlib = '1.2.840.113549.1.9.16.3.8';

/** CompressedData around `content`. */
function compressed(content: Buffer, d: { algorithm?: string; bytes?: Buffer; type?: string } = {}): Buffer {
  const bytes = d.bytes ?? deflateSync(content);
  const inside = w.derSequence(w.derOid(d.type ?? oid.data), w.derContext(0, w.derOctets(bytes)));
  const data = w.derSequence(w.derInteger(0), derAlgorithm(d.algorithm ?? zlib), inside);
  return cmsEntity(contentInfo(compressedOid, data), 'compressed-data');
}

describe('compression', () => {
  const alice = 'alice@example.org';
  it.each<[string, () => Promise<Buffer>, layers: string, verdict: string, author: string | null]>([
    ['alone', async () => compressed(plain), 'compressed', 'unsigned', null],
    ['in a signature', () => signed(people.alice, compressed(plain)), 'detached compressed', 'signed', alice],
    [
      'around a signature',
      async () => compressed(await signed(people.alice, plain)),
      'compressed detached',
      'signed',
      alice,
    ],
    [
      'in encryption',
      () => encrypted(people.list, compressed(plain)),
      'encrypted compressed',
      'unsigned',
      null,
    ],
    [
      'between',
      async () => encrypted(people.list, compressed(await opaque(people.alice, plain))),
      'encrypted compressed opaque',
      'signed',
      alice,
    ],
    [
      'inside both',
      async () => encrypted(people.list, await signed(people.alice, compressed(plain))),
      'encrypted detached compressed',
      'signed',
      alice,
    ],
    [
      'around encryption',
      async () => compressed(await encrypted(people.list, await signed(people.alice, plain))),
      'compressed encrypted detached',
      'signed',
      alice,
    ],
    // Compression neither encrypts nor signs: the signature outside the encryption proves nothing still.
    [
      'around encryption, signed outside',
      async () => signed(people.alice, compressed(await encrypted(people.list, plain))),
      'detached compressed encrypted',
      'unsigned',
      null,
    ],
    ['twice', async () => compressed(compressed(plain)), 'compressed compressed', 'unsigned', null],
  ])('%s', async (_, make, layers, verdict, author) => {
    const report = openEntity(people, await make());
    expect([layersOf(report), report.verdict, report.author]).toEqual([layers, verdict, author]);
    expect(report.encrypted).toBe(layers.includes('encrypted'));
    expect(report.contentSha256).toBe(sha256(plain));
  });

  it('is reported, and by any name that RFC 8551 3.10 gives it', () => {
    const entity = compressed(plain)
      .toString('latin1')
      .replace(/^.*\r\n/, 'Content-Type: application/octet-stream; name=smime.p7z\r\n');
    const report = openEntity(people, Buffer.from(entity, 'latin1'));
    expect(report.layers).toEqual([{ kind: 'compressed', algorithm: 'zlib', opened: true, reason: null }]);
  });

  it('stays in what is passed on, as its author made it', async () => {
    const inner = compressed(await signed(people.alice, plain));
    expect(shown(openEntity(people, await encrypted(people.list, inner)))).toBe(inner.toString('latin1'));
    expect(shown(openEntity(people, inner))).toBe(inner.toString('latin1'));
  });

  it('saves no field around it, whatever the compressed entity protects', async () => {
    const inner = compressed(
      Buffer.from('Subject: x\r\nContent-Type: text/plain; hp="cipher"\r\n\r\nhello\r\n'),
    );
    const around = Buffer.concat([Buffer.from('Subject: forged\r\n'), inner]);
    const report = openEntity(people, await encrypted(people.list, around));
    expect([report.protected?.authenticated, shown(report)]).toEqual([false, inner.toString('latin1')]);
  });

  it('by an algorithm that nobody has is unopened, in whatever it is', async () => {
    const odd = compressed(plain, { algorithm: '1.2.3.4' });
    const failed = {
      verdict: 'unopened',
      reasons: ['unsupported'],
      author: null,
      entity: null,
      contentSha256: null,
    };
    expect(openEntity(people, odd)).toMatchObject({
      ...failed,
      layers: [{ kind: 'compressed', algorithm: null, opened: false, reason: 'unsupported' }],
    });
    expect(openEntity(people, await signed(people.alice, odd))).toMatchObject(failed);
    expect(openEntity(people, await encrypted(people.list, odd))).toMatchObject(failed);
  });

  it.each<[string, Buffer]>([
    ['damaged', deflateSync(Buffer.alloc(5000, 'x')).subarray(4)],
    ['cut off', deflateSync(Buffer.from('hello '.repeat(50))).subarray(0, 12)],
    ['nothing', Buffer.alloc(0)],
  ])('%s is malformed', (_, bytes) => {
    const report = openEntity(people, compressed(plain, { bytes }));
    expect(report).toMatchObject({
      verdict: 'malformed',
      reasons: ['malformed'],
      entity: null,
      contentSha256: null,
    });
  });

  it('is opened within the budget of all layers together, before it is used (decompression bomb)', async () => {
    const bomb = compressed(textEntity('x'.repeat(900_000)));
    const nested = compressed(compressed(textEntity('x'.repeat(300_000))));
    const budget = { verdict: 'malformed', reasons: ['budget'] };
    const verdict = (entity: Buffer, o: Opening = {}) => openEntity(people, entity, o);
    expect(bomb.length).toBeLessThan(3_000);
    expect(verdict(bomb)).toMatchObject({ verdict: 'unsigned' });
    expect(verdict(bomb, { openedSize: 500_000 })).toMatchObject(budget);
    expect(verdict(nested, { openedSize: 300_200 })).toMatchObject(budget);
    expect(verdict(nested, { openedSize: 302_000 })).toMatchObject({ verdict: 'unsigned' });
    expect(verdict(await encrypted(people.list, bomb), { openedSize: 900_500 })).toMatchObject(budget);
    let deep = plain;
    for (let i = 0; i < 11; i++) deep = compressed(deep);
    expect(verdict(deep)).toMatchObject(budget);
  });
});

describe('content that calls itself something else than mail is not read as mail (RFC 8551 2.4.1)', () => {
  it('compressed', () => {
    const report = openEntity(people, compressed(plain, { type: oid.signedData }));
    expect(report).toMatchObject({ verdict: 'unopened', reasons: ['unsupported'], entity: null });
  });

  it('encrypted', async () => {
    const entity = (await encrypted(people.list, plain)).toString('latin1');
    const at = entity.indexOf('\r\n\r\n') + 4;
    const der = Buffer.from(entity.slice(at), 'base64');
    // The last object identifier id-data is that of the EncryptedContentInfo; of the same length is id-digestedData.
    const data = w.derOid(oid.data);
    w.derOid('1.2.840.113549.1.7.5').copy(der, der.lastIndexOf(data));
    const report = openEntity(people, cmsEntity(der, 'enveloped-data'));
    expect(report).toMatchObject({ verdict: 'unopened', reasons: ['unsupported'], entity: null });
    expect(layersOf(report)).toBe('locked');
  });
});

describe('what is no layer passes untouched', () => {
  const multipart = (type: string, ...parts: (Buffer | string)[]) =>
    Buffer.concat([
      Buffer.from(`Content-Type: ${type}; boundary=m\r\n\r\n`),
      ...parts.flatMap((part) => [Buffer.from('--m\r\n'), Buffer.from(part), Buffer.from('\r\n')]),
      Buffer.from('--m--\r\n'),
    ]);
  const pgp = 'Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n';

  it.each<[string, () => Promise<Buffer>]>([
    [
      'PGP/MIME encryption',
      async () =>
        multipart(
          'multipart/encrypted; protocol="application/pgp-encrypted"',
          pgp,
          'Content-Type: application/octet-stream; name=encrypted.asc\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n',
        ),
    ],
    [
      'PGP/MIME signature',
      async () =>
        multipart(
          'multipart/signed; protocol="application/pgp-signature"',
          plain,
          'Content-Type: application/pgp-signature\r\n\r\nx\r\n',
        ),
    ],
    [
      'an encrypted part in a mixed (covert content)',
      async () => multipart('multipart/mixed', plain, await encrypted(people.list, plain)),
    ],
    [
      'an encrypted part in an alternative',
      async () => multipart('multipart/alternative', plain, await encrypted(people.list, plain)),
    ],
    [
      'an encrypted part in a related in a mixed',
      async () =>
        multipart(
          'multipart/mixed',
          multipart('multipart/related', await encrypted(people.list, plain))
            .toString('latin1')
            .replace(/\bm\b/g, 'n'),
        ),
    ],
    [
      'a signed part in a mixed',
      async () => multipart('multipart/mixed', await opaque(people.alice, plain), plain),
    ],
    [
      'a forwarded signed message',
      async () =>
        Buffer.concat([
          Buffer.from('Content-Type: message/rfc822\r\n\r\nFrom: alice@example.org\r\n'),
          await signed(people.alice, plain),
        ]),
    ],
    [
      'a forwarded encrypted message',
      async () =>
        Buffer.concat([
          Buffer.from('Content-Type: message/rfc822\r\n\r\nFrom: x@y.example\r\n'),
          await encrypted(people.list, plain),
        ]),
    ],
    [
      'a digest of signed messages',
      async () =>
        multipart(
          'multipart/digest',
          Buffer.concat([Buffer.from('\r\nFrom: alice@example.org\r\n'), await signed(people.alice, plain)]),
        ),
    ],
  ])('%s', async (_, make) => {
    const entity = await make();
    const clear = openEntity(people, entity);
    expect([clear.verdict, layersOf(clear), shown(clear)]).toEqual([
      'unsigned',
      'none',
      entity.toString('latin1'),
    ]);
    const inside = openEntity(people, await encrypted(people.list, entity));
    expect([inside.verdict, layersOf(inside), shown(inside)]).toEqual([
      'unsigned',
      'encrypted',
      entity.toString('latin1'),
    ]);
    expect(inside.contentSha256).toBe(sha256(entity));
    const vouched = openEntity(people, await opaque(people.alice, entity));
    expect([vouched.verdict, layersOf(vouched)]).toEqual(['signed', 'opaque']);
  });
});

describe('content_sha256 is that of', () => {
  const hashOf = (entity: Buffer) => openEntity(people, entity).contentSha256;

  it('the eContent, the signed part and the decrypted entity, octet by octet', async () => {
    const expected = sha256(plain);
    const detached = await signed(people.alice, plain);
    expect(splitSigned(detached).content.equals(plain)).toBe(true);
    expect(hashOf(detached)).toBe(expected);
    expect(hashOf(await opaque(people.alice, plain))).toBe(expected);
    expect(hashOf(await opaque(people.alice, plain, { stream: true }))).toBe(expected);
    expect(hashOf(await encrypted(people.list, plain))).toBe(expected);
    expect(hashOf(await encrypted(people.list, detached))).toBe(expected);
    expect(hashOf(await signed(people.mallory, await encrypted(people.list, detached)))).toBe(expected);
    expect(hashOf(await opaque(people.mallory, detached))).toBe(expected);
  });

  it('an entity with fields that are not MIME, as it was signed or decrypted', async () => {
    const odd = Buffer.from('X-Odd:  y\r\nSubject: s\r\nContent-Type: text/plain\r\n\r\nhello\r\n');
    expect(hashOf(await encrypted(people.list, odd))).toBe(sha256(odd));
    expect(hashOf(await opaque(people.alice, odd))).toBe(sha256(odd));
  });

  it('the same whatever became of the signature', async () => {
    const mail = mailOf(from('boss@example.org'), await signed(people.alice, plain));
    const report = open(people, mail, { anchors: [] });
    expect([report.verdict, report.contentSha256]).toEqual(['mismatch', sha256(plain)]);
  });

  it.each<[string, string, string]>([
    [
      'a plain message: its MIME fields, the blank line, the body',
      'From: a@b.example\r\nContent-Type: text/plain;\r\n charset=utf-8\r\nSubject: x\r\nMIME-Version:  1.0\r\nContent-Language: de\r\n\r\nhello\r\n',
      'Content-Type: text/plain;\r\n charset=utf-8\r\nMIME-Version:  1.0\r\nContent-Language: de\r\n\r\nhello\r\n',
    ],
    ['one with bare LF', 'From: a@b.example\nMIME-Version: 1.0\n\nhello\n', 'MIME-Version: 1.0\n\nhello\n'],
    ['one without MIME', 'From: a@b.example\r\n\r\nhello', '\r\nhello'],
    ['one without a body', 'From: a@b.example\r\nMIME-Version: 1.0\r\n', 'MIME-Version: 1.0\r\n\r\n'],
    ['one with an empty body', 'From: a@b.example\r\n\r\n', '\r\n'],
    ['one without a blank line', 'From: a@b.example\r\nhello\r\n', '\r\nhello\r\n'],
    ['one that begins with the body', '\r\nhello', '\r\nhello'],
    ['nothing', '', '\r\n'],
  ])('%s', (_, message, content) => {
    expect(open(people, Buffer.from(message)).contentSha256).toBe(sha256(content));
  });

  it('nothing, where it was not opened', async () => {
    expect(hashOf(await encrypted(people.mallory, plain))).toBeNull();
    expect(hashOf(cmsEntity(Buffer.from('x'), 'signed-data'))).toBeNull();
  });
});

describe('a SignedData without content', () => {
  it('and with a signer is invalid: what it signed is somewhere else', async () => {
    const { signatureDer } = splitSigned(await signed(people.alice, Buffer.alloc(0)));
    const report = openEntity(people, cmsEntity(signatureDer, 'signed-data'));
    expect([report.verdict, report.author, report.layers.length]).toEqual(['invalid', null, 1]);
  });
});

describe('the layers that are reported', () => {
  it('name how the key came and how many it is for', async () => {
    const ecdh = await people.ca.issue({ name: 'List', key: 'p256', usage: 'keyAgreement' });
    const { decryptionKey } = await import('../cms/keys.ts');
    const keys = [decryptionKey(people.list), decryptionKey(ecdh)];
    const layerOf = async (entity: Promise<Buffer>, o: Opening = {}) =>
      openEntity(people, await entity, { keys, ...o }).layers[0];
    const opened = { kind: 'encrypted', form: 'enveloped', recipients: 1, opened: true, reason: null };
    expect(await layerOf(encrypted(people.list, plain))).toMatchObject({
      ...opened,
      cipher: 'aes-256-cbc',
      keyTransport: 'rsa',
      keyAgreement: null,
      kdf: null,
      wrap: null,
    });
    expect(await layerOf(encrypted(people.list, plain, { oaep: 'sha256' }))).toMatchObject({
      ...opened,
      keyTransport: 'rsa-oaep',
      keyAgreement: null,
      kdf: 'sha256',
    });
    expect(await layerOf(encrypted(ecdh, plain))).toMatchObject({
      ...opened,
      keyTransport: null,
      keyAgreement: 'ecdh',
      kdf: expect.stringMatching(/^x963-sha/),
      wrap: expect.stringMatching(/^id-aes\d+-wrap$/),
    });
    expect(await layerOf(encrypted(ecdh, plain), { keys: [] })).toEqual({
      kind: 'encrypted',
      form: 'enveloped',
      cipher: 'aes-256-cbc',
      recipients: 1,
      keyTransport: null,
      keyAgreement: null,
      kdf: null,
      wrap: null,
      keySha256: null,
      opened: false,
      reason: 'no-recipient',
    });
  });
});
