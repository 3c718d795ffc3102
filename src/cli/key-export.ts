import { type FileHandle, open } from 'node:fs/promises';
import type { Command } from 'commander';
import { errnoOf, wordsOf } from '../base/errors.ts';
import type { KeyPair } from '../pki/keys.ts';
import { exportedKeyPem } from '../pki/pbe.ts';
import { toPem } from '../pki/pem.ts';
import { askNewPassphrase } from './confirm.ts';
import { cliFault } from './faults.ts';
import { givenPassphrase } from './key-generate.ts';
import { type ListPairs, pairNamed, pairsOf, recordKey } from './key-pair.ts';
import { shortSha } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** `key export|export-cert`: a pair for a backup or another program, its certificate for everybody. */
export function addKeyExport(key: Command): void {
  key
    .command('export <address> <file>')
    .description('write a key pair with its chain to a file (PEM, 0600); the key is encrypted, always')
    .option(
      '--pair <name>',
      'which: its file or the first digits of its fingerprint; else the one encrypted to',
    )
    .option('--passphrase-file <file>', 'the passphrase for it (mode 0600); else it is asked on the terminal')
    .addHelpText(
      'after',
      `
For programs that take PKCS#12:
  openssl pkcs12 -export -in FILE -out team.p12`,
    )
    .action(onSite<[string, string, ExportOptions]>(exportPair));
  key
    .command('export-cert <address> [file]')
    .description('print the certificate with its chain (PEM), or write it to a file')
    .option(
      '--pair <name>',
      'which: its file or the first digits of its fingerprint; else the one encrypted to',
    )
    .option('--der', 'the certificate alone, in DER; needs a file')
    .action(onSite<[string, string | undefined, { pair?: string; der?: true }]>(exportCertificate));
}

interface ExportOptions {
  readonly pair?: string;
  readonly passphraseFile?: string;
}

function chosen(all: ListPairs, name: string | undefined): KeyPair {
  if (name !== undefined) return pairNamed(all, name);
  const pair = all.encryption ?? all.signing;
  if (!pair) throw cliFault('list-no-certificate', { list: all.address, folder: all.folder });
  return pair;
}

async function exportPair(
  session: Session,
  name: string,
  path: string,
  options: ExportOptions,
): Promise<void> {
  const all = await pairsOf(session, name);
  const pair = chosen(all, options.pair);
  const passphrase =
    (await givenPassphrase(options, path)) ?? (await askNewPassphrase(`the exported key in ${path}`));
  if (passphrase === null)
    throw cliFault('usage-passphrase', {
      why: 'there is no terminal to ask on; give --passphrase-file FILE',
    });
  const { certificate, chain } = pair;
  const pem = [certificate, ...chain].map((one) => toPem(one.der)).join('');
  await writeNew(path, Buffer.from(exportedKeyPem(pair.key, passphrase) + pem));
  passphrase.fill(0);
  const { sha256 } = certificate;
  await recordKey(session, { address: all.address, detail: `key pair ${shortSha(sha256)} exported`, sha256 });
  session.output.result({ list: all.address, sha256, file: path }, [
    `The key pair ${shortSha(sha256)} is in ${path}, its key encrypted with the passphrase. Keep both apart.`,
  ]);
}

async function exportCertificate(
  session: Session,
  name: string,
  path: string | undefined,
  options: { pair?: string; der?: true },
): Promise<void> {
  const all = await pairsOf(session, name);
  const { certificate, chain } = chosen(all, options.pair);
  if (options.der && path === undefined) throw cliFault('usage-missing', { what: 'a file for --der' });
  const pem = [certificate, ...chain].map((one) => toPem(one.der)).join('');
  if (path !== undefined) await writeNew(path, options.der ? certificate.der : Buffer.from(pem));
  const { sha256 } = certificate;
  session.output.result(
    { list: all.address, sha256, file: path ?? null, pem },
    path === undefined ? pem.trimEnd().split('\n') : [`The certificate ${shortSha(sha256)} is in ${path}.`],
  );
}

/** A new file of its owner only; one that is there is left alone. Faults 'file-exists', 'file-unwritable'. */
async function writeNew(path: string, content: Buffer): Promise<void> {
  let handle: FileHandle | null = null;
  try {
    handle = await open(path, 'wx', 0o600);
    await handle.writeFile(content);
    await handle.sync();
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw cliFault('file-exists', { path });
    throw cliFault('file-unwritable', { path, why: errnoOf(error) ?? wordsOf(error) });
  } finally {
    await handle?.close();
  }
}
