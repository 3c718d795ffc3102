import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { CryptoWorkers } from '../../smime/workers.ts';
import type { Relays } from '../../smtp/relays.ts';
import type { Database } from '../../store/database.ts';
import type { MessageRow } from '../../store/messages.ts';
import type { PostingRow } from '../../store/postings.ts';
import type { Spool, SpooledMessage } from '../../store/spool.ts';
import type { FindRecipients } from '../certificates/member-certificate.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext, SiteDefaults } from '../lists/list-context.ts';
import type { Compose } from '../mail/notify.ts';
import type { OpenCache } from '../post/open-cache.ts';
import type { Outer } from '../post/outer.ts';
import type { FindIntermediates } from '../revocation/intermediates.ts';
import type { RevocationBook } from '../revocation/revocation-book.ts';

/** One posting in work: what is known of it before it is decided. Read-only. */
export interface PostingWork {
  readonly posting: PostingRow;
  readonly list: ListContext;
  readonly message: MessageRow;
  readonly spooled: SpooledMessage;
  /** Null if the header cannot be read. */
  readonly outer: Outer | null;
}

/** What the stages between "taken in" and "fanned out" are given by `app`. */
export interface FlowParts {
  readonly database: Database;
  readonly spool: Spool;
  readonly workers: CryptoWorkers;
  readonly relays: Pick<Relays, 'misfit'>;
  readonly keyring: Keyring;
  readonly findRecipients: FindRecipients;
  readonly intermediates: FindIntermediates;
  readonly revocation: RevocationBook;
  readonly compose: Compose;
  readonly cache: OpenCache;
  readonly clock: Clock;
  readonly log: Log;
  readonly defaults: SiteDefaults;
  readonly node: string;
  readonly hostname: string;
  readonly serviceAddress: string;
  /** Who is told when the site, and not only a list, needs a person. */
  readonly postmaster: string;
  /** By which the site knows its VERP senders again. */
  readonly secret: Buffer;
  /** Folder of the certificate directory. */
  readonly certificates: string;
  /** Octets that one message may unfold to. */
  readonly openedSize: number;
  /** How long a message stays in quarantine, ms. */
  readonly quarantineMs: number;
  /** How long the relay may refuse a copy before it is given up, ms. */
  readonly lifetimeMs: number;
  /** A string that never repeats. */
  readonly unique: () => string;
  /** Tells the delivery that rows are due. */
  readonly wakeDelivery: () => void;
}
