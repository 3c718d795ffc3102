import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';

/** One SMTP or LMTP transaction over a plain socket, without a library between the test and the octets. */
export interface Mail {
  /** Where to: a port on 127.0.0.1 (or `host`), or the path of a socket. */
  readonly port?: number;
  readonly host?: string;
  readonly path?: string;
  readonly lmtp?: boolean;
  /** STARTTLS after EHLO; told the server's certificate (SHA-256). */
  readonly tls?: (fingerprint: string) => void;
  readonly from: string;
  readonly to: readonly string[];
  /** The message with CRLF line ends; dots are stuffed here, nothing else is changed. */
  readonly data: Buffer | string;
  /** Parameters of MAIL, like `BODY=8BITMIME SMTPUTF8`. */
  readonly mailParameters?: string;
}

export interface Reply {
  readonly code: number;
  /** All lines, without the code, joined by blanks. */
  readonly text: string;
}

/** The last answer: to the message, or the first refusal that ended the transaction before it. */
export interface SendResult extends Reply {
  /** The answers to RCPT, in order of `to`. */
  readonly recipients: readonly Reply[];
  /** LMTP: one answer for each accepted recipient, in order; SMTP: one answer. Empty if there was no DATA. */
  readonly perRecipient: readonly Reply[];
}

/** Sends a message and says QUIT. Throws only where there is no server or it breaks off. */
export async function sendMail(mail: Mail): Promise<SendResult> {
  const session = await openSession(mail);
  try {
    const recipients: Reply[] = [];
    const early = (reply: Reply): SendResult => ({ ...reply, recipients, perRecipient: [] });
    const greeting = await session.reply();
    if (greeting.code !== 220) return early(greeting);
    const hello = await session.command(`${mail.lmtp ? 'LHLO' : 'EHLO'} client.example`);
    if (hello.code !== 250) return early(hello);
    if (mail.tls !== undefined) {
      const begin = await session.command('STARTTLS');
      if (begin.code !== 220) return early(begin);
      mail.tls(await session.startTls());
      await session.command(`${mail.lmtp ? 'LHLO' : 'EHLO'} client.example`);
    }
    const parameters = mail.mailParameters === undefined ? '' : ` ${mail.mailParameters}`;
    const from = await session.command(`MAIL FROM:<${mail.from}>${parameters}`);
    if (from.code !== 250) return early(from);
    for (const to of mail.to) recipients.push(await session.command(`RCPT TO:<${to}>`));
    const accepted = recipients.filter((reply) => reply.code >= 200 && reply.code < 300).length;
    if (accepted === 0) return early(recipients[0] ?? { code: 503, text: 'no recipient' });
    const go = await session.command('DATA');
    if (go.code !== 354) return early(go);
    session.write(stuffed(Buffer.from(mail.data)));
    const perRecipient: Reply[] = [];
    for (let count = mail.lmtp ? accepted : 1; count > 0; count--) perRecipient.push(await session.reply());
    await session.command('QUIT').catch(() => undefined);
    return { ...(perRecipient.at(-1) ?? go), recipients, perRecipient };
  } finally {
    session.close();
  }
}

/** RFC 5321 4.5.2, and the final CRLF where the data lack it. */
function stuffed(data: Buffer): Buffer {
  const text = data
    .toString('latin1')
    .replace(/^\./, '..')
    .replace(/\r\n\./g, '\r\n..');
  return Buffer.from(`${text}${text.endsWith('\r\n') || text === '' ? '' : '\r\n'}.\r\n`, 'latin1');
}

interface Session {
  write(bytes: Buffer): void;
  reply(): Promise<Reply>;
  command(line: string): Promise<Reply>;
  /** The certificate of the server, which nobody verifies. */
  startTls(): Promise<string>;
  close(): void;
}

async function openSession(mail: Mail): Promise<Session> {
  let socket: Socket =
    mail.path === undefined ? connect(mail.port ?? 25, mail.host ?? '127.0.0.1') : connect(mail.path);
  const waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void }[] = [];
  const replies: Reply[] = [];
  let buffered = '';
  let lines: string[] = [];
  let broken: Error | null = null;
  const take = (piece: Buffer): void => {
    buffered += piece.toString('utf8');
    for (let end = buffered.indexOf('\r\n'); end >= 0; end = buffered.indexOf('\r\n')) {
      const line = buffered.slice(0, end);
      buffered = buffered.slice(end + 2);
      lines.push(line.slice(4));
      if (line[3] === '-') continue;
      const reply = { code: Number(line.slice(0, 3)), text: lines.join(' ') };
      lines = [];
      const next = waiting.shift();
      if (next === undefined) replies.push(reply);
      else next.resolve(reply);
    }
  };
  const fail = (error: Error) => {
    broken ??= error;
    for (const one of waiting.splice(0)) one.reject(broken);
  };
  const listen = (): void => {
    socket.on('data', take);
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the server closed the connection')));
  };
  listen();

  const reply = (): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const ready = replies.shift();
      if (ready !== undefined) resolve(ready);
      else if (broken !== null) reject(broken);
      else waiting.push({ resolve, reject });
    });
  return {
    write: (bytes) => void socket.write(bytes),
    reply,
    command: (line) => {
      socket.write(`${line}\r\n`);
      return reply();
    },
    startTls: () =>
      new Promise((resolve, reject) => {
        socket.removeAllListeners('data');
        const secure: TLSSocket = connectTls({ socket, rejectUnauthorized: false }, () =>
          resolve(secure.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase()),
        );
        secure.once('error', reject);
        socket = secure;
        listen();
      }),
    close: () => void socket.destroy(),
  };
}
