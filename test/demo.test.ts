import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { hasProgram, needs } from './kit/needs.ts';
import { tempFolder } from './kit/tmp.ts';

const demo = fileURLToPath(new URL('../bin/demo.mjs', import.meta.url));

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
  /** Where its temporary folder is made. */
  readonly folder: string;
}

function runDemo(args: readonly string[]): Run {
  const folder = tempFolder();
  const child = spawn(process.execPath, [demo, ...args], {
    // Settings of a site and of the person's terminal must not matter.
    env: { ...process.env, TMPDIR: folder, RESEAL_ROOT: '/nonexistent', FORCE_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }));
  return { child, ended, folder };
}

/** Resolves when nobody listens on the port: the daemon was killed, and the system takes a moment to say so. */
async function refusedAt(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const answer = await new Promise<string>((resolve) => {
      socket.once('connect', () => resolve('open'));
      socket.once('error', () => resolve('refused'));
    });
    socket.destroy();
    if (answer === 'refused') return;
  }
}

describe.skipIf(!needs('openssl', hasProgram('openssl')))('npm run demo', { timeout: 90_000 }, () => {
  it('tells the main job to its end, and all of it holds', async () => {
    const { ended, folder } = runDemo([]);
    const { code, stdout, stderr } = await ended;
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const lines = stdout.split('\n').map((line) => line.replace(/\s+/g, ' ').trim());
    for (const line of [
      'Bob alice@example.org RSA AES-256-CBC The old mill, Sunday at nine.',
      'Carol alice@example.org ECDH AES-256-CBC The old mill, Sunday at nine.',
      'Dora alice@example.org ECDH AES-256-GCM The old mill, Sunday at nine.',
      'Erin alice@example.org ECDH AES-256-CBC The old mill, Sunday at nine.',
      '| Reply-To: council-sendcert@lists.example',
      'as it was dropped: duplicate',
      'as a new message dropped: replay',
      "in Mallory's signature, From Alice dropped: replay",
      "in Mallory's signature, From Mallory 550 5.7.1 You may not post to this list",
      '✓ Nothing has left the list, and nothing waits to.',
      '✓ Six mails have left: four copies, one notice, one confirmation.',
    ])
      expect(lines).toContain(line);
    expect(lines.some((line) => /^\| erin@example\.org delivered /.test(line))).toBe(true);
    expect(stdout).toMatch(/\nAll as it should be: \d+ checks in \d+\.\d s\.\n/);
    expect(stdout).not.toContain('\x1b');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('fails where a member reads something else than was written', async () => {
    const { ended, folder } = runDemo(['--self-test', "the text of Bob's copy"]);
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(1);
    expect(stderr).toContain("not as it should be: the text of Bob's copy\n");
    expect(stderr).toMatch(/found: +"The old mill, Sunday at nine\."\n +expected: "something else/);
    expect(stdout).not.toContain('All as it should be');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const { child, ended, folder } = runDemo([]);
    const listening = new Promise<number>((resolve, reject) => {
      child.stdout?.on('data', (text: string) => {
        const port = /Listening on 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
        if (port !== undefined) resolve(Number(port));
      });
      void ended.then(({ stderr }) => reject(new Error(`it ended before the daemon was there: ${stderr}`)));
    });
    const port = await listening;
    child.kill('SIGINT');
    expect((await ended).code).toBe(130);
    await refusedAt(port);
    expect(readdirSync(folder)).toEqual([]);
  });
});

it('says what its options are', async () => {
  const { ended } = runDemo(['--kep']);
  const { code, stderr } = await ended;
  expect(code).toBe(2);
  expect(stderr).toContain("'--kep'");
  expect(stderr).toContain('--self-test WHAT');
});
