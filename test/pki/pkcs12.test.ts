import { createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Ber, bytesOf, octetsOf, readBer } from '../../src/pki/ber.ts';
import { der, derInteger, derNull, derOctets, derOid, derSequence } from '../../src/pki/der.ts';
import { belongsTo } from '../../src/pki/keys.ts';
import { newRounds } from '../../src/pki/pbe.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { decryptPkcs8, isPkcs12, type Pkcs12, readPkcs12 } from '../../src/pki/pkcs12.ts';
import { mustRun, runProgram } from '../kit/client.ts';
import { needs } from '../kit/needs.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';

const corpora = fileURLToPath(new URL('../../../shared/corpora', import.meta.url));
const present = (name: string) => needs(`the corpus ${name}`, existsSync(join(corpora, name)));
const { code: withoutLegacy } = await runProgram('openssl', ['list', '-provider', 'legacy', '-providers']);
const legacy = needs("OpenSSL's legacy provider", withoutLegacy === 0);

const words = 'p\u00e4sswort \u20ac';
const passphrase = Buffer.from(words);
let ca: TestCa;
let list: Identity;
beforeAll(async () => {
  ca = await makeCa();
  list = await ca.issue({ name: 'Team', address: 'team@lists.example', key: 'p256' });
});

/** What OpenSSL makes of a key, its certificate and the authority's. */
async function exported(options: string, secret = words): Promise<Buffer> {
  const chain = ['-in', list.certPath, '-inkey', list.keyPath, '-certfile', ca.certPath];
  const { stdout } = await mustRun('openssl', [
    ...['pkcs12', '-export', ...chain, '-passout', `pass:${secret}`],
    ...options.split(' ').filter((word) => word !== ''),
  ]);
  return stdout;
}

const caught = (doing: () => unknown): { code: string; message: string } => {
  try {
    doing();
  } catch (error) {
    return error as { code: string; message: string };
  }
  return { code: 'none', message: '' };
};

describe('readPkcs12 of what OpenSSL writes', () => {
  it.each(
    [
      ['as it does by default', ''],
      ['old: SHA-1, RC2-40 and 3DES', '-legacy'],
      ['old: RC2 with 128 bits', '-legacy -certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-RC2-128'],
      ['3DES', '-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1'],
      ['3DES with two keys', '-keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-2DES'],
      ['AES-128', '-keypbe AES-128-CBC -certpbe AES-128-CBC -macalg sha512'],
      ['PBES2 with 3DES', '-keypbe DES-EDE3-CBC -certpbe DES-EDE3-CBC'],
      ['certificates in clear', '-certpbe NONE'],
      ['key and certificates in clear, MAC only', '-certpbe NONE -keypbe NONE'],
      ['without a MAC', '-nomac'],
      ['many rounds', '-iter 100000'],
      ['one round', '-noiter -nomaciter'],
    ].filter(([, options = '']) => legacy || !options.includes('-legacy')),
  )('%s', async (_, options = '') => {
    const file = await exported(options);
    expect(isPkcs12(file)).toBe(true);
    const { keys, certificates, problems } = readPkcs12(file, passphrase);
    expect(problems).toEqual([]);
    expect(keys.map((key) => key.equals(list.key))).toEqual([true]);
    expect(certificates.map((one) => one.der)).toEqual([list.certDer, ca.certDer]);
    for (const wrong of [Buffer.from('battery staple'), null]) {
      const fault = caught(() => readPkcs12(file, wrong));
      expect(fault.code).toBe('pkcs12-passphrase');
      expect(fault.message).toContain(wrong === null ? 'none is given' : 'wrong');
      expect(fault.message).not.toContain('battery');
    }
  });

  it.each(['', ...(legacy ? ['-legacy'] : []), '-nomac'])('without a passphrase, %s', async (options) => {
    const file = await exported(options, '');
    for (const none of [null, Buffer.alloc(0)]) expect(readPkcs12(file, none).keys).toHaveLength(1);
  });

  it('finds a byte that was changed', async () => {
    const file = await exported('');
    file[200] = (file[200] as number) ^ 1;
    expect(['pkcs12-passphrase', 'pkcs12-malformed']).toContain(
      caught(() => readPkcs12(file, passphrase)).code,
    );
  });

  it('gives up at too many rounds before it does them', () => {
    const pbes = (count: number) =>
      derSequence(
        derSequence(
          derOid('1.2.840.113549.1.5.13'),
          derSequence(
            derSequence(
              derOid('1.2.840.113549.1.5.12'),
              derSequence(derOctets(Buffer.alloc(8)), derInteger(count)),
            ),
            derSequence(derOid('2.16.840.1.101.3.4.1.42'), derOctets(Buffer.alloc(16))),
          ),
        ),
        derOctets(Buffer.alloc(32)),
      );
    const d = () => ({ passphrase, rounds: newRounds() });
    expect(decryptPkcs8(readBer(pbes(1000)), d())).toBeNull();
    const begun = performance.now();
    for (const count of [0, 5_000_001, 2 ** 40])
      expect(caught(() => decryptPkcs8(readBer(pbes(count)), d())).code).toBe('pbe-budget');
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});

// OpenSSL 3.0 writes none: what it wrote gets a MAC of the new kind, by RFC 9579 and Node's own cryptography.
describe('readPkcs12 with PBMAC1 (RFC 9579)', () => {
  const hmac = (digest: string) =>
    derSequence(
      derOid(`1.2.840.113549.2.${{ sha1: 7, sha256: 9, sha384: 10, sha512: 11 }[digest]}`),
      derNull(),
    );

  interface Mac {
    readonly prf?: string;
    readonly digest?: string;
    readonly length?: number | null;
    readonly rounds?: number;
    readonly salt?: Buffer;
    readonly secret?: string;
  }

  async function withMac(m: Mac): Promise<Buffer> {
    const { prf = 'sha256', digest = 'sha256', length = 32, rounds = 2048, salt = randomBytes(16) } = m;
    const [version, content] = readBer(await exported('-nomac')).children;
    if (!version || !content) throw new Error('no PFX');
    const safes = octetsOf(content.children[1]?.children[0] as Ber);
    const secret = Buffer.from(m.secret ?? words);
    const isDone = rounds <= 100_000;
    const key = isDone ? pbkdf2Sync(secret, salt, rounds, length ?? 32, prf) : Buffer.alloc(32);
    const value = createHmac(digest, key).update(safes).digest();
    const keyLength = length === null ? [] : [derInteger(length)];
    const derivation = derSequence(
      derOid('1.2.840.113549.1.5.12'),
      derSequence(derOctets(salt), derInteger(rounds), ...keyLength, hmac(prf)),
    );
    const algorithm = derSequence(derOid('1.2.840.113549.1.5.14'), derSequence(derivation, hmac(digest)));
    const mac = derSequence(
      derSequence(algorithm, derOctets(value)),
      derOctets(Buffer.from('NOT USED')),
      derInteger(1),
    );
    return derSequence(bytesOf(version), bytesOf(content), mac);
  }

  it.each<[string, Mac]>([
    ['SHA-256', {}],
    ['SHA-512 with a PRF of SHA-256', { digest: 'sha512', length: 64 }],
    ['SHA-256 with a PRF of SHA-512', { prf: 'sha512' }],
    ['a key shorter than the MAC', { digest: 'sha512', length: 20 }],
    ['a salt of half a megabyte', { salt: Buffer.alloc(500_000, 7) }],
  ])('%s', async (_, mac) => {
    const file = await withMac(mac);
    const { keys, certificates } = readPkcs12(file, passphrase);
    expect([keys.length, certificates.length]).toEqual([1, 2]);
    expect(keys[0]?.equals(list.key)).toBe(true);
    expect(caught(() => readPkcs12(file, Buffer.from('wrong'))).code).toBe('pkcs12-passphrase');
  });

  it.each<[string, Mac, string, RegExp]>([
    ['of another passphrase', { secret: 'another' }, 'pkcs12-passphrase', /wrong, or the file was changed/],
    ['whose key length is not said', { length: null }, 'pkcs12-unsupported', /a MAC with a key of 0 octets/],
    ['whose key is short', { length: 8 }, 'pkcs12-unsupported', /a MAC with a key of 8 octets/],
    ['whose key is endless', { length: 2 ** 31, rounds: 2 ** 31 }, 'pkcs12-unsupported', /key of 2147483648/],
    ['of 2^31 rounds', { rounds: 2 ** 31 }, 'pkcs12-unsupported', /more than 5000000 rounds/],
  ])('refuses one %s, at once and with the reason', async (_, mac, code, words) => {
    const file = await withMac(mac);
    const begun = performance.now();
    const fault = caught(() => readPkcs12(file, passphrase));
    expect(fault.code).toBe(code);
    expect(fault.message).toMatch(words);
    expect(performance.now() - begun).toBeLessThan(1000);
  });

  it('refuses an old MAC of 2^31 rounds, and one with a salt of half a megabyte takes no time', async () => {
    const [version, content] = readBer(await exported('-nomac')).children;
    const file = (rounds: number, salt: Buffer) =>
      derSequence(
        bytesOf(version as Ber),
        bytesOf(content as Ber),
        derSequence(
          derSequence(derSequence(derOid('1.3.14.3.2.26'), derNull()), derOctets(Buffer.alloc(20))),
          derOctets(salt),
          derInteger(rounds),
        ),
      );
    const begun = performance.now();
    expect(caught(() => readPkcs12(file(2 ** 31, Buffer.alloc(8)), passphrase)).code).toBe(
      'pkcs12-unsupported',
    );
    expect(caught(() => readPkcs12(file(1, Buffer.alloc(500_000)), passphrase)).code).toBe(
      'pkcs12-passphrase',
    );
    expect(performance.now() - begun).toBeLessThan(2000);
  });
});

describe.skipIf(!legacy)('decryptPkcs8', () => {
  it.each([
    'PBE-MD5-DES',
    'PBE-SHA1-DES',
    'PBE-SHA1-RC2-40',
    'PBE-SHA1-RC2-128',
    'PBE-SHA1-3DES',
    'PBE-SHA1-2DES',
  ])('reads %s', async (scheme) => {
    const args = ['pkcs8', '-topk8', '-in', list.keyPath, '-v1', scheme, '-passout', `pass:${words}`];
    const providers = ['-provider', 'legacy', '-provider', 'default'];
    const { stdout } = await mustRun('openssl', [...args, ...providers]);
    const [block] = pemBlocks(stdout);
    const plain = decryptPkcs8(readBer(block?.der ?? Buffer.alloc(0)), { passphrase, rounds: newRounds() });
    expect(plain?.equals(list.key.export({ type: 'pkcs8', format: 'der' }))).toBe(true);
  });
});

describe('readPkcs12 of what others wrote', () => {
  const expectPairs = (read: Pkcs12, count: number): void => {
    expect(read.problems).toEqual([]);
    expect(read.keys).toHaveLength(count);
    for (const key of read.keys)
      expect(read.certificates.filter((one) => belongsTo(one, key)).length).toBeGreaterThan(0);
  };

  it.skipIf(!present('rfc9216')).each(['alice', 'bob', 'carlos', 'dana'])(
    'RFC 9216: %s, two pairs',
    (name) => {
      const [block] = pemBlocks(readFileSync(join(corpora, 'rfc9216', `${name}.p12`)));
      expectPairs(readPkcs12(block?.der ?? Buffer.alloc(0), Buffer.from(name)), 2);
    },
  );

  it
    .skipIf(!present('thunderbird-smime'))
    .each(['Alice', 'Alice-ec', 'Bob', 'Dave', 'Eve', 'Fran', 'Fran-ec'])('NSS: %s', (name) => {
    expectPairs(
      readPkcs12(readFileSync(join(corpora, 'thunderbird-smime', `${name}.p12`)), Buffer.from('nss')),
      1,
    );
  });
});

describe('what is none', () => {
  const pfx = (...parts: Buffer[]) => derSequence(derInteger(3), ...parts);
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['a certificate', () => list.certDer],
    ['version 3 and nothing else', pfx()],
    ['a signed one', pfx(derSequence(derOid('1.2.840.113549.1.7.2'), der(0xa0, derNull())))],
    ['one without content', pfx(derSequence(derOid('1.2.840.113549.1.7.1')))],
    ['one with the wrong content', pfx(derSequence(derOid('1.2.840.113549.1.7.1'), der(0xa0, derNull())))],
    ['more than a megabyte', Buffer.alloc(1_000_001, 0x30)],
  ])('%s', (_, file) => {
    const { code } = caught(() => readPkcs12(typeof file === 'function' ? file() : file, passphrase));
    expect(code).toMatch(/^pkcs12-(malformed|unsupported)$/);
  });

  it('every beginning of a good one', async () => {
    const file = await exported('-noiter -nomaciter');
    const codes = new Set<string>();
    for (let end = 0; end < file.length; end += 3)
      codes.add(caught(() => readPkcs12(file.subarray(0, end), passphrase)).code);
    expect([...codes]).toEqual(['pkcs12-malformed']);
  });

  it('one with an octet changed gives what it holds, or one of our faults', async () => {
    const file = await exported('-noiter -nomac');
    const codes = new Set<string>();
    for (let at = 0; at < file.length; at += 2) {
      const changed = Buffer.from(file);
      changed[at] = (changed[at] as number) ^ 0x11;
      codes.add(caught(() => readPkcs12(changed, passphrase)).code);
    }
    expect(
      [...codes].filter((code) => !/^(none|pkcs12-(malformed|passphrase|unsupported))$/.test(code)),
    ).toEqual([]);
    expect(codes.size).toBe(4);
  });
});
