import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canFail, makeFailingDisk } from '../kit/failing-disk.ts';

/**
 * What may be wrong with the disk: no space, fsync fails now and then, the database's log cannot be made durable, or
 * SQLite cannot write (the system call fails, by failing-disk.c).
 */
export type DiskTrouble = 'full' | 'fsync' | 'log' | 'io';

/** Where a process shall die, of the points that kill-points.mjs names. */
export type Kill =
  | { readonly point: string; readonly nth: number }
  /** At the first point that is met and none of these; `from` SIGTERM, the disk's trouble, or the end of the third worker, on. */
  | { readonly spared: readonly string[]; readonly from?: 'SIGTERM' | 'disk' | 'worker' };

/** What shall happen inside a process, and where. */
export interface Order {
  readonly kill?: Kill;
  readonly endWorker?:
    | { readonly point: string; readonly nth: number }
    | { readonly point: string; readonly each: true };
}

/** Where SQLite makes the system calls itself: by failing-disk.c. */
export type DatabaseMoment = 'log' | 'checkpoint' | 'sync';

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Lines on stderr that are no log lines: warnings of Node, stacks of crashes. */
  readonly noise: readonly string[];
}

/** A daemon that is to die: the compiled program as it is, with kill-points.mjs loaded before it. */
export interface Victim {
  /** The port that it listens on, or null if it ended before. */
  readonly ready: Promise<number | null>;
  readonly ended: Promise<Ending>;
  isOver(): boolean;
  signal(name: NodeJS.Signals): void;
}

const project = fileURLToPath(new URL('../../', import.meta.url));

/** Where points that were met, and what is wrong with the disk, are written. */
export interface Notes {
  readonly seen: string;
  readonly fired: string;
  /** For the daemon's environment. */
  readonly env: Readonly<Record<string, string>>;
  breakDisk(trouble: DiskTrouble): void;
  /** Kills the process when SQLite does this once more, after `skip` times. */
  killInDatabase(moment: DatabaseMoment, skip: number): void;
  mendDisk(): void;
}

/** Keeps its files in `folder`, beside the site. */
export function takeNotes(folder: string): Notes {
  mkdirSync(folder, { recursive: true });
  const [seen, fired] = [join(folder, 'seen'), join(folder, 'fired')];
  for (const file of [seen, fired]) writeFileSync(file, '');
  const failing = canFail ? makeFailingDisk() : null;
  return {
    seen,
    fired,
    env: failing?.env ?? {},
    breakDisk: (trouble) => {
      if (trouble === 'io') failing?.fail(['write'], 'EIO', 'reseal.db');
      writeFileSync(join(folder, 'disk'), trouble);
    },
    killInDatabase: (moment, skip) =>
      failing?.kill(
        [moment === 'sync' ? 'sync' : 'write'],
        moment === 'log' ? 'reseal.db-wal$' : 'reseal.db$',
        skip,
      ),
    mendDisk: () => {
      failing?.mend();
      rmSync(join(folder, 'disk'), { force: true });
    },
  };
}

/** Starts the daemon on `root`; what it says goes to `root/log/stderr`, too. */
export function startVictim(
  root: string,
  d: {
    readonly notes: Notes;
    readonly order: Order;
    readonly hourMs: number;
    /** Of the disk that its files are on. */
    readonly env?: Readonly<Record<string, string>>;
  },
): Victim {
  mkdirSync(join(root, 'log'), { recursive: true });
  const { notes, order, hourMs } = d;
  const child = spawn(process.execPath, [...preloaded, 'serve', '--root', root], {
    cwd: root,
    env: { ...process.env, ...(d.env ?? notes.env), ...orderFor(root, notes, { hourMs, ...order }) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const reap = () => void child.kill('SIGKILL');
  process.once('exit', reap);
  const noise: string[] = [];
  let rest = '';
  let over = false;
  let tellReady: (port: number | null) => void = () => undefined;
  const ready = new Promise<number | null>((resolve) => {
    tellReady = resolve;
  });
  child.stderr.on('data', (piece: Buffer) => {
    appendFileSync(join(root, 'log/stderr'), piece);
    const lines = (rest + piece.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const port = /^\{.*"event":"ready".*"listen":\["[^"]*:(\d+)"/.exec(line)?.[1];
      if (port !== undefined) tellReady(Number(port));
      if (!line.startsWith('{')) noise.push(line);
    }
  });
  const ended = new Promise<Ending>((resolve) => {
    child.once('close', (code, signal) => {
      over = true;
      process.removeListener('exit', reap);
      tellReady(null);
      resolve({ code, signal, noise });
    });
  });
  return { ready, ended, isOver: () => over, signal: (name) => void child.kill(name) };
}

const preloaded = ['--import', join(project, 'test/kit/kill-points.mjs'), join(project, 'dist/cli/main.js')];

function orderFor(root: string, { seen, fired }: Notes, order: Order & { hourMs?: number; who?: string }) {
  const [disk, sites] = ['disk', 'sites'].map((name) => join(dirname(seen), name));
  return { RESEAL_KILL_POINTS: JSON.stringify({ root, seen, fired, disk, sites, ...order }) };
}

/** How a command ended, and what it said. */
export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the program on `root`, beside the daemon or not; it dies where `order` says. */
export function runCommand(
  root: string,
  d: {
    /** Null: it may do as it likes. */
    readonly notes: Notes | null;
    readonly order: Order;
    /** Before the names of its points. */
    readonly who: string;
    readonly args: readonly string[];
    readonly input?: Buffer;
  },
): Promise<Ran> {
  const child = spawn(process.execPath, [...preloaded, '--root', root, ...d.args], {
    cwd: root,
    env: { ...process.env, ...(d.notes ? orderFor(root, d.notes, { ...d.order, who: d.who }) : {}) },
  });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].on('data', (piece: Buffer) => {
      said[name] += piece.toString();
    });
  // EPIPE: it died, or refused, before it read all.
  child.stdin.on('error', () => undefined);
  child.stdin.end(d.input);
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, ...said }));
  });
}
