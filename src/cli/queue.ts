import type { Command } from 'commander';
import { refuseHeldPosting, releaseHeldPosting } from '../flow/operator/moderate.ts';
import { dropMessage, retryAll, retryMessage } from '../flow/operator/queue-control.ts';
import { findPosting } from '../store/postings.ts';
import { heldPostings } from '../store/queue.ts';
import { isSpoolId } from '../store/spool-id.ts';
import { listNamed } from './arguments.ts';
import { explain, isPostingNumber } from './explain.ts';
import { cliFault } from './faults.ts';
import { counted } from './output.ts';
import { addQueueList } from './queue-list.ts';
import { retriedWords } from './retry.ts';
import { onSite, type Session } from './site-command.ts';

/** `queue list|show|retry|drop|release|refuse`. */
export function addQueue(program: Command): void {
  const queue = program.command('queue').description('look at what waits, and decide about it');
  addQueueList(queue);
  queue
    .command('show <id>')
    .description('tell the story of a message, by its id or the number of a posting')
    .action(
      onSite<[string]>(async (session, text) => {
        const posting = isPostingNumber(text) ? await findPosting(session.database.q, Number(text)) : null;
        await explain(session, posting?.messageId ?? messageId(text), {});
      }),
    );
  queue
    .command('retry [id]')
    .description(
      'try again now: a message that was not opened, not verified or is in quarantine, and its deferred copies',
    )
    .option('--all', 'everything that waits for its next try')
    .action(onSite<[string | undefined, { all?: true }]>(retry));
  queue
    .command('drop <id>')
    .description('give up a message, or a posting that waits for a moderator')
    .action(onSite<[string]>(drop));
  queue
    .command('release <id>')
    .description('distribute a posting that waits for a moderator')
    .option('--list <list>', 'only for this list, if the message waits on several')
    .action(onSite<[string, { list?: string }]>(release));
  queue
    .command('refuse <id>')
    .description('do not distribute a posting that waits for a moderator; nobody is told')
    .option('--list <list>', 'only for this list, if the message waits on several')
    .action(onSite<[string, { list?: string }]>(refuse));
}

/** The held postings that a person means: by number, or all of a message. Fault 'id-unknown'. */
async function heldByName(
  { database }: Session,
  text: string,
  listName: string | undefined,
): Promise<readonly { readonly id: number }[]> {
  const { q } = database;
  const list = listName === undefined ? null : await listNamed(q, listName);
  const scope = list ? { listId: list.id } : {};
  if (isPostingNumber(text)) return [{ id: Number(text) }];
  const found = isSpoolId(text) ? await heldPostings(q, { ...scope, messageId: text, limit: 1000 }) : [];
  if (found.length === 0)
    throw cliFault('id-unknown', { id: text, what: 'posting that waits for a moderator' });
  return found;
}

async function retry(session: Session, id: string | undefined, options: { all?: true }): Promise<void> {
  const { database, spool, output, now, who } = session;
  if ((id === undefined) === (options.all === undefined))
    throw cliFault('usage-missing', { what: 'one id, or --all' });
  const parts = { database, spool };
  const done =
    id === undefined
      ? await retryAll(parts, { who, now })
      : await retryMessage(parts, messageId(id), { who, now });
  output.result({ id: id ?? null, ...done }, [`due now: ${retriedWords(done)}`]);
}

async function drop(session: Session, text: string): Promise<void> {
  const { database, spool, output, site, now, who } = session;
  if (isPostingNumber(text)) {
    const answered = await refuseHeldPosting(
      { database, defaults: site.defaults },
      { id: Number(text), who, now, state: 'dropped' },
    );
    return output.result(answered, [`posting ${answered.posting} for ${answered.list} is dropped`]);
  }
  const dropped = await dropMessage({ database, spool }, messageId(text), { who, now });
  output.result({ id: text, ...dropped }, [
    `${text} is dropped: ${counted(dropped.postings, 'posting')}, ${counted(dropped.copies, 'waiting copy', 'waiting copies')}`,
  ]);
}

async function release(session: Session, text: string, options: { list?: string }): Promise<void> {
  const { database, spool, output, site, now, who } = session;
  const parts = { database, spool, defaults: site.defaults };
  const answers = [];
  for (const { id } of await heldByName(session, text, options.list)) {
    answers.push(await releaseHeldPosting(parts, { id, who, now }));
  }
  output.result(
    answers,
    answers.map((one) => `posting ${one.posting} goes to the members of ${one.list}`),
  );
}

async function refuse(session: Session, text: string, options: { list?: string }): Promise<void> {
  const { database, output, site, now, who } = session;
  const parts = { database, defaults: site.defaults };
  const answers = [];
  for (const { id } of await heldByName(session, text, options.list)) {
    answers.push(await refuseHeldPosting(parts, { id, who, now }));
  }
  output.result(
    answers,
    answers.map((one) => `posting ${one.posting} for ${one.list} is refused`),
  );
}

function messageId(text: string): string {
  if (!isSpoolId(text)) throw cliFault('id-unknown', { id: text, what: 'message in the queue' });
  return text;
}
