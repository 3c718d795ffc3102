import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { errnoOf, faultsOf, wordsOf } from '../base/errors.ts';
import type { ListenTls } from '../config/listen.ts';

const fault = faultsOf({
  'listen-tls': (d: { cert: string; key: string; why: string }) =>
    `${d.cert} and ${d.key} cannot be used for TLS (listen.tls): ${d.why}; both are PEM, and the certificate comes first in its file, its chain after it`,
});

/** Reads certificate chain and key of a listening socket and tries them. Fault 'listen-tls'. */
export async function readListenerTls({ cert, key }: ListenTls): Promise<{ cert: Buffer; key: Buffer }> {
  try {
    const tls = { cert: await readFile(cert), key: await readFile(key) };
    createSecureContext(tls);
    return tls;
  } catch (error) {
    throw fault('listen-tls', { cert, key, why: whyOf(error) });
  }
}

function whyOf(error: unknown): string {
  const errno = errnoOf(error);
  const path = error instanceof Error && 'path' in error ? ` (${String(error.path)})` : '';
  if (errno && /^E[A-Z]+$/.test(errno)) return `${errno}${path}`;
  const words = wordsOf(error);
  return words.includes('key values mismatch') ? 'the key does not belong to the certificate' : words;
}
