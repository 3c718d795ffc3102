import type { Command } from 'commander';
import { passphraseOf } from '../config/secrets.ts';
import { problemsOf } from '../flow/lists/key-import.ts';
import { requestFor } from '../flow/lists/list-keys.ts';
import type { KeyUse } from '../pki/issue.ts';
import type { KeyPair } from '../pki/keys.ts';
import { addKeyChange } from './key-change.ts';
import { addKeyExport } from './key-export.ts';
import { addKeyGenerate, keyHolder } from './key-generate.ts';
import { addKeyImport } from './key-import.ts';
import { isInUse, type ListPairs, pairsOf } from './key-pair.ts';
import { folded, instant, shortSha, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** `key …`: the key pairs of lists and of the service address, from the first to the last. */
export function addKey(program: Command): void {
  const key = program
    .command('key')
    .description('make, renew, replace and remove key pairs of lists and of the service address');
  addKeyGenerate(key);
  addKeyImport(key);
  key
    .command('list <address>')
    .description('its key pairs, what each is used for, and what is wrong with them')
    .action(onSite<[string]>(listKeys));
  key
    .command('csr <address>')
    .description('a request for a certificate for the key that waits for one, or else is in use, in PEM')
    .action(onSite<[string]>(csr));
  addKeyExport(key);
  addKeyChange(key);
}

async function listKeys(session: Session, name: string): Promise<void> {
  const { output, now } = session;
  const all = await pairsOf(session, name);
  const { address, folder, pairs, problems, signing, encryption, isRequested } = all;
  const keys = pairs.map((pair) => ({
    suffix: pair.suffix,
    state: isInUse(all, pair) ? 'active' : 'retired',
    subject: pair.certificate.subject,
    issuer: pair.certificate.issuer,
    sha256: pair.certificate.sha256,
    type: pair.certificate.keyType,
    bits: pair.certificate.rsaBits,
    curve: pair.certificate.curve,
    notAfter: instant(pair.certificate.notAfter),
    expired: now > pair.certificate.notAfter,
    uses: ['decrypt', ...(pair === signing ? ['sign'] : []), ...(pair === encryption ? ['encrypt'] : [])],
    problems: isInUse(all, pair) ? problemsOf(pair.certificate, { address, now, use: useBy(all, pair) }) : [],
  }));
  if (problems.length > 0) process.exitCode = 1;
  output.result({ list: address, folder, keys, requested: isRequested, problems }, [
    ...table(
      ['FILES', 'STATE', 'KEY', 'UNTIL', 'USED TO', 'SHA-256', 'SUBJECT'],
      keys.map((one) => [
        `cert.pem${one.suffix}`,
        one.state,
        [one.type, one.bits, one.curve].filter((part) => part !== null).join(' '),
        one.expired ? 'EXPIRED' : one.notAfter.slice(0, 10),
        one.uses.join(', '),
        shortSha(one.sha256),
        one.subject,
      ]),
      `There is no key pair that can be used in ${folder}.`,
    ),
    ...(isRequested
      ? [
          `A new key waits for its certificate: \`reseal key csr ${address}\` prints the request,`,
          `\`reseal key import ${address} FILE\` takes what an authority makes of it.`,
        ]
      : []),
    ...problems.flatMap((problem) =>
      folded(problem, { width: output.width, first: 'problem: ', rest: '  ' }),
    ),
    ...keys.flatMap((one) => one.problems.map((problem) => `problem: cert.pem${one.suffix}: ${problem}`)),
  ]);
}

function useBy({ signing, encryption }: ListPairs, pair: KeyPair): KeyUse {
  if (signing === encryption) return 'both';
  return pair === signing ? 'sign' : 'encrypt';
}

async function csr(session: Session, name: string): Promise<void> {
  const { site, folderOf, output } = session;
  const address = await keyHolder(session, name);
  const passphrase = await passphraseOf(site, address);
  const request = await requestFor({ folder: folderOf(address), address, passphrase });
  output.result({ list: address, request }, request.trimEnd().split('\n'));
}
