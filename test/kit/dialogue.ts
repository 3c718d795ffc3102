import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** One step of a dialogue file, with its line number for failing tests. */
interface Step {
  readonly kind: 'send' | 'raw' | 'expect' | 'expect-end' | 'hang-up' | 'tls';
  readonly text: string;
  readonly line: number;
}

/**
 * A dialogue file:
 *
 *     # a comment; the first says what the file shows
 *     @ lmtp size=200        settings of the server under test: names, or names with a value
 *     C: MAIL FROM:<a@b.c>   sent with CRLF
 *     C> raw\r\n             sent as written, with the escapes \r \n \t \0 \\ \xNN; the next C> follows at once
 *     S: 250 2.1.0 *         one reply (continuation lines joined by LF) that begins so; * stands for anything
 *     END                    the server closes
 *     TLS                    the client starts the handshake
 *     HANGUP                 the client destroys its socket
 *     = committed 1          expected afterwards: a name and its value, for the test to look at
 */
export interface Dialogue {
  readonly title: string;
  readonly settings: ReadonlyMap<string, string>;
  readonly steps: readonly Step[];
  readonly expected: readonly (readonly [string, string])[];
}

const kinds: readonly (readonly [RegExp, Step['kind']])[] = [
  [/^C: ?(.*)$/, 'send'],
  [/^C> ?(.*)$/, 'raw'],
  [/^S: ?(.*)$/, 'expect'],
  [/^END$/, 'expect-end'],
  [/^TLS$/, 'tls'],
  [/^HANGUP$/, 'hang-up'],
];

/** Reads a dialogue file; a line that it does not know is an error. */
export function parseDialogue(text: string): Dialogue {
  const settings = new Map<string, string>();
  const steps: Step[] = [];
  const expected: (readonly [string, string])[] = [];
  let title = '';
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    if (line.startsWith('#')) {
      if (title === '') title = line.slice(1).trim();
    } else if (line.startsWith('@')) {
      for (const word of line.slice(1).trim().split(/\s+/)) {
        const [name = '', value = ''] = word.split('=', 2);
        settings.set(name, value);
      }
    } else if (line.startsWith('=')) {
      const [name = '', ...rest] = line.slice(1).trim().split(/\s+/);
      expected.push([name, rest.join(' ')]);
    } else {
      const found = kinds
        .map(([pattern, kind]) => ({ kind, match: pattern.exec(line) }))
        .find((k) => k.match);
      if (found === undefined) throw new Error(`line ${index + 1}: ${line}`);
      steps.push({ kind: found.kind, text: found.match?.[1] ?? '', line: index + 1 });
    }
  }
  return { title, settings, steps, expected };
}

const named: Record<string, string> = { r: '\r', n: '\n', t: '\t', '0': '\0', '\\': '\\' };

/** `\r\n` and the like to octets; the rest is UTF-8. */
function octetsOf(text: string): Buffer {
  const parts = text.split(/(\\x[0-9a-fA-F]{2}|\\.)/);
  return Buffer.concat(
    parts.map((part) => {
      if (/^\\x../.test(part)) return Buffer.from(part.slice(2), 'hex');
      if (part.startsWith('\\')) return Buffer.from(named[part.slice(1)] ?? part, 'latin1');
      return Buffer.from(part, 'utf8');
    }),
  );
}

function matches(reply: string, pattern: string): boolean {
  const escaped = pattern.split('*').map((piece) => piece.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('[\\s\\S]*')}`).test(reply);
}

/** Reads replies from a socket, whole ones, in order. */
class Replies {
  #text = '';
  #ended = false;
  #wake: () => void = () => {};

  attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('utf8');
      this.#wake();
    });
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('end', end);
    socket.on('close', end);
    socket.on('error', () => {});
  }

  /** The next reply without its last CRLF, or null when the server has closed. */
  async next(): Promise<string | null> {
    for (;;) {
      const match = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n/.exec(this.#text);
      if (match !== null) {
        this.#text = this.#text.slice(match[0].length);
        return match[0].slice(0, -2).replaceAll('\r\n', '\n');
      }
      if (this.#ended) return this.#text === '' ? null : this.#text;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** A client that a test leads by hand. */
export class Client {
  #socket: Socket;
  readonly #replies = new Replies();

  /** `from` is the address that the client comes from, of this machine. */
  constructor(where: { port: number; from?: string } | { path: string }) {
    this.#socket =
      'port' in where
        ? connect({ host: '127.0.0.1', port: where.port, localAddress: where.from ?? '127.0.0.1' })
        : connect(where);
    this.#replies.attach(this.#socket);
  }

  send(octets: string | Buffer): void {
    this.#socket.write(octets);
  }

  /** The next reply, continuation lines joined by LF, without the last CRLF; null when the server has closed. */
  reply(): Promise<string | null> {
    return this.#replies.next();
  }

  startTls(): void {
    this.#socket.removeAllListeners('data');
    const secure = connectTls({ socket: this.#socket, rejectUnauthorized: false });
    this.#replies.attach(secure);
    this.#socket = secure;
  }

  /** Breaks the connection, but only when all that was written has gone out. */
  async hangUp(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.destroySoon();
    await closed;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/**
 * Plays the client of a dialogue against a server. Throws at the first reply that differs, with the line number.
 * At the end it hangs up.
 */
export async function runDialogue(
  where: { port: number } | { path: string },
  dialogue: Dialogue,
): Promise<void> {
  const client = new Client(where);
  try {
    for (const step of dialogue.steps) await playStep(client, step);
  } finally {
    client.destroy();
  }
}

async function playStep(client: Client, step: Step): Promise<void> {
  switch (step.kind) {
    case 'send':
      return client.send(`${step.text}\r\n`);
    case 'raw':
      return client.send(octetsOf(step.text));
    case 'tls':
      return client.startTls();
    case 'hang-up':
      return client.hangUp();
    default: {
      const reply = await client.reply();
      const wanted = step.kind === 'expect' ? step.text : 'END';
      const fits = step.kind === 'expect' ? reply !== null && matches(reply, step.text) : reply === null;
      if (!fits) throw new Error(`line ${step.line}: expected ${wanted}, got ${reply ?? 'END'}`);
    }
  }
}
