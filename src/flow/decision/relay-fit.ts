import { isAscii } from 'node:buffer';
import { parseEntity } from '../../mime/entity.ts';
import type { Outcome } from '../../smtp/outcome.ts';
import type { Relays } from '../../smtp/relays.ts';
import type { Decision } from '../post/authorize.ts';
import type { Prepared } from '../post/prepare.ts';
import { leastSealedSize } from '../post/sealed-size.ts';
import type { PostingWork } from './posting-work.ts';

/** RFC 5321 4.5.3.1.7: every mail server takes so much; about less none is asked. */
const alwaysTaken = 64 * 1024;

/** A post and how its copies are to leave. */
export interface ToFit {
  readonly work: Pick<PostingWork, 'message' | 'spooled' | 'outer'>;
  readonly prepared: Pick<Prepared, 'mode' | 'sign'>;
  /** Octets of the entity that copies carry, if the post came encrypted. */
  readonly openedSize: number | null;
}

/**
 * What a post that was authorized or held comes to if no relay at all could take a copy of it (RULES 12): refused now, with
 * one report, instead of once for each member. Unchanged if one could, or none can be asked now.
 */
export async function unlessUnfit(
  relays: Pick<Relays, 'misfit'>,
  decision: Decision,
  post: ToFit,
): Promise<Decision> {
  const misfit = await misfitOfAll(relays, post);
  if (misfit?.misfit === undefined) return decision;
  return { kind: 'refused', rule: 'relay', reason: misfit.misfit, detail: misfit.text };
}

async function misfitOfAll(
  relays: Pick<Relays, 'misfit'>,
  { work, prepared, openedSize }: ToFit,
): Promise<Outcome | null> {
  const { mode, sign } = prepared;
  const { requireTls } = work.message.envelope;
  const { bytes } = work.spooled;
  const body = bytes.subarray((work.outer?.entity ?? parseEntity(bytes)).bodyStart);
  const entity = openedSize ?? body.length;
  const octets = mode === 'sealed' ? leastSealedSize({ entity, signsList: sign !== 'none' }) : entity;
  // What the list signs is 7 bit (RFC 8551 3.1.3); of copies that are sealed where the member can, none may need it.
  const body8bit = mode === 'clear' && sign === 'none' && !isAscii(body);
  if (octets <= alwaysTaken && !body8bit && !requireTls) return null;
  return relays.misfit({ octets, smtpUtf8: false, body8bit, requireTls });
}
