import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { errnoOf, wordsOf } from '../base/errors.ts';
import { fault } from './faults.ts';

/** Where to listen: a TCP address (port 0: any free one), or a unix socket and its mode (default 0660). */
export type ListenAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string; readonly mode?: number };

const words = (address: ListenAddress): string =>
  'path' in address ? address.path : `${address.host}:${address.port}`;

/** Whether somebody answers on this unix socket; a file left by a dead process refuses. */
function answersOn(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => resolve(true));
    probe.once('error', (error) => resolve(errnoOf(error) !== 'ECONNREFUSED'));
    probe.once('close', () => resolve(false));
    probe.on('connect', () => probe.destroy());
  });
}

/** Removes a socket file that no process listens on any more; anything else at the path stays. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket())
    throw fault('listen-failed', { address: path, reason: 'there is a file that is no socket' });
  if (await answersOn(path))
    throw fault('listen-failed', { address: path, reason: 'another process listens there' });
  await unlink(path).catch(() => undefined);
}

/** Makes `server` listen. Fault `listen-failed` says where and why not. */
export async function listen(server: Server, address: ListenAddress): Promise<void> {
  if ('path' in address) await removeStale(address.path);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
    // The file starts with the mode 0777 less the umask, which never lets more people in than the umask allows.
    if ('path' in address) await chmod(address.path, address.mode ?? 0o660);
  } catch (error) {
    throw fault('listen-failed', { address: words(address), reason: wordsOf(error) }, { cause: error });
  }
}

/** `host:port` or the path, as the server really listens, and the port if there is one. */
export function addressOf(server: Server): { readonly address: string; readonly port: number | null } {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return { address: bound ?? '', port: null };
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return { address: `${host}:${bound.port}`, port: bound.port };
}
