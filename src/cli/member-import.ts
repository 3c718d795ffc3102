import type { Command } from 'commander';
import { record } from '../store/ledger.ts';
import { addMembers, membersNamed, type NewMember } from '../store/members.ts';
import { touch } from '../store/meta.ts';
import { listNamed, readInput } from './arguments.ts';
import { readMemberLines } from './member-lines.ts';
import { counted } from './output.ts';
import { progressOn } from './progress.ts';
import { onSite, type Session } from './site-command.ts';

const chunk = 500;

/** `member import`: many members from a file; a bad line costs itself only. Exit code 1 if there was one. */
export function addMemberImport(member: Command): void {
  member
    .command('import <list> [file]')
    .description(
      'add members from CSV (address,name,lang) or from one address per line; - reads standard input',
    )
    .option('--dry-run', 'only say what would be done')
    .action(onSite<[string, string | undefined, { dryRun?: true }]>(importMembers));
}

async function importMembers(
  session: Session,
  name: string,
  file: string | undefined,
  options: { dryRun?: true },
): Promise<void> {
  const { database, output, now, who } = session;
  const row = await listNamed(database.q, name);
  const { members, bad } = readMemberLines((await readInput(file ?? '-')).toString('utf8'));
  const already = await membersNamed(
    database.q,
    row.id,
    members.map((one) => one.address),
  );
  const rows = members
    .filter((one) => !already.has(one.address))
    .map(
      ({ address, name: called, lang }): NewMember => ({
        address,
        name: called,
        since: now,
        settings: lang ? { lang } : {},
      }),
    );
  let added = 0;
  if (!options.dryRun && rows.length > 0) {
    const progress = progressOn(process.stderr, 'members', rows.length);
    for (let start = 0; start < rows.length; start += chunk) {
      const part = rows.slice(start, start + chunk);
      added += await database.write(async (tx) => {
        const count = await addMembers(tx, row.id, part);
        const detail = `${counted(count, 'member')} imported by ${who}`;
        await record(tx, {
          at: now,
          list: row.address,
          event: 'members-imported',
          detail,
          data: { addresses: part.map((one) => one.address) },
        });
        await touch(tx);
        return count;
      });
      progress.step(Math.min(start + chunk, rows.length));
    }
    progress.end();
  }
  for (const { line, why } of bad) output.note(`line ${line}: ${why}`);
  if (bad.length > 0) process.exitCode = 1;
  const value = {
    list: row.address,
    dryRun: options.dryRun === true,
    added: options.dryRun ? rows.length : added,
    already: already.size,
    bad,
  };
  const verb = options.dryRun ? 'would be added' : 'added';
  output.result(value, [
    `${row.address}: ${counted(value.added, 'member')} ${verb}, ${value.already} there already, ${counted(bad.length, 'bad line')}`,
  ]);
}
