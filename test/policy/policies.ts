import { resolvePolicy } from '../../src/policy/resolve.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';

/** The default policy with some settings changed. */
export function policyWith(list: Partial<ListPolicy> = {}, profile: string | null = null): ListPolicy {
  return resolvePolicy({ site: {}, profile, list }).policy;
}
