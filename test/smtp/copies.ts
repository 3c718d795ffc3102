import { brandReceived } from '../../src/base/bytes.ts';
import type { Copy, RelayTarget } from '../../src/smtp/pool.ts';
import type { Sink } from '../kit/sink.ts';

/** A copy for one member; the head names him, the body is shared by all copies that do not give their own. */
export function copyFor(to: string, more: Partial<Omit<Copy, 'body'>> & { body?: Buffer } = {}): Copy {
  const { body, ...rest } = more;
  return {
    from: 'list-bounces@lists.example',
    to,
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
