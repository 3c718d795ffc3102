import { connect, type Socket } from 'node:net';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { capabilitiesOf } from './capabilities.ts';
import type { StuffedBodies } from './dot-stuffing.ts';
import { type Outcome, outcomeOf, type RelayError } from './outcome.ts';
import { Relay } from './relay.ts';
import { gone } from './wire.ts';

/** Where copies go. */
export interface RelayTarget {
  /** Also the name that the certificate must have. */
  readonly host: string;
  readonly port: number;
  /** A unix socket instead of host and port. */
  readonly socketPath?: string;
  readonly lmtp: boolean;
  /** `opportunistic`: STARTTLS if offered, whatever the certificate; `required`: STARTTLS and a verified name. */
  readonly tls: 'none' | 'opportunistic' | 'required';
  /** PEM certificates that may vouch for the relay; default the system's. */
  readonly ca?: string | Buffer;
  readonly auth?: { readonly user: string; readonly pass: string };
  /** Connections at a time. */
  readonly connections: number;
  /** Copies that it may be given in a minute; any number if absent. */
  readonly perMinute?: number;
  /** Our name in EHLO. */
  readonly hostname: string;
  /** Longest silence in ms: while connecting, before the greeting, and between octets later. */
  readonly timeoutMs: number;
  /** Octets a second that it must take of a message; 500 if absent, as Postfix has it (smtp_min_data_rate). */
  readonly slowest?: number;
}

/**
 * Connects, says EHLO or LHLO, does STARTTLS (RFC 3207) and AUTH as the target demands. Never rejects: gives a relay
 * to send through, or the outcome (deferred, relay down) of every copy that waits for one. `signal` gives it up.
 */
export async function openRelay(
  target: RelayTarget,
  bodies: StuffedBodies,
  signal: AbortSignal,
): Promise<Relay | Outcome> {
  let opened = await handshake(target, target.tls, bodies, signal);
  // RFC 7435: opportunistic means that broken TLS is no worse than none, unless a password is at stake.
  const retry = target.tls === 'opportunistic' && target.auth === undefined && !signal.aborted;
  if (!(opened instanceof Relay) && opened.code === 'ETLS' && retry)
    opened = await handshake(target, 'none', bodies, signal);
  return opened instanceof Relay ? opened : outcomeOf(opened, 'setup');
}

/** A host that answers nothing at all is down, and its copies wait for it or for the next relay: Postfix waits as long. */
const longestDialMs = 30_000;

/** Resolves with what `work` hands to its callback: an error, or null when it went well. */
type Step = (work: (done: (error?: RelayError | null) => void) => void) => Promise<RelayError | null>;

async function handshake(
  target: RelayTarget,
  tls: RelayTarget['tls'],
  bodies: StuffedBodies,
  signal: AbortSignal,
): Promise<Relay | RelayError> {
  const { socketPath: path, host, port, timeoutMs, slowest = 500 } = target;
  // Not nodemailer's own dialling: it asks DNS servers directly and does not know unix sockets.
  const socket = connect(path === undefined ? { host, port } : { path });
  const abort = (): unknown => socket.destroy();
  signal.addEventListener('abort', abort);
  let tooLong: NodeJS.Timeout | undefined;
  try {
    const error = await dialled(socket, Math.min(timeoutMs, longestDialMs));
    if (error !== null) return error;
    const connection = new SMTPConnection({
      connection: socket,
      host,
      port,
      name: target.hostname,
      lmtp: target.lmtp,
      ignoreTLS: tls === 'none',
      requireTLS: tls === 'required',
      opportunisticTLS: tls === 'opportunistic',
      tls: { rejectUnauthorized: tls === 'required', minVersion: 'TLSv1.2', ca: target.ca },
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      socketCloseTimeout: 0,
      logger: false,
    });
    const failed = new Promise<RelayError>((resolve) => {
      // The listener stays for good: an 'error' event without one would end the process.
      connection.on('error', resolve);
      void closeOf(socket).then(() => resolve(gone));
      // Octets that drip keep nodemailer waiting: all of it together has twice as long as one silence may be.
      tooLong = setTimeout(() => {
        resolve({
          code: 'ETIMEDOUT',
          command: 'CONN',
          message: 'timeout: the relay does not come to the point',
        });
        socket.destroy();
      }, 2 * timeoutMs);
    });
    const step: Step = (work) =>
      Promise.race([failed, new Promise<RelayError | null>((resolve) => work((e) => resolve(e ?? null)))]);

    let failure = await step((done) => connection.connect(done));
    if (failure === null && target.auth !== undefined)
      failure = await login(connection, target.auth, tls, step);
    if (failure === null) {
      const { socket: outermost, ehloLines } = takenOver(connection);
      const capabilities = capabilitiesOf(ehloLines, tls === 'required');
      const { lmtp } = target;
      return new Relay(outermost, {
        closed: closeOf(socket),
        capabilities,
        bodies,
        lmtp,
        timeoutMs,
        slowest,
      });
    }
    connection.close();
    socket.destroy();
    if (connection.upgrading !== true) return failure;
    return { code: 'ETLS', command: 'STARTTLS', message: `TLS with the relay failed: ${failure.message}` };
  } finally {
    clearTimeout(tooLong);
    signal.removeEventListener('abort', abort);
  }
}

/** Members of nodemailer's SMTPConnection that its types leave out; test/smtp/relay.test.ts notices if they change. */
interface Internals {
  readonly _socket: Socket;
  readonly _ehloLines?: readonly string[];
  readonly _onSocketData: () => void;
  readonly _onSocketTimeout: () => void;
  readonly _onSocketClose: () => void;
  readonly _onSocketEnd: () => void;
  readonly _onSocketError: () => void;
}

/**
 * Ends nodemailer's part after the handshake. It sends one copy after the other and looks at each octet: our own `Relay`
 * pipelines and writes the shared buffers as they are.
 */
function takenOver(connection: SMTPConnection): { socket: Socket; ehloLines: readonly string[] } {
  const inside = connection as unknown as Internals;
  const { _socket: socket } = inside;
  socket.off('data', inside._onSocketData);
  socket.off('timeout', inside._onSocketTimeout);
  socket.off('close', inside._onSocketClose);
  socket.off('end', inside._onSocketEnd);
  socket.off('error', inside._onSocketError);
  return { socket, ehloLines: inside._ehloLines ?? [] };
}

/** Resolves one turn after the socket closed, so that nodemailer, which listens too, can say why. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => setImmediate(resolve));
  });
}

/** Null when the socket has connected. */
function dialled(socket: Socket, timeoutMs: number): Promise<RelayError | null> {
  return new Promise((resolve) => {
    const failed = (message: string): void => resolve({ code: 'ESOCKET', command: 'CONN', message });
    const timer = setTimeout(() => {
      socket.destroy();
      failed('no connection in time');
    }, timeoutMs);
    socket.once('connect', () => resolve(null));
    // Stays for good, so that a late error of a socket that nobody waits for does not end the process.
    socket.on('error', (error) => failed(error.message || 'cannot connect'));
    socket.once('close', () => failed('given up'));
    socket.once('connect', () => clearTimeout(timer));
    socket.once('close', () => clearTimeout(timer));
  });
}

async function login(
  connection: SMTPConnection,
  { user, pass }: { readonly user: string; readonly pass: string },
  tls: RelayTarget['tls'],
  step: Step,
): Promise<RelayError | null> {
  // Anybody between us and the relay can take an opportunistic STARTTLS away to read the password.
  if (tls !== 'none' && !connection.secure)
    return {
      code: 'EAUTH',
      command: 'AUTH',
      message: 'the relay offers no TLS, and the password is not sent in clear',
    };
  return step((done) => connection.login({ user, pass }, done));
}
