import { parseEntity } from '../../mime/entity.ts';
import { legacyDisplayOf } from '../../smime/legacy-display.ts';
import type { Findings } from '../../smime/open.ts';

export type Command = 'help' | 'get-cert' | null;

/** Octets of a mail that are looked at for a command: anybody may write to -request, and commands are short. */
const looked = 64 * 1024;

/**
 * The command of a mail to -request or the service address: its Subject, else the first line of its text that is not
 * blank, quoted or a signature. `text` is the readable view of the message and is looked at for commands only.
 */
export async function commandOf(subject: string | null, message: Buffer): Promise<Command> {
  const fromSubject = commandIn(subject ?? '');
  if (fromSubject) return fromSubject;
  for (const line of (await textOf(message.subarray(0, looked))).split('\n')) {
    const words = line.trim();
    if (words === '' || words.startsWith('>') || words.startsWith('#')) continue;
    return words === '--' ? null : commandIn(words);
  }
  return null;
}

/** The Subject to look for a command in: where a signature covers the header, the outer one is anybody's (RFC 9788 4.8.1). */
export function commandSubject(
  { protected: header }: Pick<Findings, 'protected'>,
  outer: string | null,
): string | null {
  return header?.authenticated ? header.subject : outer;
}

/**
 * The token in a mail: `confirm-` and 32 letters and digits, in its Subject or anywhere in its text, for mail programs
 * quote what is answered. Null if there is none.
 */
export async function tokenIn(subject: string | null, message: Buffer): Promise<string | null> {
  const text = `${subject ?? ''}\n${await textOf(message.subarray(0, looked), true)}`;
  return /\bconfirm-([a-z2-7]{32})\b/i.exec(text)?.[1]?.toLowerCase() ?? null;
}

async function textOf(message: Buffer, orHtml = false): Promise<string> {
  // Here and not above: it takes 8 MB of every daemon, and few get a command without a Subject.
  const { simpleParser } = await import('mailparser');
  try {
    // RFC 9788 4.8.2: copies of header fields above the text are no words of its author.
    const display = legacyDisplayOf(parseEntity(message));
    if (display) return display.text;
    const options = { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true };
    const { text, html } = await simpleParser(message, options);
    return text ?? (orHtml && html ? html : '');
  } catch {
    return ''; // it gives up on too many parts, on endless headers …
  }
}

function commandIn(line: string): Command {
  const words = line
    .replace(/^\s*((re|aw|sv|fwd?)\s*:\s*)+/i, '')
    .trim()
    .toLowerCase()
    .replace(/\s+/g, ' ');
  if (words === 'help') return 'help';
  return words === 'get cert' || words === 'get certificate' ? 'get-cert' : null;
}
