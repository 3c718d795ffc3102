import type { Clock } from '../base/clock.ts';
import type { Certificate } from '../pki/certificate.ts';
import { type PathResult, type TrustAnchors, validatePath } from '../pki/path.ts';
import type { FindIntermediates } from './intermediates.ts';
import type { Keyring } from './keyring.ts';
import type { ListContext } from './list-context.ts';

/** Validates the path of a certificate that a copy is to be encrypted to (RFC 8550 4.2, RFC 5280 6). */
export type PathOf = (list: ListContext, certificate: Certificate) => Promise<PathResult>;

/** How long a valid path is believed without being validated again; the member's own dates are looked at each time. */
const believedMs = 600_000;
const mostBelieved = 50_000;

/** Makes the validation. Only success is remembered: what was missing may have come a moment later. */
export function validatePathsWith(d: {
  keyring: Keyring;
  intermediates: FindIntermediates;
  clock: Clock;
}): PathOf {
  // By the anchors that were asked: after a reload there are others, and nothing said before counts.
  const believed = new WeakMap<
    TrustAnchors,
    Map<string, { readonly until: number; readonly result: PathResult }>
  >();
  return async (list, certificate) => {
    const now = d.clock.now();
    const anchors = await d.keyring.anchorsOf(list);
    const paths = believed.get(anchors) ?? new Map();
    believed.set(anchors, paths);
    const key = `${list.id} ${certificate.sha256}`;
    const known = paths.get(key);
    if (known && known.until > now) return known.result;
    const validate = (intermediates: readonly Certificate[]) =>
      validatePath(certificate, { anchors, intermediates, at: now, purpose: 'encrypt', floor: list.floor });
    // Most authorities are anchors themselves: nothing to look up.
    const direct = validate([]);
    const result = direct.valid ? direct : validate(await d.intermediates(certificate));
    if (paths.size > mostBelieved) paths.clear();
    if (result.valid) paths.set(key, { until: now + believedMs, result });
    return result;
  };
}
