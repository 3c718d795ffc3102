import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const project = fileURLToPath(new URL('../../', import.meta.url));
const program = `${project}dist/cli/main.js`;
const steeredProgram = `${project}test/kit/steered-daemon.mjs`;

const hourMs = 3_600_000;

export interface LogLine {
  readonly event?: string;
  readonly [field: string]: unknown;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The daemon as users run it: the compiled program in a process of its own. */
export interface Daemon {
  readonly pid: number;
  /** Addresses that it listens on, as its log says: `127.0.0.1:2525`, or the path of a socket. */
  readonly listen: readonly string[];
  /** The port of the n-th listener. */
  port(index?: number): number;
  /** All log lines so far. */
  readonly log: readonly LogLine[];
  /** Lines on stderr that are no JSON: warnings of Node, stacks of crashes. */
  readonly noise: readonly string[];
  /** Waits for a log line, one that was written already too. */
  logged(match: (line: LogLine) => boolean, timeoutMs?: number): Promise<LogLine>;
  /** Runs a command of the same root. */
  run(args: readonly string[], options?: { input?: Uint8Array | string }): Promise<CommandResult>;
  signal(name: NodeJS.Signals): void;
  /** Time passes for a `steered` daemon; resolves when all that the clock asks for then has been done, and once more. */
  pass(ms: number): Promise<void>;
  /** The same, but the clock jumps: nobody looked at it meanwhile. */
  jump(ms: number): Promise<void>;
  /** SIGTERM; the exit code once it is gone. */
  stop(): Promise<number | null>;
  /** The exit code, once it is gone by itself. */
  readonly ended: Promise<number | null>;
  /** SIGKILL, as a power cut would. */
  kill(): Promise<void>;
}

export interface DaemonOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Options of Node itself, before the program. */
  readonly nodeArgs?: readonly string[];
  /** More arguments after `serve --root DIR`. */
  readonly args?: readonly string[];
  readonly readyMs?: number;
  /** The same app in a process whose clock is ours and which keeps house all the time (`steered-daemon.mjs`). */
  readonly steered?: boolean;
}

/** Runs a reseal command on `root` (by RESEAL_ROOT) to its end. */
export async function runCommand(
  root: string,
  args: readonly string[],
  options: { input?: Uint8Array | string; env?: Readonly<Record<string, string>> } = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, [built(), ...args], {
    env: { ...process.env, RESEAL_ROOT: root, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => stdout.push(piece));
  child.stderr.on('data', (piece: Buffer) => stderr.push(piece));
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return {
    code: code ?? -1,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}

/** Starts the daemon on `root` and waits until it is ready. Throws with its words if it ends before. */
export async function startDaemon(root: string, options: DaemonOptions = {}): Promise<Daemon> {
  const nodeArgs = options.nodeArgs ?? [];
  const run = options.steered ? [steeredProgram] : [built(), 'serve'];
  const child = spawn(process.execPath, [...nodeArgs, ...run, '--root', root, ...(options.args ?? [])], {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'ignore', 'pipe', ...(options.steered ? (['ipc'] as const) : [])],
  });
  // A test that fails must not leave its daemon behind.
  const reap = () => void child.kill('SIGKILL');
  process.once('exit', reap);
  const exit = once(child, 'exit').then(([code]) => {
    process.removeListener('exit', reap);
    return code as number | null;
  });
  const { log, noise, logged } = readLog(child);
  const ready = await logged((line) => line.event === 'ready', options.readyMs ?? 20_000).catch(
    async (error: Error) => {
      child.kill('SIGKILL');
      await exit;
      throw new Error(
        `${error.message}; it said: ${[...noise, ...log.map((line) => JSON.stringify(line))].join('\n')}`,
      );
    },
  );
  const jump = async (ms: number): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      child.send(ms, (error) => (error ? reject(error) : resolve()));
    });
    // One may have been under way before the time passed, and what it begins may be there for the next.
    const kept = () => log.filter((line) => line.event === 'housekeeping').length;
    const enough = kept() + 3;
    await logged(() => kept() >= enough);
  };
  const listen = Array.isArray(ready.listen) ? ready.listen.map(String) : [];
  return {
    pid: child.pid ?? -1,
    listen,
    port: (index = 0) => Number(/:(\d+)$/.exec(listen[index] ?? '')?.[1]),
    log,
    noise,
    logged,
    run: (args, o) => runCommand(root, args, o),
    signal: (name) => void child.kill(name),
    pass: async (ms) => {
      if (ms > hourMs) await jump(ms - hourMs);
      await jump(Math.min(ms, hourMs));
    },
    jump,
    ended: exit,
    stop: () => {
      child.kill('SIGTERM');
      return exit;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}

function built(): string {
  if (!existsSync(program)) throw new Error('dist is missing: run `npm run setup` first');
  return program;
}

function readLog(child: ChildProcess): Pick<Daemon, 'log' | 'noise' | 'logged'> {
  const log: LogLine[] = [];
  const noise: string[] = [];
  const watchers = new Set<() => void>();
  let ended = false;
  if (child.stderr === null) throw new Error('the daemon has no stderr');
  const reader = createInterface({ input: child.stderr });
  reader.on('line', (text) => {
    const line = logLineOf(text);
    if (line === null) noise.push(text);
    else log.push(line);
    for (const watch of [...watchers]) watch();
  });
  reader.on('close', () => {
    ended = true;
    for (const watch of [...watchers]) watch();
  });

  const logged = (match: (line: LogLine) => boolean, timeoutMs = 10_000): Promise<LogLine> =>
    new Promise((resolve, reject) => {
      const finish = (done: () => void) => {
        clearTimeout(timer);
        watchers.delete(look);
        done();
      };
      const look = () => {
        const line = log.find(match);
        if (line !== undefined) finish(() => resolve(line));
        else if (ended) finish(() => reject(new Error('the daemon ended without that log line')));
      };
      const late = () => finish(() => reject(new Error(`no such log line within ${timeoutMs} ms`)));
      const timer = setTimeout(late, timeoutMs);
      watchers.add(look);
      look();
    });
  return { log, noise, logged };
}

function logLineOf(text: string): LogLine | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as LogLine) : null;
  } catch {
    return null;
  }
}
