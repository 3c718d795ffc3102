import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { isFault } from '../base/errors.ts';
import { identifies } from '../cms/identifier.ts';
import { cmsLimits } from '../cms/limits.ts';
import { parseEntity } from '../mime/entity.ts';
import { defaultFloor, type Floor } from '../pki/algorithms.ts';
import type { Certificate } from '../pki/certificate.ts';
import { type RevocationPolicy, revocationOff } from '../pki/revocation.ts';
import { type OpenReport, type OpenRequest, openMessage } from '../smime/open.ts';
import { collect } from './arguments.ts';
import {
  instantOf,
  readCertificateFolder,
  readCertificates,
  readCrls,
  readMessage,
} from './inspect-files.ts';
import { readKeyPairs } from './inspect-keys.ts';
import { inspectionLines } from './inspect-story.ts';
import { inspectionOf } from './inspect-value.ts';
import { type Output, outputTo } from './output.ts';

/** What `inspect` and `cert verify` may both be told. */
export interface JudgeOptions {
  readonly ca?: readonly string[];
  readonly crl?: readonly string[];
  readonly at?: string;
  readonly allowWeak?: true;
}

interface InspectOptions extends JudgeOptions {
  readonly key?: readonly string[];
  readonly cert?: readonly string[];
  readonly passphraseFile?: string;
  readonly certs?: string;
}

/** Gives a command the options of `JudgeOptions`. */
export function withJudgeOptions(command: Command): Command {
  return command
    .option('--ca <file>', 'authorities that are trusted, PEM or DER; may be given again', collect)
    .option('--crl <file>', 'revocation lists, PEM or DER; each certificate then needs one', collect)
    .option('--at <instant>', 'judge as of 2026-01-31T12:00:00Z or 2026-01-31 (UTC) instead of now')
    .option('--allow-weak', 'take weak digests, keys and ciphers for strong');
}

/** `inspect`: what one message is and why, without a site. Exit code 0 for signed and unsigned, 1 for others, 2 for wrong usage. */
export function addInspect(program: Command): void {
  withJudgeOptions(
    program
      .command('inspect <file>')
      .description(
        'tell what one message is: who signed it, whether that can be trusted, and why; - is standard input',
      ),
  )
    .option('--key <file>', 'a private key to decrypt with, PEM; with --cert, may be given again', collect)
    .option('--cert <file>', 'the certificate of that key', collect)
    .option('--passphrase-file <file>', 'where the passphrase of the keys is, instead of asking')
    .option('--certs <folder>', 'certificates of signers and authorities that are not in the message')
    .addHelpText(
      'after',
      `
Sends nothing, stores nothing, needs no site and no network.
Exit codes: 0 signed or unsigned, 1 any other verdict, 2 wrong usage or a file that cannot be read.
Example: reseal inspect post.eml --ca our-ca.pem --key private_key --cert cert.pem`,
    )
    .action(inspect);
}

async function inspect(file: string, options: InspectOptions, command: Command): Promise<void> {
  const output = outputOf(command);
  const judging = await judgingOf(options, output);
  const pairs = await readKeyPairs({
    keys: options.key ?? [],
    certificates: options.cert ?? [],
    passphraseFile: options.passphraseFile ?? null,
  });
  const store = options.certs === undefined ? [] : await told(readCertificateFolder(options.certs), output);
  const request = {
    message: await readMessage(file),
    keys: pairs,
    anchors: judging.anchors.map((one) => one.der),
    pins: [],
    at: judging.at,
    floor: judging.floor,
    revocation: judging.revocation,
    openedSize: cmsLimits.openedSize,
  };
  const report = openWith(request, [...store, ...judging.anchors]);
  const value = inspectionOf(report);
  report.entity?.wipe();
  const own = pairs.map((pair) => pair.certificate);
  const story = { report, value, own, crls: options.crl !== undefined, ...judging };
  output.result(value, output.json ? [] : inspectionLines(story, output.width));
  process.exitCode = value.verdict === 'signed' || value.verdict === 'unsigned' ? 0 : 1;
}

/**
 * Opens a message; signers that are not in it are looked up among `store` and it is opened once more. Only authorities
 * and those signers are handed over: a path is looked for among a hundred certificates at most.
 */
function openWith(
  request: Omit<OpenRequest, 'known'> & { readonly message: Buffer },
  store: readonly Certificate[],
): OpenReport {
  if (hasNoHeader(request.message)) {
    const empty = openMessage({ ...request, message: new Uint8Array(), known: [] });
    return { ...empty, verdict: 'malformed', reasons: ['malformed'], contentSha256: null };
  }
  const authorities = store.filter((one) => one.isCa).map((one) => one.der);
  const report = openMessage({ ...request, known: authorities });
  const signers = store.filter((one) => report.needs.some((id) => identifies(id, one)));
  if (signers.length === 0) return report;
  report.entity?.wipe();
  return openMessage({ ...request, known: [...signers.map((one) => one.der), ...authorities] });
}

/** No header field at its begin (RFC 5322 3.5): it is no message at all. */
function hasNoHeader(message: Buffer): boolean {
  try {
    return parseEntity(message).fields.length === 0;
  } catch (error) {
    if (!isFault(error)) throw error;
    return false;
  }
}

/** What both commands judge by. */
export interface Judging {
  readonly anchors: readonly Certificate[];
  readonly revocation: RevocationPolicy;
  /** The instant to judge at, ms. */
  readonly at: number;
  readonly floor: Floor;
}

/** Reads what `JudgeOptions` name. With any revocation list each certificate of a path needs one (RULES 23). */
export async function judgingOf(options: JudgeOptions, output: Output): Promise<Judging> {
  const at = options.at === undefined ? systemClock.now() : instantOf(options.at);
  const anchors = await told(readCertificates(options.ca ?? []), output);
  const floor = { ...defaultFloor, allowWeak: options.allowWeak === true };
  if (options.crl === undefined) return { anchors, revocation: revocationOff, at, floor };
  const { crls, problems } = await readCrls(options.crl);
  for (const problem of problems) output.note(problem);
  return { anchors, revocation: { mode: 'hard', evidence: { crls, ocsp: [] } }, at, floor };
}

/** The certificates, after their problems were said. */
export async function told(
  reading: Promise<{ readonly certificates: readonly Certificate[]; readonly problems: readonly string[] }>,
  output: Output,
): Promise<readonly Certificate[]> {
  const { certificates, problems } = await reading;
  for (const problem of problems) output.note(problem);
  return certificates;
}

/** How a command answers that needs no site. */
export function outputOf(command: Command): Output {
  const { json } = command.optsWithGlobals<{ json?: boolean }>();
  const columns = Number(process.env.COLUMNS) || undefined;
  return outputTo({ json: json === true, out: process.stdout, err: process.stderr, columns });
}
