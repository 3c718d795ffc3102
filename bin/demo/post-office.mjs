// The outside world of a mailing list: somebody who sends by SMTP, and the mail server that takes what leaves.
import { once } from 'node:events';
import { createTransport } from 'nodemailer';
import { SMTPServer } from 'smtp-server';

/** The events of reseal's log that say what becomes of a message. */
const decisions = [
  ...['authorized', 'held', 'refused', 'dropped', 'unopened', 'malformed', 'forwarded', 'quarantined'],
  ...['command', 'certificate-received', 'certificate-not-taken', 'bounce'],
];

/** Sends a message to the daemon and waits for its decision, which is null where it refuses at once. */
export async function post(daemon, from, to, message) {
  const answer = await send(daemon.port, from.address, to, message);
  const id = /accepted as (\S+)/.exec(answer)?.[1];
  if (!answer.startsWith('250') || id === undefined) return { answer, decision: null };
  return { answer, decision: await daemon.logged('the decision', { id, event: decisions }) };
}

/** Sends one message by SMTP, its bytes as they are; gives the server's last answer, a refusal too. */
async function send(port, from, to, message) {
  const transport = createTransport({ host: '127.0.0.1', port, ignoreTLS: true, name: 'client.example' });
  try {
    const { response } = await transport.sendMail({ envelope: { from, to }, raw: message });
    return response;
  } catch (error) {
    if (error.response) return error.response;
    throw error;
  } finally {
    transport.close();
  }
}

/** A mail server on a free loopback port that takes everything and keeps it. */
export async function startRelay(patienceMs) {
  const caught = [];
  const watchers = new Set();
  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    onData(stream, session, done) {
      const pieces = [];
      stream.on('data', (piece) => pieces.push(piece));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        const message = Buffer.concat(pieces).toString('latin1');
        caught.push({ from: mailFrom.address, to: rcptTo.map((one) => one.address), message });
        for (const look of [...watchers]) look();
        done();
      });
    },
  });
  server.on('error', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');

  return {
    port: server.server.address().port,
    caught,
    /** Waits for the n-th mail to somebody. */
    mailTo: (address, n = 1) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = caught.filter(({ to }) => to.includes(address))[n - 1];
          if (found === undefined) return;
          clearTimeout(timer);
          watchers.delete(look);
          resolve(found);
        };
        const late = () => {
          watchers.delete(look);
          reject(new Error(`mail ${n} for ${address} has not left the list within ${patienceMs / 1000} s`));
        };
        const timer = setTimeout(late, patienceMs);
        watchers.add(look);
        look();
      }),
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}
