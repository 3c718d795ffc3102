import { isAscii } from 'node:buffer';
import { isFault } from '../../base/errors.ts';
import { parseEntity } from '../../mime/entity.ts';
import type { Findings } from '../../smime/open.ts';
import type { Needs } from '../../smtp/capabilities.ts';
import type { Outcome } from '../../smtp/outcome.ts';
import { smallestCopies } from '../delivery/copy-sizes.ts';
import { distributionHeader } from '../delivery/distribution-header.ts';
import { outgoingOf } from '../delivery/outgoing.ts';
import type { Decision } from '../post/authorize.ts';
import { clearOctets, type Prepared } from '../post/prepare.ts';
import { leastSealedSize, mostSealedSize } from '../post/sealed-size.ts';
import { receivedBits, toJson, verdictRecord } from '../post/verdict-record.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';

/** RFC 5321 4.5.3.1.7: every mail server takes so much; about less none is asked. */
const alwaysTaken = 64 * 1024;

/** A post and how its copies are to leave. */
export interface ToFit {
  readonly work: PostingWork;
  readonly prepared: Prepared;
  /** Octets of the entity that copies carry, if the post came encrypted. */
  readonly openedSize: number | null;
  readonly report: Findings;
}

type FitParts = Pick<
  FlowParts,
  'relays' | 'database' | 'workers' | 'findRecipients' | 'keyring' | 'cache' | 'clock' | 'openedSize'
>;

/**
 * What a post that was authorized or held comes to if no relay at all could take a copy of it (RULES 12): refused now, with
 * one report, instead of once for each member. Unchanged if one could, or none can be asked now.
 */
export async function unlessUnfit(parts: FitParts, decision: Decision, post: ToFit): Promise<Decision> {
  const misfit = await misfitOfAll(parts, post);
  if (misfit?.misfit === undefined) return decision;
  return { kind: 'refused', rule: 'relay', reason: misfit.misfit, detail: misfit.text };
}

async function misfitOfAll(parts: FitParts, post: ToFit): Promise<Outcome | null> {
  const { work, prepared, openedSize } = post;
  const { mode, sign } = prepared;
  const { requireTls } = work.message.envelope;
  const { bytes } = work.spooled;
  const message = work.outer?.entity ?? parseEntity(bytes);
  const body = bytes.subarray(message.bodyStart);
  const entity = openedSize ?? body.length;
  // What the list signs is 7 bit (RFC 8551 3.1.3); of copies that are sealed where the member can, none may need it.
  const body8bit = mode === 'clear' && sign === 'none' && !isAscii(body);
  const needs = (octets: number): Needs => ({ octets, smtpUtf8: false, body8bit, requireTls });
  const signsList = sign !== 'none';
  const least = mode === 'sealed' ? leastSealedSize({ entity, signsList }) : entity;
  if (least <= alwaysTaken && !body8bit && !requireTls) return null;
  if (mode !== 'sealed') {
    // What is signed in clear is larger yet, and so is what is sealed where the member can.
    const header = distributionHeader(message, work.list, prepared, 'clear');
    return parts.relays.misfit(needs(clearOctets(message, header)));
  }
  const misfit = await parts.relays.misfit(needs(least));
  if (misfit !== null) return misfit;
  const most = mostSealedSize({ entity, signsList, header: message.bodyStart });
  if ((await parts.relays.misfit(needs(most))) === null) return null;
  return misfitOfSmallest(parts, post, needs);
}

/**
 * The same of a post that is about as large as the relays take, by its real copies: null if one of them fits, or if there
 * is none now.
 */
async function misfitOfSmallest(
  parts: FitParts,
  { work, prepared, openedSize, report }: ToFit,
  needs: (octets: number) => Needs,
): Promise<Outcome | null> {
  const { list } = work;
  const outgoing = outgoingOf(parts, { ...work, prepared });
  const entity = await outgoing.octetsToSeal(openedSize).catch((error: unknown) => {
    // Its copies will wait for the key.
    if (!isFault(error, 'key-locked')) throw error;
    return null;
  });
  if (entity === null) return null;
  const { receivedAt } = work.spooled;
  const verdict = toJson(verdictRecord(report, { decision: 'authorized', rule: '', receivedAt }));
  let smallest = Number.POSITIVE_INFINITY;
  let misfit: Outcome | null = null;
  for await (const octets of smallestCopies(parts, {
    list,
    header: outgoing.header,
    entity,
    receivedBits: receivedBits({ verdict }),
  })) {
    if (octets >= smallest) continue;
    smallest = octets;
    misfit = await parts.relays.misfit(needs(octets));
    if (misfit === null) return null;
  }
  return misfit;
}
