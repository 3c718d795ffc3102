/** What the client reads: a reply code (RFC 5321 4.2) and a text that begins with an enhanced code (RFC 3463). */
export interface Answer {
  readonly code: number;
  readonly text: string;
}

/** The judgement on one recipient after the message was stored. */
export interface Reply extends Answer {
  readonly code: 250 | 550 | 552 | 554 | 451 | 452;
}

/** The refusals that reseal words itself; smtp-server words the ones about syntax and order of commands. */
export const answers = {
  badSender: { code: 501, text: '5.1.7 malformed sender address' },
  badRecipient: { code: 501, text: '5.1.3 malformed recipient address' },
  needsSmtpUtf8: { code: 553, text: '5.6.7 a non-ASCII address needs SMTPUTF8' },
  unknownParameter: { code: 555, text: '5.5.4 parameter not supported' },
  unknownRecipient: { code: 550, text: '5.1.1 no such address here' },
  tooManyRecipients: { code: 452, text: '4.5.3 too many recipients' },
  bareLineEnd: { code: 550, text: '5.6.0 bare CR or LF in message' },
  tooBig: { code: 552, text: '5.3.4 message too big' },
  spoolFull: { code: 452, text: '4.3.1 no space left, try again later' },
  // RFC 3463 3.4: X.3.5, the system is not as it should be.
  spoolUnwritable: { code: 452, text: '4.3.5 the disk cannot be written to, try again later' },
  trouble: { code: 451, text: '4.3.0 local error, try again later' },
  crowded: { code: 421, text: '4.7.0 too many connections from your address, try again in a moment' },
  closing: { code: 421, text: '4.3.2 closing for maintenance, try again later' },
} as const satisfies Record<string, Answer>;

/** The acceptance of a message that nothing was said against. */
export const accepted = (id: string): Answer => ({ code: 250, text: `2.6.0 accepted as ${id}` });

const enhancedCode = /^[245]\.\d{1,3}\.\d{1,3} /;

/** Whether a reply text begins with its own enhanced code. */
export const hasEnhancedCode = (text: string): boolean => enhancedCode.test(text);

/**
 * A reply as it may stand on the wire: one line of printable ASCII (RFC 5321 4.2; the client need not know
 * SMTPUTF8), at most 400 characters, with exactly one enhanced code, of the same class as the reply code.
 */
export function wireText(answer: Answer): string {
  const text = answer.text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 400);
  const own = enhancedCode.exec(`${text} `)?.[0].trim();
  const words = own === undefined ? text : text.slice(own.length).trim();
  const kind = String(Math.floor(answer.code / 100));
  const code = own?.startsWith(kind) ? own : `${kind}.0.0`;
  return `${code} ${words === '' ? (kind === '2' ? 'ok' : 'refused') : words}`;
}

/** The error that makes smtp-server send this answer. */
export function asError(answer: Answer): Error {
  return Object.assign(new Error(wireText(answer)), { responseCode: answer.code });
}
