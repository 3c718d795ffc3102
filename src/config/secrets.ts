import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, faultsOf, isFault } from '../base/errors.ts';
import type { RelaySettings } from './relays.ts';
import type { Site } from './site.ts';

/** No secret is longer: protects against a wrong path. */
const longest = 4096;

const fault = faultsOf({
  'secret-missing': (d: { path: string }) => `There is no file ${d.path} to read a secret from`,
  'secret-unreadable': (d: { path: string; why: string }) =>
    `The secret in ${d.path} cannot be read (${d.why}): check owner and mode of the file`,
  'secret-mode': (d: { path: string }) => `${d.path} holds a secret and may be read by others: chmod 600 it`,
  'secret-malformed': (d: { path: string }) =>
    `${d.path} must hold one secret on one line, of at most ${longest} octets, and nothing else`,
  'credentials-missing': (d: { name: string }) =>
    `There is no systemd credential ${d.name}: reseal was not started by a unit with LoadCredential=${d.name}:FILE`,
});

/**
 * A password or passphrase from its file, without the line end. The mode must keep group and others out. Throws Fault
 * `secret-missing`, `secret-unreadable`, `secret-mode` or `secret-malformed`; none of them shows the content.
 */
export async function readSecret(path: string): Promise<Buffer> {
  try {
    const handle = await open(path, 'r');
    try {
      // Asked of the open file, so that it is the one that is read.
      const status = await handle.stat();
      if (!status.isFile() || status.size > longest) throw fault('secret-malformed', { path });
      if ((status.mode & 0o077) !== 0) throw fault('secret-mode', { path });
      return theLine(await handle.readFile(), path);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (isFault(error)) throw error;
    const why = errnoOf(error) ?? 'unknown error';
    if (why === 'ENOENT') throw fault('secret-missing', { path });
    throw fault('secret-unreadable', { path, why });
  }
}

function theLine(content: Buffer, path: string): Buffer {
  let end = content.length;
  if (content[end - 1] === 0x0a) end--;
  if (content[end - 1] === 0x0d) end--;
  const line = content.subarray(0, end);
  if (end === 0 || line.includes(0x0a) || line.includes(0)) throw fault('secret-malformed', { path });
  return line;
}

type Places = Pick<Site, 'keys.passphrase-file' | 'credentials' | 'environment'>;

/**
 * The password for a relay from its file or systemd credential, or null if it wants none. Throws as `readSecret`, and
 * `credentials-missing` where systemd gave no credentials.
 */
export async function relayPasswordOf(
  site: Pick<Site, 'credentials'>,
  relay: Pick<RelaySettings, 'passwordFile' | 'passwordCredential'>,
): Promise<string | null> {
  const { passwordFile, passwordCredential: name } = relay;
  if (passwordFile === null && name === null) return null;
  if (name !== null && site.credentials === null) throw fault('credentials-missing', { name });
  const path = passwordFile ?? join(site.credentials ?? '', name ?? '');
  return (await readSecret(path)).toString('utf8');
}

/**
 * The passphrase of the private keys of a list or of the service address, or null if there is none: from
 * `keys.passphrase-file` with the address in place of `{list}` if that is set; else from the systemd credentials
 * `passphrase-<address>` and `passphrase`, else from the environment (`passphraseVariable`). Throws as `readSecret`, except
 * that a missing file is no passphrase.
 */
export async function passphraseOf(site: Places, address: string): Promise<Buffer | null> {
  for (const path of placesOf(site, address)) {
    try {
      return await readSecret(path);
    } catch (error) {
      if (!isFault(error, 'secret-missing')) throw error;
    }
  }
  if (site['keys.passphrase-file'] !== null) return null;
  const text = site.environment(passphraseVariable(address)) || site.environment('RESEAL_PASSPHRASE');
  return text ? Buffer.from(text) : null;
}

/** `RESEAL_PASSPHRASE_TEAM_LISTS_EXAMPLE` for team@lists.example: what may stand in a variable's name. */
export function passphraseVariable(address: string): string {
  return `RESEAL_PASSPHRASE_${address.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`;
}

function placesOf(site: Places, address: string): string[] {
  const pattern = site['keys.passphrase-file'];
  // An address is canonical and has no slash (policy/list-name), but a path is no place to rely on that.
  if (address.includes('/')) return [];
  if (pattern !== null) return [pattern.replaceAll('{list}', address)];
  if (site.credentials === null) return [];
  return [join(site.credentials, `passphrase-${address}`), join(site.credentials, 'passphrase')];
}
