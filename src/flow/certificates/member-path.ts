import type { Clock } from '../../base/clock.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { type PathResult, type TrustAnchors, validatePath } from '../../pki/path.ts';
import { wantedFor } from '../../pki/wanted.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { FindIntermediates } from '../revocation/intermediates.ts';
import { isNothing, merged, nothingObtained, type Obtained } from '../revocation/obtained.ts';
import type { RevocationBook } from '../revocation/revocation-book.ts';

/** Validates the path of a certificate that a copy is to be encrypted to (RFC 8550 4.2, RFC 5280 6). */
export type PathOf = (list: ListContext, certificate: Readable) => Promise<PathResult>;

/** A certificate that is read only if it must be: most were validated a moment ago. */
export interface Readable {
  readonly sha256: string;
  read(): Promise<Certificate>;
}

/** How long a valid path is believed without being validated again; the member's own dates are looked at each time. */
const believedMs = 600_000;
const mostBelieved = 50_000;
/** An authority that was fetched has a list of its own to be fetched. */
const mostRounds = 3;

interface Believed {
  /** Of the revocation book: what is newer may say otherwise. */
  readonly version: number;
  readonly paths: Map<string, { readonly until: number; readonly result: PathResult }>;
}

/** Makes the validation. Only success is remembered: what was missing may have come a moment later. */
export function validatePathsWith(d: {
  keyring: Pick<Keyring, 'anchorsOf'>;
  intermediates: FindIntermediates;
  revocation: RevocationBook;
  clock: Clock;
}): PathOf {
  // By the anchors that were asked: after a reload there are others, and nothing said before counts.
  const believed = new WeakMap<TrustAnchors, Believed>();
  const believedFor = (anchors: TrustAnchors): Believed['paths'] => {
    const version = d.revocation.version();
    const known = believed.get(anchors);
    if (known?.version === version) return known.paths;
    const fresh = { version, paths: new Map() };
    believed.set(anchors, fresh);
    return fresh.paths;
  };

  const validate = async (
    list: ListContext,
    certificate: Certificate,
    d2: { anchors: TrustAnchors; at: number; obtained: Obtained },
  ): Promise<PathResult> => {
    const { anchors, at, obtained } = d2;
    const revocation = await d.revocation.policyOf(list, obtained);
    const request = { anchors, at, purpose: 'encrypt', floor: list.floor, revocation } as const;
    // Most authorities are anchors themselves: nothing to look up.
    const direct = validatePath(certificate, { ...request, intermediates: [] });
    if (direct.valid) return direct;
    const intermediates = [...(await d.intermediates(certificate)), ...obtained.issuers];
    return validatePath(certificate, { ...request, intermediates });
  };

  return async (list, readable) => {
    const at = d.clock.now();
    const anchors = await d.keyring.anchorsOf(list);
    const key = `${list.id} ${list.policy.revocation} ${readable.sha256}`;
    const known = believedFor(anchors).get(key);
    if (known && known.until > at) return known.result;
    const certificate = await readable.read();
    let obtained = nothingObtained;
    let result = await validate(list, certificate, { anchors, at, obtained });
    for (let round = 0; round < mostRounds; round++) {
      const more = await d.revocation.obtain(wantedFor(result), obtained);
      if (isNothing(more)) break;
      obtained = merged(obtained, more);
      result = await validate(list, certificate, { anchors, at, obtained });
    }
    await d.revocation.keep(obtained, {
      authorities: { list, anchors, others: [...result.path, ...obtained.issuers], at },
      open: new Set(result.unchecked.map((one) => one.sha256)),
      path: result.valid ? result.path : [],
    });
    const paths = believedFor(anchors);
    if (paths.size > mostBelieved) paths.clear();
    if (result.valid) paths.set(key, { until: at + believedMs, result });
    return result;
  };
}
