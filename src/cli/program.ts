import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addCert } from './cert.ts';
import { addCheck } from './check.ts';
import { addConfig } from './config.ts';
import { addExplain } from './explain.ts';
import { withHelp } from './help.ts';
import { addHousekeeping } from './housekeeping.ts';
import { addInject } from './inject.ts';
import { addInspect } from './inspect.ts';
import { addKey } from './key.ts';
import { addList } from './list.ts';
import { addLog } from './log.ts';
import { addMember } from './member.ts';
import { addPreview } from './preview.ts';
import { addQueue } from './queue.ts';
import { addRetry } from './retry.ts';
import { addServe } from './serve.ts';

/** Commands by what a person wants to do. */
const groups = {
  'Lists and people:': [addList, addMember, addCert, addKey],
  'Mail:': [addQueue, addRetry, addExplain, addPreview, addInspect, addLog, addInject],
  'The program:': [addServe, addCheck, addConfig, addHousekeeping],
};

/** The command line, put together: its table of contents. */
export function makeProgram(): Command {
  const program = new Command('reseal')
    .description('a mailing-list manager that opens, checks and re-encrypts S/MIME mail for every member')
    .version(`reseal ${packageVersion()}`, '--version', 'print the version')
    .option('--root <folder>', 'where etc/ and spool/ are; else RESEAL_ROOT, else the folder of the program')
    .option('--config <file>', 'the configuration, instead of etc/reseal.yaml below the root')
    .option('--json', 'print the result as one JSON value');
  for (const [heading, adds] of Object.entries(groups)) {
    program.commandsGroup(heading);
    for (const add of adds) add(program);
  }
  return withHelp(program);
}

/** Of package.json, seen from src/cli as from dist/cli. */
function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
