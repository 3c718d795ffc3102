// `npm run demo`: the main job of reseal, played once with everything real: the daemon, its commands, SMTP on loopback,
// and openssl as the mail program of everybody. Whatever is told is checked; the first difference ends it with exit code 1.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { play } from './demo/play.mjs';
import { Difference, tellStory } from './demo/story.mjs';

const usage = `npm run demo -- [--keep] [--self-test WHAT]
  --keep            leave the temporary folder, with all keys and mails, to look at
  --self-test WHAT  expect something else in the check called WHAT, so that the demonstration must fail`;

let options;
try {
  options = parseArgs({
    options: { keep: { type: 'boolean' }, 'self-test': { type: 'string' }, help: { type: 'boolean' } },
  }).values;
} catch (error) {
  console.error(`demo: ${error.message}\n${usage}`);
  process.exit(2);
}
if (options.help) {
  console.log(usage);
  process.exit(0);
}

const colour = process.stdout.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
const story = tellStory({ out: process.stdout, colour, broken: options['self-test'] ?? null });
const folder = mkdtempSync(join(tmpdir(), 'reseal-demo-'));
const stage = { folder, daemon: null, relay: null };

// Also after Ctrl-C: no keys stay behind.
process.on('exit', () => {
  if (!options.keep) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
])
  process.on(signal, () => process.exit(code));

try {
  await play(story, stage);
  if (!story.metBroken()) throw new Error(`--self-test: there is no check called "${options['self-test']}"`);
  story.print();
  story.print(
    story.bold(story.green(`All as it should be: ${story.checks()} checks in ${story.seconds()}.`)),
  );
  story.print('One post in; four copies out, each sealed for its reader, signed by the author;');
  story.print('one notice, answered; four replays, stopped.');
} catch (error) {
  const words = error instanceof Difference ? `not as it should be: ${error.message}` : String(error.message);
  const say = (text) => process.stderr.write(`${text}\n`);
  say(`\n${story.red(`demo: ${words}`)}`);
  const log = (stage.daemon?.log ?? []).slice(-8);
  if (log.length > 0) say(`The last lines of the daemon's log:\n${log.join('\n')}`);
  if (!options.keep) say('`npm run demo -- --keep` leaves the folder with keys and mails, to look at.');
  process.exitCode = 1;
} finally {
  stage.daemon?.kill();
  await stage.relay?.close();
}
if (options.keep) story.print(`Keys, mails and the site are in ${folder}`);
// After a failure something may still be starting; the listener above ends it.
process.exit();
