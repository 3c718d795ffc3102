import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type DecryptionVerdict,
  mustRun,
  runProgram,
  type SignatureVerdict,
  saidBy,
  withFiles,
} from './client.ts';
import { pkcs12 } from './openssl.ts';
import type { Identity } from './pki.ts';
import { tempFolder } from './tmp.ts';

/**
 * NSS, the library of Thunderbird and Evolution, through `cmsutil`: a certificate database in a temporary folder.
 * NSS 3.87 reads no AES-GCM, RSA-OAEP or ECDH. With a signing and an encryption certificate of one address in a
 * database `encrypt` takes the wrong one: keep one per address.
 */
export interface Nss {
  /** Lets the client encrypt to this certificate. */
  addRecipient(recipient: Pick<Identity, 'name' | 'certPath'>): Promise<void>;
  /** A SignedData; the signer must be one of the client's identities. */
  sign(
    signer: Identity,
    content: Buffer,
    o?: { opaque?: boolean; digest?: 'SHA1' | 'SHA256' | 'SHA384' | 'SHA512' },
  ): Promise<Buffer>;
  /**
   * `intact` is the same as `trusted` here: NSS does not try the signature of an untrusted certificate. The path is
   * validated at signingTime, where there is one, and not at `at` (which needs faketime).
   */
  verify(der: Buffer, content: Buffer | null, o?: { at?: Date }): Promise<SignatureVerdict>;
  /** An EnvelopedData to the certificates of these addresses. */
  encrypt(addresses: readonly string[], content: Buffer): Promise<Buffer>;
  decrypt(der: Buffer): Promise<DecryptionVerdict>;
  /** Of the library, such as 3.87: its programs do not tell. */
  version(): Promise<string>;
}

/** Makes a client that trusts `cas` and has the keys of `identities`. */
export async function makeNss(cas: readonly Identity[], identities: readonly Identity[] = []): Promise<Nss> {
  const folder = tempFolder();
  const database = `sql:${folder}`;
  await mustRun('certutil', ['-N', '-d', database, '--empty-password']);
  const add = (nickname: string, trust: string, path: string) =>
    mustRun('certutil', ['-A', '-d', database, '-n', nickname, '-t', trust, '-i', path]);
  for (const [index, ca] of cas.entries()) await add(`ca-${index}`, 'CT,C,C', ca.certPath);
  for (const [index, identity] of identities.entries()) {
    const path = join(folder, `${index}.p12`);
    await pkcs12(identity, path);
    await mustRun('pk12util', ['-i', path, '-d', database, '-W', 'x', '-K', '']);
  }

  const cmsutil = (...args: string[]) => runProgram('cmsutil', [...args, '-d', database]);
  const make = async (content: Buffer, ...args: string[]) =>
    withFiles({ content }, async (paths, out) => {
      const result = await cmsutil(...args, '-i', paths.content, '-o', out);
      if (result.code !== 0) throw new Error(`cmsutil ${args.join(' ')}: ${saidBy(result)}`);
      return readFile(out);
    });

  return {
    addRecipient: async (recipient) => void (await add(recipient.name, ',,', recipient.certPath)),
    sign: (signer, content, o = {}) =>
      // -T: content detached; -G: signingTime; -P: capabilities.
      make(
        content,
        '-S',
        ...(o.opaque ? [] : ['-T']),
        '-G',
        '-P',
        '-H',
        o.digest ?? 'SHA256',
        '-N',
        signer.name,
      ),
    encrypt: (addresses, content) => make(content, '-E', '-r', addresses.join(',')),
    verify: (der, content, o = {}) =>
      withFiles({ der, content: content ?? '' }, async (paths, out) => {
        const over = content === null ? [] : ['-c', paths.content];
        const args = ['-D', '-d', database, '-i', paths.der, ...over, '-h', '0', '-n'];
        const at = o.at?.toISOString().slice(0, 19).replace('T', ' ');
        const result =
          at === undefined
            ? await runProgram('cmsutil', args)
            : await runProgram('faketime', [at, 'cmsutil', ...args], { env: { TZ: 'UTC' } });
        const said = saidBy(result);
        const statuses = [...said.matchAll(/signer\d+\.status=(\w+)/g)].map((match) => match[1] ?? '');
        // NSS looks at the path before the signature, and stops there: of an untrusted one it knows no more.
        const intact = statuses.length > 0 && statuses.every((status) => status === 'GoodSignature');
        let inside: Buffer | null = null;
        if (intact && content === null) {
          await cmsutil('-D', '-i', paths.der, '-o', out);
          inside = await readFile(out).catch(() => null);
        }
        return { intact, trusted: intact, content: inside, said };
      }),
    decrypt: (der) =>
      withFiles({ der }, async (paths, out) => {
        const result = await cmsutil('-D', '-i', paths.der, '-o', out);
        const ok = result.code === 0;
        return { ok, content: ok ? await readFile(out) : Buffer.alloc(0), said: saidBy(result) };
      }),
    version: async () => {
      const { stdout } = await mustRun('modutil', [
        '-list',
        'NSS Internal PKCS #11 Module',
        '-dbdir',
        database,
      ]);
      return /Library Version: (\S+)/.exec(stdout.toString())?.[1] ?? 'unknown';
    },
  };
}
