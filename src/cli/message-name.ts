import { messagesByHeaderId } from '../store/messages.ts';
import { isSpoolId } from '../store/spool-id.ts';
import { cliFault } from './faults.ts';
import type { Session } from './site-command.ts';

/**
 * The spool ids of the messages that a person means: one by its id in the spool, which need not be known any more, or
 * all with a Message-ID. Fault 'message-unknown'.
 */
export async function messageIdsNamed({ database }: Session, name: string): Promise<string[]> {
  if (isSpoolId(name)) return [name];
  const bare = name.trim().replace(/^<|>$/g, '');
  const found = await messagesByHeaderId(database.q, `<${bare}>`);
  if (found.length === 0) throw cliFault('message-unknown', { id: name });
  return found.map((message) => message.id);
}
