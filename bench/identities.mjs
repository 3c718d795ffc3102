// Keys and certificates for the bench, made by openssl in a temporary folder: a CA and who it certifies.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { loadPrivateKey } from '../dist/pki/keys.js';
import { certificatesFromPem } from '../dist/pki/pem.js';

const run = promisify(execFile);

const newKey = {
  'RSA-2048': ['-newkey', 'rsa:2048'],
  'RSA-4096': ['-newkey', 'rsa:4096'],
  'P-256': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'P-521': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-521'],
};

/** A CA of its own: { certPath, issue(name, kind) → Identity }. */
export async function makeCa(folder) {
  const certPath = join(folder, 'ca.pem');
  const keyPath = join(folder, 'ca.key');
  await request(folder, 'bench CA', certPath, keyPath, [
    ...newKey['RSA-2048'],
    ...extensions('basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'),
  ]);
  let issued = 0;
  return {
    certPath,
    keyPath,
    async issue(address, kind = 'RSA-2048') {
      const name = `${++issued}-${kind}`;
      const paths = { certPath: join(folder, `${name}.pem`), keyPath: join(folder, `${name}.key`) };
      const use = kind.startsWith('P-') ? 'keyAgreement' : 'keyEncipherment';
      await request(folder, address, paths.certPath, paths.keyPath, [
        ...newKey[kind],
        ...['-CA', certPath, '-CAkey', keyPath],
        ...extensions(
          `subjectAltName=email:${address}`,
          'basicConstraints=critical,CA:FALSE',
          `keyUsage=critical,digitalSignature,${use}`,
          'extendedKeyUsage=emailProtection',
        ),
      ]);
      const [certificate] = certificatesFromPem(readFileSync(paths.certPath)).certificates;
      return { address, ...paths, certificate, key: await loadPrivateKey(paths.keyPath, null) };
    },
  };
}

const extensions = (...values) => values.flatMap((value) => ['-addext', value]);

async function request(folder, name, certPath, keyPath, more) {
  const config = ['-config', '/dev/null', '-subj', `/CN=${name}`];
  const files = ['-nodes', '-keyout', keyPath, '-out', certPath];
  await run('openssl', ['req', '-x509', '-sha256', '-days', '90', ...config, ...files, ...more], {
    cwd: folder,
  });
}
