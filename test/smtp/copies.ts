import { brandReceived } from '../../src/base/bytes.ts';
import type { Copy, Outcome, RelayPool, RelayTarget } from '../../src/smtp/pool.ts';
import type { Sink } from '../kit/sink.ts';

/** A copy for one member; the head names him, the body is shared by all copies that do not give their own. */
export function copyFor(
  to: string | readonly string[],
  more: Partial<Omit<Copy, 'body'>> & { body?: Buffer } = {},
): Copy {
  const { body, ...rest } = more;
  return {
    message: 'm1',
    from: 'list-bounces@lists.example',
    to: typeof to === 'string' ? [to] : to,
    head: Buffer.from(`To: ${to}\r\n`),
    body: body ? brandReceived(body) : sharedBody,
    smtpUtf8: false,
    body8bit: false,
    requireTls: false,
    ...rest,
  };
}

export const sharedBody = brandReceived(Buffer.from('Subject: hello\r\n\r\n.a dot\r\n..two dots\r\nend\r\n'));

export function targetOf(sink: Pick<Sink, 'port'>, more: Partial<RelayTarget> = {}): RelayTarget {
  return {
    host: '127.0.0.1',
    port: sink.port,
    lmtp: false,
    tls: 'none',
    connections: 1,
    hostname: 'lists.example',
    timeoutMs: 5000,
    ...more,
  };
}

/** Sends a copy for one recipient and gives what became of it; the pool tells of all recipients. */
export async function sendOne(
  pool: Pick<RelayPool, 'send'>,
  copy: Copy,
  settle: (outcome: Outcome) => Promise<void> = async () => {},
): Promise<Outcome> {
  const [outcome] = await pool.send(copy, async ([one]) => {
    if (one) await settle(one);
  });
  if (outcome === undefined) throw new Error('a copy has a recipient');
  return outcome;
}
