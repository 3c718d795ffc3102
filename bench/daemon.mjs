// The daemon as users run it, in a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { memoryOf, usageOf } from './usage.mjs';

const program = fileURLToPath(new URL('../bin/reseal.mjs', import.meta.url));

/** What etc/reseal.service sets for every site. */
const environment = Object.fromEntries(
  readFileSync(new URL('../etc/reseal.service', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Environment=') && !line.includes('RESEAL_ROOT'))
    .map((line) => /^Environment=([^=]+)=(.*)$/.exec(line).slice(1)),
);

/**
 * Starts `reseal serve` with the environment of the systemd unit and waits until it is ready. `cpuProfiles`: a folder for a CPU profile of each of its threads
 * that runs JavaScript.
 */
export async function startDaemon(root, { cpuProfiles = null } = {}) {
  const nodeOptions = cpuProfiles === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${cpuProfiles}`];
  const child = spawn(process.execPath, [...nodeOptions, program, 'serve', '--root', root], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...environment },
  });
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);

  const said = [];
  /** How many copies were delivered from each list, and when the first. */
  const lists = new Map();
  const watching = new Set();
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.includes('"event":"delivered"')) count(/"list":"([^"]*)"/.exec(line)?.[1]);
    else said.push(line);
    for (const look of watching) look();
  });
  const count = (list) => {
    const now = performance.now();
    const so = lists.get(list) ?? { copies: 0, first: now, last: now };
    lists.set(list, { ...so, copies: so.copies + 1, last: now });
  };
  const until = (condition) =>
    new Promise((resolve, reject) => {
      const end = (settle, value) => {
        watching.delete(look);
        child.removeListener('exit', look);
        settle(value);
      };
      const look = () => {
        const failure = said.find((line) => /"level":"(warn|error)"/.test(line));
        const result = condition();
        if (failure) end(reject, new Error(`the daemon complains: ${failure}`));
        else if (result !== undefined) end(resolve, result);
        else if (child.exitCode !== null) end(reject, new Error(`the daemon ended: ${said.join('\n')}`));
      };
      watching.add(look);
      child.once('exit', look);
      look();
    });

  const ready = await until(() => said.find((line) => line.includes('"event":"ready"')));
  const { listen } = JSON.parse(ready);
  return {
    port: Number(/:(\d+)$/.exec(listen[0])[1]),
    /** Copies delivered from a list since `forget`. */
    count: (list) => lists.get(list)?.copies ?? 0,
    /** What comes of a list is counted anew. */
    forget: (list) => lists.delete(list),
    /**
     * When the relay's answers to the first and to the `copies`-th copy from a list, since `forget`, were on the disk and
     * in the log (`performance.now()`): { first, last }.
     */
    delivered: (list, copies) =>
      until(() => (lists.get(list)?.copies >= copies ? { ...lists.get(list) } : undefined)),
    memory: () => memoryOf(child.pid),
    usage: () => usageOf(child.pid),
    /** Resolves when it has hardly anything left to do. */
    async idle() {
      for (let before = -1000; ; ) {
        const { all } = usageOf(child.pid);
        if (all - before < 30) return;
        before = all;
        await pause(250);
      }
    },
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      process.removeListener('exit', kill);
    },
  };
}
