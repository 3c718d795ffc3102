import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { readBer } from '../../src/pki/ber.ts';
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
