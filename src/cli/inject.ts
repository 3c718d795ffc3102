import type { Command } from 'commander';
import { isFault } from '../base/errors.ts';
import { inject, wireForm } from '../flow/pipeline/inject.ts';
import { canonicalAddress } from '../mime/address.ts';
import { counted } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** Exit codes of sysexits.h, as pipe(8) and local(8) of Postfix read them: any other one bounces mail. */
export const sysexits = { ok: 0, dataError: 65, noUser: 67, temporaryFailure: 75 } as const;

/** `inject`: a message on standard input, for pipes; the daemon need not run. */
export function addInject(program: Command): void {
  program
    .command('inject <recipient...>')
    .description('take a message from standard input: for pipes and aliases')
    .option('-f, --sender <address>', 'the envelope sender; <> or MAILER-DAEMON is the null sender')
    .addHelpText(
      'after',
      '\nExit codes: 0 taken, 67 no such list, 65 refused, 75 try again later.\nExample, in an alias: team: "|/opt/reseal/bin/reseal.mjs inject team@lists.example"',
    )
    .action(onSite<[string[], { sender?: string }]>(run));
}

async function run(
  session: Session,
  recipients: readonly string[],
  options: { sender?: string },
): Promise<void> {
  const { site, output, who } = session;
  const refuse = (code: number, text: string) => {
    output.note(text);
    process.exitCode = code;
  };
  const to: string[] = [];
  for (const text of recipients) {
    const address = canonicalAddress(text);
    if (address === null)
      return refuse(sysexits.noUser, `5.1.3 "${text.slice(0, 100)}" is not a mail address`);
    if (!to.includes(address)) to.push(address);
  }
  const sender = senderOf(
    options.sender ?? process.env.SENDER,
    canonicalAddress(`${who}@${site.hostname}`) ?? site.postmaster,
  );
  if (sender === null)
    return refuse(sysexits.dataError, `5.1.7 the sender "${options.sender ?? ''}" is not a mail address`);
  const message = await wireForm(process.stdin, site.size).catch((error: unknown) => {
    if (!isFault(error) || !error.code.startsWith('inject-')) throw error;
    refuse(sysexits.dataError, `5.6.0 ${error.message}`);
    return null;
  });
  if (message === null) return;
  const { database, spool, log, clock } = session;
  const parts = {
    database,
    spool,
    log,
    defaults: site.defaults,
    node: site.node,
    serviceAddress: site['service.address'],
  };
  const client = `local uid ${process.getuid?.() ?? '?'}`;
  const result = await inject(parts, { recipients: to, sender, message, client, now: clock.now() });
  if (result.outcome === 'unknown')
    return refuse(sysexits.noUser, `5.1.1 there is no list ${result.address}`);
  if (result.outcome === 'refused') return refuse(sysexits.dataError, result.text);
  output.result({ id: result.id, to, sender }, [
    `taken as ${result.id} for ${counted(to.length, 'address', 'addresses')}`,
  ]);
  process.exitCode = sysexits.ok;
}

/** What a mail server passes as sender; without one, the user who runs the command. Null if it is no address. */
function senderOf(given: string | undefined, own: string): string | null {
  // Not the null sender, whose posts are dropped as bounces.
  if (given === undefined) return own;
  const bare = given.trim().replace(/^<(.*)>$/, '$1');
  // Postfix's null_sender: what pipe(8) puts in place of an empty ${sender}.
  return bare === '' || bare.toUpperCase() === 'MAILER-DAEMON' ? '' : canonicalAddress(bare);
}
