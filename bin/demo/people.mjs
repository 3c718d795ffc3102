// People with keys, certificates and a mail program: all of it is the `openssl` command, so that nothing here shares
// code with reseal.
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { dieWithUs } from './children.mjs';

const execute = promisify(execFile);

/** Runs openssl and gives its standard output; throws with its words. */
export async function openssl(...args) {
  try {
    const running = execute('openssl', args, { maxBuffer: 1 << 26 });
    dieWithUs(running.child);
    return (await running).stdout;
  } catch (error) {
    if (error.code === 'ENOENT')
      throw new Error('the demonstration needs the `openssl` program (Debian: apt-get install openssl)');
    throw new Error(`openssl ${args.join(' ')}: ${String(error.stderr ?? error.message).trim()}`);
  }
}

/** Throws unless openssl can read AES-GCM in CMS (AuthEnvelopedData, since 3.0). */
export async function needOpenssl() {
  const version = (await openssl('version')).trim();
  if (!/^OpenSSL ([3-9]|\d\d)\./.test(version))
    throw new Error(`the demonstration needs OpenSSL 3.0 or newer, and \`openssl\` here is ${version}`);
  return version;
}

const keyKinds = {
  'RSA-2048': { make: ['rsa:2048'], use: 'keyEncipherment' },
  'P-256': { make: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], use: 'keyAgreement' },
};

/** A certification authority in a folder, which makes people. */
export async function makeAuthority(folder, name) {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const ca = { name, certificate: join(folder, 'ca.pem'), key: join(folder, 'ca.key') };
  const config = join(folder, 'ca.cnf');
  await writeFile(
    config,
    request(name, ['basicConstraints = critical, CA:TRUE', 'keyUsage = critical, keyCertSign, cRLSign']),
  );
  await makeCertificate('P-256', ca, config, []);
  return { ...ca, person: (about) => makePerson(folder, ca, about) };
}

/** `capabilities`: ciphers that the certificate says its owner can read (RFC 4262). */
async function makePerson(parent, ca, { name, address, kind, capabilities = null }) {
  const folder = join(parent, name.toLowerCase());
  await mkdir(folder, { mode: 0o700 });
  const at = (file) => join(folder, file);
  const person = { name, address, kind, folder, certificate: at('cert.pem'), key: at('key.pem') };
  const extensions = [
    'basicConstraints = CA:FALSE',
    `keyUsage = critical, digitalSignature, ${keyKinds[kind].use}`,
    'extendedKeyUsage = emailProtection',
    `subjectAltName = email:${address}`,
    'subjectKeyIdentifier = hash',
    'authorityKeyIdentifier = keyid',
    ...(capabilities ? ['1.2.840.113549.1.9.15 = ASN1:SEQUENCE:capabilities', ...capabilities] : []),
  ];
  await writeFile(at('person.cnf'), request(name, extensions));
  await makeCertificate(kind, person, at('person.cnf'), ['-CA', ca.certificate, '-CAkey', ca.key]);
  return person;
}

/** SMIMECapabilities that name AES-256-GCM, in openssl's configuration language. */
export const readsAesGcm = [
  '[capabilities]',
  'first = SEQUENCE:gcm',
  '[gcm]',
  'oid = OID:2.16.840.1.101.3.4.1.46',
];

function request(name, extensions) {
  const head = [
    '[req]',
    'prompt = no',
    'distinguished_name = dn',
    'x509_extensions = ext',
    '[dn]',
    `CN = ${name}`,
  ];
  return [...head, '[ext]', ...extensions, ''].join('\n');
}

async function makeCertificate(kind, { certificate, key }, config, issuer) {
  // Longer than reseal warns before the end: those mails are not what the demo is about.
  const made = ['-keyout', key, '-out', certificate, '-days', '90', '-config', config];
  await openssl('req', '-x509', '-newkey', ...keyKinds[kind].make, '-nodes', ...made, ...issuer);
  await chmod(key, 0o600);
}

let letters = 0;

/** A file name in somebody's folder. */
function paper(person, what) {
  return join(person.folder, `${++letters}-${what}.eml`);
}

/** Signs a text (or, `mime`, a MIME entity) as his mail program would: multipart/signed, without outer header. */
export async function sign(person, text, { mime = false } = {}) {
  const [input, output] = [paper(person, 'written'), paper(person, 'signed')];
  await writeFile(input, text);
  const signer = ['-signer', person.certificate, '-inkey', person.key];
  await openssl('cms', '-sign', ...(mime ? [] : ['-text']), '-in', input, '-out', output, ...signer);
  return readFile(output, 'utf8');
}

/** Encrypts an entity to a certificate. */
export async function encrypt(person, entity, certificate) {
  const [input, output] = [paper(person, 'signed'), paper(person, 'encrypted')];
  await writeFile(input, entity);
  await openssl('cms', '-encrypt', '-aes-256-cbc', '-in', input, '-out', output, certificate);
  return readFile(output, 'utf8');
}

/** What somebody sees of an encrypted message with his key: how it was encrypted, who signed, the text. */
export async function read(person, message, ca) {
  const [received, opened] = [paper(person, 'received'), paper(person, 'opened')];
  await writeFile(received, message);
  const key = ['-recip', person.certificate, '-inkey', person.key];
  await openssl('cms', '-decrypt', '-in', received, '-out', opened, ...key);
  const entity = await readFile(opened, 'utf8');
  return { ...(await structureOf(received)), ...(await verify(person, entity, ca.certificate)) };
}

/** Checks a signed message or entity: the addresses of the signer's certificate, and the text. */
export async function verify(person, entity, authority) {
  const signed = paper(person, 'to-verify');
  const [text, signer] = [`${signed}.txt`, `${signed}.signer.pem`];
  await writeFile(signed, entity);
  const trust = ['-CAfile', authority, '-no-CApath', '-no-CAstore', '-purpose', 'smimesign'];
  await openssl('cms', '-verify', '-in', signed, '-out', text, '-signer', signer, ...trust);
  const signedBy = (await openssl('x509', '-in', signer, '-noout', '-email')).trim();
  return { signedBy, text: firstText((await readFile(text, 'utf8')).replace(/\r\n/g, '\n')) };
}

/** What a person reads of an entity: its body, or that of its first part. */
function firstText(entity) {
  const [head] = entity.split('\n\n', 1);
  const boundary = /boundary="([^"]+)"/i.exec(head)?.[1];
  if (boundary !== undefined) return firstText(entity.split(`\n--${boundary}`)[1]?.replace(/^\n/, '') ?? '');
  return entity.slice(head.length + 2).trimEnd();
}

/** The algorithms of a message, as openssl prints them, and how many can open it. */
async function structureOf(path) {
  const printed = await openssl('cms', '-cmsout', '-print', '-noout', '-in', path);
  const [, cipher = 'unknown'] = /contentEncryptionAlgorithm:\s*algorithm: (\S+)/.exec(printed) ?? [];
  const [, transport = ''] = /keyEncryptionAlgorithm:\s*algorithm: (\S+)/.exec(printed) ?? [];
  const key = { rsaencryption: 'RSA', rsaesoaep: 'RSA-OAEP' }[transport.toLowerCase()] ?? transport;
  return {
    cipher: cipher.toUpperCase(),
    key: /^dhSinglePass/i.test(key) ? 'ECDH' : key,
    readers: (printed.match(/^\s*d\.(ktri|kari|kekri|pwri|ori):/gm) ?? []).length,
  };
}
