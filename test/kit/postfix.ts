import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustRun, runProgram } from './client.ts';
import type { Identity } from './pki.ts';

/** A Postfix of the test's own: its configuration, queue and log are below one folder, its port is its own. */
export interface Postfix {
  readonly port: number;
  /** What it has logged so far, for failing tests. */
  log(): string;
  /** Stops all its processes and removes its folder. */
  stop(): Promise<void>;
}

export interface PostfixOptions {
  readonly port: number;
  /** Lines of main.cf that are tested, as an administrator would write them. */
  readonly lines: string;
  /** Where all mail for the rest of the world goes: a port on 127.0.0.1. */
  readonly worldPort: number;
  /** Certificate and key that it offers STARTTLS with. */
  readonly tls: Identity;
}

/** What Debian's master.cf runs, without chroot, and without what hands mail to programs and users. */
const services = [
  'pickup    unix n - n 60 1 pickup',
  'cleanup   unix n - n - 0 cleanup',
  'qmgr      unix n - n 300 1 qmgr',
  'tlsmgr    unix - - n 1000? 1 tlsmgr',
  'rewrite   unix - - n - - trivial-rewrite',
  'bounce    unix - - n - 0 bounce',
  'defer     unix - - n - 0 bounce',
  'trace     unix - - n - 0 bounce',
  'verify    unix - - n - 1 verify',
  'flush     unix n - n 1000? 0 flush',
  'proxymap  unix - - n - - proxymap',
  'proxywrite unix - - n - 1 proxymap',
  'smtp      unix - - n - - smtp',
  'relay     unix - - n - - smtp',
  'error     unix - - n - - error',
  'retry     unix - - n - - error',
  'discard   unix - - n - - discard',
  'lmtp      unix - - n - - lmtp',
  'anvil     unix - - n - 1 anvil',
  'scache    unix - - n - 1 scache',
  'postlog   unix-dgram n - n - 1 postlogd',
];

/** Starts Postfix; needs root and the package. The machine's own Postfix is not touched. */
export async function startPostfix(options: PostfixOptions): Promise<Postfix> {
  // Not below the folder of the run: Postfix's own user has to reach it.
  const folder = mkdtempSync(join(tmpdir(), 'postfix-'));
  const at = (name: string) => join(folder, name);
  for (const name of ['conf', 'queue', 'data']) mkdirSync(at(name), { mode: 0o755 });
  await mustRun('chmod', ['755', folder]);
  await mustRun('chown', ['postfix', at('data')]);
  const { tls, port } = options;
  const surroundings = [
    'compatibility_level = 3.6',
    `queue_directory = ${at('queue')}`,
    `data_directory = ${at('data')}`,
    `maillog_file = ${at('log')}`,
    `maillog_file_prefixes = ${folder}`,
    'myhostname = mail.example',
    'mydestination =',
    'alias_maps =',
    'inet_interfaces = 127.0.0.1',
    'inet_protocols = ipv4',
    'mynetworks = 127.0.0.0/8',
    'disable_dns_lookups = yes',
    `default_transport = smtp:[127.0.0.1]:${options.worldPort}`,
    'smtpd_tls_security_level = may',
    'smtpd_tls_loglevel = 1',
    `smtpd_tls_cert_file = ${tls.certPath}`,
    `smtpd_tls_key_file = ${tls.keyPath}`,
    'address_verify_poll_delay = 1s',
  ];
  writeFileSync(at('conf/main.cf'), `${[...surroundings, options.lines].join('\n')}\n`);
  writeFileSync(
    at('conf/master.cf'),
    `${[...services, `127.0.0.1:${port} inet n - n - - smtpd`].join('\n')}\n`,
  );
  const log = () => {
    try {
      return readFileSync(at('log'), 'utf8');
    } catch {
      return '';
    }
  };
  const stop = async () => {
    await runProgram('postfix', ['-c', at('conf'), 'stop']);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await mustRun('postfix', ['-c', at('conf'), 'start']);
  } catch (error) {
    const words = log();
    await stop();
    throw new Error(`Postfix does not start: ${words}`, { cause: error });
  }
  return { port, log, stop };
}

/** A port that nothing listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
