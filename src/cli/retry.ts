import { join } from 'node:path';
import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { type Retried, retryMessage } from '../flow/operator/queue-control.ts';
import { holderOf } from '../store/lock.ts';
import { findMessage } from '../store/messages.ts';
import { postingsOf } from '../store/postings.ts';
import { messageIdsNamed } from './message-name.ts';
import { counted } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** `retry`: `queue retry` of one message, by its Message-ID too. */
export function addRetry(program: Command): void {
  program
    .command('retry <message>')
    .description(
      'open a message again that could not be opened or verified before a key, an authority or a certificate was added',
    )
    .addHelpText(
      'after',
      `
MESSAGE is its Message-ID or its id in the spool. It also leaves quarantine, and its deferred copies are tried again. A
post that was held or refused because nobody vouched for its signature is judged again as of the time that it came; what
was distributed, or decided by a person, is not. What could not be opened or verified is kept for the list's
unopened.retry-days, and is tried by itself when keys or authorities change. Everything that waits: \`reseal queue retry --all\`.
Example: reseal retry '<20260131.1@example.org>'`,
    )
    .action(onSite<[string]>(retry));
}

async function retry(session: Session, name: string): Promise<void> {
  const { database, spool, output, site, now, who } = session;
  const done = [];
  for (const id of await messageIdsNamed(session, name)) {
    const retried = await retryMessage({ database, spool }, id, { who, now });
    const isIdle = retried.messages + retried.postings + retried.copies === 0;
    done.push({ id, ...retried, why: isIdle ? await whyIdle(session, id) : null });
  }
  output.result(
    done,
    done.map(({ id, why, ...retried }) => `${id}: ${why ?? `due now: ${retriedWords(retried)}`}`),
  );
  if (done.some((one) => one.why === null) && holderOf(join(site.spool, 'lock')) === null)
    output.note('the daemon does not run, so nothing of this moves: start `reseal serve`');
}

/** `1 message, 0 copies`; with the postings that are judged again, if any. */
export function retriedWords({ messages, postings, copies }: Retried): string {
  return [
    counted(messages, 'message'),
    ...(postings > 0 ? [`${counted(postings, 'decided posting')} to be judged again`] : []),
    counted(copies, 'copy', 'copies'),
  ].join(', ');
}

/** Why there is nothing to try again, and what to do. */
async function whyIdle({ database: { q } }: Session, id: string): Promise<string> {
  const message = await findMessage(q, id);
  const ended = (await postingsOf(q, id)).some((one) => ['refused', 'dropped'].includes(one.state));
  if (message?.removedAt && ended)
    return `its bytes are not kept any more (since ${dayOf(message.removedAt)}), so it cannot be opened again: its author sends it again`;
  return `nothing of it waits for another try; \`reseal explain ${id}\` tells why`;
}
