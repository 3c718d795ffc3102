import { dayOf } from '../../base/day.ts';
import type { ListPolicy } from '../../policy/settings.ts';
import { type TrustSource, trustOf } from '../../policy/trust.ts';
import { outdatedIn, outdatedRemedy, readCrlFiles } from '../lists/crl-files.ts';
import { type Finding, finding } from './check-files.ts';

/** Whether the revocation lists in files can be read and are current. */
export async function checkCrls(source: TrustSource, about: string, now: number): Promise<Finding[]> {
  if (!namesCrls(source)) return [];
  const { crls, problems, fault } = await readCrlFiles(source);
  const over = outdatedIn(crls, now);
  const until = ({ nextUpdate }: (typeof over)[number]) =>
    nextUpdate === null ? 'does not say how long it holds' : `ended on ${dayOf(nextUpdate)}`;
  const current = crls.length - over.length;
  return [
    ...(fault ? [finding('problem', about, fault.message)] : []),
    // One broken file beside others is a blemish; where no list is left, nobody's certificate is looked up.
    ...problems.map((problem) =>
      finding(
        crls.length > 0 ? 'warning' : 'problem',
        about,
        `a revocation list cannot be read: ${problem}; look at trust.crlfile and trust.crlpath`,
      ),
    ),
    ...over.map((crl) =>
      finding(
        'problem',
        about,
        `the revocation list ${crl.path} of ${crl.issuer} ${until(crl)}: ${outdatedRemedy}`,
      ),
    ),
    ...(current > 0 ? [finding('good', about, `current revocation lists: ${current}`)] : []),
  ];
}

/** The site's own revocation lists, for all lists that have none; or that there are none, and nobody would notice. */
export async function checkSiteCrls(
  source: TrustSource,
  d: { readonly mayFetch: boolean; readonly about: string; readonly now: number },
): Promise<Finding[]> {
  if (namesCrls(source)) return checkCrls(source, d.about, d.now);
  const hasAuthorities = source.cafile !== null || source.capath !== null;
  return hasAuthorities && !d.mayFetch
    ? [
        finding(
          'warning',
          d.about,
          'no revocation lists are given: a certificate that its authority has revoked is still believed; set trust.crlfile, trust.crlpath or fetch.hosts',
        ),
      ]
    : [];
}

/**
 * Whether a list can do what its `revocation` asks: its own revocation lists, or that there are none at all. Those of
 * the site are looked at once, for all lists.
 */
export async function checkRevocation(
  policy: ListPolicy,
  d: {
    readonly site: TrustSource;
    /** Whether `fetch.hosts` names any. */
    readonly mayFetch: boolean;
    readonly about: string;
    readonly now: number;
  },
): Promise<Finding[]> {
  const source = trustOf(policy, d.site);
  if (policy.revocation === 'off') return [];
  const isOwn = source.crlfile !== d.site.crlfile || source.crlpath !== d.site.crlpath;
  if (namesCrls(source)) return isOwn ? checkCrls(source, d.about, d.now) : [];
  return policy.revocation === 'hard' && !d.mayFetch
    ? [
        finding(
          'problem',
          d.about,
          'revocation: hard trusts no certificate without a current revocation list, and none is given: set trust.crlfile, trust.crlpath or fetch.hosts, or revocation: soft',
        ),
      ]
    : [];
}

const namesCrls = ({ crlfile, crlpath }: TrustSource): boolean => crlfile !== null || crlpath !== null;
