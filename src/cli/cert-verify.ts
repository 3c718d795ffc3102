import type { Command } from 'commander';
import { type PathResult, validatePath } from '../pki/path.ts';
import type { PathPurpose } from '../pki/path-rules.ts';
import type { Reason } from '../pki/reasons.ts';
import { collect, oneOf } from './arguments.ts';
import { type JudgeOptions, judgingOf, outputOf, told, withJudgeOptions } from './inspect.ts';
import { readCertificates } from './inspect-files.ts';
import { remedies } from './inspect-remedies.ts';
import { specific, wordsFor } from './inspect-words.ts';
import { folded, instant, shortSha } from './output.ts';

const purposes = ['any', 'sign', 'encrypt'] as const satisfies readonly PathPurpose[];

interface VerifyOptions extends JudgeOptions {
  readonly untrusted?: readonly string[];
  readonly purpose: string;
}

/** What `cert verify --json` prints: stable, each field in docs/inspect.md (RULES 23). */
export interface CertificateVerdict {
  readonly valid: boolean;
  /** Subjects, leaf first, anchor last; of an invalid result the best that was found. */
  readonly path: readonly string[];
  readonly reasons: readonly Reason[];
  readonly revocation: 'not-checked' | 'good' | 'revoked' | 'unknown';
}

/** `cert verify`: whether a certificate has a valid path, without a site. Exit code 0 valid, 1 not, 2 wrong usage. */
export function addCertVerify(cert: Command): void {
  withJudgeOptions(
    cert
      .command('verify <file>')
      .description(
        'tell whether a certificate (PEM or DER) leads to a trusted authority, and why not; - is standard input',
      ),
  )
    .option('--untrusted <file>', 'intermediate certificates, PEM or DER; may be given again', collect)
    .option('--purpose <purpose>', 'what its key is wanted for: sign, encrypt or any', 'any')
    .addHelpText(
      'after',
      `
Sends nothing, stores nothing, needs no site and no network. Certificates after the first in FILE count as --untrusted.
Exit codes: 0 valid, 1 not valid, 2 wrong usage or a file that cannot be read.
Example: reseal cert verify alice.pem --ca our-ca.pem --crl our-ca.crl --purpose encrypt`,
    )
    .action(verify);
}

async function verify(file: string, options: VerifyOptions, command: Command): Promise<void> {
  const output = outputOf(command);
  const purpose = oneOf('--purpose', options.purpose, purposes);
  const judging = await judgingOf(options, output);
  const untrusted = await told(readCertificates(options.untrusted ?? []), output);
  const [leaf, ...chain] = await told(readCertificates([file]), output);
  // `readCertificates` gives one at least for each file.
  if (!leaf) return;
  const { at, floor, revocation } = judging;
  const result = validatePath(leaf, {
    anchors: { certificates: judging.anchors },
    intermediates: [...chain, ...untrusted],
    at,
    purpose,
    floor,
    revocation,
  });
  const value = verdictOf(result, revocation.mode !== 'off');
  output.result(value, verdictLines(value, result, at, output.width));
  process.exitCode = value.valid ? 0 : 1;
}

function verdictOf(result: PathResult, isChecked: boolean): CertificateVerdict {
  const { valid, path, reasons } = result;
  return {
    valid,
    path: path.map((one) => one.subject),
    reasons: isChecked ? reasons : [...reasons, 'not-checked'],
    revocation: isChecked ? revocationOf(result) : 'not-checked',
  };
}

/** Of a path without an anchor nobody looked for revocation. */
function revocationOf({ valid, reasons, unchecked }: PathResult): CertificateVerdict['revocation'] {
  if (reasons.includes('revoked')) return 'revoked';
  return valid && unchecked.length === 0 ? 'good' : 'unknown';
}

function verdictLines(value: CertificateVerdict, result: PathResult, at: number, width: number): string[] {
  const { valid, reasons, revocation } = value;
  const path = result.path.map(
    (one, index) =>
      `${'  '.repeat(index)}${one.subject} (${shortSha(one.sha256)}, until ${instant(one.notAfter).slice(0, 10)})`,
  );
  const why = specific(reasons.filter((reason) => reason !== 'not-checked'));
  const sentences = why.map((reason) => {
    const issuer = result.missingIssuer;
    if (reason === 'no-path' && issuer)
      return `its chain ends at ${issuer}, which is not among the authorities given; add it with \`--ca FILE\`, or with \`--untrusted FILE\` if it is an intermediate one`;
    const concerned = result.flaws.find((flaw) => flaw.reason === reason)?.certificate;
    return wordsFor(reason, concerned ?? {});
  });
  const say = (text: string, first = '') => folded(text, { width, first });
  return [
    ...say(valid ? `VALID at ${instant(at)}.` : `NOT VALID at ${instant(at)}: ${sentences.join('; ')}.`),
    '',
    ...path,
    '',
    ...say(
      `Revocation: ${revocation === 'not-checked' ? 'not checked; `--crl FILE` gives lists to do it' : revocation}.`,
    ),
    ...(why.length === 0
      ? []
      : [
          '',
          'What would change it:',
          ...[...new Set(why.map((one) => remedies[one]))].flatMap((one) => say(`${one}.`, '- ')),
        ]),
  ];
}
