import { spawn } from 'node:child_process';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { cmsEntity, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import { tempFolder } from '../kit/tmp.ts';
import { encrypted, from, makePeople, opaque, type People, plain, signed } from '../smime/messages.ts';
import { makeRoot, type Root } from './kit.ts';

// Real files through the command line, in a folder without etc/reseal.yaml: inspect needs no site.

const day = 86_400_000;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
/** `2026-01-05T12:00:00Z` from what node prints of a certificate. */
const iso = (text: string) => new Date(text).toISOString().replace('.000Z', 'Z');

interface Value {
  readonly verdict: string;
  readonly author: string | null;
  readonly reasons: readonly string[];
  readonly layers: readonly Record<string, unknown>[];
  readonly certificates: readonly Record<string, unknown>[];
  readonly content_sha256: string | null;
  readonly [field: string]: unknown;
}

let root: Root;
let people: People;
let stranger: Identity;
let strangerCa: TestCa;
/** The arguments that everybody needs, and the list's key pair. */
let trust: readonly string[];
let key: readonly string[];

beforeAll(async () => {
  root = makeRoot();
  people = await makePeople();
  strangerCa = await makeCa('Unknown Authority');
  stranger = await strangerCa.issue({ name: 'Zoe', address: 'zoe@example.org' });
  trust = ['--ca', people.ca.certPath];
  key = ['--key', people.list.keyPath, '--cert', people.list.certPath];
});

let count = 0;
const fileOf = (message: Uint8Array): string => root.file(`message-${++count}.eml`, message);
/** Names of all fields, at any depth. */
const keysIn = (value: unknown): Set<string> =>
  new Set(
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([name, inner]) => [
          ...(Array.isArray(value) ? [] : [name]),
          ...keysIn(inner),
        ])
      : [],
  );
const fromAlice = (entity: Buffer) => mailOf(from('alice@example.org'), entity);

async function inspect(message: Uint8Array, ...args: readonly string[]) {
  const result = await root.run('inspect', fileOf(message), ...args, '--json');
  return { ...result, value: JSON.parse(result.stdout) as Value };
}

describe('the verdicts', () => {
  interface Case {
    readonly name: string;
    readonly make: () => Promise<Buffer> | Buffer;
    /** Besides --ca and the list's key. */
    readonly args?: () => readonly string[];
    readonly bare?: true;
    readonly is: Record<string, unknown>;
    /** `encrypted signed`: the layers from outside in. */
    readonly layers: string;
    readonly code: 0 | 1;
  }
  const alice = () => people.alice;
  const cases: readonly Case[] = [
    {
      name: 'signed',
      make: async () => fromAlice(await signed(alice(), plain)),
      is: { verdict: 'signed', author: 'alice@example.org', reasons: [], encrypted: false, subject: 'outer' },
      layers: 'signed',
      code: 0,
    },
    {
      name: 'signed, opaque',
      make: async () => fromAlice(await opaque(alice(), plain)),
      is: { verdict: 'signed', author: 'alice@example.org' },
      layers: 'signed',
      code: 0,
    },
    {
      name: 'signed inside the encryption',
      make: async () => fromAlice(await encrypted(people.list, await signed(alice(), plain))),
      is: { verdict: 'signed', author: 'alice@example.org', encrypted: true },
      layers: 'encrypted signed',
      code: 0,
    },
    {
      name: 'triple wrap',
      make: async () =>
        fromAlice(
          await signed(
            people.mallory,
            await encrypted(people.list, await signed(alice(), plain), { cipher: 'aes-256-gcm' }),
          ),
        ),
      is: { verdict: 'signed', author: 'alice@example.org', encrypted: true },
      layers: 'signed encrypted signed',
      code: 0,
    },
    {
      name: 'plain',
      make: () => fromAlice(plain),
      is: { verdict: 'unsigned', author: null, reasons: [], certificates: [], protected: null },
      layers: '',
      code: 0,
    },
    {
      name: 'encrypted only',
      make: async () => fromAlice(await encrypted(people.list, plain)),
      is: { verdict: 'unsigned', reasons: [], content_sha256: sha256(plain) },
      layers: 'encrypted',
      code: 0,
    },
    {
      name: 'signed outside the encryption',
      make: async () => fromAlice(await signed(alice(), await encrypted(people.list, plain))),
      is: { verdict: 'unsigned', reasons: ['outer-only'] },
      layers: 'signed encrypted',
      code: 0,
    },
    {
      name: 'changed on its way',
      make: async () => {
        const text = fromAlice(await signed(alice(), plain)).toString('latin1');
        return Buffer.from(text.replace('friends', 'fiends!'), 'latin1');
      },
      is: { verdict: 'invalid', author: null, reasons: ['bad-digest'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'signed by somebody else',
      make: async () => fromAlice(await signed(people.mallory, plain)),
      is: { verdict: 'mismatch', reasons: ['no-address-match'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'signed by the Sender',
      make: async () =>
        mailOf(
          from('alice@example.org', [['Sender', 'mallory@evil.example']]),
          await signed(people.mallory, plain),
        ),
      is: { verdict: 'mismatch', reasons: ['signed-by-sender'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'two From fields',
      make: async () =>
        mailOf(from('alice@example.org', [['From', 'bob@example.org']]), await signed(alice(), plain)),
      is: { verdict: 'mismatch', reasons: ['two-from'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'an unknown authority',
      make: async () => mailOf(from('zoe@example.org'), await signed(stranger, plain)),
      is: { verdict: 'untrusted', reasons: ['no-path'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'no authority given',
      make: async () => fromAlice(await signed(alice(), plain)),
      bare: true,
      is: { verdict: 'untrusted', reasons: ['no-path'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'a weak digest',
      make: async () => fromAlice(await signed(alice(), plain, { digest: 'sha1' })),
      is: { verdict: 'untrusted', reasons: ['weak', 'weak-digest'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'a weak digest, allowed',
      make: async () => fromAlice(await signed(alice(), plain, { digest: 'sha1' })),
      args: () => ['--allow-weak'],
      is: { verdict: 'signed', reasons: [] },
      layers: 'signed',
      code: 0,
    },
    {
      name: 'a revoked certificate',
      make: async () => fromAlice(await signed(alice(), plain)),
      args: () => ['--crl', root.file('revoked.crl', people.ca.crl({ revoked: [alice()] }))],
      is: { verdict: 'untrusted', reasons: ['revoked'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'a current list without it',
      make: async () => fromAlice(await signed(alice(), plain)),
      args: () => ['--crl', root.file('good.crl', people.ca.crl({ revoked: [people.mallory] }))],
      is: { verdict: 'signed', reasons: [] },
      layers: 'signed',
      code: 0,
    },
    {
      name: 'lists, but none of its authority',
      make: async () => fromAlice(await signed(alice(), plain)),
      args: () => ['--crl', root.file('other.crl', strangerCa.crl())],
      is: { verdict: 'untrusted', reasons: ['crl-missing'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'in two years',
      make: async () => fromAlice(await signed(alice(), plain)),
      args: () => ['--at', iso(new Date(Date.now() + 700 * day).toISOString())],
      is: { verdict: 'untrusted', reasons: ['expired'] },
      layers: 'signed',
      code: 1,
    },
    {
      name: 'no key',
      make: async () => fromAlice(await encrypted(people.list, await signed(alice(), plain))),
      bare: true,
      args: () => trust,
      is: { verdict: 'unopened', reasons: ['no-recipient'], encrypted: true, content_sha256: null },
      layers: 'encrypted',
      code: 1,
    },
    {
      name: 'damaged ciphertext',
      make: async () => {
        const text = fromAlice(await encrypted(people.list, plain, { cipher: 'aes-256-gcm' }))
          .toString('latin1')
          .trimEnd();
        const at = text.length - 60;
        return Buffer.from(
          `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}\r\n`,
          'latin1',
        );
      },
      is: { verdict: 'unopened', reasons: ['decrypt-failed'] },
      layers: 'encrypted',
      code: 1,
    },
    {
      name: 'broken structure',
      make: () => fromAlice(cmsEntity(Buffer.from('308006092a864886f70d010702', 'hex'), 'signed-data')),
      is: { verdict: 'malformed', reasons: ['malformed'] },
      layers: '',
      code: 1,
    },
    {
      name: 'a header beyond the limit',
      make: () => Buffer.concat([Buffer.from('X: y\r\n'.repeat(1001)), fromAlice(plain)]),
      is: { verdict: 'malformed', reasons: ['budget'] },
      layers: '',
      code: 1,
    },
  ];

  it.each(cases)('$name', async ({ make, args, bare, is, layers, code }) => {
    const result = await inspect(await make(), ...(bare ? [] : [...trust, ...key]), ...(args?.() ?? []));
    expect(result.value).toMatchObject({ schema: 1, ...is });
    expect(result.value.layers.map((layer) => layer.kind).join(' ')).toBe(layers);
    expect(result).toMatchObject({ code, stderr: '' });
  });
});

describe('the value', () => {
  it('is stable: a message signed inside the encryption, whole', async () => {
    const entity = await signed(people.alice, plain);
    const { value } = await inspect(
      fromAlice(await encrypted(people.list, entity, { oaep: 'sha256' })),
      ...trust,
      ...key,
    );
    const own = new X509Certificate(people.alice.certPem);
    const [, layer] = value.layers as unknown as { signers: { signing_time: string }[] }[];
    const time = layer?.signers[0]?.signing_time ?? '';
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(day);
    expect(value).toEqual({
      schema: 1,
      verdict: 'signed',
      author: 'alice@example.org',
      from: ['alice@example.org'],
      subject: 'outer',
      encrypted: true,
      content_sha256: sha256(plain),
      certificates: [
        {
          subject: 'CN=Alice',
          issuer: 'CN=Test Root',
          serial: own.serialNumber.toLowerCase(),
          sha256: sha256(people.alice.certDer),
          addresses: ['alice@example.org'],
          not_before: iso(own.validFrom),
          not_after: iso(own.validTo),
          key: 'rsa-2048',
          usage: ['digitalSignature', 'keyEncipherment'],
        },
      ],
      layers: [
        {
          kind: 'encrypted',
          form: 'enveloped',
          cipher: 'aes-256-cbc',
          key_transport: 'rsa-oaep',
          key_agreement: null,
          kdf: 'sha256',
          recipients: 1,
          opened: true,
          reason: null,
        },
        {
          kind: 'signed',
          form: 'detached',
          signers: [
            {
              subject: 'CN=Alice',
              addresses: ['alice@example.org'],
              digest: 'sha256',
              algorithm: 'rsa-sha256',
              intact: true,
              trusted: true,
              signing_time: time,
              reasons: [],
            },
          ],
        },
      ],
      reasons: [],
      protected: null,
    });
    const manual = readFileSync(new URL('../../docs/inspect.md', import.meta.url), 'utf8');
    expect([...keysIn(value)].filter((name) => !manual.includes(`\`${name}\``))).toEqual([]);
  });

  it('names key agreement and derivation', async () => {
    const list = await people.ca.issue({ name: 'EC', address: 'ec@lists.example', key: 'p256' });
    const message = fromAlice(await encrypted(list, plain, { kdf: 'sha384', cipher: 'aes-128-gcm' }));
    const { value } = await inspect(message, '--key', list.keyPath, '--cert', list.certPath);
    expect(value.layers).toMatchObject([
      {
        form: 'auth-enveloped',
        cipher: 'aes-128-gcm',
        key_transport: null,
        key_agreement: 'ecdh',
        kdf: 'x963-sha384',
      },
    ]);
  });

  it('shows protected header fields', async () => {
    const entity = textEntity('x\n', 'text/plain; hp="cipher"');
    const inside = Buffer.concat([
      Buffer.from('From: alice@example.org\r\nSubject: the real one\r\nTo: team@lists.example\r\n'),
      entity,
    ]);
    const { value } = await inspect(
      fromAlice(await encrypted(people.list, await signed(people.alice, inside))),
      ...trust,
      ...key,
    );
    expect(value).toMatchObject({
      verdict: 'signed',
      subject: 'the real one',
      protected: {
        form: 'cipher',
        from: 'alice@example.org',
        subject: 'the real one',
        to: ['team@lists.example'],
      },
    });
  });

  it('of plain mail: the digest is over Content-* and MIME-Version, a blank line and the body', async () => {
    const { value } = await inspect(fromAlice(plain));
    expect(value.content_sha256).toBe(sha256(Buffer.concat([Buffer.from('MIME-Version: 1.0\r\n'), plain])));
  });

  it('is the same where --json stands first', async () => {
    const file = fileOf(fromAlice(plain));
    const after = await root.run('inspect', file, '--json');
    expect(await root.run('--json', 'inspect', file)).toEqual(after);
  });
});

describe('what is given', () => {
  it('Unix line ends and a mailbox line', async () => {
    const message = fromAlice(await signed(people.alice, plain))
      .toString('latin1')
      .replaceAll('\r\n', '\n');
    const file = Buffer.from(`From alice@example.org Mon Jan  5 12:00:00 2026\n${message}`, 'latin1');
    const { value } = await inspect(file, ...trust);
    expect(value).toMatchObject({ verdict: 'signed', content_sha256: sha256(plain) });
  });

  it('signer and intermediate authority from a folder of certificates', async () => {
    const middle = await people.ca.intermediate({ name: 'Middle' });
    const carol = await middle.issue({ name: 'Carol', address: 'carol@example.org' });
    const message = mailOf(from('carol@example.org'), await signed(carol, plain, { noCertificates: true }));
    expect((await inspect(message, ...trust)).value).toMatchObject({
      verdict: 'untrusted',
      reasons: ['signer-unknown'],
    });
    const folder = tempFolder();
    writeFileSync(join(folder, 'carol@example.org'), carol.certPem);
    writeFileSync(join(folder, 'middle.der'), middle.certDer);
    const known = await inspect(message, ...trust, '--certs', folder);
    expect(known).toMatchObject({ code: 0, stderr: '', value: { verdict: 'signed', certificates: [] } });
    writeFileSync(join(folder, 'notes.txt'), 'nothing');
    const noted = await inspect(message, ...trust, '--certs', folder);
    expect(noted.value.verdict).toBe('signed');
    expect(noted.stderr).toMatch(/^reseal: 1 of the files in .* hold no certificate/);
  });

  it('a self-signed certificate as its own authority', async () => {
    const self = await makeSelfSigned({ name: 'Sel', address: 'sel@example.org' });
    const message = mailOf(from('sel@example.org'), await signed(self, plain));
    expect((await inspect(message, ...trust)).value.verdict).toBe('untrusted');
    expect((await inspect(message, ...trust, '--ca', self.certPath)).value.verdict).toBe('signed');
    // Also where the message does not bring it.
    const short = mailOf(from('sel@example.org'), await signed(self, plain, { noCertificates: true }));
    expect((await inspect(short, '--ca', self.certPath)).value.verdict).toBe('signed');
  });

  it('authorities in DER and in a bundle', async () => {
    const message = fromAlice(await signed(people.alice, plain));
    const der = root.file('ca.der', people.ca.certDer);
    expect((await inspect(message, '--ca', der)).value.verdict).toBe('signed');
    const bundle = root.file('bundle.pem', `${strangerCa.certPem}\nand\n${people.ca.certPem}`);
    expect((await inspect(message, '--ca', bundle)).value.verdict).toBe('signed');
  });

  it('several pairs, a file that holds both, PKCS#8 in DER', async () => {
    const message = fromAlice(await encrypted(people.list, plain));
    const both = root.file(
      'both.pem',
      `${people.alice.certPem}${readFileSync(people.alice.keyPath, 'utf8')}`,
    );
    const der = root.file('list.key', people.list.key.export({ type: 'pkcs8', format: 'der' }));
    const args = ['--key', both, '--cert', both, '--key', der, '--cert', people.list.certPath];
    expect((await inspect(message, ...args)).value).toMatchObject({
      verdict: 'unsigned',
      layers: [{ opened: true }],
    });
  });

  it('an encrypted key with its passphrase in a file', async () => {
    const message = fromAlice(await encrypted(people.list, plain));
    const pem = people.list.key.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'tulip',
    });
    const args = ['--key', root.file('locked.pem', pem), '--cert', people.list.certPath];
    const secret = root.file('passphrase', 'tulip\n');
    const open = await root.run('inspect', fileOf(message), ...args, '--passphrase-file', secret);
    // The mode of the file is what it is: others may read it.
    expect(open).toMatchObject({ code: 2, stderr: expect.stringContaining('chmod 600') });
    chmodSync(secret, 0o600);
    expect((await inspect(message, ...args, '--passphrase-file', secret)).value.layers).toMatchObject([
      { opened: true },
    ]);
    writeFileSync(secret, 'rose\n');
    const wrong = await root.run('inspect', fileOf(message), ...args, '--passphrase-file', secret);
    expect(wrong).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('the passphrase is wrong'),
    });
    expect(wrong.stderr).not.toContain('rose');
    expect(createPrivateKey({ key: pem, passphrase: 'tulip' }).type).toBe('private');
  });
});

describe('the built program', () => {
  it('reads standard input, in a folder without a configuration', async () => {
    const message = fromAlice(await signed(people.alice, plain));
    const result = await root.pipe(message, 'inspect', '-', ...trust, '--json');
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(result.stdout)).toMatchObject({ verdict: 'signed', author: 'alice@example.org' });
  });

  it('without a terminal says how to give a passphrase', async () => {
    const pem = people.list.key.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'tulip',
    });
    const args = ['--key', root.file('locked2.pem', pem), '--cert', people.list.certPath];
    const result = await root.pipe('', 'inspect', '-', ...args);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(/needs a passphrase.*--passphrase-file FILE/);
  });

  it.skipIf(!needs('script', hasProgram('script')))(
    'asks for a passphrase on the terminal, unseen',
    async () => {
      const message = fileOf(fromAlice(await encrypted(people.list, plain)));
      const pem = people.list.key.export({
        type: 'pkcs8',
        format: 'pem',
        cipher: 'aes-256-cbc',
        passphrase: 'tulip',
      });
      const locked = root.file('locked3.pem', pem);
      const command = `node bin/reseal.mjs inspect - --key ${locked} --cert ${people.list.certPath} --json < ${message}`;
      const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
      let seen = '';
      child.stdout.on('data', (piece: Buffer) => {
        const asked = seen.includes('Passphrase of');
        seen += piece;
        // With a slip, taken back.
        if (!asked && seen.includes('Passphrase of')) child.stdin.write('tulix\u007fp\r');
      });
      const [code] = (await once(child, 'close')) as [number];
      expect(code).toBe(0);
      expect(seen).toMatch(/^Passphrase of .*locked3\.pem: \r\n\{/);
      expect(seen).toContain('"opened": true');
      expect(seen).not.toContain('tul');
    },
  );

  it('ends quietly when nobody reads on', async () => {
    const file = fileOf(fromAlice(await signed(people.alice, plain)));
    const child = spawn('sh', ['-c', `node bin/reseal.mjs inspect ${file} | head -c 1`]);
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (piece: Buffer) => (said.stdout += piece));
    child.stderr.on('data', (piece: Buffer) => (said.stderr += piece));
    await once(child, 'close');
    expect(said).toEqual({ stdout: 'F', stderr: '' });
  });

  it('opens 50 MB', async () => {
    const line = `${'x'.repeat(74)}\r\n`;
    const big = textEntity(line.repeat(Math.ceil((37 * 1024 * 1024) / line.length)));
    const message = fromAlice(await encrypted(people.list, await signed(people.alice, big)));
    expect(message.length).toBeGreaterThan(50 * 1024 * 1024);
    const result = await root.program('inspect', fileOf(message), ...trust, ...key, '--json');
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(result.stdout)).toMatchObject({ verdict: 'signed', content_sha256: sha256(big) });
  }, 60_000);

  it('refuses more than it reads', async () => {
    const file = root.file('huge.eml', '');
    truncateSync(file, 150 * 1024 * 1024 + 1);
    expect(await root.program('inspect', file)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: `reseal: ${file} is larger than 157286400 octets, which is the most that is read of such a file\n`,
    });
  });
});

describe('for people', () => {
  const words = async (message: Buffer, ...args: readonly string[]) => {
    const result = await root.run('inspect', fileOf(message), ...args);
    return { ...result, text: result.stdout.replace(/\s+/g, ' ') };
  };

  it('whose certificate was revoked, and whose list is missing', async () => {
    const post = fromAlice(await signed(people.alice, plain));
    const revoked = root.file('names-revoked.crl', people.ca.crl({ revoked: [people.alice] }));
    expect((await words(post, '--ca', people.ca.certPath, '--crl', revoked)).text).toMatch(
      /but the certificate of CN=[^ ]+ \(issued by CN=[^()]+\) was revoked/,
    );
    const other = root.file('names-other.crl', strangerCa.crl());
    expect((await words(post, '--ca', people.ca.certPath, '--crl', other)).text).toMatch(
      /no current revocation list of CN=.+ was found for the certificate of CN=/,
    );
  });

  it('nothing about layers of what cannot be read', async () => {
    const { text } = await words(Buffer.alloc(0));
    expect(text).toContain('MALFORMED');
    expect(text).not.toContain('neither encrypted nor signed');
  });

  it('who, what, why, and what would change it', async () => {
    const inside = await signed(stranger, plain, { chain: [strangerCa] });
    const message = mailOf(from('zoe@example.org'), await encrypted(people.list, inside));
    const { code, text } = await words(message, ...trust, ...key);
    expect(code).toBe(1);
    expect(text).toContain('From zoe@example.org Subject outer UNTRUSTED: it is signed, but');
    expect(text).toContain(
      '1. Encrypted (enveloped, aes-256-cbc, key by rsa) for 1 recipient: opened with the key of CN=Team',
    );
    expect(text).toContain(
      'the signature is intact, but its certificate was issued by CN=Unknown Authority, which is not among the authorities given; add it with `--ca FILE`.',
    );
    expect(text).toContain('Revocation was not checked');
    expect(text).toContain('What would change it: - if you trust the authority');
    expect(text).not.toContain('friends');
  });

  it.each<[string, () => Promise<Buffer> | Buffer, readonly string[]]>([
    [
      'signed',
      async () => fromAlice(await signed(people.alice, plain)),
      ['SIGNED: ', 'CN=Alice <alice@example.org>', 'the signature is intact, its certificate trusted.'],
    ],
    [
      'weakly encrypted',
      async () => fromAlice(await encrypted(people.list, plain, { cipher: 'des-ede3-cbc' })),
      ['des-ede3-cbc', 'CN=Team', 'the cipher is weak, and a list does not distribute'],
    ],
    ['plain', () => fromAlice(plain), ['UNSIGNED: ', 'It is neither encrypted nor signed.']],
    [
      'changed',
      async () =>
        Buffer.from(
          fromAlice(await signed(people.alice, plain))
            .toString('latin1')
            .replace('friends', 'FRIENDS'),
          'latin1',
        ),
      ['INVALID: ', 'the signature is NOT right: the message was changed after it was signed', 'a gateway'],
    ],
    [
      'another one signed',
      async () => fromAlice(await signed(people.mallory, plain)),
      ['MISMATCH: ', "the signer's certificate does not name alice@example.org"],
    ],
    [
      'for another key',
      async () => fromAlice(await encrypted(people.alice, plain)),
      ['UNOPENED: ', 'not opened: none of the keys given', 'give the key that it is encrypted to'],
    ],
    ['broken', () => fromAlice(cmsEntity(Buffer.from('3080', 'hex'), 'signed-data')), ['MALFORMED: ']],
  ])('%s', async (_, make, parts) => {
    const { text } = await words(await make(), ...trust, ...key);
    for (const part of parts) expect(text).toContain(part);
  });

  it('what could command a terminal is shown as ?, or escaped', async () => {
    const subject = '\u001b]0;owned\u0007\u009b31m\u202etxt';
    const message = mailOf(
      [
        ['From', 'alice@example.org'],
        ['Subject', 'X'],
      ],
      plain,
    );
    const file = Buffer.from(message.toString('utf8').replace('Subject: X', `Subject: ${subject}`));
    const { stdout } = await words(file);
    expect(stdout).toMatch(/^Subject {5}.*owned.*txt$/m);
    const dangerous = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;
    expect(stdout).not.toMatch(dangerous);
    const { stdout: json } = await root.run('inspect', fileOf(file), '--json');
    expect(json).not.toMatch(dangerous);
    expect(JSON.parse(json)).toMatchObject({ subject: expect.stringMatching(/owned.*\u202etxt/) });
  });
});

describe('bad input', () => {
  it.each<[string, () => readonly string[], RegExp]>([
    ['no file', () => [], /missing required argument/],
    ['an unknown option', () => ['x.eml', '--nope'], /unknown option/],
    ['a missing file', () => ['/nowhere/x.eml'], /\/nowhere\/x\.eml cannot be read: there is no such file/],
    ['a folder', () => [root.path], /cannot be read: it is a folder/],
    ['a missing authority', () => [fileOf(plain), '--ca', '/nowhere/ca.pem'], /ca\.pem cannot be read/],
    [
      'an authority that is none',
      () => [fileOf(plain), '--ca', fileOf(plain)],
      /is no file of certificates: it holds no/,
    ],
    [
      'a list that is none',
      () => [fileOf(plain), '--crl', people.ca.certPath],
      /is no file of revocation lists/,
    ],
    [
      'a key alone',
      () => [fileOf(plain), '--key', people.list.keyPath],
      /1 --key and 0 --cert do not make pairs/,
    ],
    ['a certificate alone', () => [fileOf(plain), '--cert', people.list.certPath], /0 --key and 1 --cert/],
    [
      'a key that does not fit',
      () => [fileOf(plain), '--key', people.alice.keyPath, '--cert', people.list.certPath],
      /does not belong to the certificate in .*\(CN=Team\)/,
    ],
    [
      'a key that is none',
      () => [fileOf(plain), '--key', people.list.certPath, '--cert', people.list.certPath],
      /it holds no private key in PEM/,
    ],
    ['no folder', () => [fileOf(plain), '--certs', people.list.certPath], /cannot be read: it is no folder/],
    [
      'a missing folder',
      () => [fileOf(plain), '--certs', '/nowhere'],
      /\/nowhere cannot be read: there is no such file/,
    ],
    [
      'a wrong day',
      () => [fileOf(plain), '--at', '2026-02-30'],
      /--at cannot be "2026-02-30": expected a day or an instant/,
    ],
    ['no instant', () => [fileOf(plain), '--at', 'yesterday'], /--at cannot be "yesterday"/],
  ])('%s: one sentence, exit code 2', async (_, args, sentence) => {
    const result = await root.run('inspect', ...args());
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(sentence);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  /** With a header field it is a message, if a poor one. */
  const rubbish: readonly (readonly [name: string, make: () => Buffer, outcome?: 'unsigned' | 'budget'])[] = [
    ['nothing', () => Buffer.alloc(0)],
    ['one line end', () => Buffer.from('\n')],
    ['zeros', () => Buffer.alloc(1000)],
    ['0xff', () => Buffer.alloc(1000, 0xff)],
    ['text', () => Buffer.from('hello')],
    ['a mailbox line only', () => Buffer.from('From x\n')],
    ['bare CR', () => Buffer.from('From: a@b.c\rSubject: x\r\rbody'), 'unsigned'],
    ['a certificate', () => people.alice.certDer],
    ['PEM', () => Buffer.from(people.alice.certPem)],
    ['an image', () => Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')],
    ['a script', () => Buffer.from('#!/bin/sh\nexit 0\n')],
    ['JSON', () => Buffer.from('{"schema":1,"verdict":"signed"}'), 'unsigned'],
    ['a header without end', () => Buffer.from('Subject: x'), 'unsigned'],
    ['continuation first', () => Buffer.from(' x\r\n y\r\n')],
    ['colons', () => Buffer.from(':'.repeat(10_000))],
    [
      'a multipart without boundary',
      () => Buffer.from('Content-Type: multipart/signed\r\n\r\nx'),
      'unsigned',
    ],
    [
      'an empty multipart/signed',
      () =>
        Buffer.from(
          'From: a@b.c\r\nContent-Type: multipart/signed; boundary=x; protocol="application/pkcs7-signature"\r\n\r\n--x--\r\n',
        ),
    ],
    ['no CMS', () => Buffer.from('Content-Type: application/pkcs7-mime\r\n\r\nhello')],
    [
      'endless lengths',
      () =>
        Buffer.concat([
          Buffer.from('Content-Type: application/pkcs7-mime\r\n\r\n'),
          Buffer.from('3080'.repeat(5000), 'hex'),
        ]),
      'budget',
    ],
    [
      'a length beyond the end',
      () => fromAlice(cmsEntity(Buffer.from('3084ffffffff06092a864886f70d010703', 'hex'), 'enveloped-data')),
    ],
    ['random octets', () => createHash('sha512').update('seed').digest()],
  ];
  it.each(rubbish.map(([name, make, outcome]) => ({ name, make, outcome })))(
    'rubbish: $name',
    async ({ make, outcome = 'malformed' }) => {
      const { code, stderr, value } = await inspect(make(), ...trust, ...key);
      const isMessage = outcome === 'unsigned';
      expect(value).toMatchObject({
        verdict: isMessage ? 'unsigned' : 'malformed',
        author: null,
        reasons: isMessage ? [] : [outcome],
      });
      expect({ code, stderr }).toEqual({ code: isMessage ? 0 : 1, stderr: '' });
    },
  );

  it('a certificate beside the message that no one can read is no crash', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    const { value } = await inspect(fromAlice(signedEntity(plain, der)), ...trust);
    expect(value).toMatchObject({ verdict: 'invalid', reasons: ['content-beside-detached'] });
  });
});

const corpora = '../shared/corpora';
const has = (name: string) => needs(`the corpus ${name}`, existsSync(join(corpora, name)));

describe.skipIf(!has('thunderbird-smime'))("others' messages: Thunderbird", () => {
  const file = (name: string) => join(corpora, 'thunderbird-smime', name);
  const at = ['--at', '2026-02-01', '--ca', file('TestCA.pem')];
  it.each([
    ['alice.dsig.SHA256.multipart.eml', { verdict: 'signed', author: 'alice@example.com' }, 0],
    ['alice.dsig.SHA512.multipart.eml', { verdict: 'signed' }, 0],
    ['alice.sig.SHA384.opaque.eml', { verdict: 'signed' }, 0],
    ['alice.dsig.SHA256.multipart.bad.eml', { verdict: 'invalid', reasons: ['bad-digest'] }, 1],
    ['alice.sig.SHA1.opaque.eml', { verdict: 'untrusted', reasons: ['weak', 'weak-digest'] }, 1],
    ['alice.env.eml', { verdict: 'unopened', reasons: ['no-recipient'] }, 1],
  ])('%s', async (name, expected, code) => {
    const result = await root.run('inspect', file(name), ...at, '--json');
    expect(JSON.parse(result.stdout)).toMatchObject(expected);
    expect(result.code).toBe(code);
  });
});

describe.skipIf(!has('rfc9788-hp') || !has('rfc9216'))("others' messages: RFC 9788", () => {
  it('a signed message with protected header fields', async () => {
    const message = join(corpora, 'rfc9788-hp/smime-multipart-hp.eml');
    const ca = join(corpora, 'rfc9216/ca.rsa.crt');
    const { stdout } = await root.run('inspect', message, '--ca', ca, '--json');
    const { protected: header, ...value } = JSON.parse(stdout) as Record<string, unknown>;
    expect(value).toMatchObject({ verdict: 'signed', author: 'alice@smime.example' });
    expect(header).toMatchObject({ form: 'clear', from: 'alice@smime.example', to: ['bob@smime.example'] });
  });
});
