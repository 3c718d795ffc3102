import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { tempFolder } from '../kit/tmp.ts';

const project = fileURLToPath(new URL('../../', import.meta.url));

/** Another process. It says lines and hears lines. */
export interface Other {
  readonly pid: number;
  /** The next line that it says; rejects if it ends without one. */
  hear(): Promise<string>;
  say(line: string): void;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

/**
 * Compiles modules of src/store to JavaScript that a child process can import, and gives the folder. What they
 * import comes along.
 */
export function compileStore(...modules: string[]): string {
  const out = tempFolder();
  mkdirSync(out, { recursive: true });
  const flags =
    '--ignoreConfig --module nodenext --target es2023 --rewriteRelativeImportExtensions --skipLibCheck --types node';
  execFileSync(
    join(project, 'node_modules/.bin/tsc'),
    [
      ...flags.split(' '),
      '--rootDir',
      'src',
      '--outDir',
      out,
      ...modules.map((name) => `src/store/${name}.ts`),
    ],
    { cwd: project },
  );
  symlinkSync(join(project, 'node_modules'), join(out, 'node_modules'));
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  return out;
}

/** Starts a Node process with this program (an ES module; `process.argv` from index 1 holds `args`) in `folder`. */
export function startProcess(program: string, args: readonly string[], folder = project): Other {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, '--', ...args], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => end(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    pid: child.pid ?? 0,
    hear: async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error('the other process ended without a word');
      return value;
    },
    say: (line) => void child.stdin.write(`${line}\n`),
    kill: () => end(child),
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** Begins a transaction in another process, runs `sql` in it, and ends it by COMMIT at the first line it hears. */
export function holdTransaction(path: string, sql: string): Other {
  return startProcess(
    `import SQLite from 'better-sqlite3';
     const db = new SQLite(process.argv[1]);
     db.exec('BEGIN IMMEDIATE');
     db.exec(process.argv[2]);
     console.log('held');
     process.stdin.once('data', () => { db.exec('COMMIT'); db.close(); console.log('committed'); process.exit(); });`,
    [path, sql],
  );
}
