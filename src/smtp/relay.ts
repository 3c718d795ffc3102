import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type SMTPConnection from 'nodemailer/lib/smtp-connection';
import { type Capabilities, type Copy, capabilitiesOf, misfit } from './capabilities.ts';
import { deliveredBy, type Outcome, outcomeOf, type RelayError } from './outcome.ts';

/** How one try to send a copy ended. */
export interface Attempt {
  readonly outcome: Outcome;
  /** The connection turned out to be gone before any of the message was sent: another one may serve. */
  readonly lost: boolean;
}

/** Members of nodemailer's SMTPConnection that its types leave out; test/smtp/relay.test.ts notices if they change. */
interface Internals {
  _ehloLines?: readonly string[];
  _currentDataStream: unknown;
  _sendCommand(line: string, logged?: string): void;
}

const relayError = (code: string, message: string): RelayError => ({ code, message, command: 'CONN' });
/** For a connection that closed while something was awaited of it. */
export const gone = relayError('ECONNECTION', 'the relay closed the connection');

/** The message in slices of the buffers it is made of; 64 kB keeps the copies small that dot-stuffing makes. */
function* slicesOf(copy: Copy): Generator<Buffer> {
  const step = 65536;
  for (const part of [copy.head, copy.body])
    for (let at = 0; at < part.length; at += step) yield part.subarray(at, at + step);
}

/** One connection that has got as far as MAIL. Made by `openRelay`. */
export class Relay {
  readonly capabilities: Capabilities;
  /** Resolves when the connection is closed, by whomever. */
  readonly closed: Promise<void>;
  readonly #connection: SMTPConnection;
  readonly #socket: Socket;
  readonly #internals: Internals;
  #isClosed = false;
  #needsReset = false;
  #wantsSmtpUtf8 = false;

  /** Takes over a connection that has connected, and `socket`, the plain one below any TLS. */
  constructor(connection: SMTPConnection, socket: Socket, verifiedTls: boolean) {
    this.#connection = connection;
    this.#socket = socket;
    this.#internals = connection as unknown as Internals;
    this.capabilities = capabilitiesOf(this.#internals._ehloLines ?? [], verifiedTls);
    this.closed = closeOf(socket).then(() => {
      this.#isClosed = true;
    });
    // nodemailer adds SMTPUTF8 for addresses only, never for header fields.
    const sendCommand = this.#internals._sendCommand.bind(connection);
    this.#internals._sendCommand = (line, logged) => {
      const add = this.#wantsSmtpUtf8 && line.startsWith('MAIL FROM:') && !line.includes(' SMTPUTF8');
      sendCommand(add ? `${line} SMTPUTF8` : line, logged);
    };
  }

  /** Whether another copy may be sent here. */
  get usable(): boolean {
    return !this.#isClosed && !this.#connection.destroyed;
  }

  /** Sends one copy; never rejects. One at a time. */
  async send(copy: Copy): Promise<Attempt> {
    const refusal = misfit(copy, this.capabilities);
    if (refusal !== null) return { outcome: refusal, lost: false };
    if (this.#needsReset) {
      const error = await this.#reset();
      if (error !== null) {
        this.destroy();
        return { outcome: outcomeOf(error, 'transaction'), lost: true };
      }
    }
    const source = Readable.from(slicesOf(copy));
    const result = await this.#transact(copy, source);
    const begun = source.readableDidRead;
    source.destroy();
    // An answer before the final dot leaves the rest of the message in the way of the next command.
    const cutShort = begun && Boolean(this.#internals._currentDataStream);
    if (cutShort) this.destroy();
    if (typeof result === 'string') {
      if (!cutShort) return { outcome: deliveredBy(result), lost: false };
      const early = relayError('EPROTOCOL', 'the relay answered before the end of the message');
      return { outcome: outcomeOf(early, 'transaction'), lost: false };
    }
    this.#needsReset = !begun;
    const outcome = outcomeOf(result, 'transaction');
    const lost =
      !begun && (outcome.code === 421 || result.code === 'ECONNECTION' || result.code === 'ESOCKET');
    return { outcome, lost };
  }

  /** Ends an idle connection politely; a relay that does not answer has 2 s. */
  quit(): void {
    const timer = setTimeout(() => this.destroy(), 2000);
    timer.unref();
    void this.closed.then(() => clearTimeout(timer));
    if (this.usable) this.#connection.quit();
    else this.destroy();
  }

  /** Cuts the connection. A copy under way ends deferred; the relay may still have got it. */
  destroy(): void {
    this.#connection.close();
    this.#socket.destroy();
  }

  /** The relay's last reply, or the error. */
  #transact(copy: Copy, source: Readable): Promise<string | RelayError> {
    this.#wantsSmtpUtf8 = copy.smtpUtf8 && this.capabilities.smtpUtf8;
    const envelope = {
      from: copy.from,
      to: [copy.to],
      size: copy.head.length + copy.body.length,
      use8BitMime: copy.body8bit,
      requireTLSExtensionEnabled: copy.requireTls,
    };
    return new Promise((resolve) => {
      this.#connection.send(envelope, source, (error, info) => {
        if (error) return resolve(error);
        // LMTP: when the recipient fails after DATA there is no error, only nobody accepted.
        const failed = info?.rejectedErrors?.[0];
        if (info === undefined || info.accepted.length === 0)
          return resolve(failed ?? relayError('EPROTOCOL', 'no recipient accepted'));
        resolve(info.response);
      });
      // nodemailer forgets the callback when the connection is closed from our side.
      void this.closed.then(() => resolve(gone));
    });
  }

  /** RSET, so that nothing is left of a refused transaction (RFC 5321 4.1.1.5). Null if it went well. */
  #reset(): Promise<RelayError | null> {
    this.#needsReset = false;
    return new Promise((resolve) => {
      this.#connection.reset((error) => resolve(error));
      void this.closed.then(() => resolve(gone));
    });
  }
}

/** Resolves one turn after the socket closed, so that nodemailer, which listens too, can say why. */
export function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => setImmediate(resolve));
  });
}
