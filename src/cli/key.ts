import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { passphraseOf } from '../config/secrets.ts';
import { importListCertificate, requestFor } from '../flow/list-keys.ts';
import { record } from '../store/ledger.ts';
import { touch } from '../store/meta.ts';
import { readInput } from './arguments.ts';
import { addKeyCreate, keyHolder } from './key-create.ts';
import { instant, shortSha, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** `key create|import|list|csr`: the key pairs of lists and of the service address. */
export function addKey(program: Command): void {
  const key = program
    .command('key')
    .description('make and renew key pairs of lists and of the service address');
  addKeyCreate(key);
  key
    .command('import <address> <file>')
    .description('take the certificate that an authority made of a request (key csr); - reads standard input')
    .option('--chain <file>', 'certificates of the authorities, to be sent along with signatures')
    .action(onSite<[string, string, { chain?: string }]>(importCertificate));
  key
    .command('list <address>')
    .description('its key pairs, and what is wrong with them')
    .action(onSite<[string]>(listKeys));
  key
    .command('csr <address>')
    .description('a request for a certificate for the key that is there, in PEM')
    .action(onSite<[string]>(csr));
}

async function importCertificate(
  session: Session,
  name: string,
  file: string,
  options: { chain?: string },
): Promise<void> {
  const { site, database, folderOf, output, now, who } = session;
  const address = await keyHolder(session, name);
  const chain = options.chain === undefined ? null : await readInput(options.chain);
  const passphrase = await passphraseOf(site, address);
  const order = { folder: folderOf(address), address, passphrase, file: await readInput(file), chain, now };
  const { certificate, path, keptAs, warnings } = await importListCertificate(order);
  await database.write(async (tx) => {
    const detail = `certificate of ${certificate.subject}, issued by ${certificate.issuer}, imported by ${who}`;
    await record(tx, {
      at: now,
      list: address,
      event: 'list-certificate',
      detail,
      data: { sha256: certificate.sha256 },
    });
    await touch(tx, 'keys');
  });
  for (const warning of warnings) output.note(`warning: ${warning}`);
  const { sha256, subject, issuer, notAfter } = certificate;
  output.result(
    { list: address, sha256, subject, issuer, notAfter: instant(notAfter), path, keptAs, warnings },
    [
      `${address} now has the certificate ${shortSha(sha256)} of ${subject}, issued by ${issuer}, until ${dayOf(notAfter)}: ${path}`,
      ...(keptAs ? [`The one before still opens mail that was encrypted to it: ${keptAs}`] : []),
    ],
  );
}

async function listKeys(session: Session, name: string): Promise<void> {
  const { keyring, folderOf, output, now } = session;
  const row = { address: await keyHolder(session, name) };
  const { pairs, problems } = await keyring.keysOf(row);
  const signing = await keyring.signingPair(row);
  const encryption = await keyring.encryptionPair(row);
  const keys = pairs.map((pair) => ({
    suffix: pair.suffix,
    subject: pair.certificate.subject,
    issuer: pair.certificate.issuer,
    sha256: pair.certificate.sha256,
    type: pair.certificate.keyType,
    bits: pair.certificate.rsaBits,
    curve: pair.certificate.curve,
    notAfter: instant(pair.certificate.notAfter),
    expired: now > pair.certificate.notAfter,
    uses: ['decrypt', ...(pair === signing ? ['sign'] : []), ...(pair === encryption ? ['encrypt'] : [])],
  }));
  const words = problems.map((problem) => problem.message);
  if (words.length > 0) process.exitCode = 1;
  output.result({ list: row.address, folder: folderOf(row.address), keys, problems: words }, [
    ...table(
      ['FILES', 'KEY', 'UNTIL', 'USED TO', 'SHA-256', 'SUBJECT'],
      keys.map((one) => [
        `cert.pem${one.suffix}`,
        [one.type, one.bits, one.curve].filter((part) => part !== null).join(' '),
        one.expired ? 'EXPIRED' : one.notAfter.slice(0, 10),
        one.uses.join(', '),
        shortSha(one.sha256),
        one.subject,
      ]),
      `There is no key pair that can be used in ${folderOf(row.address)}.`,
    ),
    ...words.map((problem) => `problem: ${problem}`),
  ]);
}

async function csr(session: Session, name: string): Promise<void> {
  const { site, folderOf, output } = session;
  const address = await keyHolder(session, name);
  const passphrase = await passphraseOf(site, address);
  const request = await requestFor({ folder: folderOf(address), address, passphrase });
  output.result({ list: address, request }, request.trimEnd().split('\n'));
}
