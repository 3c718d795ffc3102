import { constants, createCipheriv, publicEncrypt, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type OpenResult, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { derRsaEncryption } from '../../src/pki/algorithms.ts';
import { parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { mustRun, withFiles } from '../kit/client.ts';
import { subjectKeyId } from '../kit/issue.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { cbc, forgeEnvelope, transportTo } from './forge.ts';
import { decryptionKey } from './keys.ts';

const text = Buffer.from('Content-Type: text/plain\r\n\r\nFor you and you.\r\n');
let ca: TestCa;
let alice: Identity;
let bob: Identity;

beforeAll(async () => {
  ca = await makeCa('Recipient Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
  bob = await ca.issue({ name: 'Bob', address: 'bob@a.example', key: 'p256' });
});

const open = (der: Buffer, identities: readonly Identity[] = [alice]): OpenResult =>
  openEnveloped(parseContentInfo(der).content, identities.map(decryptionKey));

describe.skipIf(!needs('openssl', hasProgram('openssl')))(
  'recipients without a certificate, by OpenSSL',
  () => {
    const password = ['-pwri_password', 'secret'];
    const sharedKey = ['-secretkey', '000102030405060708090a0b0c0d0e0f', '-secretkeyid', 'beef'];
    const encrypt = (args: readonly string[]): Promise<Buffer> =>
      withFiles({ text }, async (paths) => {
        const fixed = ['cms', '-encrypt', '-binary', '-outform', 'DER', '-in', paths.text, '-aes-256-cbc'];
        return (await mustRun('openssl', [...fixed, ...args])).stdout;
      });
    const to = (identity: () => Identity) => () => ['-recip', identity().certPath];

    const rows: [string, () => readonly string[], Partial<OpenResult>][] = [
      [
        'a password alone',
        () => password,
        {
          reason: 'unsupported',
          kinds: ['pwri'],
          detail: 'it is encrypted for a password, and not for a certificate',
        },
      ],
      [
        'a shared key alone',
        () => sharedKey,
        {
          reason: 'unsupported',
          kinds: ['kekri'],
          detail: 'it is encrypted for a shared secret key, and not for a certificate',
        },
      ],
      [
        'both',
        () => [...sharedKey, ...password],
        { reason: 'unsupported', detail: expect.stringContaining('a shared secret key and a password') },
      ],
      [
        'a password, and somebody else',
        () => [...password, ...to(() => bob)()],
        {
          reason: 'no-recipient',
          detail:
            'no recipient is one of our certificates; it is also encrypted for a password, which reseal does not use',
        },
      ],
      [
        'somebody else alone',
        to(() => bob),
        { reason: 'no-recipient', kinds: ['kari'], detail: 'no recipient is one of our certificates' },
      ],
    ];
    it.each(rows)('%s', async (_, args, expected) => {
      expect(open(await encrypt(args()))).toMatchObject({ opened: false, ...expected });
    });

    it('beside us they change nothing', async () => {
      const result = open(
        await encrypt([...password, ...sharedKey, ...to(() => bob)(), ...to(() => alice)()]),
      );
      expect(result).toMatchObject({ opened: true, recipients: 4, keyTransport: 'rsa' });
      expect([...result.kinds].sort()).toEqual(['kari', 'kekri', 'ktri', 'pwri']);
    });
  },
);

it('another kind of recipient, such as a KEM (RFC 9629), is unsupported and named so', () => {
  const kem = w.derContext(4, w.derOid('1.2.840.113549.1.9.16.13.3'), w.derSequence());
  const der = forgeEnvelope({
    recipients: [kem],
    algorithm: cbc(Buffer.alloc(16)),
    ciphertext: Buffer.alloc(16),
  });
  expect(open(der)).toMatchObject({
    opened: false,
    reason: 'unsupported',
    kinds: ['ori'],
    detail: 'it is encrypted for a kind of recipient that reseal does not know, and not for a certificate',
  });
});

it('no recipients at all is no-recipient', () => {
  const der = forgeEnvelope({
    recipients: [],
    algorithm: cbc(Buffer.alloc(16)),
    ciphertext: Buffer.alloc(16),
  });
  expect(open(der)).toMatchObject({ opened: false, reason: 'no-recipient', kinds: [], recipients: 0 });
});

/** Bad kinds are structure, whoever they are for. */
it.each<[string, () => Buffer]>([
  ['a recipient of kind [5]', () => w.derContext(5, w.derNull())],
  ['a recipient that is an INTEGER', () => w.derInteger(1)],
])('%s is cms-malformed', (_, recipient) => {
  const der = forgeEnvelope({
    recipients: [recipient()],
    algorithm: cbc(Buffer.alloc(16)),
    ciphertext: Buffer.alloc(16),
  });
  expect(() => open(der)).toThrowError(expect.objectContaining({ code: 'cms-malformed' }));
});

describe('the certificates that a message names', () => {
  const contentKey = randomBytes(32);
  const ciphertext = () => {
    const cipher = createCipheriv('aes-256-cbc', contentKey, Buffer.alloc(16));
    return Buffer.concat([cipher.update(text), cipher.final()]);
  };
  const wrapped = (identity: Identity) =>
    publicEncrypt(
      { key: publicKeyOf(parseCertificate(identity.certDer)), padding: constants.RSA_PKCS1_PADDING },
      contentKey,
    );
  const byKeyId = (identity: Identity, keyId: Buffer) =>
    w.derSequence(
      w.derInteger(2),
      w.derContextPrimitive(0, keyId),
      derRsaEncryption(),
      w.derOctets(wrapped(identity)),
    );
  const message = (...recipients: Buffer[]) =>
    forgeEnvelope({ recipients, algorithm: cbc(Buffer.alloc(16)), ciphertext: ciphertext() });

  it.each([
    ['one octet', Buffer.from([7])],
    ['three octets that are no hash', Buffer.from('abc')],
    ['64 octets', Buffer.alloc(64, 5)],
  ])('by the key identifier in the extension, whatever it is: %s', async (_, keyId) => {
    const carol = await ca.issue({ name: 'Carol', keyFrom: alice, extensions: [subjectKeyId(keyId)] });
    const der = message(byKeyId(alice, keyId));
    expect(open(der, [carol])).toMatchObject({ opened: true });
    expect(open(der, [alice]), 'the same key under its usual identifier').toMatchObject({
      reason: 'no-recipient',
    });
  });

  it('a certificate without a key identifier is not named by an empty one', async () => {
    const extensions = [{ oid: '2.5.29.14', valueDer: null }];
    const dave = await ca.issue({ name: 'Dave', keyFrom: alice, extensions } as never);
    expect(open(message(byKeyId(alice, Buffer.alloc(0))), [dave])).toMatchObject({ reason: 'no-recipient' });
  });

  it('two certificates with one key identifier are both tried (RFC 8551 2.6)', async () => {
    const keyId = Buffer.from('same');
    const extensions = [subjectKeyId(keyId)];
    const other = await ca.issue({ name: 'Other', extensions });
    const mine = await ca.issue({ name: 'Mine', keyFrom: alice, extensions });
    const result = open(message(byKeyId(alice, keyId)), [other, mine]);
    expect(result).toMatchObject({ opened: true, keySha256: parseCertificate(mine.certDer).sha256 });
  });

  it('only those: a right key for us under a name that is not ours stays shut, with no private-key operation', () => {
    const elsewhere = transportTo(parseCertificate(bob.certDer), wrapped(alice));
    const used: string[] = [];
    const { certificate, key } = decryptionKey(alice);
    const watched = new Proxy(key, {
      get: (target, name) => {
        used.push(String(name));
        return Reflect.get(target, name, target);
      },
    });
    const info = parseContentInfo(message(...Array<Buffer>(20).fill(elsewhere)));
    const result = openEnveloped(info.content, [{ certificate, key: watched }]);
    expect(result).toMatchObject({ opened: false, reason: 'no-recipient', recipients: 20 });
    expect(used).toEqual([]);
  });
});
