import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { loadKeyPairs, loadPrivateKey, pairFor, privateKeyFromPem } from '../../src/pki/keys.ts';
import { mustRun } from '../kit/client.ts';
import { type Identity, makeCa, makeSelfSigned, nextKey } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';

const secret = Buffer.from('correct horse');

/** Writes a key file with a mode and gives its path. */
function keyFile(content: string | Buffer, mode = 0o600): string {
  const path = join(tempFolder(), 'private_key');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** A file that claims to have so many octets. */
function sparse(path: string, octets: number): void {
  writeFileSync(path, '', { mode: 0o600 });
  truncateSync(path, octets);
}

const plainPem = async (kind: Parameters<typeof nextKey>[0] = 'rsa') =>
  String((await nextKey(kind)).export({ type: 'pkcs8', format: 'pem' }));

/** A key file that OpenSSL made. */
const openssl = async (...args: string[]) => (await mustRun('openssl', args)).stdout;

const caught = (doing: Promise<unknown>): Promise<{ code: string; message: string }> =>
  doing.then(
    () => ({ code: 'none', message: '' }),
    (error: { code: string; message: string }) => error,
  );

describe('loadPrivateKey', () => {
  it.each([
    ['PKCS#8', ['genpkey', '-quiet', '-algorithm', 'RSA']],
    ['traditional RSA', ['genrsa', '-traditional', '2048']],
    ['traditional EC with EC PARAMETERS before it', ['ecparam', '-name', 'secp384r1', '-genkey']],
    ['Ed25519', ['genpkey', '-algorithm', 'ed25519']],
    ['X25519', ['genpkey', '-algorithm', 'x25519']],
  ])('reads %s', async (_what, args) => {
    const key = await loadPrivateKey(keyFile(await openssl(...args)), null);
    expect(key.type).toBe('private');
  });

  it.each([
    [
      'PKCS#8 with PBES2',
      ['genpkey', '-quiet', '-algorithm', 'RSA', '-aes256', '-pass', 'pass:correct horse'],
    ],
    ['the traditional form', ['genrsa', '-traditional', '-aes128', '-passout', 'pass:correct horse', '2048']],
  ])('reads %s with its passphrase only', async (_what, args) => {
    const path = keyFile(await openssl(...args));
    expect((await loadPrivateKey(path, secret)).asymmetricKeyType).toBe('rsa');
    const without = await caught(loadPrivateKey(path, null));
    expect(without).toMatchObject({ code: 'key-passphrase', message: expect.stringContaining(path) });
    const wrong = await caught(loadPrivateKey(path, Buffer.from('battery staple')));
    expect(wrong).toMatchObject({ code: 'key-passphrase', message: expect.stringContaining('wrong') });
    expect(wrong.message).not.toContain('battery staple');
  });

  it('does not mind a passphrase that a key does not need', async () => {
    const path = keyFile(await plainPem());
    expect((await loadPrivateKey(path, secret)).type).toBe('private');
  });

  it('finds the key behind a certificate in the same file', async () => {
    const ann = await makeSelfSigned({ name: 'Ann', key: 'p256' });
    const both = ann.certPem + String(ann.key.export({ type: 'pkcs8', format: 'pem' }));
    expect((await loadPrivateKey(keyFile(both), null)).equals(ann.key)).toBe(true);
  });

  it.each([
    [0o600, 'none'],
    [0o400, 'none'],
    [0o640, 'key-mode'],
    [0o604, 'key-mode'],
    [0o620, 'key-mode'],
    [0o610, 'key-mode'],
    [0o777, 'key-mode'],
  ])('mode %o: %s', async (mode, code) => {
    const path = keyFile(await plainPem(), mode);
    const error = await caught(loadPrivateKey(path, null));
    expect(error.code).toBe(code);
    if (code !== 'none') expect(error.message).toContain(`chmod 600 ${path}`);
  });

  it.each([
    ['nothing', ''],
    ['a certificate only', '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'],
    ['a key that is cut off', '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n'],
    [
      'a key that is broken',
      '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n',
    ],
  ])('refuses %s, without showing it', async (_what, content) => {
    const error = await caught(loadPrivateKey(keyFile(content), null));
    expect(error.code).toBe('key-malformed');
    expect(error.message).not.toContain('MIIEv');
  });

  it('refuses a folder, and a file that is not there', async () => {
    const folder = tempFolder();
    expect(await caught(loadPrivateKey(folder, null))).toMatchObject({ code: 'key-malformed' });
    const missing = await caught(loadPrivateKey(join(folder, 'private_key'), null));
    expect(missing).toMatchObject({ code: 'key-unreadable', message: expect.stringContaining('ENOENT') });
  });

  it.each<[string, (path: string) => unknown, string, RegExp]>([
    ['a pipe', (path) => execFileSync('mkfifo', ['-m', '600', path]), 'key-malformed', /it is no file$/],
    ['a file of 2 GB', (path) => sparse(path, 2 ** 31), 'key-malformed', /2147483648 octets: that is no key/],
    ['an empty file', (path) => writeFileSync(path, '', { mode: 0o600 }), 'key-malformed', /no private key/],
    [
      'a link to nowhere',
      (path) => symlinkSync('gone', path),
      'key-unreadable',
      /ENOENT\): bring it back, or/,
    ],
    ['a link to itself', (path) => symlinkSync(path, path), 'key-unreadable', /ELOOP\): .*mend the link/],
    [
      'a link to a key that others may read',
      (path) => {
        writeFileSync(`${path}.pem`, 'x', { mode: 0o644 });
        symlinkSync(`${path}.pem`, path);
      },
      'key-mode',
      /chmod 600/,
    ],
  ])('refuses %s, at once, with its path and what to do', async (_what, make, code, words) => {
    const path = join(tempFolder(), 'private_key');
    make(path);
    const begun = performance.now();
    const error = await caught(loadPrivateKey(path, null));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(words);
    expect(error.message).toContain(path);
    expect(performance.now() - begun).toBeLessThan(2000);
  });

  it('follows a link to a key that only its owner may read', async () => {
    const path = join(tempFolder(), 'private_key');
    symlinkSync(keyFile(await plainPem()), path);
    expect((await loadPrivateKey(path, null)).type).toBe('private');
  });

  it('refuses kinds of keys that S/MIME has no use for', async () => {
    const params = keyFile(await openssl('dsaparam', '-genkey', '-noout', '1024'));
    expect(await caught(loadPrivateKey(params, null))).toMatchObject({ code: 'key-malformed' });
  });
});

describe('privateKeyFromPem', () => {
  it('names what it read in its faults', () => {
    expect(() => privateKeyFromPem(Buffer.from('x'), null, 'on standard input')).toThrow(/on standard input/);
  });
});

describe('loadKeyPairs', () => {
  /** A list's folder: file name → identity, the certificate with the one suffix and the key with the other. */
  function folderWith(files: Readonly<Record<string, string | Buffer>>): string {
    const folder = join(tempFolder(), 'list@example.org');
    mkdirSync(folder);
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(folder, name), content, { mode: 0o600 });
    }
    return folder;
  }
  const pem = (identity: Identity) => String(identity.key.export({ type: 'pkcs8', format: 'pem' }));
  const person = (name: string) => makeSelfSigned({ name, key: 'p256' });

  it("takes pairs by suffix, as Sympa's find_keys does", async () => {
    const [plain, sign, old] = (await Promise.all(['Plain', 'Sign', 'Old'].map(person))) as [
      Identity,
      Identity,
      Identity,
    ];
    const folder = folderWith({
      'cert.pem': plain.certPem,
      private_key: pem(plain),
      'cert.pem.sign': sign.certPem,
      'private_key.sign': pem(sign),
      'cert.pem.2019': old.certPem,
      'private_key.2019': pem(old),
      config: 'subject x\n',
    });
    const { pairs, problems } = await loadKeyPairs(folder, null);
    expect(problems).toEqual([]);
    expect(pairs.map((p) => [p.suffix, p.certificate.subject])).toEqual([
      ['', 'CN=Plain'],
      ['.2019', 'CN=Old'],
      ['.sign', 'CN=Sign'],
    ]);
    expect(pairFor(pairs, 'sign')?.suffix).toBe('.sign');
    expect(pairFor(pairs, 'encrypt')?.suffix).toBe('');
  });

  it.each([
    [['', '.sign', '.enc'], '.sign', '.enc'],
    [['', '.enc'], '', '.enc'],
    [['.sign', '.enc'], '.sign', '.enc'],
    [['.sign'], '.sign', null],
    [['.2019'], null, null],
    [[], null, null],
  ])('of %j signs with %s and is encrypted to with %s', async (suffixes, sign, encrypt) => {
    const ann = await person('Ann');
    const files = suffixes.flatMap((s) => [
      [`cert.pem${s}`, ann.certPem],
      [`private_key${s}`, pem(ann)],
    ]);
    const { pairs } = await loadKeyPairs(folderWith(Object.fromEntries(files)), null);
    expect(pairFor(pairs, 'sign')?.suffix ?? null).toBe(sign);
    expect(pairFor(pairs, 'encrypt')?.suffix ?? null).toBe(encrypt);
  });

  it('reads a pair after one whose key is of another kind than its certificate', async () => {
    const ca = await makeCa('Root', { key: 'p256' });
    const kinds = ['rsa', 'ed25519', 'x25519'] as const;
    const [rsa, ed, x] = await Promise.all(kinds.map((key) => ca.issue({ name: key, key })));
    if (!rsa || !ed || !x) throw new Error('three');
    const { pairs, problems } = await loadKeyPairs(
      folderWith({
        'cert.pem.a': ed.certPem,
        'private_key.a': pem(rsa),
        'cert.pem.b': ed.certPem,
        'private_key.b': pem(ed),
        'cert.pem.c': rsa.certPem,
        'private_key.c': pem(x),
        'cert.pem.d': x.certPem,
        'private_key.d': pem(x),
      }),
      null,
    );
    expect(pairs.map((pair) => pair.suffix)).toEqual(['.b', '.d']);
    expect(problems.map((one) => one.code)).toEqual(['key-mismatch', 'key-mismatch']);
  });

  it('keeps the rest when one pair is bad, and says why', async () => {
    const [good, other] = (await Promise.all(['Good', 'Other'].map(person))) as [Identity, Identity];
    const folder = folderWith({
      'cert.pem': good.certPem,
      private_key: pem(good),
      'cert.pem.a': good.certPem,
      'private_key.a': pem(other),
      'cert.pem.b': 'nonsense',
      'private_key.b': pem(other),
      'cert.pem.c': other.certPem,
      'private_key.d': pem(other),
      'cert.pem.e': other.certPem,
      'private_key.e': pem(other),
      'cert.pem.f': other.certPem,
      'private_key.f': other.key.export({
        type: 'pkcs8',
        format: 'pem',
        cipher: 'aes-256-cbc',
        passphrase: 'x',
      }),
    });
    chmodSync(join(folder, 'private_key.e'), 0o644);
    const { pairs, problems } = await loadKeyPairs(folder, null);
    expect(pairs.map((p) => p.suffix)).toEqual(['']);
    expect(problems.map((p) => p.code)).toEqual([
      'key-pair-incomplete',
      'key-waits',
      'key-mismatch',
      'key-certificate',
      'key-mode',
      'key-passphrase',
    ]);
    expect(problems[0]?.message).toContain(
      `${folder}/cert.pem.c is not used, because there is no private_key.c`,
    );
  });

  it('takes the chain from the certificate file, in any order', async () => {
    const ca = await makeCa('Root', { key: 'p256' });
    const middle = await ca.intermediate({ name: 'Middle', key: 'p256' });
    const list = await middle.issue({ name: 'List', key: 'p256' });
    const folder = folderWith({ 'cert.pem': middle.certPem + list.certPem, private_key: pem(list) });
    const { pairs } = await loadKeyPairs(folder, null);
    expect(pairs[0]?.certificate.subject).toBe('CN=List');
    expect(pairs[0]?.chain.map((c) => c.subject)).toEqual(['CN=Middle']);
  });

  it('has no pairs for a folder that is not there', async () => {
    expect(await loadKeyPairs(join(tempFolder(), 'nowhere'), null)).toEqual({ pairs: [], problems: [] });
  });

  it.skipIf(process.geteuid?.() !== 0)('refuses a key that another user owns, unless root asks', async () => {
    const folder = tempFolder();
    const path = join(folder, 'private_key');
    writeFileSync(path, await plainPem(), { mode: 0o600 });
    execFileSync('chown', ['nobody', path]);
    expect((await loadPrivateKey(path, null)).type).toBe('private');
    const { uid } = statSync(path);
    const user = vi.spyOn(process, 'geteuid').mockReturnValue(uid + 1);
    try {
      expect(await caught(loadPrivateKey(path, null))).toMatchObject({
        code: 'key-mode',
        message: expect.stringContaining(`belongs to another user (chown it to user ${uid + 1})`),
      });
      user.mockReturnValue(uid);
      expect((await loadPrivateKey(path, null)).type).toBe('private');
    } finally {
      user.mockRestore();
    }
  });
});
