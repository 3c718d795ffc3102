// What it costs to verify and to open one message, and to validate one path: the engine as the crypto worker runs it,
// beside one `openssl` process each.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { defaultFloor } from '../dist/pki/algorithms.js';
import { parseCertificate } from '../dist/pki/certificate.js';
import { validatePath } from '../dist/pki/path.js';
import { revocationOff } from '../dist/pki/revocation.js';
import { openMessage } from '../dist/smime/open.js';
import { kB, MB, median, medianTime, sizeName } from './figures.mjs';
import { makeCa } from './identities.mjs';
import { withRatio } from './table.mjs';

const run = promisify(execFile);
const part = 'Verifying and opening one message (RSA-2048, SHA-256, AES-256-CBC), in one thread';

/** The rows of the opening part. `folder` is for temporary files. */
export async function benchOpening({ folder, quick, say }) {
  const ca = await makeCa(folder);
  const author = await ca.issue('author@example.org');
  const list = await ca.issue('list@example.org');
  const rows = [];
  for (const size of quick ? [10 * kB, MB] : [10 * kB, MB, 50 * MB]) {
    say(`opening ${sizeName(size)}`);
    const messages = await makeMessages(folder, size, author, list);
    const runs = size > MB ? 5 : quick ? 10 : 50;
    rows.push(...(await benchMessage('verify', messages.signed, { folder, ca, list, size, runs })));
    rows.push(...(await benchMessage('open', messages.encrypted, { folder, ca, list, size, runs })));
  }
  say('path validation');
  rows.push(await benchPath({ ca, author, runs: quick ? 50 : 500 }));
  rows.push(await benchRevocation({ folder, ca, author, runs: quick ? 3 : 15 }));
  return rows.map((row) => withRatio({ part, ...row }));
}

/** One message signed and one encrypted, made by OpenSSL as mail. */
async function makeMessages(folder, size, author, list) {
  const entity = join(folder, `entity-${size}`);
  const text = 'Content-Type: text/plain\r\n\r\n';
  writeFileSync(entity, text.padEnd(size, 'all the same and nothing else in it\r\n'));
  const signed = join(folder, `signed-${size}.eml`);
  const encrypted = join(folder, `encrypted-${size}.eml`);
  const from = ['-from', author.address, '-to', list.address, '-subject', 'bench'];
  const signer = ['-signer', author.certPath, '-inkey', author.keyPath];
  await run('openssl', [
    'cms',
    '-sign',
    '-binary',
    '-md',
    'sha256',
    ...signer,
    '-in',
    entity,
    '-out',
    signed,
    ...from,
  ]);
  await run('openssl', [
    'cms',
    '-encrypt',
    '-binary',
    '-aes-256-cbc',
    '-in',
    entity,
    '-out',
    encrypted,
    ...from,
    list.certPath,
  ]);
  return { signed, encrypted };
}

async function benchMessage(what, file, { folder, ca, list, size, runs }) {
  const message = crlf(readFileSync(file));
  const { issuerDer, serialDer, subjectKeyId, spkiDer, sha256 } = list.certificate;
  const keys = [{ key: list.key, certificate: { issuerDer, serialDer, subjectKeyId, spkiDer, sha256 } }];
  const anchors = [parseCertificate(pemBytes(ca.certPath)).der];
  const request = {
    message,
    keys,
    anchors,
    known: [],
    pins: [],
    at: Date.now(),
    floor: defaultFloor,
    openedSize: 200 * MB,
    revocation: revocationOff,
  };
  const ours = [];
  for (let n = 0; n < runs; n++) {
    const started = process.cpuUsage();
    const begun = performance.now();
    const report = openMessage(request);
    ours.push({ ms: performance.now() - begun, cpu: cpuSince(started) });
    const good = what === 'verify' ? report.verdict === 'signed' : report.encrypted && report.entity !== null;
    if (!good) throw new Error(`${what} ${size}: ${report.verdict} ${report.reasons.join(' ')}`);
    report.entity?.wipe();
  }
  const args =
    what === 'verify'
      ? ['-verify', '-CAfile', ca.certPath]
      : ['-decrypt', '-recip', list.certPath, '-inkey', list.keyPath];
  const theirs = [];
  for (let n = 0; n < Math.min(runs, 15); n++)
    theirs.push(await openssl(['cms', ...args, '-in', file, '-out', join(folder, 'out')]));
  const speed = (all) => 1000 / median(all.map((one) => one.ms));
  const cpu = (all) => median(all.map((one) => one.cpu));
  const name = `${what} ${sizeName(size)}`;
  const ratio = speed(ours) / speed(theirs);
  const rows = [
    {
      what: name,
      figure: speed(ours),
      unit: 'messages/s',
      beside: `openssl cms -${what === 'verify' ? 'verify' : 'decrypt'}`,
      besideFigure: speed(theirs),
      ...(size === 10 * kB ? { aim: '>= 5 times', met: ratio >= 5 } : {}),
    },
  ];
  if (size > MB)
    rows.push({
      what: name,
      figure: cpu(ours),
      unit: 'ms CPU',
      beside: 'openssl cms',
      besideFigure: cpu(theirs),
      aim: '<= 1.5 times',
      met: cpu(ours) <= 1.5 * cpu(theirs),
    });
  return rows;
}

/** Paths of an author below an intermediate authority, validated anew each time. */
async function benchPath({ ca, author, runs }) {
  const anchors = { certificates: [parseCertificate(pemBytes(ca.certPath))] };
  const request = { anchors, intermediates: [], at: Date.now(), purpose: 'sign', floor: defaultFloor };
  const begun = performance.now();
  for (let n = 0; n < runs; n++)
    if (!validatePath(author.certificate, request).valid) throw new Error('the path is not valid');
  const ours = runs / ((performance.now() - begun) / 1000);
  const theirs = [];
  for (let n = 0; n < 15; n++)
    theirs.push((await openssl(['verify', '-CAfile', ca.certPath, author.certPath])).ms);
  return {
    what: 'path validation',
    figure: ours,
    unit: 'paths/s',
    beside: 'openssl verify',
    besideFigure: 1000 / median(theirs),
  };
}

/** A path with a revocation list of 100,000 entries, read and verified anew each time. */
async function benchRevocation({ folder, ca, author, runs }) {
  const index = join(folder, 'index.txt');
  const day = '260101000000Z';
  const line = (n) =>
    `R\t500101000000Z\t${day}\t${(n + 2 ** 44).toString(16).toUpperCase()}\tunknown\t/CN=${n}\n`;
  writeFileSync(index, Array.from({ length: 100_000 }, (_, n) => line(n)).join(''));
  const config = join(folder, 'ca.cnf');
  writeFileSync(
    config,
    `[ca]\ndefault_ca = c\n[c]\ndatabase = ${index}\ndefault_md = sha256\ndefault_crl_days = 30\n`,
  );
  const path = join(folder, 'large.crl');
  await run('openssl', [
    'ca',
    '-config',
    config,
    '-gencrl',
    '-keyfile',
    ca.keyPath,
    '-cert',
    ca.certPath,
    '-out',
    path,
  ]);
  const crl = pemBytes(path);
  const anchors = { certificates: [parseCertificate(pemBytes(ca.certPath))] };
  const revocation = { mode: 'hard', evidence: { crls: [crl], ocsp: [] } };
  const request = {
    anchors,
    intermediates: [],
    at: Date.now(),
    purpose: 'sign',
    floor: defaultFloor,
    revocation,
  };
  const ours = await medianTime(runs, () => {
    const { valid, reasons } = validatePath(author.certificate, request);
    if (!valid) throw new Error(`the path is not valid: ${reasons.join(' ')}`);
  });
  const args = ['verify', '-crl_check', '-CRLfile', path, '-CAfile', ca.certPath, author.certPath];
  const theirs = await medianTime(Math.min(runs, 7), () => run('openssl', args));
  return {
    what: 'path with a CRL of 100,000 entries',
    figure: ours,
    unit: 'ms',
    beside: 'openssl verify',
    besideFigure: theirs,
    aim: '< 1000 ms',
    met: ours < 1000,
  };
}

/** One process: how long it took, and its CPU time as the shell's `times` tells it (10 ms exact at best). */
async function openssl(args) {
  const begun = performance.now();
  const { stdout } = await run('sh', ['-c', 'openssl "$@" >/dev/null 2>&1 || exit 1; times', 'sh', ...args]);
  const ms = performance.now() - begun;
  const children = stdout.trim().split('\n').at(-1) ?? '';
  const seconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].map(([, m, s]) => Number(m) * 60 + Number(s));
  return { ms, cpu: seconds.reduce((sum, one) => sum + one, 0) * 1000 };
}

function cpuSince(started) {
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

const crlf = (mail) => Buffer.from(mail.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
const pemBytes = (path) =>
  Buffer.from(readFileSync(path, 'latin1').replace(/-----[^-]+-----|\s/g, ''), 'base64');
