// The daemon as users run it, in a process of its own, and what the kernel says about it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../bin/reseal.mjs', import.meta.url));
/** Of /proc/PID/stat: ticks a second on every Linux that Node runs on. */
const ticksPerSecond = 100;

/**
 * Starts `reseal serve` and waits until it is ready. `delivered(count)` resolves with the moment of the count-th
 * "delivered" of its log since the last call of `forget`. RESEAL_BENCH_NODE: options of Node for it, such as --cpu-prof.
 */
export async function startDaemon(root) {
  const nodeOptions = (process.env.RESEAL_BENCH_NODE ?? '').split(' ').filter(Boolean);
  const child = spawn(process.execPath, [...nodeOptions, program, 'serve', '--root', root], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);

  const said = [];
  let delivered = 0;
  let watch = () => {};
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.includes('"event":"delivered"')) delivered++;
    else said.push(line);
    watch();
  });
  const until = (condition) =>
    new Promise((resolve, reject) => {
      watch = () => {
        if (child.exitCode !== null) reject(new Error(`the daemon ended: ${said.join('\n')}`));
        const failure = said.find((line) => /"level":"(warn|error)"/.test(line));
        if (failure) reject(new Error(`the daemon complains: ${failure}`));
        const result = condition();
        if (result !== undefined) resolve(result);
      };
      child.once('exit', watch);
      watch();
    });

  const ready = await until(() => said.find((line) => line.includes('"event":"ready"')));
  const { listen } = JSON.parse(ready);
  return {
    port: Number(/:(\d+)$/.exec(listen[0])[1]),
    forget: () => {
      delivered = 0;
    },
    delivered: (count) => until(() => (delivered >= count ? performance.now() : undefined)),
    memory: () => memoryOf(child.pid),
    cpuMs: () => cpuOf(child.pid),
    async stop() {
      child.kill('SIGTERM');
      await once(child, 'exit');
      process.removeListener('exit', kill);
    },
  };
}

/** Resident now, and the most there ever was, MB. */
function memoryOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)[1]) / 1000;
  return { now: of('VmRSS'), peak: of('VmHWM') };
}

/** User and system time of all its threads so far. */
function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond) * 1000;
}
