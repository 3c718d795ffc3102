import type {
  SMTPServerAddress,
  SMTPServerDataResult,
  SMTPServerEnvelope,
  SMTPServerOptions,
  SMTPServerSession,
} from 'smtp-server';
import { ClientCounts } from './client-counts.ts';
import { envelopeOf, objectionToSender, recipientOf } from './envelope.ts';
import { IncomingMessage } from './incoming.ts';
import { addressOf, type ListenAddress, listen } from './listen.ts';
import { type Answer, answers, asError, wireText } from './replies.ts';
import { IntakeServer, type TurnedAway } from './session.ts';
import { type Intake, type Stored, takeMessage } from './transaction.ts';

export type { ListenAddress } from './listen.ts';
export type { Reply } from './replies.ts';
export type { Intake, Stored, Trouble } from './transaction.ts';

export interface ReceiveOptions<S extends Stored> extends Intake<S> {
  /** LMTP (RFC 2033) instead of SMTP. */
  readonly lmtp: boolean;
  readonly listen: ListenAddress;
  /** Our name in the greeting, and the domain of `<postmaster>`. */
  readonly hostname: string;
  /** Largest message in octets, announced by SIZE and enforced: 552 5.3.4. */
  readonly size: number;
  /** Connections at a time; one more gets 421. */
  readonly maxClients: number;
  /** Connections of one address at a time, unless it is among the addresses and networks of `exempt`; one more gets 421. */
  readonly maxPerAddress: number;
  readonly exempt: readonly string[];
  readonly turnedAway?: TurnedAway;
  /** RCPT commands accepted in one transaction; one more gets 452 4.5.3. */
  readonly maxRecipients: number;
  /** How long a silent client is kept; default 5 minutes (RFC 5321 4.5.3.2.7). */
  readonly idleMs?: number;
  /** Offers STARTTLS with this key and certificate chain, and REQUIRETLS below it. */
  readonly tls?: Tls;
  /** Whether mail for this canonical address is ours; `unknown` is 550 5.1.1, a throw 451 4.3.0. */
  lookup(address: string): Promise<'known' | 'unknown'>;
}

/** Private key and certificate chain (PEM). */
interface Tls {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
}

export interface Receiver {
  /** `127.0.0.1:2525`, or the path of the socket. */
  readonly address: string;
  readonly port: number | null;
  /** Takes another key and certificate for the clients that come from now on; only where there were some before. */
  renewTls(tls: Tls): void;
  /** Refuses new clients with 421, lets open transactions finish for `graceMs`, then cuts them; waits for `store`. */
  close(graceMs: number): Promise<void>;
}

type Callback = (error?: Error | null) => void;

/** AUTH is not for us, WIZ, SHELL and KILL are jokes of smtp-server, XCLIENT and XFORWARD would let clients lie. */
const neverOffered = ['AUTH', 'WIZ', 'SHELL', 'KILL', 'XCLIENT', 'XFORWARD'];

/**
 * Receives mail by SMTP (RFC 5321) or LMTP (RFC 2033) for the addresses that `lookup` knows, and for no others. A
 * message is answered 250 only after `commit`. Bare CR or LF anywhere in it: 550 5.6.0 and nothing is kept.
 * Fault `listen-failed`.
 */
export async function receive<S extends Stored>(options: ReceiveOptions<S>): Promise<Receiver> {
  const { lmtp, hostname, size, maxRecipients } = options;
  // smtp-server makes a new envelope object for each transaction and merges repeated recipients in it; LMTP owes a
  // reply to each accepted RCPT command (RFC 2033 4.2), so they are listed here.
  const recipients = new WeakMap<SMTPServerEnvelope, string[]>();
  const underWay = new Set<Promise<void>>();

  async function acceptRecipient(
    given: SMTPServerAddress,
    session: SMTPServerSession,
  ): Promise<Answer | null> {
    const sender = session.envelope.mailFrom || { address: '', args: false as const };
    const so = recipients.get(session.envelope) ?? [];
    const address = recipientOf(given, sender, hostname);
    if (typeof address !== 'string') return address;
    if (so.length >= maxRecipients) return answers.tooManyRecipients;
    if ((await options.lookup(address)) !== 'known') return answers.unknownRecipient;
    so.push(address);
    recipients.set(session.envelope, so);
    return null;
  }

  async function acceptData(stream: IncomingMessage, session: SMTPServerSession): Promise<readonly Answer[]> {
    const commands = recipients.get(session.envelope) ?? [];
    const envelope = envelopeOf(session, commands, lmtp);
    const replies = await takeMessage(options, envelope, stream, lmtp);
    const replyTo = (address: string): Answer => replies[envelope.to.indexOf(address)] ?? answers.trouble;
    return lmtp ? commands.map(replyTo) : replies.slice(0, 1);
  }

  const answerWith = (callback: Callback, answer: Answer | null): void =>
    callback(answer === null ? null : asError(answer));
  const serverOptions: SMTPServerOptions = {
    lmtp,
    name: hostname,
    size,
    logger: false,
    maxClients: options.maxClients,
    maxCommandLength: 4096,
    socketTimeout: options.idleMs ?? 300_000,
    disableReverseLookup: true,
    hideENHANCEDSTATUSCODES: false,
    hideREQUIRETLS: false,
    disabledCommands: options.tls === undefined ? [...neverOffered, 'STARTTLS'] : neverOffered,
    heloResponse: '%s',
    minVersion: 'TLSv1.2',
    ...options.tls,
    onConnect: (_session, callback) => answerWith(callback, server.closing ? answers.closing : null),
    onMailFrom: (given, _session, callback) => answerWith(callback, objectionToSender(given)),
    onRcptTo: (given, session, callback) => {
      void acceptRecipient(given, session)
        .catch((error: unknown) => {
          options.trouble?.('lookup', error);
          return answers.trouble;
        })
        .then((answer) => answerWith(callback, answer));
    },
    onData: (stream, session, callback) => {
      const work = acceptData(new IncomingMessage(stream, size), session).then((replies) => {
        if (lmtp) return callback(null, replies.map(asResult));
        const reply = replies[0] ?? answers.trouble;
        return reply.code === 250 ? callback(null, wireText(reply)) : callback(asError(reply));
      });
      const done = work.finally(() => {
        underWay.delete(done);
        // The reply is written when the parser has seen the end of the stream; goodbye follows it.
        if (server.closing) setImmediate(() => server.dismissIdle());
      });
      underWay.add(done);
    },
  };
  const counts = new ClientCounts(options.maxPerAddress, options.exempt);
  const server = new IntakeServer(serverOptions, counts, options.turnedAway);
  await listen(server.server, options.listen);
  return {
    ...addressOf(server.server),
    renewTls: (tls) => server.updateSecureContext(tls),
    close: async (graceMs) => {
      await server.shutDown(graceMs);
      await Promise.all(underWay);
    },
  };
}

const asResult = (reply: Answer): SMTPServerDataResult =>
  reply.code === 250 ? wireText(reply) : asError(reply);
