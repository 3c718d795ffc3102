import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Wire } from '../../src/smtp/wire.ts';

const server = createServer();
afterEach(() => server.close());

describe('a relay that says nothing', () => {
  it('is given up while something is awaited of it, not while it is we who keep it waiting', async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const closed = once(socket, 'close').then(() => undefined);
    await once(socket, 'connect');
    socket.setTimeout(30);
    const wire = new Wire(socket, { closed, timeoutMs: 1000 });
    wire.busy = true;
    wire.write(['MAIL FROM:<a@example.org>\r\n']);
    // The result of the copy before is being written down: nobody asks for the answer yet.
    await once(socket, 'timeout');
    expect(wire.usable).toBe(true);
    expect(await wire.answer()).toMatchObject({ error: { code: 'ETIMEDOUT' } });
    expect(wire.usable).toBe(false);
    await closed;
  });
});
