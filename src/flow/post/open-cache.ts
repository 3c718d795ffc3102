import type { Plaintext } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';

/** Recently opened entities by posting, so that the batches of one posting open it once (RULES 21). */
export interface OpenCache {
  get(postingId: number): Plaintext | null;
  put(postingId: number, entity: Plaintext): void;
  /** Wipes what was put for this posting. */
  drop(postingId: number): void;
  /** Wipes what is older than its time. */
  sweep(): void;
  /** Wipes everything. */
  clear(): void;
}

/** A cache of at most `octets` and of entries at most `ageMs` old; what leaves it is overwritten with zeros. */
export function openCache(d: { octets: number; ageMs: number; clock: Clock }): OpenCache {
  const entries = new Map<number, { readonly entity: Plaintext; readonly until: number }>();
  let held = 0;
  const drop = (postingId: number): void => {
    const entry = entries.get(postingId);
    if (!entry) return;
    entries.delete(postingId);
    held -= entry.entity.length;
    entry.entity.wipe();
  };
  const sweep = (): void => {
    for (const [postingId, { until }] of entries) if (until <= d.clock.now()) drop(postingId);
  };
  return {
    get: (postingId) => entries.get(postingId)?.entity ?? null,
    put(postingId, entity) {
      drop(postingId);
      entries.set(postingId, { entity, until: d.clock.now() + d.ageMs });
      held += entity.length;
      // The newest stays even if it alone is larger: its batches need it now.
      for (const oldest of entries.keys()) {
        if (held <= d.octets || oldest === postingId) break;
        drop(oldest);
      }
    },
    drop,
    sweep,
    clear: () => {
      for (const postingId of [...entries.keys()]) drop(postingId);
    },
  };
}
