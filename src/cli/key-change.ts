import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { removePair, replacePairs, retirePair } from '../flow/lists/key-files.ts';
import { needsOf } from '../flow/lists/key-needs.ts';
import { listKeyFault, makePairs, requestNewKeys } from '../flow/lists/list-keys.ts';
import { findList, findService } from '../store/lists.ts';
import { confirm } from './confirm.ts';
import { cliFault } from './faults.ts';
import {
  confirmPlan,
  type KeyOptions,
  keyOrder,
  newKeyPassphrase,
  type PassphraseOptions,
  withKeyOptions,
  withPassphraseOptions,
} from './key-generate.ts';
import { announceFrom, fileOf, isInUse, type ListPairs, pairNamed, pairsOf, recordKey } from './key-pair.ts';
import { shortSha } from './output.ts';
import { onSite, type Session } from './site-command.ts';

type RotateOptions = KeyOptions &
  PassphraseOptions & { readonly yes?: true; readonly compromised?: true; readonly announce: boolean };

/** `key rotate|retire|remove`: the life of a list's key pairs after the first. */
export function addKeyChange(key: Command): void {
  withPassphraseOptions(
    withKeyOptions(
      key
        .command('rotate <address>')
        .description(
          'make a new key pair in place of the one in use, which still opens mail; tell the members',
        ),
    ),
  )
    .option('--compromised', 'the old key is in wrong hands: it does not sign the announcement')
    .option('--no-announce', 'tell nobody')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
With an authority the new key waits until its certificate is there, and the old one goes on:
  reseal key rotate team@lists.example --csr
  reseal key import team@lists.example certificate.pem`,
    )
    .action(onSite<[string, RotateOptions]>(rotate));
  key
    .command('retire <address> <pair>')
    .description('let a key pair open mail only; <pair> is its file or the first digits of its fingerprint')
    .option('--yes', 'do not ask')
    .action(onSite<[string, string, { yes?: true }]>(retire));
  key
    .command('remove <address> <pair>')
    .description('remove a retired key pair for good, if no message needs it')
    .option('--yes', 'do not ask')
    .action(onSite<[string, string, { yes?: true }]>(remove));
}

async function rotate(session: Session, name: string, options: RotateOptions): Promise<void> {
  const { output, now } = session;
  const { csr, ...order } = keyOrder(options);
  const before = await pairsOf(session, name);
  const { address, folder } = before;
  if (before.pairs.length === 0) {
    const [why] = before.problems;
    throw why === undefined
      ? listKeyFault('keys-none', { folder })
      : listKeyFault('keys-exist', { folder, why });
  }
  await confirmPlan(order.plan, options.yes === true);
  if (!csr) await confirmSelfSigned(before, options.yes === true);
  const passphrase = await newKeyPassphrase(session, address, options);
  if (csr) {
    const request = await requestNewKeys({ folder, address, ...order, passphrase, now });
    await recordKey(session, {
      address,
      detail: 'request for a certificate of a new key made',
      sha256: null,
    });
    output.result({ address, request }, [
      'The new key waits; the old one goes on. Let an authority sign this request, then',
      `  reseal key import ${address} CERTIFICATE-FILE`,
      ...request.trimEnd().split('\n'),
    ]);
    return;
  }
  const retired = await replacePairs(folder, await makePairs({ ...order, address, now }), {
    passphrase,
    now,
  });
  const changed = await announceFrom(session, before, {
    detail: 'new key pair put in place of the one before',
    compromised: options.compromised === true,
    announce: options.announce,
  });
  output.result(rotated(changed.now, retired, changed.told), [
    ...rotatedWords(changed.now),
    `The one before still opens mail: ${retired.map((suffix) => `cert.pem${suffix}`).join(', ')}`,
    toldWords(changed.told),
  ]);
}

/** Asks before an authority's certificate gives way to one that nobody's mail program trusts. Fault 'not-confirmed'. */
async function confirmSelfSigned({ signing, encryption }: ListPairs, yes: boolean): Promise<void> {
  const certificate = (signing ?? encryption)?.certificate;
  if (!certificate || certificate.issuerName === certificate.subjectName) return;
  await confirm(
    `The certificate in use was issued by ${certificate.issuer}; the new one would be self-signed, and mail programs would warn of it (--csr makes a request for the authority instead)`,
    yes,
  );
}

function rotated(
  { address, folder, signing, encryption }: ListPairs,
  retired: readonly string[],
  told: number,
) {
  const certificate = encryption?.certificate ?? null;
  return {
    list: address,
    folder,
    certificate: certificate?.sha256 ?? null,
    signing: signing?.certificate.sha256 ?? null,
    retired: retired.map((suffix) => `cert.pem${suffix}`),
    told,
  };
}

function rotatedWords({ address, encryption, problems }: ListPairs): string[] {
  const certificate = encryption?.certificate;
  return [
    certificate
      ? `${address} has a new key pair. SHA-256 of its certificate: ${certificate.sha256}, valid until ${dayOf(certificate.notAfter)}`
      : `${address} has a new key pair.`,
    ...problems.map((problem) => `problem: ${problem}`),
  ];
}

/** Who was told of a new key. */
export function toldWords(told: number): string {
  if (told === 0) return 'Nobody was told of it.';
  return `${told === 1 ? '1 person gets' : `${told} people get`} a signed mail about it.`;
}

async function retire(session: Session, name: string, which: string, options: { yes?: true }): Promise<void> {
  const before = await pairsOf(session, name);
  const { address, folder, signing, encryption } = before;
  const pair = pairNamed(before, which);
  const uses = [
    ...(pair === encryption ? ['nobody can encrypt to the list'] : []),
    ...(pair === signing ? ['the list signs nothing'] : []),
  ];
  if (uses.length > 0)
    await confirm(`Without this pair, unless there is another, ${uses.join(' and ')}`, options.yes === true);
  const suffix = isInUse(before, pair) ? await retirePair(folder, pair.suffix, session.now) : pair.suffix;
  const { sha256 } = pair.certificate;
  await recordKey(session, { address, detail: `key pair ${shortSha(sha256)} retired`, sha256 });
  const file = `cert.pem${suffix}`;
  session.output.result({ list: address, sha256, file }, [
    `It only opens mail from now on: ${folder}/${file}`,
  ]);
}

async function remove(session: Session, name: string, which: string, options: { yes?: true }): Promise<void> {
  const { database, output } = session;
  const before = await pairsOf(session, name);
  const { address, folder, pairs } = before;
  const pair = pairNamed(before, which);
  const path = fileOf(before, pair);
  const { sha256 } = pair.certificate;
  if (isInUse(before, pair)) throw cliFault('key-in-use', { list: address, path });
  const isCopy = pairs.some((one) => one !== pair && one.certificate.sha256 === sha256);
  const row = (await findList(database.q, address)) ?? (await findService(database.q, address));
  const needs = isCopy || row === null ? [] : await needsOf(database.q, row.id, sha256);
  if (needs.length > 0) {
    const named = needs.slice(0, 5).map((need) => `${need.message} ${need.why}`);
    const more = needs.length > 5 ? [`and ${needs.length - 5} more`] : [];
    throw cliFault('key-needed', { path, count: needs.length, needs: [...named, ...more], list: address });
  }
  await confirm(
    `What is encrypted to the certificate ${shortSha(sha256)} can never be opened again without a copy of its key`,
    options.yes === true,
  );
  await removePair(folder, pair.suffix);
  await recordKey(session, { address, detail: `key pair ${shortSha(sha256)} removed`, sha256 });
  output.result({ list: address, sha256, removed: path }, [`Removed: ${path} and its key.`]);
}
