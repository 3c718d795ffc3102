// What the kernel says about a process: memory, CPU time and context switches.
import { readdirSync, readFileSync } from 'node:fs';

/** Of /proc/PID/stat: ticks a second on every Linux that Node runs on. */
const msPerTick = 1000 / 100;

/** Resident now, and the most there ever was, MB. */
export function memoryOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return { now: amount(status, 'VmRSS') / 1000, peak: amount(status, 'VmHWM') / 1000 };
}

/**
 * CPU time of a process since it began, ms: in user and system mode and both (`all`), `main` that of its first thread,
 * `threads` that of each other one; how often its threads gave the processor up (`voluntary`) and lost it (`involuntary`).
 */
export function usageOf(pid) {
  const of = (path) => {
    const fields = statOf(path);
    return { user: Number(fields[11] ?? 0) * msPerTick, system: Number(fields[12] ?? 0) * msPerTick };
  };
  const threads = new Map();
  const { user, system } = of(`/proc/${pid}`);
  const main = of(`/proc/${pid}/task/${pid}`);
  let voluntary = 0;
  let involuntary = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = textOf(`/proc/${pid}/task/${thread}/status`);
    voluntary += amount(status, 'voluntary_ctxt_switches');
    involuntary += amount(status, 'nonvoluntary_ctxt_switches');
    if (thread === String(pid)) continue;
    const used = of(`/proc/${pid}/task/${thread}`);
    threads.set(thread, used.user + used.system);
  }
  return { user, system, all: user + system, main: main.user + main.system, threads, voluntary, involuntary };
}

/** What was used between two answers of `usageOf`; `busiest`: by the two threads, beside the first, that used most. */
export function usageBetween({ threads: earlier, ...before }, { threads, ...after }) {
  const each = [...threads].map(([thread, ms]) => ms - (earlier.get(thread) ?? 0));
  const [one = 0, two = 0] = each.sort((a, b) => b - a);
  const used = Object.entries(after).map(([name, value]) => [name, value - before[name]]);
  return { ...Object.fromEntries(used), busiest: one, second: two };
}

/** CPU time of the programs that this process has run to their end, ms. */
export function usageOfEnded() {
  const fields = statOf('/proc/self');
  return (Number(fields[13]) + Number(fields[14])) * msPerTick;
}

const statOf = (path) =>
  textOf(`${path}/stat`)
    .replace(/^.*\) /s, '')
    .split(' ');

/** A thread may end while the others are looked at. */
function textOf(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const amount = (text, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
