// A reseal site on disk: configuration, a list's key, and lists with as many members as wanted.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { recipientOf } from '../dist/cms/encrypt.js';
import { mirrorAddresses } from '../dist/flow/certificates/mirror.js';
import { composeMessage, textPart } from '../dist/mime/compose.js';
import { startSealing } from '../dist/smime/seal.js';
import { signEntity } from '../dist/smime/sign.js';
import { bind } from '../dist/store/bindings.js';
import { certificateRow } from '../dist/store/certificate-row.js';
import { upsertCertificate } from '../dist/store/certificates.js';
import { openDatabase } from '../dist/store/database.js';
import { createList } from '../dist/store/lists.js';
import { addMembers } from '../dist/store/members.js';

const cipher = 'aes-256-cbc';

/**
 * Makes a site whose relay is on `relayPort` with one list per number in `sizes`. A few keys serve all members in turn:
 * a key wrap costs the same whosoever the key is. The author of posts is a member, too.
 */
export async function makeSite(root, { ca, keys, list, relayPort, sizes }) {
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'spool'), { mode: 0o700 });
  const settings = [
    'hostname: lists.example',
    'listen: { protocol: smtp, port: 0 }',
    // All sessions of a bench come from one address.
    'limits.exempt: 127.0.0.1',
    `relay: { port: ${relayPort}, tls: none }`,
    `trust.cafile: ${ca.certPath}`,
  ];
  writeFileSync(join(root, 'etc/reseal.yaml'), `${settings.join('\n')}\n`);
  const database = await openDatabase(join(root, 'spool/reseal.db'), { check: false });
  try {
    const most = Math.max(...sizes);
    await database.write((tx) => filingsFor(tx, keys, most));
    for (const size of sizes) {
      const address = listAddress(size);
      const folder = join(root, 'etc/lists', address);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      copyKey(list, folder);
      await database.write((tx) => fillList(tx, address, size, keys));
    }
    // Else the daemon writes the files of the certificate directory while it is measured.
    const members = Array.from({ length: most }, (_, n) => memberAddress(n, keys));
    await mirrorAddresses(database.q, join(root, 'spool/certificates'), members);
  } finally {
    await database.close();
  }
}

export const listAddress = (size) => `all-${size}@lists.example`;
const memberAddress = (n, keys) => (n === 0 ? keys[0].address : `member-${n}@example.org`);

async function filingsFor(tx, keys, members) {
  for (const { certificate } of keys)
    await upsertCertificate(
      tx,
      certificateRow(certificate, { source: 'imported', at: 0, signingTime: null }),
    );
  for (let n = 0; n < members; n++) {
    const { sha256 } = keys[n % keys.length].certificate;
    const binding = {
      address: memberAddress(n, keys),
      sha256,
      state: 'in-use',
      since: 0,
      source: 'imported',
    };
    for (const purpose of ['sign', 'enc']) await bind(tx, { ...binding, purpose, signingTime: null });
  }
}

async function fillList(tx, address, size, keys) {
  const { id } = await createList(tx, { address, profile: null, settings: {}, createdAt: 0 });
  const members = Array.from({ length: size }, (_, n) => ({
    address: memberAddress(n, keys),
    name: '',
    since: 0,
  }));
  await addMembers(tx, id, members);
}

function copyKey(identity, folder) {
  copyFileSync(identity.certPath, join(folder, 'cert.pem'));
  copyFileSync(identity.keyPath, join(folder, 'private_key'));
}

let posts = 0;

/** A post of `size` octets, signed by `author` and encrypted to the list; a new one each time, for none is a replay. */
export function makePost({ author, list, to, size }) {
  const number = ++posts;
  const text = textPart(
    `Post ${number}.\n${'All the same, again and again, to fill the message.\n'.repeat(size / 52)}`,
  );
  const signer = { key: author.key, certificate: author.certificate, chain: [] };
  const entity = signEntity(text, signer, { at: Date.now(), boundary: `bench-${number}` });
  return sealedMail(entity, list, [
    ['From', author.address],
    ['To', to],
    ['Subject', `Post ${number}`],
    ['Message-ID', `<${number}.${Date.now()}@bench.example>`],
    ['Date', new Date().toUTCString()],
  ]);
}

/** The entity encrypted to one certificate, as a mail. */
function sealedMail(entity, { certificate }, headers) {
  const sealing = startSealing(entity, cipher);
  const { head, phase } = sealing.address(recipientOf(certificate, 'rsa'));
  const type = `Content-Type: ${sealing.contentType}\r\nContent-Transfer-Encoding: base64\r\n\r\n`;
  const mail = Buffer.concat([
    composeMessage(headers, Buffer.concat([Buffer.from(type), head, sealing.sharedLines(phase)])),
  ]);
  sealing.dispose();
  return mail;
}
