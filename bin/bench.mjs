// Prints the bench: `npm run bench [-- --quick] [--only PART] [--json]`. How to read it: bench/README.md.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const parts = ['opening', 'sealing', 'certificates', 'end-to-end', 'intake', 'mixed'];
const options = {
  help: { type: 'boolean', short: 'h' },
  quick: { type: 'boolean' },
  json: { type: 'boolean' },
  only: { type: 'string' },
  case: { type: 'string', multiple: true },
  runs: { type: 'string' },
  'cpu-prof': { type: 'string' },
};
const usage = `usage: npm run bench -- [--quick] [--json] [--only ${parts.join('|')}] [--runs N]; of end-to-end: [--case 1000x10kB[/P-256]] [--cpu-prof FOLDER]`;
const { caseFrom } = await import('../bench/end-to-end-cases.mjs');
const { only, quick = false, json, runs, ofEndToEnd } = readArguments();
if (!existsSync(new URL('../dist/cli/main.js', import.meta.url)))
  fail(69, 'reseal is not built: run `npm run setup`');

// After the check, because they import the compiled program.
const { describeMachine } = await import('../bench/machine.mjs');
const { formatTable } = await import('../bench/table.mjs');
const { benchOpening } = await import('../bench/opening.mjs');
const { benchSealing } = await import('../bench/sealing.mjs');
const { benchCertificates } = await import('../bench/certificates.mjs');
const { benchIntake } = await import('../bench/intake.mjs');
const { benchMixed } = await import('../bench/mixed.mjs');
const { benchEndToEnd } = await import('../bench/end-to-end.mjs');

const folder = mkdtempSync(join(tmpdir(), 'reseal-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const started = Date.now();
const context = { folder, quick, say: (words) => console.error(`bench: ${words}`) };
const machine = await describeMachine();
const rows = [];
const wanted = (part) => only === undefined || only === part;
if (wanted('opening')) rows.push(...(await benchOpening(context)));
if (wanted('sealing')) rows.push(...(await benchSealing(context)));
if (wanted('certificates')) rows.push(...(await benchCertificates(context)));
if (wanted('end-to-end')) rows.push(...(await benchEndToEnd({ ...context, ...ofEndToEnd })));
if (wanted('intake')) rows.push(...(await benchIntake({ ...context, runs })));
if (wanted('mixed')) rows.push(...(await benchMixed(context)));

if (json) console.log(JSON.stringify({ machine, quick: context.quick, rows }, null, 2));
else
  process.stdout.write(
    `${formatTable(machine, rows)}\ntook ${Math.round((Date.now() - started) / 1000)} s\n`,
  );
process.exit(0);

function readArguments() {
  try {
    const { values } = parseArgs({ options });
    const { help, only, runs } = values;
    if (help) {
      console.log(usage);
      process.exit(0);
    }
    if (only !== undefined && !parts.includes(only)) throw new Error(`--only takes ${parts.join(' or ')}`);
    if (runs !== undefined && !(Number(runs) >= 1)) throw new Error('--runs takes a number');
    const cases = values.case?.map((text) => caseFrom(text) ?? fail(64, `not a case: ${text}; ${usage}`));
    return {
      ...values,
      runs: runs && Number(runs),
      ofEndToEnd: {
        ...(cases && { cases }),
        ...(runs && { runs: Number(runs) }),
        ...(values['cpu-prof'] && { cpuProfiles: resolve(values['cpu-prof']) }),
      },
    };
  } catch (error) {
    return fail(64, `${error.message}; ${usage}`);
  }
}

function fail(code, words) {
  console.error(`bench: ${words}`);
  process.exit(code);
}
