// What one sealed copy costs, for a thousand members: our crypto worker beside `openssl cms` and beside our own code
// when it encrypts for each member anew.
import { execFile } from 'node:child_process';
import { constants, publicEncrypt, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Plaintext } from '../dist/base/bytes.js';
import { encryptContent, recipientOf } from '../dist/cms/encrypt.js';
import { sealKeyOf } from '../dist/flow/certificates/seal-keys.js';
import { sealBatch } from '../dist/flow/delivery/batch.js';
import { sealPosting } from '../dist/flow/delivery/seal-copies.js';
import { base64Lines } from '../dist/smime/base64-lines.js';
import { startWorkers } from '../dist/smime/workers.js';
import { certificateRow } from '../dist/store/certificate-row.js';
import { kB, MB, median, medianTime, sizeName, timed } from './figures.mjs';
import { makeCa } from './identities.mjs';
import { withRatio } from './table.mjs';

const members = 1000;
const batch = 100;
const cipher = 'aes-256-cbc';
const script = new URL('../dist/smime/worker.js', import.meta.url);
const run = promisify(execFile);
/** As long as the header of a post with the fields of a list is. */
const header = Buffer.alloc(1500, 'X-Field: value\r\n');
const envelope = {
  senderFor: () => 'list-bounces@lists.example',
  together: (all) => all.map((one) => [one]),
  smtpUtf8: false,
  body8bit: false,
  requireTls: false,
};

/** The rows of the sealing part. `folder` is for temporary files. */
export async function benchSealing({ folder, quick, say }) {
  const ca = await makeCa(folder);
  const rows = [];
  const plan = quick
    ? [
        ['RSA-2048', [10 * kB, MB]],
        ['P-256', [10 * kB]],
      ]
    : [
        ['RSA-2048', [10 * kB, MB, 10 * MB]],
        ['P-256', [10 * kB, MB]],
        ['RSA-4096', [10 * kB, MB]],
      ];
  for (const [kind, sizes] of plan) {
    const identities = [];
    for (let n = 0; n < (quick || kind === 'RSA-4096' ? 4 : 20); n++)
      identities.push(await ca.issue(`bench-${n}@example.org`, kind));
    rows.push(...(await benchKind(kind, sizes, identities, { folder, quick, say })));
  }
  return rows;
}

async function benchKind(kind, sizes, identities, { folder, quick, say }) {
  const part = `Sealing for ${members} members with ${kind} keys, time per copy`;
  const rows = [];
  const wrap = kind === 'P-256' ? null : wrapTime(identities[0]);
  let smallest = null;
  for (const size of sizes) {
    const what = sizeName(size);
    say(`sealing ${kind} ${what}`);
    const entity = textOf(size);
    const runs = quick ? 2 : size > MB ? 3 : 7;
    const { cold, warm } = await sealForAll(entity, identities, runs);
    const perMember = await encryptPerMember(entity, identities, size > MB ? 3 : 15);
    const openssl = await opensslPerCopy(folder, entity, identities[0], size > MB || quick ? 3 : 7);
    smallest ??= warm;
    rows.push(
      {
        what: `${what}, keys cached`,
        figure: warm,
        beside: 'openssl cms -encrypt',
        besideFigure: openssl,
        ...(kind === 'RSA-2048' ? { aim: '< 100 µs', met: warm < 100 } : {}),
      },
      {
        what: `${what}, keys cached`,
        figure: warm,
        beside: 'own code, per member',
        besideFigure: perMember,
      },
      {
        what: `${what}, keys not cached`,
        figure: cold,
        beside: 'keys cached',
        besideFigure: warm,
      },
    );
    if (size === MB)
      rows.push({
        what: `${what}, keys cached`,
        figure: warm,
        beside: sizeName(sizes[0]),
        besideFigure: smallest,
        aim: '<= 2 times',
        met: warm <= 2 * smallest,
      });
  }
  if (wrap !== null)
    rows.push({
      what: `${sizeName(sizes[0])}, keys cached`,
      figure: smallest,
      beside: 'the RSA operation alone',
      besideFigure: wrap,
    });
  return rows.map((row) => withRatio({ part, unit: 'µs', ...row }));
}

/** µs per copy as the delivery does it: encrypt once, then batch after batch the members' own lines and the shared ones. */
async function sealForAll(entity, identities, runs) {
  const cold = [];
  const warm = [];
  for (let n = 0; n < Math.min(runs, 3); n++) {
    const workers = startWorkers({ count: 1, timeoutMs: 60_000, script });
    try {
      // Code is loaded and compiled, the keys are not known: `sha256` is what the cache goes by.
      await sealOnce(workers, entity, membersNamed('other', identities));
      const all = membersNamed(`run ${n}`, identities);
      cold.push(await timed(() => sealOnce(workers, entity, all)));
      for (let again = 0; again < Math.ceil(runs / 3); again++)
        warm.push(await timed(() => sealOnce(workers, entity, all)));
    } finally {
      await workers.close();
    }
  }
  const perCopy = (times) => (median(times) / members) * 1000;
  return { cold: perCopy(cold), warm: perCopy(warm) };
}

async function sealOnce(workers, entity, { rows, certificates, findKeys }) {
  const seal = sealPosting(workers, async () => new Plaintext(Uint8Array.from(entity)), new Map());
  let octets = 0;
  for (let start = 0; start < members; start += batch) {
    const some = rows.slice(start, start + batch);
    const d = { rows: some, certificates, header, envelope, findKeys, grouped: false };
    for (const copy of (await sealBatch(seal, d)).ready) {
      const { head, body } = await copy.make();
      octets += head.length + body.length;
    }
  }
  await seal.end();
  if (octets < members * entity.length) throw new Error('copies are missing');
}

/** Rows and certificates of a thousand members; the few keys of the pool are known to the worker under as many names. */
function membersNamed(name, identities) {
  const rows = Array.from({ length: members }, (_, n) => ({ id: n, member: `${name} ${n}@example.org` }));
  const pool = identities.map(({ certificate }) => {
    const row = certificateRow(certificate, { source: 'imported', at: 0, signingTime: null });
    return sealKeyOf(row, certificate);
  });
  const keys = new Map(rows.map(({ member, id }) => [member, { ...pool[id % pool.length], sha256: member }]));
  const certificates = new Map(
    rows.map(({ member }) => {
      const transport = keys.get(member).keyType === 'ec' ? 'ecdh' : 'rsa';
      const recipient = { sha256: member, transport };
      return [
        member,
        { usable: true, recipient, sha256: member, choice: { cipher, keyTransport: transport } },
      ];
    }),
  );
  return { rows, certificates, findKeys: async (named) => named.map((one) => keys.get(one)) };
}

/** µs per copy when each member's copy is encrypted and encoded on its own. */
async function encryptPerMember(entity, identities, copies) {
  const recipients = identities.map(({ certificate }) =>
    recipientOf(certificate, certificate.keyType === 'ec' ? 'ecdh' : 'rsa'),
  );
  const ms = await medianTime(copies, (n) => {
    const content = encryptContent(entity, cipher);
    base64Lines(Buffer.concat([content.prefixFor(recipients[n % recipients.length]), content.tail]));
    content.dispose();
  });
  return ms * 1000;
}

/** µs per copy by one `openssl cms -encrypt` each, writing base64. */
async function opensslPerCopy(folder, entity, identity, copies) {
  const input = join(folder, 'entity');
  writeFileSync(input, entity);
  const args = [
    'cms',
    '-encrypt',
    '-binary',
    `-${cipher}`,
    '-in',
    input,
    '-out',
    join(folder, 'copy'),
    identity.certPath,
  ];
  return (await medianTime(copies, () => run('openssl', args))) * 1000;
}

/** µs of one RSA encryption of a content key. */
function wrapTime({ certificate }) {
  const key = { key: recipientOf(certificate, 'rsa').publicKey, padding: constants.RSA_PKCS1_PADDING };
  const contentKey = randomBytes(32);
  const rounds = [];
  for (let round = 0; round < 7; round++) {
    const start = performance.now();
    for (let n = 0; n < 200; n++) publicEncrypt(key, contentKey);
    rounds.push(((performance.now() - start) / 200) * 1000);
  }
  return median(rounds);
}

const textOf = (size) =>
  Buffer.from(`Content-Type: text/plain\r\n\r\n${'x'.repeat(70)}\r\n`.padEnd(size, 'all the same\r\n'));
