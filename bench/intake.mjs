// How many messages a second are accepted, each on the disk before its 250; beside Postfix, which takes the same ones.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from './daemon.mjs';
import { digits, kB, median, timed } from './figures.mjs';
import { makeCa } from './identities.mjs';
import { missingPrograms, sendBySource } from './postfix.mjs';
import { noPostfixBecause, startPostfix } from './postfix-server.mjs';
import { listAddress, makePost, makeSite } from './site.mjs';
import { withRatio } from './table.mjs';
import { usageBetween } from './usage.mjs';

const part = 'Intake: messages of 10 kB, each on the disk before its 250';
const members = 1;
const bounces = listAddress(members).replace('@', '-bounces@');
const cases = [
  { what: '1 session', sessions: 1, messages: 500 },
  { what: '10 sessions', sessions: 10, messages: 2000 },
  { what: '50 sessions', sessions: 50, messages: 3000 },
  { what: '10 sessions, one message each', sessions: 10, messages: 1000, keep: false },
  { what: '10 sessions, posts that are opened', sessions: 10, messages: 1000, to: listAddress(members) },
];

/** The rows of this part; none, said aloud, where there is no Postfix to stand beside. */
export async function benchIntake({ folder, quick, say, runs = null }) {
  const missing = missingPrograms();
  const why =
    missing.length > 0 ? `there is no ${missing.join(', no ')} (Debian: postfix)` : noPostfixBecause();
  if (why !== null) {
    say(`SKIPPED intake: ${why}`);
    return [];
  }
  const ca = await makeCa(folder);
  const author = await ca.issue('author@example.org');
  const list = await ca.issue('all@lists.example');
  const root = join(folder, 'site-intake');
  mkdirSync(root);
  // Nothing is delivered: the post is the author's own.
  await makeSite(root, { ca, keys: [author], list, relayPort: 1, sizes: [members] });
  const file = join(folder, 'message');
  const post = makePost({ author, list, to: listAddress(members), size: 10 * kB });
  writeFileSync(file, post.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');

  const postfix = await startPostfix();
  const daemon = await startDaemon(root);
  const rows = [];
  try {
    const world = { folder, file, daemon, postfix };
    // Both get warm, reseal's compiler too; the post's signature is known from here on.
    await compare({ ...cases[1], messages: quick ? 300 : 2000, to: listAddress(members) }, world, 1);
    for (const one of cases) {
      say(`intake: ${one.what}`);
      const messages = quick ? one.messages / 5 : one.messages;
      rows.push(rowOf(one, await compare({ ...one, messages }, world, runs ?? (quick ? 2 : 5))));
    }
  } finally {
    await daemon.stop();
    await postfix.stop();
  }
  return rows.map((row) => withRatio({ part, ...row }));
}

/** Messages a second of both, in turn; the daemon has done what it does after the 250 before the other begins. */
async function compare({ sessions, messages, keep = true, to = bounces }, world, runs) {
  const { folder, file, daemon, postfix } = world;
  const take = async (port) => {
    const ms = await timed(() => sendBySource(folder, { port, file, copies: messages, sessions, to, keep }));
    return (messages / ms) * 1000;
  };
  const own = [];
  const other = [];
  const cpu = [];
  for (let run = 0; run < runs; run++) {
    const before = daemon.usage();
    own.push(await take(daemon.port));
    await daemon.idle();
    const used = usageBetween(before, daemon.usage());
    cpu.push({ all: used.all / messages, main: used.main / messages });
    other.push(await take(postfix.port));
  }
  return {
    own: median(own),
    other: median(other),
    cpu: median(cpu.map((one) => one.all)),
    main: median(cpu.map((one) => one.main)),
  };
}

function rowOf({ what, to }, { own, other, cpu, main }) {
  return {
    what,
    figure: own,
    unit: 'messages/s',
    beside: 'Postfix, on hold',
    besideFigure: other,
    // What is done with a post afterwards is more than taking it in.
    ...(to === undefined && { aim: '>= 1', met: own >= other }),
    note: `${digits(cpu)} ms CPU each, with what follows; main thread ${digits(main)}`,
  };
}
