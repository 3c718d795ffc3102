import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { passphraseOf } from '../config/secrets.ts';
import { type ListKeyFiles, listKeyFault, makeListKeys } from '../flow/list-keys.ts';
import { type KeyKind, keyKinds } from '../pki/issue.ts';
import { record } from '../store/ledger.ts';
import { touch } from '../store/meta.ts';
import { addressOf, listNamed, oneOf, wholeNumber } from './arguments.ts';
import { instant } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** What may be said of a key pair that is to be made. */
export interface KeyOptions {
  readonly key: string;
  readonly csr?: true;
  readonly days: string;
}

/** Gives a command the options of a key pair. */
export function withKeyOptions(command: Command): Command {
  return command
    .option('--key <kind>', `the key: ${keyKinds.join(', ')}`, 'rsa-3072')
    .option('--csr', 'make a request for an authority instead of a self-signed certificate')
    .option('--days <number>', 'how long the self-signed certificate is valid', '1095');
}

/** The options of a key pair, checked. Fault 'usage-value'. */
export function keyOrder(options: KeyOptions): { kind: KeyKind; csr: boolean; days: number } {
  return {
    kind: oneOf('--key', options.key, keyKinds),
    csr: options.csr === true,
    days: wholeNumber('--days', options.days, 1, 36_500),
  };
}

/** What a person should know of a key pair that was made: where it is, its fingerprint, or the request. */
export function keyWords(address: string, { folder, made, certificate, request }: ListKeyFiles): string[] {
  return certificate
    ? [
        `${made === 'kept' ? 'The key pair that was there is used' : 'Key and certificate'}: ${folder}`,
        `SHA-256 of the certificate: ${certificate.sha256}, valid until ${dayOf(certificate.notAfter)}`,
      ]
    : [
        `The key is in ${folder}. Let an authority sign this request, then`,
        `  reseal key import ${address} CERTIFICATE-FILE`,
        ...(request ?? '').trimEnd().split('\n'),
      ];
}

/** The same for `--json`. */
export function keyResult({ folder, made, certificate, request }: ListKeyFiles) {
  return {
    folder,
    key: made,
    certificate: certificate && {
      subject: certificate.subject,
      sha256: certificate.sha256,
      notAfter: instant(certificate.notAfter),
    },
    request,
  };
}

/** The address whose keys are meant: the service address, or that of a list. Faults of `listNamed`. */
export async function keyHolder({ database, site }: Session, text: string): Promise<string> {
  const service = site['service.address'];
  if (text.includes('@') && addressOf(text) === service) return service;
  return (await listNamed(database.q, text)).address;
}

/** `key create`: for the service address, and for a list that lost its keys. */
export function addKeyCreate(key: Command): void {
  withKeyOptions(
    key
      .command('create <address>')
      .description('make the key pair of the service address, or of a list that lost its own'),
  )
    .addHelpText(
      'after',
      `
With an authority:
  reseal key create reseal@lists.example --csr
  reseal key import reseal@lists.example certificate.pem`,
    )
    .action(onSite<[string, KeyOptions]>(create));
}

async function create(session: Session, text: string, options: KeyOptions): Promise<void> {
  const { site, database, keyring, folderOf, output, now, who } = session;
  const order = keyOrder(options);
  const address = await keyHolder(session, text);
  const folder = folderOf(address);
  const [pair] = (await keyring.keysOf({ address })).pairs;
  if (pair) throw listKeyFault('keys-usable', { address, folder, sha256: pair.certificate.sha256 });
  const passphrase = await passphraseOf(site, address);
  const keys = await makeListKeys({ folder, address, ...order, passphrase, now });
  const { certificate } = keys;
  await database.write(async (tx) => {
    const what = certificate ? 'key pair' : 'request for a certificate';
    const data = certificate ? { sha256: certificate.sha256 } : null;
    await record(tx, {
      at: now,
      list: address,
      event: 'list-certificate',
      detail: `${what} made by ${who}`,
      data,
    });
    await touch(tx, 'keys');
  });
  output.result({ address, ...keyResult(keys) }, keyWords(address, keys));
}
