import { openLookUps } from '../app/open-look-ups.ts';
import { openRevocation } from '../app/open-revocation.ts';
import { everyList } from '../flow/lists/list-context.ts';
import { type CertificateProblem, certificateProblems } from '../flow/operator/certificate-problems.ts';
import { bindingsOf } from '../store/bindings.ts';
import { addressOf } from './arguments.ts';
import { counted, folded, instant, shortSha } from './output.ts';
import type { Session } from './site-command.ts';

/** `cert list --problems`: what is wrong with certificates in use, and what to do; of one address if given. */
export async function listProblems(session: Session, text: string | undefined): Promise<void> {
  const { database, keyring, site, output, now } = session;
  const revocation = openRevocation(site, session);
  const unreadable = (list: string, words: string) => output.note(`${list} is left out: ${words}`);
  const address = text === undefined ? null : addressOf(text);
  const problems = await certificateProblems(
    {
      q: database.q,
      keyring,
      revocation,
      intermediates: openLookUps(session, revocation).intermediates,
      lists: await everyList(database.q, site.defaults, unreadable),
      mayFetch: site['fetch.hosts'].length > 0,
      now,
    },
    address,
  );
  const grouped = byCertificate(problems);
  const isKnown = address === null || (await bindingsOf(database.q, address)).length > 0;
  output.result(
    grouped.map(problemValue),
    grouped.length === 0
      ? [
          isKnown
            ? 'All certificates in use are good for 30 days at least, and none waits for approval.'
            : `No certificate is known for ${address}: a signed mail of his, or \`reseal cert import\`, brings it.`,
        ]
      : [...grouped.flatMap((one) => linesOf(one, output.width)), `${counted(grouped.length, 'problem')}.`],
  );
}

interface Grouped extends CertificateProblem {
  readonly purposes: readonly string[];
}

/** One entry for a certificate that has the same problem for both purposes. */
function byCertificate(problems: readonly CertificateProblem[]): Grouped[] {
  const grouped = new Map<string, Grouped>();
  for (const one of problems) {
    const key = [one.address, one.certificate.sha256, one.reason, one.why, one.refusedBy?.join()].join(' ');
    const purposes = [...(grouped.get(key)?.purposes ?? []), one.purpose];
    grouped.set(key, { ...one, purposes });
  }
  return [...grouped.values()];
}

function problemValue({ address, purposes, certificate, reason, why, refusedBy, remedy }: Grouped) {
  const { sha256, subject, issuer, notAfter } = certificate;
  return {
    address,
    purposes,
    reason,
    why,
    refusedBy,
    remedy,
    sha256,
    subject,
    issuer,
    notAfter: instant(notAfter),
  };
}

function linesOf(
  { address, purposes, certificate, reason, why, refusedBy, remedy }: Grouped,
  width: number,
): string[] {
  const { sha256, subject } = certificate;
  // Most sentences name it themselves.
  const about = why.includes(subject) ? '' : `${subject}: `;
  const by = refusedBy === null ? '' : ` (so ${refusedBy.join(', ')}; other lists take it or say otherwise)`;
  return [
    `${address}  ${purposes.join(', ')}  ${shortSha(sha256)}  ${reason}`,
    ...folded(`${about}${why}${by}.`, { width, first: '  ' }),
    ...folded(`What to do: ${remedy}.`, { width, first: '  ' }),
    '',
  ];
}
