import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { readListenerTls } from '../app/listener-tls.ts';
import { openSite, siteTrust, templateFolders } from '../app/open-site.ts';
import { relayTarget } from '../app/relay-target.ts';
import { systemClock } from '../base/clock.ts';
import { Fault, isFault } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { nameOf } from '../config/listen.ts';
import type { Site } from '../config/site.ts';
import {
  checkConfigurationFile,
  checkFolder,
  checkLeftBehind,
  checkRoom,
  type Finding,
} from '../flow/operator/check-files.ts';
import { checkRelay } from '../flow/operator/check-relays.ts';
import { checkSiteCrls } from '../flow/operator/check-revocation.ts';
import {
  checkKeys,
  checkLists,
  checkMemberCertificates,
  checkTemplates,
  checkTrust,
} from '../flow/operator/check-site.ts';
import { checkTlsCertificate } from '../flow/operator/check-tls.ts';
import { holderOf } from '../store/lock.ts';
import { counted } from './output.ts';
import { becomeOwner, loadFor, userName } from './site-command.ts';

const relayTimeoutMs = 5000;

/** `check`: everything that can be wrong before mail comes. Exit code 0 all good, 1 problems, 2 configuration. */
export function addCheck(program: Command): void {
  program
    .command('check')
    .description('look at everything that can be wrong, and say what to do')
    .action(async (_options: unknown, command: Command) => {
      const { site, output } = await loadFor(command);
      await becomeOwner(site.spool);
      const findings = await findingsAbout(site);
      const problems = findings.filter((one) => one.level === 'problem').length;
      const warnings = findings.filter((one) => one.level === 'warning').length;
      if (problems > 0) process.exitCode = 1;
      output.result({ ok: problems === 0, problems, warnings, findings }, [
        ...findings.map((one) => `${one.level.padEnd(7)}  ${one.about}: ${one.text}`),
        '',
        `${counted(problems, 'problem')}, ${counted(warnings, 'warning')}.`,
      ]);
    });
}

async function findingsAbout(site: Site): Promise<Finding[]> {
  const uid = process.getuid?.() ?? null;
  return [
    await checkConfiguration(site),
    ...(await checkFolder(site.spool, { what: 'the spool', need: true, uid })),
    ...(await checkRoom(site.spool)),
    ...(await checkFolder(site.lists, { what: "the folder of the lists' keys", need: true, uid })),
    ...(await checkFolder(site['service.keys'], {
      what: 'the folder of the service address',
      need: false,
      uid,
    })),
    ...(await checkLeftBehind(site.lists, systemClock.now())),
    ...(await checkLeftBehind(site['service.keys'], systemClock.now())),
    ...(await checkDatabase(site)),
    ...(await checkTrust(siteTrust(site), 'trust', systemClock.now())),
    ...(await checkSiteCrls(siteTrust(site), {
      mayFetch: site['fetch.hosts'].length > 0,
      about: 'trust',
      now: systemClock.now(),
    })),
    ...(await checkListeners(site)),
    ...(await checkRelays(site)),
    ...(await Promise.all(templateFolders(site).map(checkTemplates))).flat(),
  ];
}

async function checkListeners({ listen }: Site): Promise<Finding[]> {
  const found = listen.map(async (socket): Promise<Finding[]> => {
    if (!socket.tls) return [];
    const about = `listen ${nameOf(socket)}`;
    try {
      const { cert } = await readListenerTls(socket.tls);
      return [checkTlsCertificate(cert, { about, now: systemClock.now() })];
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return [{ level: 'problem', about, text: error.message }];
    }
  });
  return (await Promise.all(found)).flat();
}

async function checkRelays(site: Site): Promise<Finding[]> {
  const found = site.relays.map(async (relay): Promise<Finding[]> => {
    const { name } = relay;
    try {
      const target = await relayTarget(site, relay);
      return await checkRelay(target, { name, acceptedSize: site.size, timeoutMs: relayTimeoutMs });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      // Only the daemon is given its unit's credentials.
      const level = isFault(error, 'credentials-missing') ? 'warning' : 'problem';
      return [{ level, about: `relay ${name}`, text: error.message }];
    }
  });
  return (await Promise.all(found)).flat();
}

async function checkConfiguration(site: Site): Promise<Finding> {
  if (site.file === null) {
    const text = `there is none in ${site.root}, so all is default; \`reseal config example\` prints one to begin with`;
    return { level: 'warning', about: 'configuration', text };
  }
  return checkConfigurationFile(site.file);
}

/** The database, and what only it can tell: lists, their keys, members' certificates, whether the daemon runs. */
async function checkDatabase(site: Site): Promise<Finding[]> {
  const about = site.database;
  if ((await stat(about).catch(() => null)) === null) {
    return [
      {
        level: 'warning',
        about,
        text: 'there is no database yet: `reseal serve` or `reseal list create` makes it',
      },
    ];
  }
  try {
    const { database, keyring, folderOf, close } = await openSite(site, {
      clock: systemClock,
      log: silentLog,
      check: true,
    });
    try {
      const { q } = database;
      const now = systemClock.now();
      const keyParts = { keyring, folderOf, unseenPassphrase: unseenPassphrase(site), now };
      return [
        { level: 'good', about, text: 'the database is sound' },
        daemonOf(site),
        ...(await checkLists({
          q,
          defaults: site.defaults,
          siteTrust: siteTrust(site),
          mayFetch: site['fetch.hosts'].length > 0,
          ...keyParts,
        })),
        ...serviceOnly(await checkKeys(keyParts, site['service.address']), site['service.address']),
        ...(await checkMemberCertificates(q, now)),
      ];
    } finally {
      await close();
    }
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return [{ level: 'problem', about, text: error.message }];
  }
}

function daemonOf(site: Site): Finding {
  const holder = holderOf(join(site.spool, 'lock'));
  return holder
    ? { level: 'good', about: 'daemon', text: `it runs as process ${holder.pid}` }
    : {
        level: 'warning',
        about: 'daemon',
        text: 'it does not run: mail that comes waits at the mail server; start `reseal serve`',
      };
}

/** Without a key pair the service address works, but its answers are not signed: no more than a warning. */
function serviceOnly(findings: readonly Finding[], address: string): Finding[] {
  const text = `the service address has no key pair, so its answers are not signed: \`reseal key generate ${address}\` makes one`;
  return findings.map((one) =>
    one.text.startsWith('there is no key pair') ? { ...one, level: 'warning', text } : one,
  );
}

/**
 * Without a file of passphrases they can only come by systemd's LoadCredential, which the daemon alone is given: how to
 * look with them. Null where we would see them.
 */
function unseenPassphrase(site: Site): string | null {
  if (site.credentials !== null || site['keys.passphrase-file'] !== null) return null;
  const command = `systemd-run --pty --uid=${userName()} -E RESEAL_ROOT=${site.root} -p LoadCredential=passphrase:/etc/reseal/passphrase ${process.argv[1] ?? 'reseal'} check`;
  return `the daemon may have one by LoadCredential, which commands do not see: \`${command}\` (with the LoadCredential of your unit) looks with it`;
}
