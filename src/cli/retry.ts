import type { Command } from 'commander';
import { retryMessage } from '../flow/queue-control.ts';
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
MESSAGE is its Message-ID or its id in the spool. It also leaves quarantine, and its deferred copies are tried again. What
could not be opened is kept for the list's unopened.retry-days. Everything that waits: \`reseal queue retry --all\`.
Example: reseal retry '<20260131.1@example.org>'`,
    )
    .action(onSite<[string]>(retry));
}

async function retry(session: Session, name: string): Promise<void> {
  const { database, spool, output, now, who } = session;
  const done = [];
  for (const id of await messageIdsNamed(session, name)) {
    done.push({ id, ...(await retryMessage({ database, spool }, id, { who, now })) });
  }
  output.result(
    done,
    done.map(({ id, messages, copies }) =>
      messages + copies === 0
        ? `${id}: nothing of it waits for another try; \`reseal explain ${id}\` tells why`
        : `${id}: due now: ${counted(messages, 'message')}, ${counted(copies, 'copy', 'copies')}`,
    ),
  );
}
