import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { sendMail } from './smtp-send.ts';
import { tempFolder } from './tmp.ts';

/** A server that answers each line by the first word that fits; the answers to `.` are one per accepted recipient. */
async function scripted(
  answers: Record<string, string>,
  where: { path: string } | { port: 0 },
): Promise<{ server: Server; heard: () => string }> {
  let heard = '';
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    let rest = '';
    let inData = false;
    socket.write('220-mx.example\r\n220 ready\r\n');
    socket.on('data', (bytes) => {
      heard += bytes;
      rest += bytes;
      for (;;) {
        const end = inData ? rest.indexOf('\r\n.\r\n') : rest.indexOf('\r\n');
        if (end < 0) return;
        const line = inData ? '.' : rest.slice(0, end);
        rest = rest.slice(end + (inData ? 5 : 2));
        inData = line === 'DATA';
        const key = Object.keys(answers).find((start) => line.startsWith(start));
        socket.write(key === undefined ? '250 ok\r\n' : `${answers[key]}\r\n`);
      }
    });
  });
  await new Promise<void>((resolve) =>
    server.listen('path' in where ? where : { port: 0, host: '127.0.0.1' }, resolve),
  );
  onTestFinished(() => void server.close());
  return { server, heard: () => heard };
}

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
};

it('sends the octets as given, but for stuffed dots', async () => {
  const { server, heard } = await scripted({ DATA: '354 go', '.': '250 2.0.0 queued' }, { port: 0 });
  const mail = {
    port: portOf(server),
    from: 'a@x.example',
    to: ['b@x.example'],
    mailParameters: 'BODY=8BITMIME',
  };
  const result = await sendMail({ ...mail, data: Buffer.from('.a\r\n\r\n..b\nc\xff\r\n.', 'latin1') });
  expect(result).toMatchObject({ code: 250, text: '2.0.0 queued', perRecipient: [{ code: 250 }] });
  expect(heard()).toContain(
    'MAIL FROM:<a@x.example> BODY=8BITMIME\r\nRCPT TO:<b@x.example>\r\nDATA\r\n..a\r\n\r\n...b\nc',
  );
  expect(heard()).toMatch(/\r\n\.\.\r\n\.\r\nQUIT\r\n$/);
});

it('tells refused recipients, and one LMTP answer for each accepted one', async () => {
  const path = join(tempFolder(), 'lmtp');
  const answers = {
    'RCPT TO:<no': '550 5.1.1 unknown',
    DATA: '354 go',
    '.': '250 one\r\n452-4.3.1 two\r\n452 full',
  };
  await scripted(answers, { path });
  const result = await sendMail({
    path,
    lmtp: true,
    from: '',
    to: ['a@x.example', 'no@x.example', 'c@x.example'],
    data: 'x',
  });
  expect(result.recipients.map((reply) => reply.code)).toEqual([250, 550, 250]);
  expect(result.perRecipient).toEqual([
    { code: 250, text: 'one' },
    { code: 452, text: '4.3.1 two full' },
  ]);
});

it('gives the refusal that ended the transaction', async () => {
  const { server } = await scripted({ 'RCPT TO': '550 5.1.1 unknown' }, { port: 0 });
  const result = await sendMail({
    port: portOf(server),
    from: 'a@x.example',
    to: ['b@x.example'],
    data: 'x',
  });
  expect(result).toMatchObject({ code: 550, text: '5.1.1 unknown', perRecipient: [] });
});

it('fails where the server hangs up', async () => {
  const server = createServer((socket) => socket.end('220 ready\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  await expect(sendMail({ port: portOf(server), from: '', to: ['b@x.example'], data: '' })).rejects.toThrow(
    'closed',
  );
});
