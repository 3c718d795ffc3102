import { isFault } from '../base/errors.ts';
import type { Envelope } from '../mime/envelope.ts';
import type { IncomingMessage } from './incoming.ts';
import { type Answer, accepted, answers, type Reply } from './replies.ts';

/** A message that `store` has made durable; what else it holds is the caller's. */
export interface Stored {
  /** Shown to the client in the 250 and used in logs. */
  readonly id: string;
}

/** Where something failed that the client is told only vaguely about. */
export type Trouble = 'lookup' | 'store' | 'judge' | 'commit' | 'discard';

/** What happens with a message after DATA; given by the caller of `receive`. */
export interface Intake<S extends Stored> {
  /**
   * Writes the message down; durable when resolved. May throw Fault `spool-full` (452 4.3.1) or `spool-unwritable` (452 4.3.5); any other error is
   * 451 4.3.0. When iterating `message` throws, it must remove what it wrote and throw too.
   */
  store(envelope: Envelope, message: AsyncIterable<Buffer>): Promise<S>;
  /** One reply for each address of `envelope.to`, in its order. A throw is 451 4.3.0 and the message is discarded. */
  judge(stored: S, envelope: Envelope): Promise<readonly Reply[]>;
  /**
   * Hands the message to the pipeline; resolved, it will never be lost, and the client hears 250. `refused` says
   * which addresses of `envelope.to` must not get it. If it throws, the client keeps the message (as with `store`) and it
   * is discarded.
   */
  commit(stored: S, refused: readonly boolean[]): Promise<void>;
  /** Removes a stored message that nobody accepted. */
  discard(stored: S): Promise<void>;
  /** Told of errors that are ours, for the log. */
  trouble?(where: Trouble, error: unknown): void;
}

/**
 * Takes one message from DATA to its answers: one for each address of `envelope.to`. In SMTP, where one reply counts
 * for all, a message to several addresses is not judged: one list's refusal must not keep it from the others.
 */
export async function takeMessage<S extends Stored>(
  intake: Intake<S>,
  envelope: Envelope,
  message: IncomingMessage,
  lmtp: boolean,
): Promise<readonly Answer[]> {
  const all = (answer: Answer): Answer[] => envelope.to.map(() => answer);
  const discard = async (stored: S): Promise<void> => {
    await intake.discard(stored).catch((error: unknown) => intake.trouble?.('discard', error));
  };

  let stored: S;
  try {
    stored = await intake.store(envelope, message);
  } catch (error) {
    await message.drain();
    if (message.refusal !== null) return all(message.refusal);
    if (!isFault(error, 'client-gone')) intake.trouble?.('store', error);
    return all(answerTo(error));
  }
  // A store that overlooked the end of the stream has kept half a message.
  if (!message.complete) {
    await discard(stored);
    await message.drain();
    return all(message.refusal ?? answers.trouble);
  }

  let replies: readonly Answer[] = all(accepted(stored.id));
  if (lmtp || envelope.to.length === 1) {
    try {
      replies = await intake.judge(stored, envelope);
      if (replies.length !== envelope.to.length)
        throw new Error(`${replies.length} replies for ${envelope.to.length}`);
    } catch (error) {
      intake.trouble?.('judge', error);
      await discard(stored);
      return all(answers.trouble);
    }
  }

  const refused = replies.map((reply) => reply.code !== 250);
  if (!refused.includes(false)) {
    await discard(stored);
    return replies;
  }
  try {
    await intake.commit(stored, refused);
    return replies;
  } catch (error) {
    intake.trouble?.('commit', error);
    await discard(stored);
    return replies.map((reply) => (reply.code === 250 ? answerTo(error) : reply));
  }
}

/** What the client hears of an error that is ours. */
function answerTo(error: unknown): Answer {
  if (isFault(error, 'spool-full')) return answers.spoolFull;
  return isFault(error, 'spool-unwritable') ? answers.spoolUnwritable : answers.trouble;
}
