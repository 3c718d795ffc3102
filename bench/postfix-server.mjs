// A Postfix of the bench's own that takes mail and keeps it: configuration, queue and log below one folder, on a port
// of its own.
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './postfix.mjs';

const run = promisify(execFile);

/** Of Debian's master.cf what it takes to accept mail, without chroot. */
const services = [
  'pickup    unix n - n 60 1 pickup',
  'cleanup   unix n - n - 0 cleanup',
  'qmgr      unix n - n 300 1 qmgr',
  'rewrite   unix - - n - - trivial-rewrite',
  'bounce    unix - - n - 0 bounce',
  'defer     unix - - n - 0 bounce',
  'proxymap  unix - - n - - proxymap',
  'error     unix - - n - - error',
  'retry     unix - - n - - error',
  'smtp      unix - - n - - smtp',
  'anvil     unix - - n - 1 anvil',
  'postlog   unix-dgram n - n - 1 postlogd',
];

/** Why there can be none here, or null. */
export const noPostfixBecause = () => {
  if (!existsSync('/usr/sbin/postfix')) return 'there is no Postfix (Debian: postfix)';
  return process.getuid?.() === 0 ? null : 'only root can start a Postfix';
};

/** Starts it: { port, stop() }. Every message is put on hold: accepted, on the disk, and never delivered. */
export async function startPostfix() {
  // Not below the bench's folder: Postfix's own user has to reach it.
  const folder = mkdtempSync(join(tmpdir(), 'reseal-bench-postfix-'));
  const at = (name) => join(folder, name);
  chmodSync(folder, 0o755);
  for (const name of ['conf', 'queue', 'data']) mkdirSync(at(name), { mode: 0o755 });
  await run('chown', ['postfix', at('data')]);
  const port = await freePort();
  const settings = [
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
    'smtpd_sender_restrictions = check_sender_access static:HOLD',
    // It would slow down clients when nothing is delivered.
    'in_flow_delay = 0',
  ];
  writeFileSync(at('conf/main.cf'), `${settings.join('\n')}\n`);
  const listener = `127.0.0.1:${port} inet n - n - - smtpd`;
  writeFileSync(at('conf/master.cf'), `${[...services, listener].join('\n')}\n`);
  const postfix = (command) => run('/usr/sbin/postfix', ['-c', at('conf'), command]);
  const stop = async () => {
    await postfix('stop').catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await postfix('start');
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, stop };
}
