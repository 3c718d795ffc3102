import type { Command } from 'commander';
import { type Story, storiesOf } from '../flow/operator/explain.ts';
import { findPosting } from '../store/postings.ts';
import { addressOf } from './arguments.ts';
import { cliFault } from './faults.ts';
import { namesRelays } from './named-relays.ts';
import { onSite, type Session } from './site-command.ts';
import { mostOfEach } from './some-of-each.ts';
import { storyLines } from './story.ts';

interface ExplainOptions {
  readonly member?: string;
  readonly all?: true;
}

/** `explain`: what happened to a message, per member, in words. */
export function addExplain(program: Command): void {
  program
    .command('explain <message>')
    .description(
      'tell what happened to a message, and why, by its Message-ID, its id here or the number of a posting',
    )
    .option('--member <address>', 'only what concerns this member')
    .option('--all', `every member, where more than ${mostOfEach} fared alike`)
    .addHelpText('after', "\nExample:\n  reseal explain '<20260131.1@example.org>' --member bob@example.org")
    .action(onSite<[string, ExplainOptions]>(explain));
}

/** Whether what a person typed is the number of a posting, not the id of a message. */
export function isPostingNumber(text: string): boolean {
  return /^\d{1,15}$/.test(text);
}

function concerns({ postings, history }: Story, member: string): boolean {
  return (
    postings.some((posting) => posting.members.some((one) => one.member === member)) ||
    history.some((one) => one.member === member)
  );
}

/** Prints the stories of a message; `queue show` does the same. Fault 'message-unknown'. */
export async function explain(
  { database, output, site }: Session,
  name: string,
  options: ExplainOptions,
): Promise<void> {
  const member = options.member === undefined ? null : addressOf(options.member);
  const posting = isPostingNumber(name) ? await findPosting(database.q, Number(name)) : null;
  const stories = await storiesOf(database.q, posting?.messageId ?? name, member);
  if (stories.length === 0) throw cliFault('message-unknown', { id: name });
  if (member !== null && !stories.some((story) => concerns(story, member)))
    output.note(
      `${member} has no copy of it: it was not distributed, or he was no member then (\`reseal log --member ${member}\` tells since when)`,
    );
  const many =
    stories.length > 1 ? [`${stories.length} messages have this Message-ID, the oldest first.`, ''] : [];
  const view = {
    width: output.width,
    namesRelays: namesRelays(site),
    ...(options.all === true ? {} : { most: mostOfEach }),
  };
  output.result(stories, [
    ...many,
    ...stories.flatMap((story, index) => [...(index > 0 ? ['', ''] : []), ...storyLines(story, view)]),
  ]);
}
