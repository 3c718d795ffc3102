// Kills the daemon again and again under load and accounts for every copy: `npm run torture [-- --short] [--rounds N] [--minutes N] [--seed N] [--quiet]`.
// What is done and what must hold: test/torture/README.md. The seed makes the same rounds again. Exit code 1 on any violation.
import { mkdirSync, symlinkSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { compileTests, fail, numberIn, ownFolder } from './campaign.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = readArguments();
const { folder, keep } = ownFolder('torture');

compile(join(folder, 'js'));
process.env.TMPDIR = folder;
const { runTorture } = await import(pathToFileURL(join(folder, 'js/test/torture/campaign.js')).href);
const began = Date.now();
const { seed, rounds, minutes } = wanted;
say(`seed ${seed}, ${minutes === null ? `${rounds} rounds` : `${minutes} minutes`}`);
const site = join(folder, 'run');
mkdirSync(site);
const report = await runTorture({
  seed,
  folder: site,
  goesOn: (done) => (minutes === null ? done < rounds : Date.now() - began < minutes * 60_000),
  say: (words) => (wanted.quiet && !words.startsWith('VIOLATION') ? undefined : say(words)),
});
print(report);
const isViolated = report.violations.length > 0;
if (isViolated) {
  keep();
  console.log(`\nfiles: ${site}\nagain: npm run torture -- --seed ${seed} --rounds ${report.rounds}`);
}
process.exit(isViolated ? 1 : 0);

function print({
  faults,
  points,
  commandPoints,
  commands,
  unmet,
  messages,
  pairs,
  quarantined,
  copies,
  duplicates,
  doubts,
  lost,
  leaked,
  violations,
  rounds,
}) {
  const cpu = cpus();
  const list = (counts) =>
    Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ') || 'none';
  const rows = [
    [
      'machine',
      `${cpu.length} cores, ${cpu[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 1e9)} GB, linux ${release()} ${arch()}, node ${process.versions.node}, load ${loadavg()[0]?.toFixed(1)}`,
    ],
    ['seed', seed],
    ['took', `${Math.round((Date.now() - began) / 1000)} s, ${rounds} rounds`],
    ['faults', list(faults)],
    ['points', reached(points)],
    ...points.never.map((point) => ['  not at', point]),
    ...unmet.map((site) => ['  not met', site]),
    ['commands', `${commands.run} run beside it, ${commands.died} of them killed and run again`],
    ['their points', reached(commandPoints)],
    ...commandPoints.never.map((point) => ['  not at', point]),
    ['messages', `${messages.offered} offered, ${messages.accepted} answered with 250`],
    ['quarantine', `${quarantined} taken out by an operator: their worker was ended twice`],
    ['copies owed', list(pairs)],
    ['copies taken', copies],
    ['duplicated', `${duplicates} (after ${doubts.kills} deaths, at most ${doubts.most} at once)`],
    ['lost', lost],
    ['leaked', leaked],
    ['violations', violations.length],
  ];
  console.log('');
  for (const [name, value] of rows) console.log(`${name.padEnd(14)}${value}`);
  for (const [count, names] of byHits({ ...points.hits, ...commandPoints.hits }))
    console.log(`${`died ${count}`.padEnd(14)}${names.join('; ')}`);
  for (const violation of violations) console.log(`VIOLATION ${violation}`);
}

/** Points by how often a process died there, the seldomest first. */
function byHits(hits) {
  const found = new Map();
  for (const [point, count] of Object.entries(hits))
    if (count > 0) found.set(count, [...(found.get(count) ?? []), point]);
  return [...found].sort(([a], [b]) => a - b);
}

function reached({ hits, never }) {
  const counts = Object.values(hits);
  return `died at ${counts.filter((count) => count > 0).length} of ${counts.length} that were met; ${never.length} left`;
}

/** Beside the code, links to the program, its packages and the preload. */
function compile(out) {
  compileTests('torture', out);
  for (const name of ['dist', 'node_modules']) symlinkSync(join(root, name), join(out, name));
  for (const name of ['kill-points.mjs', 'failing-disk.c', 'forgetful-disk.c'])
    symlinkSync(join(root, 'test/kit', name), join(out, 'test/kit', name));
}

function readArguments() {
  const options = {
    rounds: { type: 'string', default: '300' },
    minutes: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    short: { type: 'boolean', default: false },
    quiet: { type: 'boolean', default: false },
  };
  try {
    const { values } = parseArgs({ options });
    const number = (name, least) => numberIn(values, name, least);
    return {
      rounds: values.short ? 12 : number('rounds', 1),
      minutes: values.minutes === undefined ? null : number('minutes', 1),
      seed: number('seed', 0),
      quiet: values.quiet,
    };
  } catch (error) {
    return fail(
      'torture',
      64,
      `${error.message}; usage: torture [--short] [--rounds N] [--minutes N] [--seed N] [--quiet]`,
    );
  }
}

function say(words) {
  console.log(`torture: ${words}`);
}
