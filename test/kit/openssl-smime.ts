import { readFile } from 'node:fs/promises';
import {
  type DecryptionVerdict,
  mustRun,
  runProgram,
  type SignatureVerdict,
  saidBy,
  withFiles,
} from './client.ts';
import type { EncryptOptions } from './openssl.ts';
import type { Identity } from './pki.ts';

/**
 * OpenSSL's `cms` command as a mail client that makes and reads the MIME itself (`-binary` would leave line ends
 * alone, and write a multipart with mixed ones). Line ends are CRLF on the way out, LF or CRLF on the way in.
 */

/** A message signed by openssl, multipart/signed or opaque. */
export async function smimeSign(
  signer: Identity,
  entity: Buffer,
  o: { opaque?: boolean } = {},
): Promise<Buffer> {
  return withFiles({ entity }, async (paths) => {
    // RFC 8419 3.1: SHA-512 beside Ed25519.
    const digest = signer.key.asymmetricKeyType === 'ed25519' ? 'sha512' : 'sha256';
    const who = ['-signer', signer.certPath, '-inkey', signer.keyPath, '-md', digest];
    if (o.opaque) who.push('-nodetach');
    // 3.0 makes a PSS signature by such a key in any case, but says rsaEncryption unless told.
    if (signer.key.asymmetricKeyType === 'rsa-pss') who.push('-keyopt', 'rsa_padding_mode:pss');
    return crlf((await mustRun('openssl', ['cms', '-sign', '-in', paths.entity, ...who])).stdout);
  });
}

/** A message encrypted by openssl. */
export async function smimeEncrypt(
  recipient: Pick<Identity, 'certPath'>,
  entity: Buffer,
  o: Pick<EncryptOptions, 'cipher' | 'oaep'> = {},
): Promise<Buffer> {
  return withFiles({ entity }, async (paths) => {
    const args = ['cms', '-encrypt', '-in', paths.entity, `-${o.cipher ?? 'aes-256-cbc'}`];
    args.push('-recip', recipient.certPath);
    if (o.oaep !== undefined)
      args.push('-keyopt', 'rsa_padding_mode:oaep', '-keyopt', `rsa_oaep_md:${o.oaep}`);
    if (o.oaep !== undefined) args.push('-keyopt', `rsa_mgf1_md:${o.oaep}`);
    return crlf((await mustRun('openssl', args)).stdout);
  });
}

/** Checks a message; `content` is what openssl took for the signed entity. */
export async function smimeVerify(
  ca: Pick<Identity, 'certPath'>,
  message: Buffer,
): Promise<SignatureVerdict> {
  return withFiles({ message }, async (paths, out) => {
    const args = ['cms', '-verify', '-in', paths.message, '-out', out];
    const path = ['-CAfile', ca.certPath, '-no-CApath', '-no-CAstore', '-purpose', 'smimesign'];
    const signature = await runProgram('openssl', [...args, '-noverify']);
    const intact = signature.code === 0;
    const content = intact ? crlf(await readFile(out)) : null;
    const whole = intact ? await runProgram('openssl', [...args, ...path]) : signature;
    return { intact, trusted: intact && whole.code === 0, content, said: saidBy(whole) };
  });
}

/** Opens an encrypted message. */
export async function smimeDecrypt(identity: Identity, message: Buffer): Promise<DecryptionVerdict> {
  return withFiles({ message }, async (paths, out) => {
    const args = ['cms', '-decrypt', '-in', paths.message, '-out', out];
    const result = await runProgram('openssl', [
      ...args,
      '-recip',
      identity.certPath,
      '-inkey',
      identity.keyPath,
    ]);
    const ok = result.code === 0;
    return { ok, content: ok ? crlf(await readFile(out)) : Buffer.alloc(0), said: saidBy(result) };
  });
}

const crlf = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
