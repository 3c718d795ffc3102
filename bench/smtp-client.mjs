// A client that sends one message and gives the moment of the final 250.
import { once } from 'node:events';
import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';

/** Sends `message` (CRLF, no line begins with a dot) and gives when it was accepted (`performance.now()`). */
export async function send(port, { from, to, message }) {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const replies = createInterface({ input: socket })[Symbol.asyncIterator]();
  const expect = async (code) => {
    for (;;) {
      const { value = 'the connection was closed' } = await replies.next();
      if (/^\d{3}-/.test(value)) continue;
      if (!value.startsWith(code)) throw new Error(`expected ${code}, got: ${value}`);
      return performance.now();
    }
  };
  await expect('220');
  const steps = [
    ['EHLO bench.example\r\n', '250'],
    [`MAIL FROM:<${from}>\r\n`, '250'],
    [`RCPT TO:<${to}>\r\n`, '250'],
    ['DATA\r\n', '354'],
  ];
  for (const [line, code] of steps) {
    socket.write(line);
    await expect(code);
  }
  socket.write(message);
  socket.write('.\r\n');
  const accepted = await expect('250');
  socket.end('QUIT\r\n');
  return accepted;
}
