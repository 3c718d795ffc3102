// One table for people. A row: { part, what, figure, unit }, and where there is a yardstick { beside, besideFigure },
// where there is an aim { aim, met }, and perhaps a note.
import { digits } from './figures.mjs';

const columns = [
  ['what', (row) => row.what],
  ['measured', (row) => `${digits(row.figure)} ${row.unit}`],
  [
    'beside',
    (row) =>
      row.beside === undefined
        ? ''
        : `${row.beside}: ${digits(row.besideFigure)} ${row.besideUnit ?? row.unit}`,
  ],
  ['ratio', (row) => (row.ratio === undefined ? '' : share(row.ratio))],
  ['aim', (row) => (row.aim === undefined ? '' : `${row.aim} ${row.met ? 'met' : 'MISSED'}`)],
  ['note', (row) => row.note ?? ''],
];

/** 1.5, or 1/170 where the figure is small beside its yardstick. */
const share = (ratio) => (ratio < 0.1 ? `1/${digits(1 / ratio)}` : digits(ratio));

/** A row with its ratio: what was measured divided by what stands beside it. */
export const withRatio = (row) =>
  row.besideFigure === undefined ? row : { ...row, ratio: row.figure / row.besideFigure };

/** The machine, then the rows, part by part. */
export function formatTable(machine, rows) {
  const cells = rows.map((row) => columns.map(([, cell]) => cell(row)));
  const names = columns.map(([name]) => name);
  const widths = names.map((name, at) => Math.max(name.length, ...cells.map((row) => row[at].length)));
  const line = (row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at]))
      .join('  ')
      .trimEnd();
  const lines = [formatMachine(machine), ''];
  let part = null;
  rows.forEach((row, index) => {
    if (row.part !== part) {
      if (part !== null) lines.push('');
      lines.push(`## ${row.part}`, line(names), line(widths.map((width) => '-'.repeat(width))));
      part = row.part;
    }
    lines.push(line(cells[index]));
  });
  return `${lines.join('\n')}\n`;
}

function formatMachine(m) {
  return [
    `machine: ${m.cores} cores, ${m.cpu}, ${m.memoryGB} GB, ${m.system}`,
    `node ${m.node} (OpenSSL ${m.nodeOpenssl}), ${m.openssl}; load before: ${m.loadBefore}; one fsync: ${m.fsyncMs} ms`,
  ].join('\n');
}
