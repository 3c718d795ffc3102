// All checks, one after the other; a failing one does not keep the others from running. Arguments go to vitest:
// `npm test -- test/cms`. RESEAL_NO_SKIP=1: a skipped test is a failed one. RESEAL_TEST_REPORT: where vitest's JSON report is kept.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'reseal-test-'));
const skipFile = join(scratch, 'skipped');
const reportFile = process.env.RESEAL_TEST_REPORT ?? join(scratch, 'report.json');
const noSkip = process.env.RESEAL_NO_SKIP === '1';

/** What other programs the tests compare with, and the Debian package of each. */
const programs = [
  ['openssl', 'openssl'],
  ['gpgsm', 'gpgsm'],
  ['cmsutil', 'libnss3-tools'],
  ['smtp-sink', 'postfix'],
  ['smtp-source', 'postfix'],
  ['faketime', 'faketime'],
  ['swaks', 'swaks'],
  ['javac', 'default-jdk-headless'],
];

const missing = programs.filter(([name]) => !hasProgram(name));
if (spawnSync('perl', ['-MTemplate', '-e', '1']).status !== 0)
  missing.push(['perl Template', 'libtemplate-perl']);
if (spawnSync('perl', ['-MCrypt::SMIME', '-e', '1']).status !== 0)
  missing.push(['perl Crypt::SMIME', 'libcrypt-smime-perl']);
if (!existsSync('/usr/share/java/bcmail.jar')) missing.push(['Bouncy Castle', 'libbcmail-java']);
for (const [name, pack] of missing)
  console.log(`test: ${name} is missing (Debian: ${pack}); tests that need it are skipped`);

const reports = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
const steps = [
  ['lint', 'node_modules/@biomejs/biome/bin/biome', ['check', '.']],
  ['types', 'node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json']],
  ['unused code', 'node_modules/knip/bin/knip.js', ['--no-progress']],
  ['tests', 'node_modules/vitest/vitest.mjs', ['run', ...reports, ...process.argv.slice(2)]],
];

const failed = [];
let exitCode = 0;
for (const [name, program, args] of steps) {
  console.log(`\ntest: ${name}`);
  const started = Date.now();
  const { status } = spawnSync(process.execPath, [join(root, program), ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, RESEAL_SKIP_FILE: skipFile },
  });
  console.log(
    `test: ${name}: ${status === 0 ? 'good' : 'FAILED'} (${Math.round((Date.now() - started) / 1000)} s)`,
  );
  if (status !== 0) note(name, status ?? 1);
}

const report = existsSync(reportFile) ? JSON.parse(readFileSync(reportFile, 'utf8')) : null;
const needed = existsSync(skipFile) ? [...new Set(readFileSync(skipFile, 'utf8').trim().split('\n'))] : [];
const skipped = report === null ? 0 : report.numPendingTests + report.numTodoTests;
if (noSkip && skipped + needed.length > 0) note('skipped tests', 1);
rmSync(scratch, { recursive: true, force: true });

const counted =
  report === null
    ? 'tests: 0 passed, 0 failed, 0 skipped'
    : `tests: ${report.numPassedTests} passed, ${report.numFailedTests} failed, ${skipped} skipped`;
const why = needed.length > 0 ? ` (for want of ${needed.join('; ')})` : '';
console.log(`\ntest: ${failed.length === 0 ? 'all good' : `FAILED: ${failed.join(', ')}`}${why}`);
// A line of its own, for programs that read how many tests there were.
console.log(counted);
process.exit(exitCode);

function note(name, code) {
  failed.push(name);
  if (exitCode === 0) exitCode = code;
}

function hasProgram(name) {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'].some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
