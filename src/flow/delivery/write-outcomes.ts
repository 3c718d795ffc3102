import type { Clock } from '../../base/clock.ts';
import { nextAttempt } from '../../policy/retry.ts';
import type { RelayedOutcome } from '../../smtp/relays.ts';
import type { Queries } from '../../store/database.ts';
import type { ClaimedRow } from '../../store/deliveries.ts';
import { type AttemptDetails, defer, finish, type Outcome as RowOutcome } from '../../store/outcomes.ts';
import { noteRefusals, type Refusal } from '../../store/refusals.ts';
import { sentenceFor } from '../post/verdict-record.ts';
import type { Addressee } from './batch.ts';

export interface RetryParts {
  readonly clock: Clock;
  readonly lifetimeMs: number;
  /** A number from 0 to 1, for the jitter of retries. */
  readonly random: () => number;
}

/** What the relay said to one copy for one member. */
export interface Answer {
  readonly addressee: Addressee;
  readonly outcome: RelayedOutcome;
}

const relayDown = 'relay-down';

/** Writes the relay's answers down: rows that end, all at once, and rows that are put off. */
export async function writeAnswers(
  tx: Queries,
  parts: RetryParts,
  answers: readonly Answer[],
): Promise<void> {
  const final = answers.flatMap((answer) => finalOf(answer) ?? []);
  const at = parts.clock.now();
  await finish(tx, final, at);
  await noteRefusals(tx, answers.flatMap(refusalIn), at);
  for (const { addressee, outcome } of answers) {
    if (outcome.kind !== 'deferred') continue;
    // Not of a relay that fell silent after the final dot: it may have taken the copy, which comes back less and less
    // often, not each five minutes for five days.
    const reason = outcome.relayDown ? relayDown : (outcome.enhanced ?? 'deferred');
    const why = { reason, detail: `the relay did not take it: ${replyIn(outcome)}` };
    await retryLater(tx, parts, [addressee.row], why, detailsOf({ addressee, outcome }));
  }
}

/** A refusal in so many words; what was not offered to the relay is none. */
function refusalIn({ addressee, outcome }: Answer): Refusal[] {
  const { kind, code, enhanced, ofRecipient, text: reply } = outcome;
  if (kind !== 'refused' || code === null) return [];
  return [
    { deliveryId: addressee.row.id, ofRecipient, code: enhanced ? `${code} ${enhanced}` : `${code}`, reply },
  ];
}

function finalOf(answer: Answer): RowOutcome | null {
  const { row } = answer.addressee;
  const { kind, command, enhanced, text } = answer.outcome;
  const details = detailsOf(answer);
  if (kind === 'deferred') return null;
  if (kind === 'delivered') {
    const reason = answer.addressee.certificate?.weaker ? 'weaker-than-received' : null;
    return {
      id: row.id,
      state: 'delivered',
      reason,
      detail: reason && sentenceFor(reason, null),
      ...details,
    };
  }
  const { misfit } = answer.outcome;
  if (misfit !== undefined) {
    const detail = `${sentenceFor(misfit, null)} (${text})`;
    return { id: row.id, state: 'failed', reason: misfit, detail, ...details };
  }
  const detail = `the relay refused it${command ? ` at ${command}` : ''}: ${replyIn(answer.outcome)}`;
  return { id: row.id, state: 'failed', reason: enhanced ?? 'refused', detail, ...details };
}

/** As the relay said it, `550 5.1.1 no such user`: by the code a postmaster finds it in the relay's log. */
function replyIn({ code, enhanced, text }: RelayedOutcome): string {
  return [code, enhanced, text].filter((part) => part !== null && part !== '').join(' ');
}

function detailsOf({ addressee: { certificate }, outcome }: Answer): AttemptDetails {
  return {
    certificate: certificate?.sha256 ?? null,
    cipher: certificate?.cipher ?? null,
    keyTransport: certificate?.keyTransport ?? null,
    relay: outcome.relay,
    reply: outcome.text,
  };
}

/** Puts rows off by the retry table, or gives them up at the end of their lifetime. */
export async function retryLater(
  tx: Queries,
  parts: RetryParts,
  rows: readonly ClaimedRow[],
  why: { reason: string; detail: string },
  details: AttemptDetails = {},
): Promise<void> {
  const { lifetimeMs } = parts;
  const at = parts.clock.now();
  for (const row of rows) {
    // The lifetime of a released copy begins when it was released: its row says until when.
    const createdAt = row.expiresAt - lifetimeMs;
    // A relay that is down says nothing about the copy: it comes back as after a first failure, not ever later, and it does not count.
    const isDown = why.reason === relayDown;
    const attempts = isDown ? 1 : row.attempts;
    const next = nextAttempt({ attempts, createdAt, now: at, lifetimeMs, jitter: parts.random() });
    if ('giveUp' in next) await finish(tx, [{ id: row.id, state: 'expired', ...why, ...details }], at);
    else {
      const counted = isDown ? { attempts: row.attempts - 1 } : {};
      await defer(tx, [{ id: row.id, ...why, nextAt: next.at, ...details, ...counted }], at);
    }
  }
}
