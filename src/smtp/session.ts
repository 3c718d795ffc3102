import type { Socket } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { SMTPConnection, type SMTPConnectionOptions } from 'smtp-server/lib/smtp-connection.js';
import type { ClientCounts } from './client-counts.ts';
import { answers, hasEnhancedCode } from './replies.ts';

/** Told of each client that is answered 421: of its address, or of all there are too many. */
export type TurnedAway = (limit: 'address' | 'all', client: string | undefined) => void;

/** One client. Differs from smtp-server's in the greeting, the enhanced codes and in what happens while we close. */
class Session extends SMTPConnection {
  readonly #server: IntakeServer;
  /** Kept, as the socket forgets it when it is closed. */
  readonly #address: string | undefined;

  constructor(server: IntakeServer, socket: Socket, options?: SMTPConnectionOptions | null) {
    super(server, socket, options);
    this.#server = server;
    this.#address = socket.remoteAddress;
  }

  /**
   * smtp-server waits 100 ms with its greeting, to catch strangers that talk first. Our clients are a mail server, which
   * may make a connection for each message. The lines are smtp-server's but for that and the limit for one address.
   */
  override init(): void {
    const mayStay = this.#server.counts.enter(this.#address);
    this._setListeners(() => {
      const most = this.#server.options.maxClients;
      if (!mayStay) {
        this.#server.turnedAway('address', this.#address);
        this.send(answers.crowded.code, `${answers.crowded.text} (${this.#address})`);
        // It is none of the clients that `maxClients` counts: what it holds must not depend on it.
        this._socket.destroySoon();
      } else if (most !== undefined && this.#server.connections.size > most) {
        this.#server.turnedAway('all', this.#address);
        this.send(421, `${this.name} Too many connected clients, try again in a moment`, false);
      } else this.connectionReady();
    });
  }

  /** smtp-server derives an enhanced code from the reply code; a text that brings its own keeps that one only. */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    super.send(code, data, typeof data === 'string' && hasEnhancedCode(data) ? false : context);
  }

  override _onCommand(command: Buffer, callback?: () => void): void {
    if (this.#server.closing && !this.inTransaction) this.sayGoodbye();
    else super._onCommand(command, callback);
  }

  override _onClose(): void {
    super._onClose();
    if (this.#server.forget(this)) this.#server.counts.leave(this.#address);
  }

  /** Between the 250 to MAIL and the reply to the final dot. The session has no envelope before the greeting. */
  get inTransaction(): boolean {
    return (this.session.envelope?.mailFrom ?? false) !== false;
  }

  /** RFC 5321 3.8: a server that must stop says 421, also unasked, and closes. */
  sayGoodbye(): void {
    this.send(answers.closing.code, answers.closing.text);
  }

  drop(): void {
    this._socket.destroy();
  }
}

/** smtp-server with our sessions and an end that lets open transactions finish. */
export class IntakeServer extends SMTPServer {
  closing = false;
  readonly counts: ClientCounts;
  readonly turnedAway: TurnedAway;
  readonly #sessions = new Set<Session>();
  #whenEmpty: () => void = () => {};

  constructor(options: SMTPServerOptions, counts: ClientCounts, turnedAway: TurnedAway = () => undefined) {
    super(options);
    this.counts = counts;
    this.turnedAway = turnedAway;
    // Errors of one client (reset, failed handshake) end its session; nobody else need know.
    this.on('error', () => {});
  }

  /** Overridden only to make a `Session`; the lines are smtp-server's. */
  override connect(socket: Socket, options?: SMTPConnectionOptions | null): void {
    const session = new Session(this, socket, options);
    this.#sessions.add(session);
    this.connections.add(session);
    session.on('error', (error) => this.emit('error', error));
    session.init();
  }

  /** Tells whether it had been known. */
  forget(session: Session): boolean {
    const wasKnown = this.#sessions.delete(session);
    if (this.#sessions.size === 0) this.#whenEmpty();
    return wasKnown;
  }

  /** Says 421 to every client that is not in a transaction; called again when one has ended. */
  dismissIdle(): void {
    for (const session of this.#sessions) if (!session.inTransaction) session.sayGoodbye();
  }

  /**
   * Ends the service: idle clients and new ones get 421, open transactions may finish within `graceMs`, then every
   * connection is cut. Resolves when no socket is left.
   */
  async shutDown(graceMs: number): Promise<void> {
    this.closing = true;
    this.dismissIdle();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
      if (this.#sessions.size === 0) resolve();
      else timer = setTimeout(resolve, graceMs);
    });
    clearTimeout(timer);
    const closed = new Promise<void>((resolve) => this.close(() => resolve()));
    for (const session of this.#sessions) session.drop();
    await closed;
  }
}
