import { missingReasons } from '../flow/certificates/member-certificate.ts';
import { cipherWords } from '../flow/post/crypto-lines.ts';
import type { LedgerRow } from '../store/ledger.ts';
import { byRelay } from './named-relays.ts';
import { instant, printable, secondOf, shortSha, table } from './output.ts';
import { timedLines } from './timed-lines.ts';

/** What a line tells of cryptography, and how that came out. */
interface Smime {
  readonly operation: 'decryption' | 'verification' | 'encryption' | 'signature';
  readonly outcome: 'ok' | 'failed';
}

/** A line of the ledger as JSON gives it; `smime` is null where it tells of no cryptography. */
export function lineValue(row: LedgerRow) {
  const { at, id: _, postingId: posting, ...line } = row;
  return { at: instant(at), ...line, posting, smime: smimeOf(row) };
}

/**
 * What a line says in words, or what the relay said and, with `namesRelays`, which one; of a copy first what it was
 * encrypted to.
 */
export function detailOf(row: LedgerRow, namesRelays: boolean): string {
  const { detail, reason, data } = row;
  const said = detail ?? reason ?? textIn(data, 'reply') ?? '';
  const words = byRelay(said, namesRelays ? textIn(data, 'relay') : null);
  const sealed = isOfCopy(row) ? encryptionOf(row) : null;
  return sealed === null ? words : `encrypted to ${sealed}${words ? `; ${words}` : ''}`;
}

const ofCopies: ReadonlySet<string> = new Set([
  'delivered',
  'deferred',
  'failed',
  'expired',
  'held',
  'dropped',
]);
const cannotEncrypt: ReadonlySet<string | null> = new Set(missingReasons);

const isOfCopy = ({ event, member }: LedgerRow): boolean => member !== null && ofCopies.has(event);

function smimeOf(row: LedgerRow): Smime | null {
  const { event, reason } = row;
  if (event === 'decryption' || event === 'verification' || event === 'encryption' || event === 'signature')
    return { operation: event, outcome: reason === null ? 'ok' : 'failed' };
  if (!isOfCopy(row)) return null;
  if (encryptionOf(row) !== null) return { operation: 'encryption', outcome: 'ok' };
  return cannotEncrypt.has(reason) ? { operation: 'encryption', outcome: 'failed' } : null;
}

/** `1a2b3c4d (aes-256-cbc, key by rsa)`; null for a copy that was not encrypted. */
function encryptionOf({ data }: LedgerRow): string | null {
  const certificate = textIn(data, 'certificate');
  const cipher = textIn(data, 'cipher');
  if (certificate === null || cipher === null) return null;
  const how = cipherWords({ cipher, keyTransport: textIn(data, 'keyTransport'), keyAgreement: null });
  return `${shortSha(certificate)} (${how})`;
}

function textIn(data: LedgerRow['data'], name: string): string | null {
  const value = data?.[name];
  return typeof value === 'string' ? value : null;
}

/** How the lines are shown: who reads them, and what was asked for and need not be said in each. */
interface LogView {
  readonly width: number;
  readonly terminal: number | null;
  readonly ofMessage: boolean;
  readonly ofMember: boolean;
  /** Whether copies name the relay that answered for them. */
  readonly namesRelays: boolean;
}

/**
 * The lines of the ledger as a table, which programs can search; on a terminal that it does not fit, folded under the day,
 * message and list that they tell of. `empty` if there are none.
 */
export function logLines(rows: readonly LedgerRow[], view: LogView, empty: string): string[] {
  const { terminal, width } = view;
  const lines = tableOf(rows, view, empty);
  if (terminal === null || lines.every((line) => line.length <= terminal)) return lines;
  const timed = rows.map((row) => ({
    head: headOf(row, view),
    at: secondOf(row.at).slice(11),
    event: row.event,
    words: printable(
      [view.ofMember ? null : row.member, detailOf(row, view.namesRelays)].filter(Boolean).join(': '),
    ),
  }));
  return timedLines(timed, width);
}

function headOf({ at, messageId, list }: LedgerRow, { ofMessage }: LogView): string {
  const message = ofMessage ? null : messageId;
  return [`${secondOf(at).slice(0, 10)} (UTC)`, list, message].filter(Boolean).join('  ');
}

/** Columns that say the same in each line are left out. */
function tableOf(rows: readonly LedgerRow[], view: LogView, empty: string): string[] {
  const isOneList = new Set(rows.flatMap((row) => row.list ?? [])).size <= 1;
  const columns: Record<string, (row: LedgerRow) => string> = {
    'AT (UTC)': (row) => secondOf(row.at),
    WHAT: (row) => row.event,
    ...(view.ofMessage ? {} : { MESSAGE: (row: LedgerRow) => row.messageId ?? '-' }),
    ...(isOneList ? {} : { LIST: (row: LedgerRow) => row.list ?? '-' }),
    ...(view.ofMember ? {} : { MEMBER: (row: LedgerRow) => row.member ?? '-' }),
    DETAIL: (row) => detailOf(row, view.namesRelays),
  };
  const cells = rows.map((row) => Object.values(columns).map((cell) => cell(row)));
  return table(Object.keys(columns), cells, empty);
}
