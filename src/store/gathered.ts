/** Small beside a message that is worth streaming, large beside what a system call costs. */
const wanted = 64 * 1024;

/**
 * The same octets in fewer pieces: what comes is kept until there are 64 KiB of it. A message arrives as many small
 * chunks, and each write is a way to the thread pool and back.
 */
export async function* gathered(chunks: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let octets = 0;
  for await (const chunk of chunks) {
    waiting.push(chunk);
    octets += chunk.length;
    if (octets < wanted) continue;
    yield joined(waiting);
    waiting = [];
    octets = 0;
  }
  if (octets > 0) yield joined(waiting);
}

const joined = (chunks: readonly Buffer[]): Buffer =>
  chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
