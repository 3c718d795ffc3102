// From the moment a post is accepted to the last acknowledgement of the relay, with the real daemon and Postfix's
// smtp-sink; beside smtp-source, which sends as many octets to the same sink and does nothing else.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from './daemon.mjs';
import { kB, MB, median, medianTime, sizeName } from './figures.mjs';
import { makeCa } from './identities.mjs';
import { missingPrograms, sendBySource, startSink } from './postfix.mjs';
import { listAddress, makePost, makeSite } from './site.mjs';
import { send } from './smtp-client.mjs';
import { withRatio } from './table.mjs';

const part = 'End to end: signed and encrypted post, from 250 to the last acknowledgement of smtp-sink';
/** Of smtp-source: more make it no faster. */
const sessions = 4;
const aims = new Map([
  [10 * kB, 1 / 4],
  [MB, 1 / 2],
]);

/** The rows of this part; none, said aloud, where Postfix's programs are missing. */
export async function benchEndToEnd({ folder, quick, say }) {
  const missing = missingPrograms();
  if (missing.length > 0) {
    say(`SKIPPED end to end: there is no ${missing.join(', no ')} (Debian: postfix)`);
    return [];
  }
  const ca = await makeCa(folder);
  const keys = [];
  for (let n = 0; n < (quick ? 5 : 20); n++) keys.push(await ca.issue(`bench-${n}@example.org`));
  const world = { folder, ca, keys, list: await ca.issue('all@lists.example'), say, quick };
  const sink = await startSink(folder);
  const rows = [];
  try {
    for (const [size, aim] of aims)
      for (const members of [10, 100, 1000]) {
        if (quick && size * members > 100 * MB) continue;
        rows.push(...(await benchCase({ ...world, sink, size, members, aim })));
      }
  } finally {
    sink.stop();
  }
  return rows.map((row) => withRatio({ part, ...row }));
}

async function benchCase(world) {
  const { size, members, aim, say, sink, quick } = world;
  const what = `${members} members, ${sizeName(size)}`;
  say(`end to end: ${what}`);
  const heavy = size * members > 100 * MB;
  const runs = heavy ? 2 : quick ? 3 : 5;
  const own = await ownRuns(world, runs);
  const file = join(world.folder, 'copy');
  // A copy is the post sealed anew; its header is longer by about as much as the list adds.
  const copy = Buffer.concat([Buffer.alloc(12 * 80, `X-List: ${'x'.repeat(70)}\r\n`), own.sample]);
  writeFileSync(file, copy.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
  const source = await medianTime(runs, () =>
    sendBySource(world.folder, { port: sink.port, file, copies: members, sessions }),
  );
  const rate = (members / own.ms) * 1000;
  const sourceRate = (members / source) * 1000;
  return [
    {
      what,
      figure: rate,
      unit: 'copies/s',
      beside: 'smtp-source',
      besideFigure: sourceRate,
      aim: `>= ${aim}`,
      met: rate >= aim * sourceRate,
      note: `${Math.round(own.ms)} ms, ${Math.round((copy.length * rate) / MB)} MB/s`,
    },
    { what, figure: own.cpuPerCopy, unit: 'ms CPU/copy', note: 'the daemon with its threads' },
    {
      what,
      figure: own.memory.peak,
      unit: 'MB peak memory',
      beside: 'before the first post',
      besideFigure: own.memory.before,
      besideUnit: 'MB',
      ...(heavy ? { aim: '< 200 MB', met: own.memory.peak < 200 } : {}),
    },
  ];
}

/** A fresh daemon, so that its peak memory is of this case; one post to get warm, then the runs. */
async function ownRuns({ folder, ca, keys, list, sink, size, members }, runs) {
  const root = join(folder, `site-${members}-${size}`);
  mkdirSync(root);
  await makeSite(root, {
    ca,
    keys,
    list,
    relayPort: sink.port,
    sizes: [10, members].filter((n, at, all) => all.indexOf(n) === at),
  });
  const daemon = await startDaemon(root);
  try {
    const before = daemon.memory().now;
    const post = async (count) => {
      const message = makePost({ author: keys[0], list, to: listAddress(count), size });
      daemon.forget();
      const accepted = await send(daemon.port, { from: keys[0].address, to: listAddress(count), message });
      return { ms: (await daemon.delivered(count)) - accepted, message };
    };
    await post(10);
    const cpu = daemon.cpuMs();
    const times = [];
    let sample;
    for (let run = 0; run < runs; run++) {
      const { ms, message } = await post(members);
      times.push(ms);
      sample = message;
    }
    const cpuPerCopy = (daemon.cpuMs() - cpu) / (runs * members);
    return { ms: median(times), cpuPerCopy, memory: { before, peak: daemon.memory().peak }, sample };
  } finally {
    await daemon.stop();
  }
}
