import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { brandComposed } from '../../src/base/bytes.ts';
import { Fault } from '../../src/base/errors.ts';
import { contextOf, type ListContext } from '../../src/flow/lists/list-context.ts';
import type { Compose, Notice } from '../../src/flow/mail/notify.ts';
import type { Database } from '../../src/store/database.ts';
import { createList } from '../../src/store/lists.ts';
import { openSpool, type Spool } from '../../src/store/spool.ts';
import { tempFolder } from '../kit/tmp.ts';
import { openTest } from '../store/fixtures.ts';
import { keptLog, minute, stoppedClock, t0 } from './parts.ts';

/** A real database and spool, a clock that stands, a log that is kept, and a pen that notes what it was to write. */
export interface TestSite {
  readonly folder: string;
  readonly database: Database;
  readonly spool: Spool;
  readonly clock: ReturnType<typeof stoppedClock>;
  readonly log: ReturnType<typeof keptLog>;
  readonly notices: Notice[];
  readonly compose: Compose;
  readonly node: string;
  readonly postmaster: string;
  readonly lifetimeMs: number;
  readonly defaults: Record<string, never>;
  readonly woken: () => number;
  readonly wakeDelivery: () => void;
}

export async function makeSite(): Promise<TestSite> {
  const folder = tempFolder();
  const database = await openTest(join(folder, 'reseal.db'));
  onTestFinished(() => database.close().catch(() => undefined));
  const spool = await openSpool(join(folder, 'spool'));
  const notices: Notice[] = [];
  let wakes = 0;
  return {
    folder,
    database,
    spool,
    clock: stoppedClock(),
    log: keptLog(),
    notices,
    compose: async (list, notice) => {
      if (notice.to.startsWith('unwritable')) throw new Fault('template-error', 'the template is broken', {});
      notices.push(notice);
      return {
        bytes: brandComposed(Buffer.from(`To: ${notice.to}\r\n\r\n${notice.template}\r\n`)),
        to: notice.to,
        envelopeFrom: `${list.name}-bounces@${list.domain}`,
        requireTls: false,
        subject: notice.template,
        messageId: `<${notices.length}@${list.domain}>`,
        signedWith: null,
        sealedFor: null,
      };
    },
    node: 'node-a',
    postmaster: 'postmaster@lists.example',
    lifetimeMs: 5 * 24 * 60 * minute,
    defaults: {},
    woken: () => wakes,
    wakeDelivery: () => {
      wakes++;
    },
  };
}

/** A list with settings as its owner would write them. */
export async function makeList(
  { database }: Pick<TestSite, 'database'>,
  settings: Readonly<Record<string, string>> = {},
  name = 'team',
): Promise<ListContext> {
  const row = await createList(database.q, {
    address: `${name}@lists.example`,
    profile: null,
    settings,
    createdAt: t0,
  });
  return contextOf(row, {});
}
