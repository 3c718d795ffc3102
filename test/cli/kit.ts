import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';
import { makeProgram } from '../../src/cli/program.ts';
import { runProgram } from '../../src/cli/run-program.ts';
import { type CommandResult, runCommand } from '../kit/daemon.ts';
import type { TestCa } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';

/** A root with a configuration (if `yaml` is given) and the commands on it. */
export interface Root {
  readonly path: string;
  /** Runs a command in this process, which is quick; it must not read standard input. */
  run(...args: string[]): Promise<CommandResult>;
  /** Runs the built program, as a person would. */
  program(...args: string[]): Promise<CommandResult>;
  /** The same with a text or bytes on standard input. */
  pipe(input: string | Uint8Array, ...args: string[]): Promise<CommandResult>;
  /** Runs a command with --json that must succeed, and gives its one value. */
  json(...args: string[]): Promise<unknown>;
  /** Writes a file below the root and gives its path. */
  file(name: string, content: string | Uint8Array): string;
}

export function makeRoot(yaml: string | null = null): Root {
  const path = tempFolder();
  const file = (name: string, content: string | Uint8Array): string => {
    const target = join(path, name);
    mkdirSync(join(target, '..'), { recursive: true, mode: 0o700 });
    writeFileSync(target, content);
    return target;
  };
  if (yaml !== null) chmodSync(file('etc/reseal.yaml', yaml), 0o600);
  const run = (...args: string[]) => runHere(['--root', path, ...args]);
  return {
    path,
    run,
    program: (...args) => runCommand(path, args),
    pipe: (input, ...args) => runCommand(path, args, { input }),
    async json(...args) {
      const { code, stdout, stderr } = await run(...args, '--json');
      if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${stderr}`);
      return JSON.parse(stdout);
    },
    file,
  };
}

async function runHere(args: readonly string[]): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  const out = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  const err = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
  const umask = process.umask();
  process.exitCode = 0;
  try {
    await runProgram(makeProgram(), ['node', 'reseal', ...args]);
    return { code: Number(process.exitCode), stdout, stderr };
  } finally {
    process.exitCode = 0;
    process.umask(umask);
    out.mockRestore();
    err.mockRestore();
  }
}

/** The list team@lists.example (P-256, so that it is quick). */
export async function createTeam(root: Root, owner: string, ...more: string[]): Promise<void> {
  const list = ['team@lists.example', '--key', 'p-256', '--yes', '--owner', owner];
  await root.json('list', 'create', ...list, ...more);
}

/** A root that trusts `ca`, with the list team@lists.example (P-256, so that it is quick). */
export async function makeTeam(ca: TestCa, ...create: string[]): Promise<Root> {
  const root = makeRoot('hostname: lists.example\ntrust.cafile: ca.pem\nlisten.port: 0\n');
  root.file('ca.pem', ca.certPem);
  await createTeam(root, 'olga@example.org', ...create);
  return root;
}
