/** What a copy needs and a relay does not offer, as a reason for ledger and reports. */
export const misfits = ['too-large-for-relay', 'needs-smtputf8', 'needs-8bitmime', 'needs-tls'] as const;
export type Misfit = (typeof misfits)[number];

/** What became of one copy at the relay. */
export interface Outcome {
  readonly kind: 'delivered' | 'deferred' | 'refused';
  /** The relay's reply code; null if it gave none. */
  readonly code: number | null;
  /** RFC 3463, e.g. `5.1.1`; null if none was given. */
  readonly enhanced: string | null;
  /** The relay's words, or what happened instead: one line, printable, at most 300 octets. */
  readonly text: string;
  /** What was answered: CONN EHLO LHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET, or `.` for the end of the message. */
  readonly command: string | null;
  /** The relay itself is out of order: other copies need not try now. */
  readonly relayDown: boolean;
  /**
   * The relay gave up, or said nothing, at the end of the content. That may be this message's doing: copies of another one
   * show whether the relay is out of order.
   */
  readonly atContent?: true;
  /** It was not offered to the relay, which could not have taken it. */
  readonly misfit?: Misfit;
  /** It was not tried: the relay has as many as it may be given now. It may come back after this time, in ms. */
  readonly afterMs?: number;
}

/** An error of nodemailer's SMTPConnection, or of a socket. */
export interface RelayError {
  readonly message: string;
  readonly code?: string | undefined;
  readonly command?: string | undefined;
  readonly response?: string | undefined;
}

/** Before the first MAIL (connecting, greeting, EHLO, TLS, AUTH), or in a transaction. */
export type Phase = 'setup' | 'transaction';

/** The reply in one line of printable characters without controls and direction marks, cut to 300 octets. */
export function plainWords(text: string): string {
  const line = text.replace(/[\p{C}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  if (Buffer.byteLength(line) <= 300) return line;
  return Buffer.from(line)
    .subarray(0, 300)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')
    .trimEnd();
}

interface RelayReply {
  readonly code: number | null;
  readonly enhanced: string | null;
  readonly text: string;
}

const replyCode = /^[2-5]\d\d(?=[ -]|$)/;

/** The code of a reply (lines parted by LF), or null for garbage: as `readReply`, without reading the words of one line. */
export function codeOfReply(response: string): number | null {
  if (response.includes('\n')) return readReply(response).code;
  return replyCode.test(response) ? Number(response.slice(0, 3)) : null;
}

/** Takes a reply (lines parted by LF) apart: code, enhanced code, words. Garbage has no code. */
export function readReply(response: string): RelayReply {
  const lines = response.split(/\r?\n/);
  const code = replyCode.exec(lines[0] ?? '')?.[0];
  // RFC 5321 4.2.1: the code of all lines is the same; which of two counts nobody can know.
  const isOne =
    code !== undefined && lines.every((line) => line.startsWith(code) || !/^\d{3}[ -]/.test(line));
  if (code === undefined || !isOne) return { code: null, enhanced: null, text: plainWords(response) };
  const words = lines.map((line) => line.replace(/^\d{3}(?:[ -]|$)/, ''));
  // RFC 3463 2: the class of the enhanced code is that of the reply; another one is part of the words.
  const found = /^([245])\.\d{1,3}\.\d{1,3}(?=\s|$)/.exec(words[0] ?? '');
  const enhanced = found !== null && found[1] === code[0] ? found[0] : null;
  const text = words.map((line) =>
    enhanced !== null && line.startsWith(enhanced) ? line.slice(enhanced.length) : line,
  );
  return { code: Number(code), enhanced, text: plainWords(text.join(' ')) };
}

const commands: Readonly<Record<string, string>> = { 'MAIL FROM': 'MAIL', 'RCPT TO': 'RCPT' };

function commandOf(error: RelayError): string | null {
  const command = error.command ?? null;
  if (command === null || command === 'API') return null;
  // nodemailer names the reply to the message itself DATA too.
  if (command === 'DATA' && error.code === 'EMESSAGE') return '.';
  return commands[command] ?? command.split(' ')[0] ?? null;
}

/**
 * These 5xx replies speak of our session, not of the mail: bad sequence (503), and authentication or encryption
 * wanted (RFC 4954 6, RFC 3207 4). Taking them for refusals would bounce every member for a wrong password.
 */
const ourFault = new Set([530, 534, 535, 538]);

/**
 * What an error means for the copy. Only a 5xx reply to MAIL, RCPT, DATA or the final dot is a refusal (RFC 5321
 * 4.2.1); whatever else goes wrong may go right later. 421, timeouts, garbage and every failure before the first
 * MAIL mean that the relay is out of order, but for those at the end of a content (`atContent`).
 */
export function outcomeOf(error: RelayError, phase: Phase): Outcome {
  const reply = error.response ? readReply(error.response) : { code: null, enhanced: null, text: '' };
  const { code, enhanced } = reply;
  const text = reply.text === '' ? plainWords(error.message) : reply.text;
  const command = commandOf(error);
  const outcome = (kind: Outcome['kind'], relayDown: boolean): Outcome => {
    if (relayDown && command === '.')
      return { kind, code, enhanced, text, command, relayDown: false, atContent: true };
    return { kind, code, enhanced, text, command, relayDown };
  };

  if (phase === 'setup' || code === 421) return outcome('deferred', true);
  // Only these two codes mean an answer to a command of this copy; another reply may belong to anything.
  const answered = error.code === 'EENVELOPE' || error.code === 'EMESSAGE';
  if (answered && code !== null && code >= 400) {
    if (code < 500 || code === 503) return outcome('deferred', false);
    return ourFault.has(code) ? outcome('deferred', true) : outcome('refused', false);
  }
  // nodemailer itself refuses an address that would break the command line.
  if (error.code === 'EENVELOPE' && error.command === 'API') return outcome('refused', false);
  // A connection that breaks takes only its own copy with it: the message may be what broke it.
  const broken = error.code === 'ECONNECTION' || error.code === 'ESOCKET' || error.code === 'ESTREAM';
  return outcome('deferred', !broken);
}

/** The relay has taken the copy over. */
export function deliveredBy(response: string): Outcome {
  return { kind: 'delivered', ...readReply(response), command: '.', relayDown: false };
}

/** A copy that was not offered to the relay, and why. */
export function notSent(kind: 'deferred' | 'refused', enhanced: string, text: string): Outcome {
  return { kind, code: null, enhanced, text: plainWords(text), command: null, relayDown: false };
}

/** Whether a relay took no further recipient because the transaction has enough of them (RFC 5321 4.5.3.1.10, RFC 3463 3.6). */
export function isTooMany({ code, enhanced }: Outcome): boolean {
  return (code === 452 || code === 552) && (enhanced === null || enhanced.endsWith('.5.3'));
}
