import { spawn } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { loadPrivateKey } from '../../src/pki/keys.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { openDatabase, type Queries } from '../../src/store/database.ts';
import { findList } from '../../src/store/lists.ts';
import { insertMessages } from '../../src/store/messages.ts';
import { mustRun, runProgram } from '../kit/client.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { smimeVerify } from '../kit/openssl-smime.ts';
import { type CertificateOptions, type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { message } from '../store/fixtures.ts';
import { makeTeam, type Root } from './kit.ts';

const list = 'team@lists.example';
const quick = ['--key', 'p-256', '--yes'];
let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

const folderOf = (root: Root) => join(root.path, 'etc/lists', list);
const files = (root: Root) => readdirSync(folderOf(root)).sort();
const shaOf = (pem: Buffer | string) =>
  parseCertificate(pemBlocks(Buffer.from(pem))[0]?.der ?? Buffer.alloc(0)).sha256;
const shaIn = (root: Root, name = 'cert.pem') => shaOf(readFileSync(join(folderOf(root), name)));
const keyPem = (one: Identity) => String(one.key.export({ type: 'pkcs8', format: 'pem' }));
const team = (options: Partial<CertificateOptions> = {}) =>
  ca.issue({ name: 'Team', address: list, key: 'p256', ...options });
/** `readSecret` wants the mode so. */
const secretFile = (root: Root, words: string): string => {
  const path = root.file('words', `${words}\n`);
  chmodSync(path, 0o600);
  return path;
};

interface Listed {
  readonly keys: readonly {
    readonly suffix: string;
    readonly state: string;
    readonly sha256: string;
    readonly type: string;
    readonly uses: readonly string[];
    readonly problems: readonly string[];
  }[];
  readonly problems: readonly string[];
}
const listed = async (root: Root) => (await root.json('key', 'list', 'team')) as Listed;
const table = async (root: Root) =>
  (await listed(root)).keys.map((one) => [
    one.suffix.replace(/\d{8}/, 'DAY'),
    one.state,
    one.uses.slice(1).join(),
  ]);

async function onDatabase<T>(root: Root, work: (q: Queries) => Promise<T>): Promise<T> {
  const database = await openDatabase(join(root.path, 'spool/reseal.db'), { check: false });
  try {
    return await database.write(work);
  } finally {
    await database.close();
  }
}

/** The mails that reseal wrote, from their files in the spool. */
function written(root: Root): { to: string; bytes: Buffer }[] {
  const folder = join(root.path, 'spool/messages');
  const names = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
  return names
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => {
      const whole = readFileSync(path);
      const bytes = whole.subarray(whole.indexOf('\n') + 1);
      return { to: headerOf(bytes, 'To') ?? '', bytes };
    })
    .sort((a, b) => a.to.localeCompare(b.to));
}

async function signedBy(root: Root, bytes: Buffer, certificate: string): Promise<boolean> {
  const certPath = root.file(`anchor-${Math.random()}.pem`, certificate);
  return (await smimeVerify({ certPath }, bytes)).trusted;
}

describe('key generate', () => {
  const bare = async (): Promise<Root> => {
    const root = await makeTeam(ca);
    const all = (await listed(root)).keys;
    expect(all).toHaveLength(1);
    rmSync(folderOf(root), { recursive: true });
    return root;
  };

  it.each([
    ['p-256', /not Thunderbird and Evolution/],
    ['ed25519', /hardly any mail program can encrypt to X25519/],
  ])('%s: says who cannot encrypt to it, and makes nothing where nobody says yes', async (kind, words) => {
    const root = await bare();
    const result = await root.run('key', 'generate', 'team', '--key', kind);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(words);
    expect(result.stderr).toMatch(/nothing was changed; give --yes/);
    expect(existsSync(folderOf(root))).toBe(false);
  });

  it('Ed25519 to sign and X25519 to be encrypted to', async () => {
    const root = await bare();
    await root.json('key', 'generate', 'team', '--key', 'ed25519', '--yes');
    const { keys } = await listed(root);
    expect(keys).toMatchObject([
      { suffix: '.enc', state: 'active', type: 'x25519', uses: ['decrypt', 'encrypt'], problems: [] },
      { suffix: '.sign', state: 'active', type: 'ed25519', uses: ['decrypt', 'sign'], problems: [] },
    ]);
    expect((await root.run('list', 'show', 'team', '--cert')).stdout).toContain('BEGIN CERTIFICATE');
  });

  it('a pair for each use, by request', async () => {
    const root = await bare();
    const asked = ['key', 'generate', 'team', ...quick, '--separate', '--csr'];
    const { request } = (await root.json(...asked)) as { request: string };
    expect(pemBlocks(Buffer.from(request)).map((one) => one.label)).toEqual([
      'CERTIFICATE REQUEST',
      'CERTIFICATE REQUEST',
    ]);
    for (const [suffix, usage] of [
      ['.sign', 'digitalSignature'],
      ['.enc', 'keyAgreement'],
    ] as const) {
      const key = await loadPrivateKey(join(folderOf(root), `private_key${suffix}`), null);
      const { certPem } = await team({ keyFrom: { key } as Identity, usage });
      expect(await root.run('key', 'import', 'team', root.file('c.pem', certPem))).toMatchObject({
        code: 0,
        stderr: '',
      });
    }
    expect(await table(root)).toEqual([
      ['.enc', 'active', 'encrypt'],
      ['.sign', 'active', 'sign'],
    ]);
  });

  it('encrypts the key with the passphrase given, and says that the daemon needs it', async () => {
    const root = await bare();
    const words = secretFile(root, 'correct horse');
    const made = await root.run('key', 'generate', 'team', ...quick, '--passphrase-file', words);
    expect(made).toMatchObject({ code: 0 });
    expect(made.stderr).toMatch(/needs this passphrase too: .* RESEAL_PASSPHRASE_TEAM_LISTS_EXAMPLE/);
    const path = join(folderOf(root), 'private_key');
    expect(readFileSync(path, 'latin1')).toContain('BEGIN ENCRYPTED PRIVATE KEY');
    expect((await loadPrivateKey(path, Buffer.from('correct horse'))).type).toBe('private');
  });

  it('a passphrase from the environment is used; a wrong one stops only this list, and check says which', async () => {
    const root = await bare();
    await root.json(
      'list',
      'create',
      'other@lists.example',
      '--key',
      'p-256',
      '--yes',
      '--owner',
      'o@example.org',
    );
    process.env.RESEAL_PASSPHRASE_TEAM_LISTS_EXAMPLE = 'correct horse';
    try {
      await root.json('key', 'generate', 'team', ...quick);
      expect(await listed(root)).toMatchObject({ problems: [], keys: [{ state: 'active' }] });
      const other = await root.run(
        'key',
        'rotate',
        'team',
        ...quick,
        '--passphrase-file',
        secretFile(root, 'x'),
      );
      expect(other).toMatchObject({ code: 2 });
      expect(other.stderr).toMatch(/team@lists\.example has another one already/);
      process.env.RESEAL_PASSPHRASE_TEAM_LISTS_EXAMPLE = 'battery staple';
      const { stdout } = await root.run('check', '--json');
      const { findings } = JSON.parse(stdout) as {
        findings: { about: string; text: string; level: string }[];
      };
      const about = (address: string) =>
        findings.filter((one) => one.about === address && /private key|key pair/.test(one.text));
      expect(about(list)).toMatchObject([{ text: expect.stringMatching(/private_key cannot be decrypted/) }]);
      expect(about('other@lists.example')).toMatchObject([{ level: 'good' }]);
    } finally {
      delete process.env.RESEAL_PASSPHRASE_TEAM_LISTS_EXAMPLE;
    }
  });
});

describe('key import of key pairs', () => {
  const pkcs12 = async (root: Root, one: Identity, ...options: string[]): Promise<string> => {
    const args = ['pkcs12', '-export', '-in', one.certPath, '-inkey', one.keyPath, '-certfile', ca.certPath];
    const { stdout } = await mustRun('openssl', [...args, '-passout', 'pass:correct horse', ...options]);
    return root.file('team.p12', stdout);
  };

  it.each<[string, (root: Root, one: Identity) => Promise<string[]> | string[], 'rsa'?]>([
    [
      'PEM, key then certificate',
      (root, one) => [root.file('t.pem', keyPem(one) + one.certPem + ca.certPem)],
    ],
    [
      'PEM with an encrypted key',
      (root, one) => {
        const plain = { type: 'pkcs8', format: 'pem' } as const;
        const key = one.key.export({ ...plain, cipher: 'aes-256-cbc', passphrase: 'correct horse' });
        return [
          root.file('t.pem', `Bag Attributes: <none>\n${one.certPem}${key}${ca.certPem}`),
          '--passphrase-file',
          secretFile(root, 'correct horse'),
        ];
      },
    ],
    [
      'SEC 1, the certificate in a file of its own, the chain in a third',
      (root, one) => [
        root.file('k.pem', String(one.key.export({ type: 'sec1', format: 'pem' }))),
        '--cert',
        one.certPath,
        '--chain',
        ca.certPath,
      ],
    ],
    ...(['', 'correct horse'] as const).map(
      (passphrase): [string, (root: Root, one: Identity) => string[], 'rsa'] => [
        `PKCS#1${passphrase && ', encrypted as OpenSSL did of old'}`,
        (root, one) => {
          const how = passphrase ? { cipher: 'aes-128-cbc', passphrase } : {};
          const key = String(one.key.export({ type: 'pkcs1', format: 'pem', ...how }));
          expect(key).toContain('BEGIN RSA PRIVATE KEY');
          const asked = passphrase ? ['--passphrase-file', secretFile(root, passphrase)] : [];
          return [root.file('t.pem', key + one.certPem + ca.certPem), ...asked];
        },
        'rsa',
      ],
    ),
    [
      'DER',
      (root, one) => [
        root.file('k.der', one.key.export({ type: 'pkcs8', format: 'der' })),
        '--cert',
        one.certPath,
        '--chain',
        ca.certPath,
      ],
    ],
    ...(['PEM', 'DER'] as const).map((form): [string, (root: Root, one: Identity) => Promise<string[]>] => [
      `PKCS#7 in ${form}, certificate and chain, the key in a file of its own`,
      async (root, one) => {
        const args = ['crl2pkcs7', '-nocrl', '-certfile', one.certPath, '-certfile', ca.certPath];
        const { stdout } = await mustRun('openssl', [...args, '-outform', form]);
        return [root.file('k.pem', keyPem(one)), '--cert', root.file('t.p7b', stdout)];
      },
    ]),
    [
      'PKCS#12',
      async (root, one) => [await pkcs12(root, one), '--passphrase-file', secretFile(root, 'correct horse')],
    ],
    [
      'old PKCS#12',
      async (root, one) => [
        await pkcs12(root, one, '-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'),
        '--passphrase-file',
        secretFile(root, 'correct horse'),
      ],
    ],
  ])('%s', async (_, make, kind) => {
    const root = await makeTeam(ca);
    const before = shaIn(root);
    const one = await team(kind ? { key: kind } : {});
    const result = await root.run('key', 'import', 'team', ...(await make(root, one)));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(shaIn(root)).toBe(shaOf(one.certPem));
    const stored = pemBlocks(readFileSync(join(folderOf(root), 'cert.pem')));
    expect(stored.map((block) => block.der)).toEqual([one.certDer, ca.certDer]);
    expect(createPrivateKey(readFileSync(join(folderOf(root), 'private_key'))).equals(one.key)).toBe(true);
    expect(statSync(join(folderOf(root), 'private_key')).mode & 0o077).toBe(0);
    const { keys, problems } = await listed(root);
    expect(problems).toEqual([]);
    expect(keys).toMatchObject([{ state: 'active' }, { state: 'retired', sha256: before }]);
  });

  it('two pairs, one to sign and one to be encrypted to', async () => {
    const root = await makeTeam(ca);
    const signing = await team({ usage: 'digitalSignature' });
    const encrypting = await team({ usage: 'keyAgreement' });
    const pem = keyPem(encrypting) + signing.certPem + keyPem(signing) + encrypting.certPem;
    await root.json('key', 'import', 'team', root.file('both.pem', pem));
    expect(await table(root)).toEqual([
      ['.enc', 'active', 'encrypt'],
      ['.retired-DAY', 'retired', ''],
      ['.sign', 'active', 'sign'],
    ]);
  });

  it('the same once more changes nothing and is announced once', async () => {
    const root = await makeTeam(ca);
    const one = await team();
    const file = root.file('t.pem', keyPem(one) + one.certPem);
    expect(await root.json('key', 'import', 'team', file)).toMatchObject({ told: 1 });
    const before = files(root);
    const again = await root.run('key', 'import', 'team', file);
    expect(again.stdout).toMatch(/is in use already: nothing was changed/);
    expect(again.stdout).not.toMatch(/now has/);
    expect(files(root)).toEqual(before);
    const lines = (await root.run('log', '--json')).stdout
      .split('\n')
      .filter((line) => line.includes('imported by'));
    expect(lines).toHaveLength(1);
    expect(await root.json('key', 'import', 'team', file)).toMatchObject({ told: 0, retired: [] });
  });

  it.each<[string, () => Promise<string>, RegExp]>([
    [
      'a key and somebody else\u2019s certificate',
      async () => keyPem(await team()) + (await team()).certPem,
      /key and certificate do not belong together: the private key \(ec\) is of none of these certificates: CN=Team/,
    ],
    ['a key alone', async () => keyPem(await team()), /private key and no certificate: .*--cert FILE/],
    [
      'one that does not name the list',
      async () => {
        const other = await team({ address: 'other@lists.example' });
        return keyPem(other) + other.certPem;
      },
      /does not name team@lists\.example, but other@lists\.example/,
    ],
    [
      'one that is over',
      async () => {
        const old = await team({ notBefore: new Date(0), notAfter: new Date(86_400_000) });
        return keyPem(old) + old.certPem;
      },
      /it expired on 1970-01-02/,
    ],
    [
      'one that is weak',
      async () => {
        const weak = await team({ key: 'rsa1024' });
        return keyPem(weak) + weak.certPem;
      },
      /its RSA key has only 1024 bits/,
    ],
  ])('refuses %s, with the reason', async (_, make, reason) => {
    const root = await makeTeam(ca);
    const before = files(root);
    const result = await root.run('key', 'import', 'team', root.file('t.pem', await make()));
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(reason);
    expect(files(root)).toEqual(before);
  });

  it('refuses a file of 2 GB and a device without end', async () => {
    const root = await makeTeam(ca);
    const path = root.file('large', '');
    truncateSync(path, 2 ** 31);
    for (const file of [path, '/dev/zero']) {
      const result = await root.run('key', 'import', 'team', file);
      expect(result).toMatchObject({ code: 1, stdout: '' });
      expect(result.stderr).toMatch(/it has more than 4 MB/);
    }
  });

  it('takes an old pair to open old mail with', async () => {
    const root = await makeTeam(ca);
    const before = shaIn(root);
    const old = await team({
      notBefore: new Date(0),
      notAfter: new Date(86_400_000),
      address: 'x@y.example',
    });
    const file = root.file('t.pem', keyPem(old) + old.certPem);
    expect(await root.json('key', 'import', 'team', file, '--retired')).toMatchObject({ told: 0 });
    expect(await table(root)).toEqual([
      ['', 'active', 'sign,encrypt'],
      ['.retired-DAY', 'retired', ''],
    ]);
    expect(shaIn(root)).toBe(before);
  });

  it('says that the passphrase is wrong, and shows none', async () => {
    const root = await makeTeam(ca);
    const words = secretFile(root, 'battery staple');
    const file = await pkcs12(root, await team());
    const result = await root.run('key', 'import', 'team', file, '--passphrase-file', words);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(/the passphrase is wrong/);
    expect(result.stderr).not.toMatch(/battery|horse/);
  });
});

describe('key rotate', () => {
  it('puts a new pair in place, keeps the old one, and tells owners and members once, signed by the old key', async () => {
    const root = await makeTeam(ca);
    await root.json('member', 'add', 'team', 'bob@example.org');
    const old = readFileSync(join(folderOf(root), 'cert.pem'), 'latin1');
    const done = (await root.json('key', 'rotate', 'team', ...quick)) as { told: number; retired: string[] };
    expect(done).toMatchObject({ told: 2, retired: [expect.stringMatching(/^cert\.pem\.retired-\d{8}$/)] });
    expect(await table(root)).toEqual([
      ['', 'active', 'sign,encrypt'],
      ['.retired-DAY', 'retired', ''],
    ]);
    expect(shaIn(root, done.retired[0])).toBe(shaOf(old));
    const mails = written(root);
    expect(mails.map((mail) => mail.to)).toEqual(['bob@example.org', 'olga@example.org']);
    for (const { bytes } of mails) {
      expect(await signedBy(root, bytes, old)).toBe(true);
      const text = bytes.toString('latin1').replace(/=\r\n/g, '').replace(/\s+/g, '');
      expect(text).toContain(shaIn(root));
      expect(text).toContain('team.p7c');
    }
    await root.json('housekeeping');
    expect(written(root)).toHaveLength(2);
    // A second rotation on the same day keeps all three.
    await root.json('key', 'rotate', 'team', ...quick, '--no-announce');
    expect((await table(root)).map(([suffix]) => suffix)).toEqual(['', '.retired-DAY', '.retired-DAY-2']);
    expect(written(root)).toHaveLength(2);
  });

  it('asks before an authority’s certificate gives way to a self-signed one, and tells of a key that waits', async () => {
    const root = await makeTeam(ca);
    const { certPem, keyPath } = await ca.issue({ name: 'Team', address: list });
    const file = root.file('both.pem', `${certPem}\n${readFileSync(keyPath, 'latin1')}`);
    const taken = await root.run('key', 'import', 'team', file);
    expect(taken.stdout).toContain('\n1 person gets a signed mail about it.\n');
    const before = shaIn(root);
    const stopped = await root.run('key', 'rotate', 'team', '--key', 'rsa-2048');
    expect(stopped).toMatchObject({ code: 1, stdout: '' });
    expect(stopped.stderr).toMatch(/would be self-signed.*--csr.*nothing was changed; give --yes/s);
    expect(shaIn(root)).toBe(before);
    await root.json('key', 'rotate', 'team', ...quick, '--csr');
    const told = await root.run('key', 'list', 'team');
    expect(told.stdout).toContain('A new key waits for its certificate: `reseal key csr team@lists.example`');
    await root.json('key', 'rotate', 'team', ...quick, '--yes');
    expect(shaIn(root)).not.toBe(before);
  });

  it('of a key in wrong hands: the new one signs', async () => {
    const root = await makeTeam(ca);
    const old = readFileSync(join(folderOf(root), 'cert.pem'), 'latin1');
    await root.json('key', 'rotate', 'team', ...quick, '--compromised');
    const [mail] = written(root);
    expect(await signedBy(root, mail?.bytes ?? Buffer.alloc(0), old)).toBe(false);
    expect(
      await signedBy(
        root,
        mail?.bytes ?? Buffer.alloc(0),
        readFileSync(join(folderOf(root), 'cert.pem'), 'latin1'),
      ),
    ).toBe(true);
    expect(mail?.bytes.toString().replace(/\s+/g, ' ')).toContain('do not trust what is signed with it');
  });

  it('by request: the old pair goes on until the certificate comes', async () => {
    const root = await makeTeam(ca);
    const before = shaIn(root);
    const { request } = (await root.json('key', 'rotate', 'team', ...quick, '--csr')) as { request: string };
    expect((await root.run('key', 'csr', 'team')).stdout).toContain('BEGIN CERTIFICATE REQUEST');
    expect(await table(root)).toEqual([['', 'active', 'sign,encrypt']]);
    expect((await listed(root)).problems).toEqual([]);
    const key = await loadPrivateKey(join(folderOf(root), 'requested/private_key'), null);
    const csr = root.file('r.csr', request);
    const { stdout } = await mustRun('openssl', ['req', '-in', csr, '-noout', '-pubkey']);
    const one = await team({ keyFrom: { key } as Identity });
    expect(stdout.toString().trim()).toBe(
      String(new X509Certificate(one.certPem).publicKey.export({ type: 'spki', format: 'pem' })).trim(),
    );
    expect(await root.json('key', 'import', 'team', root.file('n.pem', one.certPem))).toMatchObject({
      told: 1,
    });
    const { keys, problems } = await listed(root);
    expect(problems).toEqual([]);
    expect(keys).toMatchObject([
      { sha256: shaOf(one.certPem), state: 'active' },
      { sha256: before, state: 'retired' },
    ]);
    expect(existsSync(join(folderOf(root), 'requested'))).toBe(false);
  });

  it('from one pair to one for each use, and back', async () => {
    const root = await makeTeam(ca);
    await root.json('key', 'rotate', 'team', ...quick, '--separate');
    expect(await table(root)).toEqual([
      ['.enc', 'active', 'encrypt'],
      ['.retired-DAY', 'retired', ''],
      ['.sign', 'active', 'sign'],
    ]);
    await root.json('key', 'rotate', 'team', ...quick);
    expect(await table(root)).toEqual([
      ['', 'active', 'sign,encrypt'],
      ['.enc.retired-DAY', 'retired', ''],
      ['.retired-DAY', 'retired', ''],
      ['.sign.retired-DAY', 'retired', ''],
    ]);
  });
});

describe('key retire and remove', () => {
  it('asks before the pair in use is retired', async () => {
    const root = await makeTeam(ca);
    const refused = await root.run('key', 'retire', 'team', 'cert.pem');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/nobody can encrypt to the list and the list signs nothing.*--yes/);
    await root.json('key', 'retire', 'team', 'cert.pem', '--yes');
    expect(await table(root)).toEqual([['.retired-DAY', 'retired', '']]);
  });

  it('removes no pair in use, nor one that is not there', async () => {
    const root = await makeTeam(ca);
    expect((await root.run('key', 'remove', 'team', 'cert.pem', '--yes')).stderr).toMatch(
      /is in use: .*rotate/,
    );
    expect((await root.run('key', 'remove', 'team', 'abcd1234', '--yes')).stderr).toMatch(
      /give one of cert\.pem,/,
    );
    expect(files(root)).toEqual(['cert.pem', 'private_key']);
  });

  const withPost = (root: Root, posting: object, state: object = {}) =>
    onDatabase(root, async (q) => {
      const row = await findList(q, list);
      await insertMessages(q, [
        { message: message('p1'), postings: [{ listId: row?.id ?? 0, kind: 'post' }] },
      ]);
      await q.updateTable('postings').set(posting).where('messageId', '=', 'p1').execute();
      await q
        .updateTable('messages')
        .set({ state: 'done', ...state })
        .where('id', '=', 'p1')
        .execute();
    });

  it.each<[string, (sha256: string) => [object, object?], RegExp | null]>([
    [
      'a held post',
      (listKey) => [{ state: 'held', verdict: JSON.stringify({ listKey }) }],
      /p1 waits for a moderator/,
    ],
    [
      'an inner layer of a post on its way',
      (keySha256) => [
        { state: 'distributing', verdict: JSON.stringify({ listKey: 'x', layers: [{ keySha256 }] }) },
      ],
      /p1 has copies that are not delivered yet/,
    ],
    ['a post that nobody looked at', () => [{ state: 'new' }, { state: 'queued' }], /p1 is not opened yet/],
    [
      'a locked one',
      () => [{ state: 'new' }, { state: 'unopened', reason: 'key-locked' }],
      /p1 is not opened yet \(key-locked\)/,
    ],
    ['one for other keys', () => [{ state: 'new' }, { state: 'unopened', reason: 'no-recipient' }], null],
    ['one that is over', (listKey) => [{ state: 'done', verdict: JSON.stringify({ listKey }) }], null],
    ['one of the other key', () => [{ state: 'held', verdict: JSON.stringify({ listKey: 'x' }) }], null],
  ])('%s', async (_, post, refusal) => {
    const root = await makeTeam(ca);
    const sha256 = shaIn(root);
    await root.json('key', 'rotate', 'team', ...quick, '--no-announce');
    await withPost(root, ...post(sha256));
    const before = files(root);
    const result = await root.run('key', 'remove', 'team', sha256.slice(0, 8), '--yes');
    expect(result.code).toBe(refusal ? 1 : 0);
    if (refusal) {
      expect(result.stderr).toMatch(refusal);
      expect(result.stderr).toMatch(/reseal queue list/);
      expect(files(root)).toEqual(before);
    } else expect(files(root)).toEqual(['cert.pem', 'private_key']);
  });

  it('asks, and leaves a line in the ledger', async () => {
    const root = await makeTeam(ca);
    const sha256 = shaIn(root);
    await root.json('key', 'rotate', 'team', ...quick, '--no-announce');
    const asked = await root.run('key', 'remove', 'team', sha256.slice(0, 8));
    expect(asked.stderr).toMatch(/can never be opened again without a copy of its key: nothing was changed/);
    await root.json('key', 'remove', 'team', sha256.slice(0, 8), '--yes');
    expect((await root.run('log', '--list', 'team')).stdout).toMatch(/key pair [0-9a-f]{8} removed/);
  });
});

describe('key export', () => {
  it('encrypts the key, writes for its owner only, and overwrites nothing', async () => {
    const root = await makeTeam(ca);
    const words = secretFile(root, 'correct horse');
    const path = join(root.path, 'out.pem');
    await root.json('key', 'export', 'team', path, '--passphrase-file', words);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const pem = readFileSync(path, 'latin1');
    expect(pem).toContain('BEGIN ENCRYPTED PRIVATE KEY');
    expect(pem).not.toContain('BEGIN PRIVATE KEY');
    const { stdout } = await mustRun('openssl', ['asn1parse', '-in', path]);
    // 600,000 rounds.
    expect(stdout.toString()).toMatch(/INTEGER +:0927C0/);
    expect(shaOf(Buffer.from(pem.slice(pem.indexOf('-----BEGIN CERT'))))).toBe(shaIn(root));
    const p12 = await runProgram('openssl', [
      ...['pkcs12', '-export', '-in', path, '-passin', 'pass:correct horse', '-passout', 'pass:x'],
    ]);
    expect(p12.code).toBe(0);
    const again = await root.run('key', 'export', 'team', path, '--passphrase-file', words);
    expect(again).toMatchObject({ code: 1 });
    expect(again.stderr).toMatch(/is there already, and is not overwritten/);
    // What was exported comes back.
    await root.json('key', 'rotate', 'team', ...quick, '--no-announce');
    await root.json('key', 'import', 'team', path, '--passphrase-file', words, '--no-announce');
    expect(shaIn(root)).toBe(shaOf(Buffer.from(pem.slice(pem.indexOf('-----BEGIN CERT')))));
    expect((await table(root)).filter(([, state]) => state === 'active')).toHaveLength(1);
  });

  it('gives the certificate, in PEM or DER', async () => {
    const root = await makeTeam(ca);
    const pem = readFileSync(join(folderOf(root), 'cert.pem'), 'latin1');
    expect((await root.run('key', 'export-cert', 'team')).stdout).toBe(pem);
    const path = join(root.path, 'out.der');
    await root.json('key', 'export-cert', 'team', path, '--der');
    expect(readFileSync(path)).toEqual(pemBlocks(Buffer.from(pem))[0]?.der);
    expect(await root.run('key', 'export-cert', 'team', '--der')).toMatchObject({ code: 2 });
  });
});

describe.skipIf(!needs('script', hasProgram('script')))('on a terminal', () => {
  /** Runs a command on a terminal and types what is asked for. */
  async function typed(
    root: Root,
    args: string,
    answers: readonly (readonly [asked: string, typed: string])[],
  ) {
    const command = `node bin/reseal.mjs --root ${root.path} ${args}`;
    const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const left = [...answers];
    let seen = '';
    let from = 0;
    child.stdout.on('data', (piece: Buffer) => {
      seen += piece;
      const [next] = left;
      const at = next ? seen.indexOf(next[0], from) : -1;
      if (!next || at < 0) return;
      from = at + next[0].length;
      left.shift();
      child.stdin.write(`${next[1]}\r`);
    });
    const [code] = (await once(child, 'close')) as [number];
    return { code, seen };
  }

  it('asks whether to go on, and for the passphrase of what is imported and exported, unseen', async () => {
    const root = await makeTeam(ca);
    const no = await typed(root, 'key rotate team --key p-256', [['Go on? [y/N]', 'n']]);
    expect(no).toMatchObject({ code: 1, seen: expect.stringContaining('Stopped: nothing was changed') });
    const yes = await typed(root, 'key rotate team --key p-256', [['Go on? [y/N]', 'y']]);
    expect(yes).toMatchObject({ code: 0, seen: expect.stringContaining('has a new key pair') });
    const out = join(root.path, 'out.pem');
    const asked = [
      ['Passphrase for', 'tulip bulb'],
      ['The same again', 'tulip bulb'],
    ] as const;
    const exported = await typed(root, `key export team ${out}`, asked);
    expect(exported).toMatchObject({ code: 0 });
    const sha256 = shaIn(root);
    await root.json('key', 'rotate', 'team', ...quick, '--no-announce');
    const back = await typed(root, `key import team ${out} --no-announce`, [['Passphrase of', 'tulip bulb']]);
    expect(back).toMatchObject({ code: 0 });
    expect(shaIn(root)).toBe(sha256);
    expect(exported.seen + back.seen).not.toContain('tulip');
    const slip = await typed(root, `key export team ${out}.2`, [asked[0], ['The same again', 'tulip bulk']]);
    expect(slip).toMatchObject({ code: 2, seen: expect.stringContaining('the two are not the same') });
    expect(existsSync(`${out}.2`)).toBe(false);
  });
});
