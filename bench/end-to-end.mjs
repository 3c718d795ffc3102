// From the moment a post is accepted to the last acknowledgement of the relay, with the real daemon and Postfix's
// smtp-sink; beside smtp-source, which sends as many octets to the same sink and does nothing else.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from './daemon.mjs';
import { casesOf } from './end-to-end-cases.mjs';
import { digits, kB, MB, median, timed } from './figures.mjs';
import { makeCa } from './identities.mjs';
import { missingPrograms, sendBySource, startSink } from './postfix.mjs';
import { listAddress, makePost, makeSite } from './site.mjs';
import { send } from './smtp-client.mjs';
import { withRatio } from './table.mjs';
import { usageBetween, usageOf, usageOfEnded } from './usage.mjs';

/** Of smtp-source: more make it no faster. */
const sessions = 4;
/** Of a list to get warm with. */
const few = 10;
/** Small copies, in at most so many posts, before anything is measured: a daemon runs for months, V8 compiles for seconds. */
const warm = { copies: 10_000, posts: 200 };
/** Posts of a run: the kernel counts CPU time in steps of 10 ms, and one to few members takes no more. */
const postsOf = ({ members, size }) => (size <= 10 * kB ? Math.max(1, Math.round(200 / members)) : 1);

/**
 * The rows of this part; none, said aloud, where Postfix's programs are missing. `cases`, `runs`: other ones than the
 * usual; `cpuProfiles`: a folder for CPU profiles of the daemon.
 */
export async function benchEndToEnd({ folder, quick, say, cases = null, runs = null, cpuProfiles = null }) {
  const missing = missingPrograms();
  if (missing.length > 0) {
    say(`SKIPPED end to end: there is no ${missing.join(', no ')} (Debian: postfix)`);
    return [];
  }
  const ca = await makeCa(folder);
  const list = await ca.issue('all@lists.example');
  const people = peopleOf(ca, quick ? 5 : 20);
  const sink = await startSink(folder);
  const measured = [];
  try {
    for (const one of cases ?? casesOf(quick)) {
      say(`end to end: ${one.what}`);
      const world = { folder, ca, list, sink, cpuProfiles, keys: await people(one.kind) };
      measured.push(await measure({ ...one, runs: runs ?? one.runs }, world));
    }
  } finally {
    sink.stop();
  }
  return measured.flatMap((one) => rowsOf(one, measured)).map(withRatio);
}

/** Keys of one kind, made when they are first wanted. */
function peopleOf(ca, count) {
  const made = new Map();
  return async (kind) => {
    if (!made.has(kind)) {
      const keys = [];
      for (let n = 0; n < count; n++) keys.push(await ca.issue(`bench-${n}@example.org`, kind));
      made.set(kind, keys);
    }
    return made.get(kind);
  };
}

/** A fresh daemon, so that its peak memory is of this case; one post to get warm, then the runs of both in turn. */
async function measure(one, { folder, ca, keys, list, sink, cpuProfiles }) {
  const { size, members, kind, runs, yardstick } = one;
  const root = join(folder, `site-${members}-${size}-${kind}`);
  mkdirSync(root);
  const sizes = [...new Set([few, members])];
  await makeSite(root, { ca, keys, list, relayPort: sink.port, sizes });
  const daemon = await startDaemon(root, { cpuProfiles });
  try {
    const before = daemon.memory().now;
    const post = async (count) => {
      const to = listAddress(count);
      const message = makePost({ author: keys[0], list, to, size });
      daemon.forget(to);
      const accepted = await send(daemon.port, { from: keys[0].address, to, message });
      const { first, last } = await daemon.delivered(to, count);
      return { first: first - accepted, all: last - accepted, message };
    };
    const { message } = await post(few);
    const copy = writeCopy(folder, message);
    const source = async (copies) => {
      const used = usageOfEnded();
      const ms = await timed(() =>
        sendBySource(folder, { port: sink.port, file: copy.file, copies, sessions }),
      );
      return { ms, cpu: usageOfEnded() - used };
    };
    if (size <= 10 * kB)
      for (let n = 0; n < warm.posts && n * members < warm.copies; n++) await post(members);
    const own = [];
    const other = [];
    for (let run = 0; run < runs; run++) {
      const start = { daemon: daemon.usage(), sink: usageOf(sink.pid).all };
      const posted = [];
      for (let n = 0; n < postsOf(one); n++) posted.push(await post(members));
      const used = usageBetween(start.daemon, daemon.usage());
      const sunk = usageOf(sink.pid).all - start.sink;
      own.push({
        first: median(posted.map((each) => each.first)),
        all: median(posted.map((each) => each.all)),
        used: perPost(used, posted.length),
        sink: sunk / posted.length,
      });
      if (yardstick) other.push({ ...(await source(members)), one: (await source(1)).ms });
    }
    const memory = { before, peak: daemon.memory().peak };
    return { ...one, own: inTheMiddle(own, members), other: otherOf(other, members), memory, copy };
  } finally {
    await daemon.stop();
  }
}

const perPost = (used, posts) =>
  Object.fromEntries(Object.entries(used).map(([name, amount]) => [name, amount / posts]));

/** A copy is the post sealed anew; its header is longer by about as much as the list adds. */
function writeCopy(folder, message) {
  const file = join(folder, 'copy');
  const copy = Buffer.concat([Buffer.alloc(12 * 80, `X-List: ${'x'.repeat(70)}\r\n`), message]);
  writeFileSync(file, copy.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
  return { file, octets: copy.length };
}

function inTheMiddle(runs, members) {
  const of = (figure) => median(runs.map(figure));
  const perCopy = (name) => of((run) => run.used[name]) / members;
  return {
    first: of((run) => run.first),
    all: of((run) => run.all),
    cpu: perCopy('all'),
    user: perCopy('user'),
    system: perCopy('system'),
    main: perCopy('main'),
    busiest: perCopy('busiest'),
    second: perCopy('second'),
    voluntary: perCopy('voluntary'),
    involuntary: perCopy('involuntary'),
    sink: of((run) => run.sink) / members,
  };
}

function otherOf(runs, members) {
  if (runs.length === 0) return null;
  const of = (figure) => median(runs.map(figure));
  return { all: of((run) => run.ms), cpu: of((run) => run.cpu) / members, one: of((run) => run.one) };
}

/** The rows of one case; `measured`: all of them, for what stands beside each other. */
function rowsOf(one, measured) {
  const { what, part, members, size, own, other, memory, copy, aims } = one;
  const rate = (members / own.all) * 1000;
  const rows = [
    {
      what,
      figure: rate,
      unit: 'copies/s',
      ...(other && { beside: 'smtp-source', besideFigure: (members / other.all) * 1000 }),
      ...(other && aims.rate && aim(`>= ${aims.rate}`, other.all >= aims.rate * own.all)),
      note: `${Math.round(own.all)} ms, ${Math.round((copy.octets * rate) / MB)} MB/s`,
    },
    {
      what,
      figure: own.cpu,
      unit: 'ms CPU/copy',
      ...(other && { beside: 'smtp-source', besideFigure: other.cpu, besideUnit: 'ms' }),
      ...(aims.cpu && aim(`< ${aims.cpu} ms`, own.cpu < aims.cpu)),
      note: [
        `user ${digits(own.user)}, system ${digits(own.system)}`,
        `main thread ${digits(own.main)}, others ${digits(own.cpu - own.main)} (${digits(own.busiest)} + ${digits(own.second)} …)`,
        `switches ${digits(own.voluntary)} + ${digits(own.involuntary)}`,
        `smtp-sink ${digits(own.sink)}`,
      ].join('; '),
    },
    {
      what,
      figure: own.first,
      unit: 'ms to the first copy',
      ...(other && { beside: 'smtp-source, one copy', besideFigure: other.one, besideUnit: 'ms' }),
      ...(aims.first && aim(`< ${aims.first} ms`, own.first < aims.first)),
    },
    {
      what,
      figure: memory.peak,
      unit: 'MB peak memory',
      beside: 'before the first post',
      besideFigure: memory.before,
      besideUnit: 'MB',
      ...(aims.memory && aim(`< ${aims.memory} MB`, memory.peak < aims.memory)),
    },
  ];
  const hundred = measured.find(
    (each) => each.members === 100 && each.size === size && each.kind === one.kind,
  );
  if (members === 10_000 && size === 10 * kB && hundred !== undefined) {
    const [ours, theirs] = [own.all / members, hundred.own.all / 100];
    rows.push({
      what,
      figure: ours,
      unit: 'ms per copy',
      beside: '100 members',
      besideFigure: theirs,
      ...aim('<= 1.1', ours <= 1.1 * theirs),
    });
  }
  return rows.map((row) => ({ part, ...row }));
}

const aim = (words, met) => ({ aim: words, met });
