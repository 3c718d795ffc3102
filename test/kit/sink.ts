import { createServer, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Where a sink may be told to misbehave; `BODY` comes with the first octets after DATA, `.` with the end of them. */
export type Stage =
  | 'CONN'
  | 'EHLO'
  | 'STARTTLS'
  | 'AUTH'
  | 'MAIL'
  | 'RCPT'
  | 'DATA'
  | 'BODY'
  | '.'
  | 'RSET'
  | 'QUIT';

export interface StageInfo {
  /** The command line; '' at CONN, BODY and `.`. */
  readonly line: string;
  readonly from: string;
  /** At RCPT the recipient, at `.` in LMTP the one that is answered, else ''. */
  readonly to: string;
  /** Counts from 1, in the order of connecting. */
  readonly connection: number;
  /** Messages that this connection has taken so far. */
  readonly taken: number;
  /** To say or read what no answer is. */
  readonly socket: Socket;
}

export interface SinkMessage {
  readonly from: string;
  readonly to: readonly string[];
  /** Parameters of MAIL, as sent. */
  readonly parameters: string;
  /** Dots un-stuffed, without the final dot. */
  readonly bytes: Buffer;
  readonly connection: number;
  readonly secure: boolean;
}

/** Say nothing at this stage, ever. */
export const hang = '\0hang';
/** Break the connection at this stage. */
export const drop = '\0drop';

export interface SinkOptions {
  readonly lmtp?: boolean;
  /** The reply lines (without the last CRLF), `hang`, `drop`, or null for the usual answer. A promise makes it slow. */
  readonly answer?: (stage: Stage, info: StageInfo) => string | null | Promise<string | null>;
  /** Offers STARTTLS. */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer };
  /** EHLO keywords; default PIPELINING and 8BITMIME. */
  readonly extensions?: readonly string[];
  /** A unix socket instead of a free port. */
  readonly path?: string;
}

export interface Sink {
  readonly port: number;
  readonly messages: SinkMessage[];
  /** Every command line received, e.g. `MAIL FROM:<a@b.c> SIZE=3`. */
  readonly commands: string[];
  /** Connections so far, now, and at most at a time. */
  readonly connections: { total: number; open: number; peak: number };
  /** Resolves with all messages when there are at least n. */
  next(n: number): Promise<readonly SinkMessage[]>;
  /** Resolves when `condition` holds; looked at whenever something has happened here. */
  until(condition: () => boolean): Promise<void>;
  close(): Promise<void>;
}

/** An SMTP or LMTP server that takes every message, or answers as the test says. */
export async function startSink(options: SinkOptions = {}): Promise<Sink> {
  const messages: SinkMessage[] = [];
  const commands: string[] = [];
  const connections = { total: 0, open: 0, peak: 0 };
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();
  const happened = (): void => {
    for (const look of waiting) look();
  };

  const server: Server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    connections.total += 1;
    connections.open += 1;
    connections.peak = Math.max(connections.peak, connections.open);
    socket.on('error', () => {});
    socket.once('close', () => {
      sockets.delete(socket);
      connections.open -= 1;
      happened();
    });
    happened();
    const session = new SinkSession(socket, connections.total, options, {
      command: (line) => {
        commands.push(line);
        happened();
      },
      message: (message) => {
        messages.push(message);
        happened();
      },
    });
    void session.start();
  });
  await new Promise<void>((resolve) => {
    server.listen(
      options.path === undefined ? { host: '127.0.0.1', port: 0 } : { path: options.path },
      resolve,
    );
  });
  const address = server.address();
  const until = (condition: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  return {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    messages,
    commands,
    connections,
    until,
    next: async (n) => {
      await until(() => messages.length >= n);
      return messages;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

interface Reports {
  command(line: string): void;
  message(message: SinkMessage): void;
}

class SinkSession {
  #socket: Socket;
  readonly #number: number;
  readonly #options: SinkOptions;
  readonly #report: Reports;
  #input = Buffer.alloc(0);
  #busy = false;
  #inData = false;
  #bodySeen = false;
  #secure = false;
  #from = '';
  #hasSender = false;
  #parameters = '';
  #to: string[] = [];
  #taken = 0;

  constructor(socket: Socket, number: number, options: SinkOptions, report: Reports) {
    this.#socket = socket;
    this.#number = number;
    this.#options = options;
    this.#report = report;
  }

  async start(): Promise<void> {
    this.#listen();
    await this.#reply('CONN', '', '', '220 sink.example');
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => {
      this.#input = Buffer.concat([this.#input, chunk]);
      void this.#read();
    });
  }

  /** One command or message at a time, whatever has arrived: an answer may be slow. */
  async #read(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (await (this.#inData ? this.#takeData() : this.#takeLine()));
    this.#busy = false;
  }

  async #takeLine(): Promise<boolean> {
    const end = this.#input.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.#input.toString('utf8', 0, end);
    this.#input = this.#input.subarray(end + 2);
    this.#report.command(line);
    await this.#command(line);
    return true;
  }

  async #takeData(): Promise<boolean> {
    if (this.#input.length === 0) return false;
    if (!this.#bodySeen) {
      this.#bodySeen = true;
      await this.#reply('BODY', '', '', null);
    }
    const end =
      this.#input.subarray(0, 3).toString('latin1') === '.\r\n' ? -2 : this.#input.indexOf('\r\n.\r\n');
    if (end === -1) return false;
    const stuffed = this.#input.subarray(0, end + 2).toString('latin1');
    this.#input = this.#input.subarray(end + 5);
    this.#inData = false;
    const bytes = Buffer.from(stuffed.replace(/(^|\r\n)\.\./g, '$1.'), 'latin1');
    const message = {
      from: this.#from,
      to: this.#to,
      parameters: this.#parameters,
      bytes,
      connection: this.#number,
      secure: this.#secure,
    };
    let taken = false;
    for (const to of this.#options.lmtp ? this.#to : [''])
      if (await this.#reply('.', '', to, '250 2.0.0 taken')) taken = true;
    this.#taken += 1;
    this.#to = [];
    if (taken) this.#report.message(message);
    return true;
  }

  async #command(line: string): Promise<void> {
    const verb = line.split(' ')[0]?.toUpperCase() ?? '';
    const path = /<([^>]*)>(.*)$/.exec(line);
    switch (verb) {
      case 'EHLO':
      case 'LHLO': {
        const offered = this.#options.tls !== undefined && !this.#secure ? ['STARTTLS'] : [];
        const lines = [
          'sink.example',
          ...(this.#options.extensions ?? ['PIPELINING', '8BITMIME']),
          ...offered,
        ];
        const wrong = (verb === 'LHLO') !== (this.#options.lmtp ?? false);
        const usual = lines.map((l, i) => `250${i === lines.length - 1 ? ' ' : '-'}${l}`).join('\r\n');
        await this.#reply('EHLO', line, '', wrong ? '500 5.5.1 wrong protocol' : usual);
        break;
      }
      case 'HELO':
        this.#socket.write('250 sink.example\r\n');
        break;
      case 'STARTTLS':
        if (await this.#reply('STARTTLS', line, '', '220 2.0.0 go')) this.#startTls();
        break;
      case 'AUTH':
        await this.#reply('AUTH', line, '', '235 2.7.0 welcome');
        break;
      case 'MAIL':
        this.#hasSender = await this.#reply('MAIL', line, '', '250 2.1.0 ok');
        if (!this.#hasSender) break;
        this.#from = path?.[1] ?? '';
        this.#parameters = path?.[2]?.trim() ?? '';
        break;
      case 'RCPT': {
        const usual = this.#hasSender ? '250 2.1.5 ok' : '503 5.5.1 no sender';
        if (await this.#reply('RCPT', line, path?.[1] ?? '', usual)) this.#to.push(path?.[1] ?? '');
        break;
      }
      case 'DATA': {
        const usual = this.#to.length > 0 ? '354 go ahead' : '503 5.5.1 no recipients';
        this.#inData = await this.#reply('DATA', line, '', usual);
        this.#bodySeen = false;
        break;
      }
      case 'RSET':
        this.#to = [];
        await this.#reply('RSET', line, '', '250 2.0.0 reset');
        break;
      case 'QUIT':
        if (await this.#reply('QUIT', line, '', '221 2.0.0 bye')) this.#socket.end();
        break;
      default:
        this.#socket.write('500 5.5.2 what?\r\n');
    }
  }

  /** Answers; true if the answer was 2xx or 3xx. */
  async #reply(stage: Stage, line: string, to: string, usual: string | null): Promise<boolean> {
    const info = {
      line,
      from: this.#from,
      to,
      connection: this.#number,
      taken: this.#taken,
      socket: this.#socket,
    };
    const text = (await this.#options.answer?.(stage, info)) ?? usual;
    if (text === drop) this.#socket.destroy();
    if (text === drop || text === hang) await new Promise(() => {});
    if (text === null || this.#socket.destroyed) return false;
    this.#socket.write(`${text}\r\n`);
    return /^[23]/.test(text);
  }

  #startTls(): void {
    const { key, cert } = this.#options.tls ?? {};
    this.#socket.removeAllListeners('data');
    const secure = new TLSSocket(this.#socket, { isServer: true, ...(key && cert ? { key, cert } : {}) });
    secure.on('error', () => {});
    this.#socket = secure;
    this.#secure = true;
    this.#listen();
  }
}
