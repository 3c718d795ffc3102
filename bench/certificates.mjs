// A site with many certificates: how long it takes to import them, to start with them, and to look one up.
import { execFile } from 'node:child_process';
import { createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { derAlgorithm } from '../dist/pki/algorithms.js';
import { derBits, derContext, derInteger, derOctets, derOid, derSequence, derTime } from '../dist/pki/der.js';
import { toPem } from '../dist/pki/pem.js';
import { inUse, inUseMany } from '../dist/store/certificates.js';
import { openDatabase } from '../dist/store/database.js';
import { startDaemon } from './daemon.mjs';
import { median, medianTime, timed } from './figures.mjs';
import { makeCa } from './identities.mjs';
import { withRatio } from './table.mjs';

const program = fileURLToPath(new URL('../bin/reseal.mjs', import.meta.url));
const run = promisify(execFile);
const day = 86_400_000;
const ecdsaSha256 = '1.2.840.10045.4.3.2';

/** The rows of the certificates part. `folder` is for temporary files. */
export async function benchCertificates({ folder, quick, say }) {
  const count = quick ? 3000 : 100_000;
  const root = join(folder, 'certificates');
  say(`making ${count} certificates`);
  const heap = await makeHeap(root, folder, count);
  const part = `${count} certificates`;
  const reseal = (...args) =>
    run(process.execPath, [program, ...args, '--root', root], { maxBuffer: 1 << 30 });
  await reseal('list', 'create', 'team@lists.example', '--key', 'p-256', '--yes');

  say('importing them');
  const importMs = await timed(() => reseal('cert', 'import', heap, '--json'));
  const again = await timed(() => reseal('cert', 'import', heap, '--json'));

  say('starting with them');
  const empty = join(folder, 'no-certificates');
  makeRoot(empty, join(folder, 'people-ca.pem'));
  const startMs = await startTime(root, quick ? 2 : 3);
  const emptyMs = await startTime(empty, 2);

  const { one, many, database } = await lookUps(root, count);
  const rows = [
    { what: 'import of a folder', figure: count / (importMs / 1000), unit: 'a second' },
    { what: 'import again: all are known', figure: count / (again / 1000), unit: 'a second' },
    {
      what: 'start of the daemon',
      figure: startMs / 1000,
      unit: 's',
      beside: 'without certificates',
      besideFigure: emptyMs / 1000,
      aim: '< 2 s',
      met: startMs < 2000,
    },
    { what: "look-up of one member's", figure: one, unit: 'µs', aim: '< 100 µs', met: one < 100 },
    {
      what: 'look-up, 500 members at once',
      figure: many,
      unit: 'µs each',
      aim: '< 100 µs',
      met: many < 100,
      note: `database ${Math.round(database)} MB`,
    },
  ];
  return rows.map((row) => withRatio({ part, ...row }));
}

function makeRoot(root, anchors) {
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'spool'), { mode: 0o700 });
  const settings = [
    'hostname: lists.example',
    'listen: { protocol: smtp, port: 0 }',
    'relay: { port: 9, tls: none }',
    `trust.cafile: ${anchors}`,
  ];
  writeFileSync(join(root, 'etc/reseal.yaml'), `${settings.join('\n')}\n`);
}

const addressOf = (n) => `member-${n}@example.org`;

/** A site, and a folder with one certificate in a file for each address, as a Sympa site has them. */
async function makeHeap(root, folder, count) {
  const ca = await makeCa(folder);
  const issuer = await ca.issue('people@example.org', 'P-256');
  // An authority of its own, with a quick key: `openssl` would take an hour for as many.
  const caKey = createPrivateKey(readFileSync(issuer.keyPath));
  const name = issuer.certificate.subjectDer;
  const anchor = join(folder, 'people-ca.pem');
  const caSpki = createPublicKey(caKey).export({ type: 'spki', format: 'der' });
  writeFileSync(anchor, toPem(makeCertificate({ caKey, name, spki: caSpki, address: null })));
  makeRoot(root, anchor);
  const pool = [];
  for (let n = 0; n < 20; n++) pool.push((await ca.issue(`pool-${n}@example.org`)).certificate.spkiDer);
  const heap = join(folder, 'X509-user-certs');
  mkdirSync(heap);
  for (let n = 0; n < count; n++) {
    const der = makeCertificate({ caKey, name, spki: pool[n % pool.length], address: addressOf(n) });
    writeFileSync(join(heap, addressOf(n)), toPem(der));
  }
  return heap;
}

/** RFC 5280 4.1: an authority's for null, else one person's for both uses. */
function makeCertificate({ caKey, name, spki, address }) {
  const algorithm = derAlgorithm(ecdsaSha256);
  const serial = randomBytes(16);
  serial[0] = (serial[0] & 0x7f) | 0x40;
  const now = Math.floor(Date.now() / 1000) * 1000;
  const extension = (oid, value) => derSequence(derOid(oid), derOctets(value));
  const mailbox = (text) => derSequence(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
  const extensions =
    address === null
      ? [extension('2.5.29.19', derSequence(Buffer.from([1, 1, 0xff])))]
      : [
          extension('2.5.29.15', Buffer.from([3, 2, 5, 0xa0])),
          extension('2.5.29.37', derSequence(derOid('1.3.6.1.5.5.7.3.4'))),
          extension('2.5.29.17', mailbox(address)),
        ];
  const tbs = derSequence(
    derContext(0, derInteger(2)),
    derInteger(serial),
    algorithm,
    name,
    derSequence(derTime(now - 30 * day), derTime(now + 365 * day)),
    address === null ? name : derSequence(),
    spki,
    derContext(3, derSequence(...extensions)),
  );
  return derSequence(tbs, algorithm, derBits(sign('sha256', tbs, caKey)));
}

/** ms until the daemon says that it is ready. */
async function startTime(root, times) {
  const found = [];
  for (let n = 0; n < times; n++) {
    let daemon = null;
    found.push(
      await timed(async () => {
        daemon = await startDaemon(root);
      }),
    );
    await daemon.stop();
  }
  return median(found);
}

async function lookUps(root, count) {
  const path = join(root, 'spool/reseal.db');
  const database = await openDatabase(path, { check: false });
  const random = () => addressOf(Math.floor(Math.random() * count));
  const look = async () => {
    if ((await inUse(database.q, random(), 'enc')) === null) throw new Error('a certificate is missing');
  };
  for (let n = 0; n < 500; n++) await look();
  const one = await medianTime(2000, look);
  const many = await medianTime(20, () => inUseMany(database.q, Array.from({ length: 500 }, random), 'enc'));
  await database.close();
  return { one: one * 1000, many: (many * 1000) / 500, database: statSync(path).size / 1e6 };
}
