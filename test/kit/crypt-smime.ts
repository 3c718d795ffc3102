import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type DecryptionVerdict, runProgram, type SignatureVerdict, saidBy } from './client.ts';
import type { Identity } from './pki.ts';

/**
 * Crypt::SMIME of Perl, with which Sympa does S/MIME. It is OpenSSL inside, with MIME of its own: entities in and out,
 * its line ends are LF. It signs detached with SHA-256 and encrypts with AES-128-CBC by RSA v1.5, and has no choice.
 */

const program = fileURLToPath(new URL('perl/smime-peer.pl', import.meta.url));
const run = (verb: string, files: readonly string[], input: Buffer) =>
  runProgram('perl', [program, verb, ...files], { input });

/** Whether perl and the module are there (Debian: libcrypt-smime-perl). */
export function hasCryptSmime(): boolean {
  return spawnSync('perl', ['-MCrypt::SMIME', '-e', '1']).status === 0;
}

export async function perlVersion(): Promise<string> {
  return (await run('version', [], Buffer.alloc(0))).stdout.toString();
}

export async function perlSign(signer: Identity, entity: Buffer): Promise<Buffer> {
  return made(await run('sign', [signer.keyPath, signer.certPath], entity));
}

export async function perlEncrypt(recipient: Pick<Identity, 'certPath'>, entity: Buffer): Promise<Buffer> {
  return made(await run('encrypt', [recipient.certPath], entity));
}

export async function perlVerify(ca: Pick<Identity, 'certPath'>, message: Buffer): Promise<SignatureVerdict> {
  const signature = await run('intact', [], message);
  const whole = await run('check', [ca.certPath], message);
  const [intact, trusted] = [signature, whole].map((one) => one.code === 0);
  return {
    intact: intact === true,
    trusted: intact === true && trusted === true,
    content: intact ? crlf(signature.stdout) : null,
    said: whole.code === 0 ? '' : saidBy(whole),
  };
}

export async function perlDecrypt(identity: Identity, message: Buffer): Promise<DecryptionVerdict> {
  const result = await run('decrypt', [identity.keyPath, identity.certPath], message);
  const ok = result.code === 0;
  return { ok, content: ok ? crlf(result.stdout) : Buffer.alloc(0), said: ok ? '' : saidBy(result) };
}

function made(result: Awaited<ReturnType<typeof runProgram>>): Buffer {
  if (result.code !== 0) throw new Error(`Crypt::SMIME: ${saidBy(result)}`);
  return crlf(result.stdout);
}

const crlf = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
