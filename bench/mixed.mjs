// Whether a large post to many members delays a small one on another list.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { startDaemon } from './daemon.mjs';
import { kB, MB, median, sizeName } from './figures.mjs';
import { makeCa } from './identities.mjs';
import { missingPrograms, startSink } from './postfix.mjs';
import { listAddress, makePost, makeSite } from './site.mjs';
import { send } from './smtp-client.mjs';
import { withRatio } from './table.mjs';

/** Of the list with the small post. */
const few = 10;

/** The rows of this part; none, said aloud, where Postfix's programs are missing. */
export async function benchMixed({ folder, quick, say }) {
  const missing = missingPrograms();
  if (missing.length > 0) {
    say(`SKIPPED mixed load: there is no ${missing.join(', no ')} (Debian: postfix)`);
    return [];
  }
  const large = quick ? { members: 100, size: 10 * MB } : { members: 1000, size: 10 * MB };
  const part = `Mixed load: a post of 10 kB while one of ${sizeName(large.size)} goes to ${large.members} members`;
  const ca = await makeCa(folder);
  const list = await ca.issue('all@lists.example');
  const keys = [];
  for (let n = 0; n < 5; n++) keys.push(await ca.issue(`bench-${n}@example.org`));
  const sink = await startSink(folder);
  const root = join(folder, 'site-mixed');
  mkdirSync(root);
  await makeSite(root, { ca, keys, list, relayPort: sink.port, sizes: [few, large.members] });
  const daemon = await startDaemon(root);
  try {
    const post = async (members, size) => {
      const to = listAddress(members);
      const message = makePost({ author: keys[0], list, to, size });
      const begun = performance.now();
      const accepted = await send(daemon.port, { from: keys[0].address, to, message });
      return { begun, accepted };
    };
    const small = async () => {
      daemon.forget(listAddress(few));
      const { begun, accepted } = await post(few, 10 * kB);
      const { first, last } = await daemon.delivered(listAddress(few), few);
      return { session: accepted - begun, first: first - accepted, last: last - accepted, end: last };
    };
    say('mixed load: the small post alone');
    await small();
    const alone = [];
    for (let run = 0; run < 5; run++) alone.push(await small());

    say('mixed load: beside the large one');
    await post(large.members, large.size);
    const done = daemon.delivered(listAddress(large.members), large.members);
    await daemon.delivered(listAddress(large.members), 1);
    const beside = [];
    // Posted while the large one goes on: whenever it ends, the small one may have waited for it.
    const underWay = () => daemon.count(listAddress(large.members)) < large.members;
    while (beside.length < 10 && (beside.length === 0 || underWay())) beside.push(await small());
    await done;
    return rowsOf(alone, beside).map((row) => withRatio({ part, ...row }));
  } finally {
    await daemon.stop();
    sink.stop();
  }
}

function rowsOf(alone, beside) {
  const row = (what, figure) => {
    const [quiet, busy] = [alone, beside].map((runs) => runs.map(figure));
    return { what, busy, figure: median(busy), unit: 'ms', beside: 'alone', besideFigure: median(quiet) };
  };
  const rows = [
    row('SMTP session, up to the 250', (run) => run.session),
    row('250 to the first copy', (run) => run.first),
    row('250 to the last copy', (run) => run.last),
  ];
  return rows.map(({ busy, ...one }, at) => {
    const worst = Math.max(...busy);
    const delay = worst - one.besideFigure;
    const note = `at most ${Math.round(worst)} ms in ${busy.length} tries`;
    return { ...one, note, ...(at === 2 && { aim: 'delayed < 1 s', met: delay < 1000 }) };
  });
}
