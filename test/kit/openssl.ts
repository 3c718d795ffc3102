import { readFile } from 'node:fs/promises';
import {
  type DecryptionVerdict,
  mustRun,
  runProgram,
  type SignatureVerdict,
  saidBy,
  withFiles,
} from './client.ts';
import type { Identity } from './pki.ts';

/** OpenSSL's `cms` command. DER in, DER out; content is taken and given octet by octet (`-binary`). */

export interface SignOptions {
  /** The content inside, instead of a detached signature. */
  readonly opaque?: boolean;
  readonly digest?: 'md5' | 'sha1' | 'sha256' | 'sha384' | 'sha512';
  readonly pss?: boolean;
  /** Name the signer by subjectKeyIdentifier. */
  readonly keyId?: boolean;
  /** Leave the signer's certificate out. */
  readonly noCertificates?: boolean;
  /** Sign the content itself, without signed attributes. */
  readonly noAttributes?: boolean;
  /** Intermediate certificates to include. */
  readonly chain?: readonly Identity[];
  /** BER with indefinite lengths and segments. */
  readonly stream?: boolean;
  /** A second, third … signer. */
  readonly also?: readonly Identity[];
}

/** A SignedData over `content`. */
export async function cmsSign(signer: Identity, content: Buffer, o: SignOptions = {}): Promise<Buffer> {
  const chain = (o.chain ?? []).map((identity) => identity.certPem).join('');
  return withFiles({ content, chain }, async (paths) => {
    const args = [
      'cms',
      '-sign',
      '-binary',
      '-outform',
      'DER',
      '-in',
      paths.content,
      '-md',
      o.digest ?? 'sha256',
    ];
    if (chain !== '') args.push('-certfile', paths.chain);
    if (o.opaque) args.push('-nodetach');
    if (o.keyId) args.push('-keyid');
    if (o.noCertificates) args.push('-nocerts');
    if (o.noAttributes) args.push('-noattr');
    if (o.stream) args.push('-stream', '-indef');
    for (const one of [signer, ...(o.also ?? [])]) {
      args.push('-signer', one.certPath, '-inkey', one.keyPath);
      if (o.pss) args.push('-keyopt', 'rsa_padding_mode:pss', '-keyopt', 'rsa_pss_saltlen:digest');
    }
    return (await mustRun('openssl', args)).stdout;
  });
}

export interface EncryptOptions {
  /** Default aes-256-cbc; a GCM one gives AuthEnvelopedData. */
  readonly cipher?: `aes-${128 | 192 | 256}-${'cbc' | 'gcm'}` | 'des-ede3-cbc' | 'rc2-cbc';
  /** RSA-OAEP with this digest (and MGF1 with the same) instead of v1.5. */
  readonly oaep?: 'sha1' | 'sha256' | 'sha384' | 'sha512';
  /** MGF1's digest, if other. */
  readonly mgf1?: 'sha1' | 'sha256' | 'sha384' | 'sha512';
  /** ECDH key derivation digest. */
  readonly kdf?: 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512';
  /** Name the recipient by subjectKeyIdentifier. */
  readonly keyId?: boolean;
  readonly stream?: boolean;
}

/** An EnvelopedData or AuthEnvelopedData with one RecipientInfo for each recipient. */
export async function cmsEncrypt(
  recipients: readonly Pick<Identity, 'certPath'>[],
  content: Buffer,
  o: EncryptOptions = {},
): Promise<Buffer> {
  return withFiles({ content }, async (paths) => {
    const args = [
      'cms',
      '-encrypt',
      '-binary',
      '-outform',
      'DER',
      '-in',
      paths.content,
      `-${o.cipher ?? 'aes-256-cbc'}`,
    ];
    // RC2 lives in OpenSSL 3's legacy provider.
    if (o.cipher === 'rc2-cbc') args.push('-provider', 'legacy', '-provider', 'default');
    if (o.keyId) args.push('-keyid');
    if (o.stream) args.push('-stream', '-indef');
    for (const recipient of recipients) {
      args.push('-recip', recipient.certPath);
      if (o.oaep !== undefined)
        args.push('-keyopt', 'rsa_padding_mode:oaep', '-keyopt', `rsa_oaep_md:${o.oaep}`);
      if (o.oaep !== undefined) args.push('-keyopt', `rsa_mgf1_md:${o.mgf1 ?? o.oaep}`);
      if (o.kdf !== undefined) args.push('-keyopt', `ecdh_kdf_md:${o.kdf}`);
    }
    return (await mustRun('openssl', args)).stdout;
  });
}

/** Opens an EnvelopedData or AuthEnvelopedData with the identity's key. */
export async function cmsDecrypt(identity: Identity, der: Buffer): Promise<DecryptionVerdict> {
  return withFiles({ der }, async (paths, out) => {
    const args = ['cms', '-decrypt', '-binary', '-inform', 'DER', '-in', paths.der, '-out', out];
    // Naming the certificate makes it try this recipient only, without the substitute key that hides a failure.
    const result = await runProgram('openssl', [
      ...args,
      '-recip',
      identity.certPath,
      '-inkey',
      identity.keyPath,
    ]);
    const ok = result.code === 0;
    return { ok, content: ok ? await readFile(out) : Buffer.alloc(0), said: saidBy(result) };
  });
}

/** Checks a SignedData; `content` is what a detached one is over. `at`: instant of the path validation, default now. */
export async function cmsVerify(
  ca: Pick<Identity, 'certPath'>,
  der: Buffer,
  content: Buffer | null,
  o: { at?: Date } = {},
): Promise<SignatureVerdict> {
  return withFiles({ der, content: content ?? '' }, async (paths, out) => {
    const args = ['cms', '-verify', '-binary', '-inform', 'DER', '-in', paths.der, '-out', out];
    if (content !== null) args.push('-content', paths.content);
    const path = ['-CAfile', ca.certPath, '-no-CApath', '-no-CAstore', '-purpose', 'smimesign'];
    if (o.at !== undefined) path.push('-attime', String(Math.floor(o.at.getTime() / 1000)));
    const signature = await runProgram('openssl', [...args, '-noverify']);
    const intact = signature.code === 0;
    const whole = intact ? await runProgram('openssl', [...args, ...path]) : signature;
    const inside = intact && content === null ? await readFile(out).catch(() => null) : null;
    return { intact, trusted: whole.code === 0, content: inside, said: saidBy(whole) };
  });
}

/** A PKCS#12 file of the identity, in the old encryption that gpgsm and NSS read; the passphrase is `x`. */
export async function pkcs12(identity: Identity, path: string): Promise<void> {
  const old = ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'];
  const who = ['-inkey', identity.keyPath, '-in', identity.certPath, '-name', identity.name];
  await mustRun('openssl', ['pkcs12', '-export', ...who, '-passout', 'pass:x', ...old, '-out', path]);
}
