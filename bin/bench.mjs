// Prints the bench: `npm run bench [-- --quick] [--only opening|sealing|certificates|end-to-end] [--json]`. How to read it: bench/README.md.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const parts = ['opening', 'sealing', 'certificates', 'end-to-end'];
const options = { quick: { type: 'boolean' }, json: { type: 'boolean' }, only: { type: 'string' } };
const { values } = readArguments();
if (!existsSync(new URL('../dist/cli/main.js', import.meta.url)))
  fail(69, 'reseal is not built: run `npm run setup`');

// After the check, because they import the compiled program.
const { describeMachine } = await import('../bench/machine.mjs');
const { formatTable } = await import('../bench/table.mjs');
const { benchOpening } = await import('../bench/opening.mjs');
const { benchSealing } = await import('../bench/sealing.mjs');
const { benchCertificates } = await import('../bench/certificates.mjs');
const { benchEndToEnd } = await import('../bench/end-to-end.mjs');

const folder = mkdtempSync(join(tmpdir(), 'reseal-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const started = Date.now();
const context = { folder, quick: values.quick === true, say: (words) => console.error(`bench: ${words}`) };
const machine = await describeMachine();
const rows = [];
const wanted = (part) => values.only === undefined || values.only === part;
if (wanted('opening')) rows.push(...(await benchOpening(context)));
if (wanted('sealing')) rows.push(...(await benchSealing(context)));
if (wanted('certificates')) rows.push(...(await benchCertificates(context)));
if (wanted('end-to-end')) rows.push(...(await benchEndToEnd(context)));

if (values.json) console.log(JSON.stringify({ machine, quick: context.quick, rows }, null, 2));
else
  process.stdout.write(
    `${formatTable(machine, rows)}\ntook ${Math.round((Date.now() - started) / 1000)} s\n`,
  );
process.exit(0);

function readArguments() {
  try {
    const read = parseArgs({ options });
    if (read.values.only !== undefined && !parts.includes(read.values.only))
      throw new Error(`--only takes ${parts.join(' or ')}`);
    return read;
  } catch (error) {
    return fail(64, `${error.message}; usage: bench [--quick] [--json] [--only ${parts.join('|')}]`);
  }
}

function fail(code, words) {
  console.error(`bench: ${words}`);
  process.exit(code);
}
