import { faultsOf } from '../../base/errors.ts';
import { type Envelope, formatEnvelopeLine } from '../../mime/envelope.ts';
import { newId } from '../../store/spool.ts';
import { destinationOf, type IntakeParts, judgeAtEndOfData, type OuterRefusal } from './intake.ts';

export const injectFault = faultsOf({
  'inject-bare-cr': (_: object) =>
    'the message has a carriage return that ends no line: mail must not have that (RFC 5322 2.3)',
  'inject-size': (d: { size: number }) => `the message is larger than ${d.size} octets (size)`,
  'inject-empty': (_: object) => 'there is no message on standard input',
});

export interface InjectOrder {
  /** Canonical, no repeats. */
  readonly recipients: readonly string[];
  /** Canonical; '' is the null sender. */
  readonly sender: string;
  /** The message with CRLF line ends, as `wireForm` makes it. */
  readonly message: Buffer;
  /** Who hands it in, for the trace. */
  readonly client: string;
  readonly now: number;
}

export type Injected =
  | { readonly outcome: 'queued'; readonly id: string }
  | { readonly outcome: 'unknown'; readonly address: string }
  | { readonly outcome: 'refused'; readonly text: string };

/**
 * Puts a message into the spool as an SMTP session would: it must be for lists that exist, is judged by envelope and
 * outer header, and is durable in `spool/incoming` when this resolves. The daemon takes it in from there, now or when it
 * is started. With several recipients it is refused only if all refuse it; `authorize` judges the others again.
 */
export async function inject(parts: IntakeParts, order: InjectOrder): Promise<Injected> {
  const { q } = parts.database;
  for (const address of order.recipients) {
    if (!(await destinationOf(q, address, parts))) return { outcome: 'unknown', address };
  }
  const id = newId(order.now);
  const line = formatEnvelopeLine({ ...envelopeOf(order), receivedAt: order.now });
  await parts.spool.receive(id, line, [order.message]);
  try {
    const refusals: (OuterRefusal | null)[] = [];
    for (const address of order.recipients)
      refusals.push(await judgeAtEndOfData(parts, id, address, order.now));
    const first = refusals[0];
    if (first && refusals.every((one) => one !== null)) {
      await parts.spool.discard(id);
      return { outcome: 'refused', text: first.text };
    }
    await parts.spool.handIn(id);
    return { outcome: 'queued', id };
  } catch (error) {
    await parts.spool.discard(id).catch(() => undefined);
    throw error;
  }
}

function envelopeOf({ recipients, sender, message, client }: InjectOrder): Envelope {
  const end = message.indexOf('\r\n\r\n');
  const header = message.subarray(0, end < 0 ? message.length : end);
  const isInternational = [sender, ...recipients].some((address) => /[^\x20-\x7e]/.test(address));
  return {
    from: sender,
    to: recipients,
    // RFC 6532 3.2: 8-bit octets in a header are UTF-8, which only SMTPUTF8 may carry.
    smtpUtf8: isInternational || hasEightBit(header),
    body8bit: hasEightBit(message),
    requireTls: false,
    client,
    helo: 'localhost',
    protocol: 'local',
  };
}

const hasEightBit = (bytes: Buffer): boolean => bytes.some((octet) => octet > 0x7f);

/**
 * Reads a message from a pipe into its form on the wire: bare LF line ends become CRLF, the last line gets one, and a
 * line `From …` before the header, which mailbox files and local(8) of Postfix put there, goes.
 * Faults: 'inject-bare-cr', 'inject-size', 'inject-empty'; then the rest of the input is not read.
 */
export async function wireForm(input: AsyncIterable<Buffer>, size: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let octets = 0;
  for await (const piece of input) {
    octets += piece.length;
    if (octets > size) throw injectFault('inject-size', { size });
    pieces.push(piece);
  }
  const message = withoutMailboxLine(Buffer.concat(pieces));
  if (message.length === 0) throw injectFault('inject-empty', {});
  return withCrlf(message);
}

function withoutMailboxLine(message: Buffer): Buffer {
  if (!message.subarray(0, 5).equals(Buffer.from('From '))) return message;
  const end = message.indexOf(0x0a);
  return end < 0 ? Buffer.alloc(0) : message.subarray(end + 1);
}

const crlf = Buffer.from('\r\n');

function withCrlf(message: Buffer): Buffer {
  const pieces: Buffer[] = [];
  let start = 0;
  for (let at = message.indexOf(0x0a); at >= 0; at = message.indexOf(0x0a, start)) {
    const end = at > start && message[at - 1] === 0x0d ? at - 1 : at;
    pieces.push(lineOf(message, start, end), crlf);
    start = at + 1;
  }
  if (start < message.length) pieces.push(lineOf(message, start, message.length), crlf);
  return Buffer.concat(pieces);
}

function lineOf(message: Buffer, start: number, end: number): Buffer {
  const line = message.subarray(start, end);
  if (line.includes(0x0d)) throw injectFault('inject-bare-cr', {});
  return line;
}
