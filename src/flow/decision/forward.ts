import type { Findings } from '../../smime/open.ts';
import { type Prepared, prepareFor } from '../post/prepare.ts';
import { toJson, verdictRecord } from '../post/verdict-record.ts';
import { conclude } from './decide.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';
import { sightingOf } from './replay.ts';

/**
 * Mail to -owner and -editor: anybody may write there, so it is not authorized, only passed on. What came in clear
 * goes on in clear. What came encrypted is sealed to each of them, but only with a valid and fresh signature inside:
 * else whoever captured a post could have it opened by sending it to the owners (RULES 1). Without one it goes on as
 * it came. Gives whether copies are to go out.
 */
export async function forwardToRole(parts: FlowParts, work: PostingWork, report: Findings): Promise<boolean> {
  const { list, message, posting, spooled } = work;
  const at = parts.clock.now();
  const opened = (await sightingOf(parts, work, report)) === 'new';
  const mode: Prepared['mode'] = report.encrypted && opened ? 'sealed' : 'intact';
  const { envelope, receivedAt } = spooled;
  const prepared = prepareFor(list, {
    mode,
    spoolId: message.id,
    hostname: parts.hostname,
    envelope,
    receivedAt,
    decidedAt: at,
  });
  const verdict = toJson(verdictRecord(report, { decision: 'forwarded', rule: posting.kind, receivedAt }));
  const how = mode === 'sealed' ? 'sealed to each' : 'as it came';
  const detail = `passed on to the ${posting.kind === 'owner' ? 'owners' : 'moderators'} ${how}`;
  const isNew = await parts.database.write((tx) =>
    conclude(
      tx,
      work,
      { state: 'fanning-out', event: 'forwarded', reason: null, detail, verdict, prepared: { ...prepared } },
      at,
    ),
  );
  parts.log.event('forwarded', { id: message.id, list: list.address, kind: posting.kind, mode });
  return isNew;
}
