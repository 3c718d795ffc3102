import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type DecryptionVerdict,
  mustRun,
  type ProgramResult,
  runProgram,
  type SignatureVerdict,
  saidBy,
  withFiles,
} from './client.ts';
import { pkcs12 } from './openssl.ts';
import type { Identity } from './pki.ts';
import { tempFolder } from './tmp.ts';

/**
 * GnuPG's gpgsm with a home of its own. 2.2.40 reads no AES-GCM, RSA-OAEP or ECDH, and crashes when it is given an
 * EC key. Its agent is a daemon: call `close()`.
 */
export interface Gpgsm {
  addRecipient(recipient: Pick<Identity, 'certPath'>): Promise<void>;
  /** A SignedData; the signer must be one of the client's identities. */
  sign(
    signer: Identity,
    content: Buffer,
    o?: { opaque?: boolean; digest?: 'SHA1' | 'SHA256' | 'SHA384' | 'SHA512' },
  ): Promise<Buffer>;
  verify(der: Buffer, content: Buffer | null, o?: { at?: Date }): Promise<SignatureVerdict>;
  encrypt(
    addresses: readonly string[],
    content: Buffer,
    /** `cipher`: a name such as AES, AES256 (the default), 3DES, or an OID. */
    o?: { cipher?: string },
  ): Promise<Buffer>;
  decrypt(der: Buffer): Promise<DecryptionVerdict>;
  /** Ends the agent. */
  close(): Promise<void>;
}

/** Makes a client that trusts `cas` and has the keys of `identities`; one that gpgsm cannot import throws. */
export async function makeGpgsm(
  cas: readonly Identity[],
  identities: readonly Identity[] = [],
): Promise<Gpgsm> {
  const home = tempFolder();
  const env = { GNUPGHOME: home };
  const configure = (file: string, lines: readonly string[]) =>
    writeFileSync(join(home, file), `${lines.join('\n')}\n`);
  configure('gpgsm.conf', [
    'disable-crl-checks',
    'disable-dirmngr',
    'disable-policy-checks',
    'no-common-certs-import',
  ]);
  configure('gpg-agent.conf', ['allow-loopback-pinentry', 'disable-scdaemon']);
  configure(
    'trustlist.txt',
    cas.map((ca) => `${createHash('sha1').update(ca.certDer).digest('hex').toUpperCase()} S relax`),
  );
  const importFile = (path: string) => mustRun('gpgsm', ['--batch', '--import', path], { env });
  for (const ca of cas) await importFile(ca.certPath);
  const close = async () => void (await runProgram('gpgconf', ['--kill', 'all'], { env }));
  try {
    for (const identity of identities) await importKey(identity, join(home, 'key.p12'), env);
  } catch (problem) {
    await close();
    throw problem;
  }

  const passphrase = [
    '--batch',
    '--yes',
    '--pinentry-mode',
    'loopback',
    '--passphrase-fd',
    '0',
    '--status-fd',
    '1',
  ];
  const run = (args: readonly string[]) =>
    runProgram('gpgsm', [...passphrase, ...args], { input: 'x\n', env });
  const make = (content: Buffer, done: string, args: readonly string[]) =>
    withFiles({ content }, async (paths, out) => {
      const result = await run([...args, '-o', out, paths.content]);
      if (result.code !== 0 || (done !== '' && !hasStatus(result, done)))
        throw new Error(`gpgsm ${args.join(' ')}: ${saidBy(result)}`);
      return readFile(out);
    });

  return {
    addRecipient: async (recipient) => void (await importFile(recipient.certPath)),
    sign: (signer, content, o = {}) => {
      const user = createHash('sha1').update(signer.certDer).digest('hex').toUpperCase();
      const how = ['--digest-algo', o.digest ?? 'SHA256', '-u', user];
      return make(content, 'SIG_CREATED', [...how, ...(o.opaque ? ['--sign'] : ['--sign', '--detach-sign'])]);
    },
    encrypt: (addresses, content, o = {}) => {
      const who = addresses.flatMap((address) => ['-r', `<${address}>`]);
      return make(content, '', ['--cipher-algo', o.cipher ?? 'AES256', ...who, '--encrypt']);
    },
    verify: (der, content, o = {}) =>
      withFiles({ der, content: content ?? '' }, async (paths, out) => {
        const args = [
          '--verify',
          ...(content === null ? ['-o', out, paths.der] : [paths.der, paths.content]),
        ];
        if (o.at !== undefined)
          args.unshift('--faked-system-time', `${o.at.toISOString().slice(0, 19).replace(/[-:]/g, '')}`);
        const result = await run(args);
        const count = (word: string) => result.stdout.toString().split(`[GNUPG:] ${word}`).length - 1;
        // An exit code of 0 without GOODSIG means that gpgsm found nothing to check.
        const bad = count('BADSIG') + count('ERRSIG');
        const good = count('GOODSIG') + count('EXPKEYSIG') + count('EXPSIG');
        const intact = good > 0 && bad === 0;
        const trusted =
          intact && count('GOODSIG') === good && count('TRUST_FULLY') === good && result.code === 0;
        const inside = intact && content === null ? await readFile(out).catch(() => null) : null;
        return { intact, trusted, content: inside, said: saidBy(result) };
      }),
    decrypt: (der) =>
      withFiles({ der }, async (paths, out) => {
        const result = await run(['-o', out, '--decrypt', paths.der]);
        const ok = hasStatus(result, 'DECRYPTION_OKAY');
        return { ok, content: ok ? await readFile(out) : Buffer.alloc(0), said: saidBy(result) };
      }),
    close,
  };
}

const hasStatus = (result: ProgramResult, word: string): boolean =>
  result.stdout
    .toString('latin1')
    .split('\n')
    .some((line) => line.startsWith(`[GNUPG:] ${word}`));

/** gpgsm fails to read a good PKCS#12 file now and then; another export of the same key then does. */
async function importKey(identity: Identity, path: string, env: Record<string, string>): Promise<void> {
  let said = '';
  for (let attempt = 0; attempt < 6; attempt++) {
    await pkcs12(identity, path);
    const args = ['--batch', '--pinentry-mode', 'loopback', '--passphrase-fd', '0', '--import', path];
    const result = await runProgram('gpgsm', args, { input: 'x\n', env });
    said = saidBy(result);
    if (said.includes('secret keys imported: 1')) return;
    if (result.code === -1)
      throw new Error(`gpgsm crashes on the ${identity.key.asymmetricKeyType} key of ${identity.name}`);
  }
  throw new Error(`gpgsm does not import the key of ${identity.name}: ${said}`);
}
