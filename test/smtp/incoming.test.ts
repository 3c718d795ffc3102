import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { IncomingMessage } from '../../src/smtp/incoming.ts';

async function read(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('IncomingMessage', () => {
  it('gives the octets and is complete at the end only', async () => {
    const stream = new PassThrough();
    const message = new IncomingMessage(stream, 100);
    stream.write('a\r');
    const bytes = read(message);
    expect(message.complete).toBe(false);
    stream.end('\nb\r\n');
    expect((await bytes).toString()).toBe('a\r\nb\r\n');
    expect(message.complete).toBe(true);
    expect(message.refusal).toBeNull();
  });

  it.each([
    ['a\nb', 'bare-line-end', 550],
    ['x'.repeat(101), 'message-too-big', 552],
  ])('leaves the stream open after %j, to be drained up to its end', async (text, code, reply) => {
    const stream = new PassThrough();
    const message = new IncomingMessage(stream, 100);
    stream.write(text);
    await expect(read(message)).rejects.toMatchObject({ code });
    expect(message.refusal?.code).toBe(reply);
    expect(stream.destroyed).toBe(false);
    let ended = false;
    stream.once('end', () => {
      ended = true;
    });
    const drained = message.drain();
    stream.end('the rest\r\n');
    await drained;
    expect(ended).toBe(true);
    expect(message.complete).toBe(false);
  });

  it('leaves it open when the reader stops by itself', async () => {
    const stream = new PassThrough();
    const message = new IncomingMessage(stream, 100);
    stream.write('a');
    for await (const _ of message) break;
    expect(stream.destroyed).toBe(false);
    expect(message.complete).toBe(false);
  });

  it('refuses a stream that ends after CR', async () => {
    const stream = new PassThrough();
    const message = new IncomingMessage(stream, 100);
    stream.end('a\r');
    await expect(read(message)).rejects.toMatchObject({ code: 'bare-line-end' });
  });

  it.each([new Error('ECONNECTION'), undefined])(
    'a stream destroyed with %s is a client that has gone',
    async (error) => {
      const stream = new PassThrough();
      const message = new IncomingMessage(stream, 100);
      stream.write('a\r\n');
      const bytes = read(message);
      stream.destroy(error);
      await expect(bytes).rejects.toMatchObject({ code: 'client-gone' });
      expect(message.complete).toBe(false);
      await message.drain();
    },
  );
});
