import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { programPath } from './needs.ts';
import { runFolder } from './tmp.ts';

/** What another S/MIME program says of a signature; read from its words, as exit codes mislead. */
export interface SignatureVerdict {
  /** Every signature fits the content. */
  readonly intact: boolean;
  /** Intact, and every signer's certificate has a valid path to the CA the client knows. */
  readonly trusted: boolean;
  /** What was signed, as the client hands it out; null for a detached signature or none that is intact. */
  readonly content: Buffer | null;
  /** The program's own words, for failing tests. */
  readonly said: string;
}

/** What another S/MIME program made of an encrypted message. */
export interface DecryptionVerdict {
  readonly ok: boolean;
  /** Empty unless `ok`. */
  readonly content: Buffer;
  readonly said: string;
}

export interface ProgramResult {
  /** Exit code; -1 after a signal. */
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a program to its end; a failing one does not throw, a missing one does. */
export function runProgram(
  name: string,
  args: readonly string[],
  options: { input?: Uint8Array | string; env?: Record<string, string> } = {},
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(programPath(name) ?? name, args, {
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => stdout.push(piece));
    child.stderr.on('data', (piece: Buffer) => stderr.push(piece));
    child.stdin.on('error', () => undefined); // It may end before it has read everything.
    child.stdin.end(options.input ?? '');
    child.once('error', reject);
    child.once('close', (code) =>
      resolve({ code: code ?? -1, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
  });
}

/** Runs a program that must succeed, for setting up; throws with its words. */
export async function mustRun(...call: Parameters<typeof runProgram>): Promise<ProgramResult> {
  const result = await runProgram(...call);
  if (result.code !== 0)
    throw new Error(`${call[0]} ${call[1].join(' ')} said ${result.code}: ${saidBy(result)}`);
  return result;
}

export const saidBy = (result: ProgramResult): string =>
  `${result.stdout.toString('latin1')}${result.stderr}`.slice(0, 2000);

/** Writes `files` into a folder of their own while `work` runs; gives it their paths, and a path for output. */
export async function withFiles<Name extends string, Result>(
  files: Record<Name, Uint8Array | string>,
  work: (paths: Record<Name, string>, out: string) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(join(runFolder(), 'c-'));
  try {
    const paths = {} as Record<Name, string>;
    for (const name of Object.keys(files) as Name[]) {
      paths[name] = join(folder, name);
      writeFileSync(paths[name], files[name]);
    }
    return await work(paths, join(folder, 'out'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
