import { identifies } from '../cms/identifier.ts';
import type { Reason } from '../pki/reasons.ts';
import type { JudgedSigner, Pin } from './judge.ts';

/** RULES 22, most severe first: malformed > unopened > invalid > mismatch > untrusted > unsigned > signed. */
export type Verdict = 'malformed' | 'unopened' | 'invalid' | 'mismatch' | 'untrusted' | 'unsigned' | 'signed';

export interface Claim {
  /** The one mailbox of the outer From, or null: no From, two fields, two mailboxes, not an address. */
  readonly from: string | null;
  /** The one mailbox of Sender, to tell `signed-by-sender` apart (RULES 3). */
  readonly sender: string | null;
  /** The protected From, if the payload has one. */
  readonly protectedFrom: { readonly address: string | null } | null;
}

export interface Judgement {
  readonly verdict: Verdict;
  /** The address that signed and that From names; null unless the verdict is `signed`. */
  readonly author: string | null;
  /** The signer that decides: the trusted one whose certificate names From. */
  readonly signer: JudgedSigner | null;
  /** The intact signers whose certificate names From: what is missing for their trust is worth looking for. */
  readonly speaking: readonly JudgedSigner[];
  readonly reasons: readonly Reason[];
}

/**
 * What the signers inside the innermost encryption prove about From (RULES 1 to 3, RFC 8550 3).
 * `signers` is null when there is no signature there.
 */
export function judgeClaim(
  signers: readonly JudgedSigner[] | null,
  layerReasons: readonly Reason[],
  claim: Claim,
  pins: readonly Pin[],
): Judgement {
  const none = { author: null, signer: null, speaking: [] };
  const isBroken = layerReasons.some((reason) => reason !== 'no-signers');
  if (isBroken) return { ...none, verdict: 'invalid', reasons: layerReasons };
  const all = signers ?? [];
  const intact = all.filter((signer) => signer.verdict.intact);
  const broken = all.filter((signer) => !signer.verdict.intact && !isUnjudged(signer, intact));
  const reasons = [...new Set(all.flatMap((signer) => signer.verdict.reasons))];
  // One bad signature makes the message not signed, whatever the others say (RFC 5652 5: each signer speaks).
  if (broken.some((signer) => !isUnknown(signer))) return { ...none, verdict: 'invalid', reasons };
  // RFC 9788 4.4: what a reader of the outer header sees is not what was written, signed or not.
  if (claim.protectedFrom && claim.protectedFrom.address !== claim.from)
    return { ...none, verdict: 'mismatch', reasons: [...reasons, 'header-mismatch'] };
  if (all.length === 0)
    return { ...none, verdict: 'unsigned', reasons: signers === null ? [] : ['no-signers'] };
  if (claim.from === null) return { ...none, verdict: 'mismatch', reasons: [...reasons, 'two-from'] };
  if (intact.length === 0 || broken.length > 0)
    return { ...none, verdict: 'untrusted', reasons: reasons.length ? reasons : ['signer-unknown'] };

  const { from } = claim;
  const speaking = intact.filter((signer) => speaksFor(signer, from, pins));
  if (speaking.length === 0)
    return { ...none, verdict: 'mismatch', reasons: [...reasons, mismatchOf(intact, claim)] };
  const signer = speaking.find((one) => one.verdict.trusted);
  if (!signer)
    return { ...none, verdict: 'untrusted', speaking, reasons: reasons.length ? reasons : ['no-path'] };
  return { verdict: 'signed', author: from, signer, speaking, reasons: [] };
}

/** Whether a signature covers what is below the layer, whoever made it and whatever that is worth. */
export function isIntact(signers: readonly JudgedSigner[], layerReasons: readonly Reason[]): boolean {
  const intact = signers.filter((signer) => signer.verdict.intact);
  const broken = signers.some((signer) => !signer.verdict.intact && !isUnknown(signer));
  return intact.length > 0 && !broken && layerReasons.length === 0;
}

function speaksFor(signer: JudgedSigner, from: string, pins: readonly Pin[]): boolean {
  const { addresses, certificate } = signer.verdict;
  // A pin is for one address: what else the certificate says of itself nobody has checked.
  const named = addresses.includes(from) && !signer.pinned;
  return named || pins.some((pin) => pin.sha256 === certificate && pin.address === from);
}

function mismatchOf(signers: readonly JudgedSigner[], claim: Claim): Reason {
  const addresses = signers.flatMap((signer) => signer.verdict.addresses);
  if (addresses.length === 0) return 'no-address';
  return claim.sender !== null && addresses.includes(claim.sender) ? 'signed-by-sender' : 'no-address-match';
}

/** An algorithm that we lack, beside a good signature of the same signer, is only reported (RFC 5752). */
function isUnjudged(signer: JudgedSigner, intact: readonly JudgedSigner[]): boolean {
  if (!signer.verdict.reasons.includes('unsupported')) return false;
  return intact.some(
    ({ report }) => report.certificate !== null && identifies(signer.report.id, report.certificate),
  );
}

/** No certificate or no algorithm to check it with: nothing is proven, neither good nor bad. */
function isUnknown(signer: JudgedSigner): boolean {
  return signer.verdict.reasons.some((reason) => reason === 'signer-unknown' || reason === 'unsupported');
}
