import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { passphraseOf, passphraseVariable, readSecret } from '../config/secrets.ts';
import {
  encryptionRemark,
  type KeyPlan,
  type ListKeyFiles,
  listKeyFault,
  makeListKeys,
  pairKinds,
  planOf,
} from '../flow/lists/list-keys.ts';
import { record } from '../store/ledger.ts';
import { touch } from '../store/meta.ts';
import { addressOf, listNamed, oneOf, wholeNumber } from './arguments.ts';
import { askNewPassphrase, confirm } from './confirm.ts';
import { cliFault } from './faults.ts';
import { instant } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** What may be said of a key pair that is to be made. */
export interface KeyOptions {
  readonly key: string;
  readonly separate?: true;
  readonly csr?: true;
  readonly days: string;
}

/** Gives a command the options of a key pair. */
export function withKeyOptions(command: Command): Command {
  return command
    .option('--key <kind>', `the key: ${pairKinds.join(', ')}`, 'rsa-3072')
    .option('--separate', 'one key to sign and one to be encrypted to (.sign and .enc)')
    .option('--csr', 'make a request for an authority instead of a self-signed certificate')
    .option('--days <number>', 'how long the self-signed certificate is valid', '1095');
}

/** The options of a key pair, checked. Fault 'usage-value'. */
export function keyOrder(options: KeyOptions): { plan: KeyPlan; csr: boolean; days: number } {
  return {
    plan: planOf(oneOf('--key', options.key, pairKinds), options.separate === true),
    csr: options.csr === true,
    days: wholeNumber('--days', options.days, 1, 36_500),
  };
}

/** Where the passphrase of a new key comes from. */
export interface PassphraseOptions {
  readonly passphrase?: true;
  readonly passphraseFile?: string;
}

export function withPassphraseOptions(command: Command): Command {
  return command
    .option('--passphrase', 'ask on the terminal for a passphrase to encrypt the key with')
    .option('--passphrase-file <file>', 'read it from a file (mode 0600)');
}

/**
 * The passphrase that a list's new key is encrypted with: the one given, else the one that the daemon has for the list;
 * another one would make either the new key or the old ones useless to it. Faults 'usage-passphrase', those of `readSecret`.
 */
export async function newKeyPassphrase(
  { site, output }: Session,
  address: string,
  options: PassphraseOptions,
): Promise<Buffer | null> {
  const known = await passphraseOf(site, address);
  const given = await givenPassphrase(options, `the key of ${address}`);
  if (given === null || known?.equals(given)) return known;
  if (known !== null) {
    const why = `${address} has another one already (keys.passphrase-file, credential or environment), and all its keys have the same`;
    throw cliFault('usage-passphrase', { why });
  }
  const variable = passphraseVariable(address);
  output.note(
    `the daemon needs this passphrase too: by keys.passphrase-file, the systemd credential passphrase-${address}, or ${variable}`,
  );
  return given;
}

/** From the file, or asked twice, or null. Faults 'usage-passphrase', those of `readSecret`. */
export async function givenPassphrase(options: PassphraseOptions, what: string): Promise<Buffer | null> {
  if (options.passphraseFile !== undefined) return readSecret(options.passphraseFile);
  if (options.passphrase !== true) return null;
  const asked = await askNewPassphrase(what);
  if (asked === null)
    throw cliFault('usage-passphrase', {
      why: 'there is no terminal to ask on; give --passphrase-file FILE',
    });
  return asked;
}

/** What a person should know of keys that were made: where they are, the fingerprint, or the request. */
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

type GenerateOptions = KeyOptions & PassphraseOptions & { readonly yes?: true };

/** `key generate`: for the service address, and for a list that lost its keys. */
export function addKeyGenerate(key: Command): void {
  const command = key
    .command('generate <address>')
    .alias('create')
    .description('make the key pair of the service address, or of a list that lost its own');
  withPassphraseOptions(withKeyOptions(command))
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
With an authority:
  reseal key generate reseal@lists.example --csr
  reseal key import reseal@lists.example certificate.pem`,
    )
    .action(onSite<[string, GenerateOptions]>(generate));
}

/** Asks before a key that many programs cannot encrypt to is made. Fault 'not-confirmed'. */
export async function confirmPlan(plan: KeyPlan, yes: boolean): Promise<void> {
  const remark = encryptionRemark(plan);
  if (remark !== null) await confirm(remark, yes);
}

async function generate(session: Session, text: string, options: GenerateOptions): Promise<void> {
  const { database, keyring, folderOf, output, now, who } = session;
  const order = keyOrder(options);
  const address = await keyHolder(session, text);
  const folder = folderOf(address);
  const [pair] = (await keyring.keysOf({ address })).pairs;
  if (pair) throw listKeyFault('keys-usable', { address, folder, sha256: pair.certificate.sha256 });
  await confirmPlan(order.plan, options.yes === true);
  const passphrase = await newKeyPassphrase(session, address, options);
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
