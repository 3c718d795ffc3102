import { z } from 'zod';
import { mimeFault } from './faults.ts';

/** What the SMTP transaction said beside the message (RFC 5321 2.3.1). */
export interface Envelope {
  /** Canonical address; '' is the null sender. */
  readonly from: string;
  /** Canonical addresses in the order of RCPT, no repeats. */
  readonly to: readonly string[];
  /** MAIL parameter SMTPUTF8 (RFC 6531). */
  readonly smtpUtf8: boolean;
  /** MAIL parameter BODY=8BITMIME (RFC 6152). */
  readonly body8bit: boolean;
  /** MAIL parameter REQUIRETLS (RFC 8689). */
  readonly requireTls: boolean;
  /** `host [ip]`, or `local`. */
  readonly client: string;
  /** What the client called itself; '' for local mail. */
  readonly helo: string;
  readonly protocol: 'SMTP' | 'ESMTP' | 'ESMTPS' | 'LMTP' | 'local';
}

/** RFC 5321 4.5.3.1.8 asks for 100 recipients at least; this is room for thousands. */
const lineOctets = 1024 * 1024;

const lineSchema = z.strictObject({
  format: z.literal(1),
  receivedAt: z.int().nonnegative(),
  from: z.string(),
  to: z.array(z.string()),
  smtpUtf8: z.boolean(),
  body8bit: z.boolean(),
  requireTls: z.boolean(),
  client: z.string(),
  helo: z.string(),
  protocol: z.enum(['SMTP', 'ESMTP', 'ESMTPS', 'LMTP', 'local']),
});

/** The first line of a spool file: the envelope as JSON, then LF. `receivedAt` is in milliseconds. */
export function formatEnvelopeLine(envelope: Envelope & { readonly receivedAt: number }): Buffer {
  const { receivedAt, from, to, smtpUtf8, body8bit, requireTls, client, helo, protocol } = envelope;
  const line = { format: 1, receivedAt, from, to, smtpUtf8, body8bit, requireTls, client, helo, protocol };
  return Buffer.from(`${JSON.stringify(line)}\n`, 'utf8');
}

/**
 * Reads the first line of a spool file back; the message is `file.subarray(bodyStart)`. `file` may be only the
 * beginning of the file if it holds the whole line. Throws `envelope-malformed`.
 */
export function parseEnvelopeLine(file: Buffer): {
  envelope: Envelope;
  receivedAt: number;
  bodyStart: number;
} {
  const lineEnd = file.subarray(0, lineOctets).indexOf(0x0a);
  if (lineEnd < 0) throw mimeFault('envelope-malformed', { what: 'it has no end' });
  const parsed = lineSchema.safeParse(jsonOf(file.toString('utf8', 0, lineEnd)));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue?.path.join('.') ?? '';
    throw mimeFault('envelope-malformed', { what: `${where || 'the line'} is wrong` });
  }
  const { format: _, receivedAt, ...envelope } = parsed.data;
  return { envelope, receivedAt, bodyStart: lineEnd + 1 };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
