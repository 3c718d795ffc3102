import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { certificatesFromPem } from '../../src/pki/pem.ts';
import { bindingsOf } from '../../src/store/bindings.ts';
import { certificateFileName, scanDirectory } from '../../src/store/directory.ts';
import { readCopy } from '../e2e/posts.ts';
import { traces } from '../e2e/traces.ts';
import { secret } from '../e2e/world.ts';
import type { SinkMessage } from '../kit/sink.ts';
import { compareCopies, compareLedger, compareSpool, type Doubts, readBooks, settle } from './accounts.ts';
import type { Post } from './posts.ts';
import type { TortureRelay } from './relay.ts';
import type { TortureSite } from './site.ts';

/** Holds everything that is on the site's disk, at its relay and with its senders against each other. */
export interface Auditor {
  /** What was wrong so far, once each. */
  readonly violations: readonly string[];
  /** For each death: how many transactions were in doubt, because they were in flight and the relay had them. */
  readonly inDoubt: readonly number[];
  /** (message, member) pairs by what became of them; after `close`. */
  readonly pairs: ReadonlyMap<string, number>;
  /** Says where the campaign is, for violations. */
  enter(where: string): void;
  wrong(words: string): void;
  /** Reads what the relay took, and opens one of the copies. */
  readRelay(): void;
  /** Before a start, and after it: what was half-written before it is gone. */
  halfWritten(): readonly string[];
  expectGone(halfWritten: readonly string[]): void;
  /**
   * While the daemon is dead. `whole` takes longer and looks for the secret too; `wasCut`: it may have ended by itself, with
   * its connections cut.
   */
  audit(whole: boolean, wasCut?: boolean): Promise<void>;
  /** What is under way or waits for its next try. */
  unfinished(): number;
  /** How the certificate directory differs from the database; '' if it does not. */
  directoryDiffers(): Promise<string>;
  /** At the end, the daemon being stopped: every copy that is owed, and what was left behind. */
  close(): Promise<void>;
}

/** Who are without a certificate for ever. */
const bare = new Set(['bare1@example.org', 'bare2@example.org']);

/** `posts` may grow. `folder` has everything; books are copied into `scratch` in it. */
export function makeAuditor(d: {
  readonly site: TortureSite;
  readonly relay: TortureRelay;
  readonly posts: readonly Post[];
  readonly folder: string;
  readonly scratch: string;
  readonly connections: number;
  readonly say: (words: string) => void;
}): Auditor {
  const { site, relay, posts, connections } = d;
  const violations: string[] = [];
  const known = new Set<string>();
  const inDoubt: number[] = [];
  const doubts: Doubts = new Map();
  const reading: Promise<void>[] = [];
  let pairs: ReadonlyMap<string, number> = new Map();
  let where = '';

  const wrong = (words: string): void => {
    // What was wrong once is found after each later death too.
    if (known.has(words)) return;
    known.add(words);
    const violation = `${where}: ${words}`;
    violations.push(violation);
    d.say(`VIOLATION ${violation}`);
  };

  const readRelay = (): void => {
    const copy = relay.read().find((one) => readerOf(one) !== undefined);
    const reader = copy && readerOf(copy);
    if (!copy || !reader) return;
    const fail = (error: unknown) => wrong(`a copy of ${reader.address} cannot be read: ${String(error)}`);
    reading.push(readCopy(site.ca, reader, copy.bytes).then(() => undefined, fail));
  };

  const readerOf = ({ from, to, bytes }: SinkMessage) =>
    from.includes('closed-') && bytes.includes('enveloped-data') ? site.readers.get(to[0] ?? '') : undefined;

  const auditor: Auditor = {
    violations,
    inDoubt,
    get pairs() {
      return pairs;
    },
    enter: (words) => {
      where = words;
    },
    wrong,
    readRelay,
    halfWritten() {
      const folder = join(site.root, 'spool/tmp');
      return existsSync(folder) ? readdirSync(folder) : [];
    },
    expectGone(halfWritten) {
      // What it writes itself comes and goes there, from its first moment on.
      const left = auditor.halfWritten().filter((name) => halfWritten.includes(name));
      if (left.length > 0) wrong(`spool/tmp has ${left.join(', ')} after the start`);
    },
    async audit(whole, wasCut = false) {
      // What the dead have sent and the relay has not read yet comes first.
      await relay.sink.until(() => relay.sink.connections.open === 0);
      // It goes on with what it had read when the connection was closed.
      for (let heard = -1; heard !== relay.sink.commands.length; await pause(30))
        heard = relay.sink.commands.length;
      readRelay();
      const books = readBooks(site.root, d.scratch, whole);
      const { fresh, problems } = compareCopies(books, relay, doubts, wasCut);
      inDoubt.push(fresh);
      if (fresh > connections) wrong(`${fresh} transactions in doubt, with ${connections} connections`);
      const found = [...books.problems, ...problems, ...compareLedger(books)];
      for (const problem of [...found, ...compareSpool(books, site.root, posts)]) wrong(problem);
      if (whole) for (const file of traces(secret, d.folder, [])) wrong(`LEAKED: the secret is in ${file}`);
    },
    unfinished() {
      const { copies, messages } = readBooks(site.root, d.scratch, false);
      const waiting = copies.filter((one) => !one.finished && one.state !== 'held').length;
      return waiting + [...messages.values()].filter((one) => one.state !== 'done').length;
    },
    async directoryDiffers() {
      const expected = await mirrorOf(site);
      const folder = join(site.root, 'spool/certificates');
      const found = new Map(
        [...(await scanDirectory(folder)).files].map((file) => [file, certificateIn(join(folder, file))]),
      );
      return [...new Set([...expected.keys(), ...found.keys()])]
        .filter((file) => expected.get(file) !== found.get(file))
        .map((file) => `${file} has ${found.get(file)}, not ${expected.get(file)}`)
        .join(', ');
    },
    async close() {
      await auditor.audit(true);
      await Promise.all(reading);
      const result = settle(readBooks(site.root, d.scratch, true), posts, (member) => bare.has(member));
      pairs = result.pairs;
      for (const problem of result.problems) wrong(problem);
      for (const file of filesBelow(site.root))
        if (isLeftBehind(site.root, file)) wrong(`left behind: ${file}`);
    },
  };
  return auditor;
}

/** The files that the certificate directory should have, each with the SHA-256 of its certificate. */
function mirrorOf(site: TortureSite): Promise<Map<string, string>> {
  return site.onDatabase(async (q) => {
    const files = new Map<string, string>();
    for (const { address } of await q.selectFrom('bindings').select('address').distinct().execute()) {
      const used = (await bindingsOf(q, address)).filter((one) => one.state === 'in-use');
      const sign = used.find((one) => one.purpose === 'sign')?.sha256;
      const enc = used.find((one) => one.purpose === 'enc')?.sha256;
      if (sign) files.set(certificateFileName(address, sign === enc ? 'both' : 'sign'), sign);
      if (enc && sign !== enc) files.set(certificateFileName(address, 'enc'), enc);
    }
    return files;
  });
}

function certificateIn(path: string): string | undefined {
  return certificatesFromPem(readFileSync(path)).certificates[0]?.sha256;
}

/**
 * Temporary files of the spool go at the start; others, when housekeeping finds that nobody writes them any more. Those of
 * keys `check` tells of: nobody but their owner removes what may be a key.
 */
function isLeftBehind(root: string, file: string): boolean {
  if (file.startsWith('etc/')) return false;
  if (file.startsWith('spool/tmp/')) return true;
  return /\.(tmp|new)$/.test(file) && statSync(join(root, file)).ctimeMs < Date.now() - 90_000;
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}
