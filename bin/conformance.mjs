// Writes docs/conformance.md: what RFC 8551 and RFC 8550 ask of a list server, and which tests show that reseal does it.
// `npm run conformance [-- --check] [--results FILE]`. The rows are in test/conformance/requirements.yaml; `--results`
// is the JSON report of a run of all tests, else those that the rows name are run. `--check` writes nothing and fails
// where the file would change. Exit code 1 when a requirement's test fails or cannot be found.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = join(root, 'docs/conformance.md');
const { check, results } = readArguments();
const { introduction, requirements, corpora } = parse(
  readFileSync(join(root, 'test/conformance/requirements.yaml'), 'utf8'),
);

const tests = testsOf(results ?? runTests());
const problems = [];
const rows = requirements.map((row) => ({ ...row, ...verdictOf(row) }));
const data = corpora.map((row) => ({ ...row, ...verdictOf(row) }));
const text = compose();
const old = existsSync(page) ? readFileSync(page, 'utf8') : '';
if (check && old !== text)
  problems.push('docs/conformance.md is not what the tests show: run `npm run conformance` and commit it');
if (!check) writeFileSync(page, text);

for (const { rfc, section, level, text: what, outcome } of rows)
  console.log(`${rfc} ${section.padEnd(9)} ${level.padEnd(10)} ${outcome.padEnd(11)} ${what}`);
for (const { name, outcome, passed } of data)
  console.log(`${name.padEnd(31)} ${outcome.padEnd(11)} ${passed} tests`);
const tally = grouped(rows);
console.log(`\nconformance: ${[...tally].map(([outcome, of]) => `${of.length} ${outcome}`).join(', ')}`);
const unrun = tally.get('not run')?.length ?? 0;
if (unrun > 0)
  console.log(
    `conformance: ${unrun} not run: above, SKIPPED says what their tests need.${check ? '' : ' docs/conformance.md says so now; `git checkout docs/conformance.md` brings the full table back.'}`,
  );
for (const problem of problems) console.error(`conformance: ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);

/** What the tests say of a row: all that match must pass. */
function verdictOf(row) {
  const name = row.name ?? `RFC ${row.rfc} ${row.section} (${row.text})`;
  const shown = row.shown ?? [];
  const matched = [];
  for (const one of shown) {
    const [[file, title]] = Object.entries(one);
    const found = tests.filter((test) => test.file === file && test.title.includes(title ?? ''));
    if (found.length === 0) problems.push(`${name}: ${file} has no test "${title}"`);
    matched.push(...found);
  }
  const failed = matched.filter((test) => test.status === 'failed');
  const skipped = matched.filter((test) => test.status !== 'failed' && test.status !== 'passed');
  for (const test of failed) problems.push(`${name}: ${test.file} › ${test.title} fails`);
  const passed = matched.length - failed.length - skipped.length;
  const outcome =
    failed.length > 0
      ? 'FAILS'
      : skipped.length > 0
        ? 'not run'
        : matched.length === 0
          ? (row.outcome ?? 'not shown')
          : row.deviation
            ? 'deviates'
            : 'pass';
  return { outcome, passed };
}

function compose() {
  const table = (rfc) =>
    rows
      .filter((row) => row.rfc === rfc)
      .map((row) => {
        const shown = (row.shown ?? []).map((one) => {
          const [[file, title]] = Object.entries(one);
          return title ? `\`${file}\` › ${cell(title)}` : `\`${file}\``;
        });
        const how = [
          ...shown,
          ...(row.deviation ? [`**${cell(row.deviation)}**`] : []),
          ...(row.note ? [cell(row.note)] : []),
        ];
        return `| ${row.section} | ${row.who} | ${row.level} | ${cell(row.text)} | ${row.outcome} | ${how.join('<br>')} |`;
      })
      .join('\n');
  const head =
    '| § | who | level | requirement, in our words | result | how it is shown |\n|---|---|---|---|---|---|\n';
  const cases = data
    .map(
      (row) => `| ${row.name} | ${cell(row.text)} | ${row.outcome} | \`${Object.keys(row.shown[0])[0]}\` |`,
    )
    .join('\n');
  return `# Conformance\n\n<!-- Made by \`npm run conformance\`; edit test/conformance/requirements.yaml. -->\n\n${introduction.trim()}\n
## RFC 8551, S/MIME 4.0 messages\n\n${head}${table(8551)}\n
## RFC 8550, S/MIME 4.0 certificates\n\n${head}${table(8550)}\n
## Published test data\n\n| data | what | result | where |\n|---|---|---|---|\n${cases}\n`;
}

function cell(text) {
  return text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim();
}

function testsOf(report) {
  return report.testResults.flatMap((file) =>
    file.assertionResults.map((test) => ({
      file: relative(root, file.name),
      title: [...test.ancestorTitles, test.title].join(' › '),
      status: test.status,
    })),
  );
}

function runTests() {
  const folder = mkdtempSync(join(tmpdir(), 'reseal-conformance-'));
  const file = join(folder, 'report.json');
  const named = [...requirements, ...corpora].flatMap((row) => (row.shown ?? []).flatMap(Object.keys));
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  spawnSync(process.execPath, [vitest, 'run', ...reporters, ...new Set(named)], {
    cwd: root,
    stdio: 'inherit',
  });
  const report = JSON.parse(readFileSync(file, 'utf8'));
  rmSync(folder, { recursive: true, force: true });
  return report;
}

function grouped(all) {
  const groups = new Map();
  for (const row of all) groups.set(row.outcome, [...(groups.get(row.outcome) ?? []), row]);
  return groups;
}

function readArguments() {
  try {
    const options = { check: { type: 'boolean' }, results: { type: 'string' } };
    const { values } = parseArgs({ options });
    const read = values.results === undefined ? null : JSON.parse(readFileSync(values.results, 'utf8'));
    return { check: values.check === true, results: read };
  } catch (error) {
    console.error(`conformance: ${error.message}; usage: conformance [--check] [--results FILE]`);
    process.exit(64);
  }
}
