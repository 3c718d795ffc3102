import { Command } from 'commander';
import { addCert } from './cert.ts';
import { addCheck } from './check.ts';
import { addConfig } from './config.ts';
import { addExplain } from './explain.ts';
import { addHousekeeping } from './housekeeping.ts';
import { addInject } from './inject.ts';
import { addKey } from './key.ts';
import { addList } from './list.ts';
import { addMember } from './member.ts';
import { addQueue } from './queue.ts';
import { addServe } from './serve.ts';

/** The command line, put together: its table of contents. */
export function makeProgram(): Command {
  const program = new Command('reseal')
    .description('A mailing-list manager that opens, checks and re-encrypts S/MIME mail for every member')
    .option('--root <folder>', 'where etc/ and spool/ are; else RESEAL_ROOT, else the folder of the program')
    .option('--config <file>', 'the configuration, instead of etc/reseal.yaml below the root')
    .option('--json', 'print the result as one JSON value');

  const groups = [
    addServe,
    addList,
    addMember,
    addCert,
    addKey,
    addQueue,
    addExplain,
    addCheck,
    addInject,
    addConfig,
    addHousekeeping,
  ];
  for (const add of groups) add(program);

  return program;
}
