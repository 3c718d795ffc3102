// Feeds changed messages, certificates and headers to the engine: `npm run fuzz [-- --runs N] [--seed N] [--threads N] [--slow MS]`.
// Everything must end in an answer or a Fault, in time, and nothing may be signed that was not (test/fuzz/README.md).
// What fails is kept in a folder with the command that makes it again: `--samples FILE --seed N --only K`. Exit code 1.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { compileTests, fail, numberIn, ownFolder } from './campaign.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** When progress was last said. */
let shown = 0;

if (isMainThread) await main();
else await runThread();

async function main() {
  const wanted = readArguments();
  const { folder, keep } = ownFolder('fuzz');
  compileTests('fuzz', join(folder, 'js'));
  const { makeSamples, samplesOfFiles } = await import(moduleIn(folder, 'samples'));
  const samples = wanted.samples ? JSON.parse(readFileSync(wanted.samples, 'utf8')) : makeSamples(Date.now());
  if (!wanted.samples) samples.samples.push(...samplesOfFiles(corpusFiles()));
  const { seed, threads, runs, only, slow } = wanted;
  say(
    `${samples.samples.length} samples, seed ${seed}, ${only === null ? `${runs} mutations in ${threads} threads` : `case ${only}`}`,
  );

  const began = performance.now();
  const shares =
    only === null
      ? Array.from({ length: threads }, (_, n) => ({
          first: n,
          step: threads,
          count: Math.ceil((runs - n) / threads),
        }))
      : [{ first: only, step: 1, count: 1 }];
  const progress = shares.map(() => 0);
  const tallies = await Promise.all(
    shares.map((share, n) =>
      inThread({ folder, samples, seed, share, slow }, (cases) => {
        progress[n] = cases;
        show(progress, runs, began);
      }),
    ),
  );
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const failures = tallies.flatMap((tally) => tally.failures).sort((a, b) => a.index - b.index);
  report(tallies, (performance.now() - began) / 1000);
  if (failures.length === 0) process.exit(0);
  keep();
  const kept = wanted.samples ?? join(folder, 'samples.json');
  if (!wanted.samples) writeFileSync(kept, JSON.stringify(samples), { mode: 0o600 });
  for (const failure of failures) {
    const { index, sample, changes, problem, input } = failure;
    const path = join(folder, `case-${index}.json`);
    writeFileSync(path, JSON.stringify(failure, null, 2));
    writeFileSync(join(folder, `case-${index}.bin`), Buffer.from(input, 'hex'));
    console.log(`\nFAILED case ${index}, from "${sample}": ${changes}\n  ${problem}\n  input: ${path}`);
    console.log(`  again: npm run fuzz -- --seed ${seed} --only ${index} --samples ${kept}`);
  }
  process.exit(1);
}

/** One thread's share, in this file again as a worker; `onCases` is told how many are done. */
function inThread(data, onCases) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: data });
    worker.on('message', ({ cases, tally }) => (tally ? resolve(tally) : onCases(cases)));
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a thread ended with ${code} before it was done`)));
  });
}

async function runThread() {
  const { folder, samples, seed, share, slow } = workerData;
  const { startCampaign, caseLimits } = await import(moduleIn(folder, 'campaign'));
  const tick = ({ cases }) => parentPort.postMessage({ cases });
  const tally = startCampaign(samples, seed, { ...caseLimits, milliseconds: slow }).run({ ...share, tick });
  parentPort.postMessage({ cases: tally.cases, tally });
}

function moduleIn(folder, name) {
  return pathToFileURL(join(folder, 'js/test/fuzz', `${name}.js`)).href;
}

/** What the public corpora have for the engine; nothing where they are not. */
function corpusFiles() {
  const folders = [
    'rfc4134',
    'rfc9788-hp',
    'thunderbird-smime',
    'rfc9216',
    'james-mime4j/core',
    'pkits/certs',
    'pkits/crls',
  ];
  return folders.flatMap((name) => {
    const folder = join(root, '../shared/corpora', name);
    if (!existsSync(folder)) return [];
    const files = readdirSync(folder).sort();
    // The larger folders have hundreds of one kind; ours are to be tried more often than theirs.
    const every = Math.ceil(files.length / 15);
    return files
      .filter((file, n) => n % every === 0 && /\.\w+$/.test(file))
      .map((file) => ({ name: `${name}/${file}`, octets: readFileSync(join(folder, file)) }));
  });
}

/** A line that is written over, or one a minute where nobody watches. */
function show(progress, runs, began) {
  const now = performance.now();
  const live = process.stderr.isTTY;
  if (now - shown < (live ? 200 : 60_000)) return;
  shown = now;
  const done = progress.reduce((sum, one) => sum + one, 0);
  const line = `fuzz: ${done} of ${runs}, ${Math.round(done / ((now - began) / 1000))} a second`;
  process.stderr.write(live ? `\r\x1b[K${line}` : `${line}\n`);
}

function report(tallies, seconds) {
  const outcomes = new Map();
  for (const tally of tallies)
    for (const [name, count] of tally.outcomes) outcomes.set(name, (outcomes.get(name) ?? 0) + count);
  for (const [name, count] of [...outcomes].sort()) console.log(`${String(count).padStart(9)}  ${name}`);
  const cases = tallies.reduce((sum, tally) => sum + tally.cases, 0);
  const slowest = tallies.map((tally) => tally.slowest).sort((a, b) => b.ms - a.ms)[0];
  const failed = tallies.reduce((sum, tally) => sum + tally.failures.length, 0);
  say(`${cases} mutations in ${Math.round(seconds)} s, ${Math.round(cases / seconds)} a second`);
  say(`the slowest, case ${slowest.index}, took ${Math.round(slowest.ms)} ms; ${failed} failed`);
}

function readArguments() {
  const options = {
    runs: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    threads: { type: 'string', default: '2' },
    slow: { type: 'string', default: '5000' },
    only: { type: 'string' },
    samples: { type: 'string' },
  };
  try {
    const { values } = parseArgs({ options });
    const number = (name, least) => numberIn(values, name, least);
    return {
      runs: number('runs', 1),
      seed: number('seed', 0),
      threads: number('threads', 1),
      slow: number('slow', 0),
      only: values.only === undefined ? null : number('only', 0),
      samples: values.samples ?? null,
    };
  } catch (error) {
    return fail(
      'fuzz',
      64,
      `${error.message}; usage: fuzz [--runs N] [--seed N] [--threads N] [--slow MS] [--samples FILE] [--only K]`,
    );
  }
}

function say(words) {
  console.log(`fuzz: ${words}`);
}
