import type { Command } from 'commander';

const more = 'Every command also takes --json, --root and --config: see `reseal --help`.';

/** Gives the program and all its commands the same help and the same way to speak of wrong usage. */
export function withHelp(program: Command): Command {
  forEach(program, (command) => {
    command
      .helpOption('-h, --help', 'show this')
      .helpCommand(false)
      .configureHelp({ styleCommandDescription: capitalised, subcommandTerm: termOf })
      .configureOutput({ outputError: (text, write) => write(usageSentence(command, text)) });
    if (command !== program) command.addHelpText('after', `\n${more}`);
  });
  return program;
}

/** What commander says of wrong usage, in one sentence that names the help to look at. */
function usageSentence(command: Command, text: string): string {
  const words = text
    .trim()
    .replace(/^error: /, '')
    .replace(/\s*\(Did you mean (one of )?(.+)\?\)$/s, '; did you mean $1$2?')
    .replaceAll("'", '"');
  return `reseal: ${words}${words.endsWith('?') ? '' : `: see \`${pathOf(command)} --help\``}\n`;
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

/** A command in the table of its group: its name and what it must be given. */
function termOf(command: Command): string {
  const given = command.registeredArguments.map((one) => {
    const name = `${one.name()}${one.variadic ? '...' : ''}`;
    return one.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...given].join(' ');
}

function capitalised(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function forEach(command: Command, change: (command: Command) => unknown): void {
  change(command);
  for (const one of command.commands) forEach(one, change);
}
