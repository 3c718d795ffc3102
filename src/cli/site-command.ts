import { stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { type OpenSite, openSite } from '../app/open-site.ts';
import { systemClock } from '../base/clock.ts';
import { errnoOf, wordsOf } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { loadSite, type Site } from '../config/site.ts';
import { cliFault } from './faults.ts';
import { type Output, outputTo } from './output.ts';

/** What every command may be told: it stands before or after the command's name. */
export interface GlobalOptions {
  readonly root?: string;
  readonly config?: string;
  readonly json?: boolean;
}

/** What a command works with while it runs. */
export interface Session extends OpenSite {
  readonly output: Output;
  readonly now: number;
  /** Who runs the command, for ledger lines. */
  readonly who: string;
}

/** The site's configuration, and how this command answers; nothing is opened. */
export async function loadFor(command: Command): Promise<{ site: Site; output: Output }> {
  const { root, config, json } = command.optsWithGlobals<GlobalOptions>();
  const site = await loadSite({ root, file: config, env: process.env });
  const columns = Number(process.env.COLUMNS) || undefined;
  const output = outputTo({ json: json === true, out: process.stdout, err: process.stderr, columns });
  return { site, output };
}

/**
 * The action of a command that works on the site: opens it, does `work` with the command's arguments and options
 * (`A`, in commander's order), closes it. What `work` throws is for `main.ts` to tell.
 */
export function onSite<A extends readonly unknown[]>(
  work: (session: Session, ...given: A) => Promise<void>,
): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    const command = given.at(-1) as Command;
    const { site, output } = await loadFor(command);
    await withSite(site, output, (session) => work(session, ...(given.slice(0, -1) as unknown as A)));
  };
}

/** The same with the configuration loaded already. */
export async function withSite(
  site: Site,
  output: Output,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  // Named before root's place is given up: afterwards everybody would be the daemon's user.
  const who = whoRuns();
  await becomeOwner(site.spool);
  const opened = await openSite(site, { clock: systemClock, log: silentLog, check: false });
  try {
    await work({ ...opened, output, now: opened.clock.now(), who });
  } finally {
    await opened.close();
  }
}

/**
 * Run by root, a command goes on as the owner of the spool, so that the daemon can use every file that it makes.
 * Fault 'owner-unusable'.
 */
export async function becomeOwner(spool: string): Promise<void> {
  process.umask(0o077);
  if (process.geteuid?.() !== 0) return;
  const owner = await ownerOf(spool);
  if (owner.uid === 0) return;
  try {
    // Root's own groups must go with root.
    process.setgroups?.([owner.gid]);
    process.setgid?.(owner.gid);
    process.setuid?.(owner.uid);
  } catch (error) {
    throw cliFault('owner-unusable', { path: spool, why: errnoOf(error) ?? wordsOf(error) });
  }
}

/** Owner of the folder, or of the nearest one above it that is there: below it the spool will be made. */
async function ownerOf(path: string): Promise<{ uid: number; gid: number }> {
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => null);
    if (found !== null || folder === dirname(folder)) return found ?? { uid: 0, gid: 0 };
  }
}

/** The person at the keyboard as far as the system knows: sudo's caller, else the login name, else the user of the process. */
function whoRuns(): string {
  const { SUDO_USER, LOGNAME } = process.env;
  return SUDO_USER || LOGNAME || userName();
}

/** The name of the user of the process. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? '?'}`;
  }
}
