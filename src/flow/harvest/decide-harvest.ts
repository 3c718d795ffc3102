import type { AuthorSignature } from '../../smime/author-signature.ts';
import { bindingsOf } from '../../store/bindings.ts';
import type { Queries } from '../../store/database.ts';
import { listsOfAddress } from '../../store/members.ts';
import type { ListContext, SiteDefaults } from '../lists/list-context.ts';
import { knownFor } from './file-certificates.ts';
import {
  type Filing,
  filingsFor,
  furtherFilings,
  type HarvestFacts,
  isKnownSigner,
  signatureWithNews,
} from './harvest.ts';
import { listForHarvest } from './harvest-policy.ts';

/** What becomes of the certificates of a verified mail: for its author, and for other addresses that they name. */
export interface HarvestDecision {
  /** The signature that brings the news. */
  readonly signature: AuthorSignature;
  readonly filings: readonly Filing[];
  readonly further: readonly { readonly address: string; readonly filings: readonly Filing[] }[];
}

/** Addresses of one certificate that are looked at. */
const mostAddresses = 20;

/**
 * Decides what the certificates of a verified signature become, by all that is known and by the most careful of the lists
 * of each address (RULES 15, 16). Writes nothing: the harvest files it in the same transaction, a preview tells it.
 */
export async function decideHarvest(
  q: Queries,
  d: Pick<
    HarvestFacts,
    'address' | 'anchors' | 'intermediates' | 'revocation' | 'revokedKeys' | 'receivedAt'
  > & {
    readonly list: ListContext;
    readonly signature: AuthorSignature;
    readonly defaults: SiteDefaults;
  },
): Promise<HarvestDecision> {
  const { list, defaults, signature: given, ...trust } = d;
  const known = await knownFor(q, d.address);
  const signature = signatureWithNews(given, known.inUse);
  const facts = { ...trust, ...known, signature };
  const filings = filingsFor(await listForHarvest(q, list, d.address, defaults), facts);
  const further = [];
  for (const address of namedBeside(d.address, filings)) {
    const found = await furtherFor(q, { list, defaults, facts, filings, address });
    if (found.length > 0) further.push({ address, filings: found });
  }
  return { signature, filings, further };
}

function namedBeside(author: string, filings: readonly Filing[]): ReadonlySet<string> {
  const named = new Set(filings.flatMap(({ certificate }) => certificate.addresses.slice(0, mostAddresses)));
  named.delete(author);
  return named;
}

/** What they become for another address of a member: they fill gaps (RULES 16). */
async function furtherFor(
  q: Queries,
  d: {
    readonly list: ListContext;
    readonly defaults: SiteDefaults;
    readonly facts: HarvestFacts;
    readonly filings: readonly Filing[];
    readonly address: string;
  },
): Promise<Filing[]> {
  const { facts, filings, address } = d;
  if ((await listsOfAddress(q, address)).length === 0) return [];
  // What another key is known for has no gap that this signer may fill.
  if (!isKnownSigner(await knownFor(q, address), facts.signature)) return [];
  const bound = new Set((await bindingsOf(q, address)).map((one) => one.purpose));
  const gaps = (['sign', 'enc'] as const).filter((purpose) => !bound.has(purpose));
  const list = await listForHarvest(q, d.list, address, d.defaults);
  return furtherFilings(list, facts, { filings, address, gaps });
}
