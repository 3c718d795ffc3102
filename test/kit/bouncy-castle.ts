import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type DecryptionVerdict, mustRun, type SignatureVerdict } from './client.ts';
import { hasProgram, programPath } from './needs.ts';
import type { Identity } from './pki.ts';
import { tempFolder } from './tmp.ts';

/**
 * Bouncy Castle, the library of Java programs and gateways: `java/SmimePeer.java` in one JVM for all calls. Signatures
 * as MIME, by its mail API; encryption as DER, by its CMS API. What it cannot do throws with Java's exceptions.
 */
export interface BouncyCastle {
  version(): Promise<string>;
  /** An entity around `entity`; `algorithm` is a JCA name such as SHA256withRSA. */
  sign(signer: Identity, algorithm: string, entity: Buffer, o?: { opaque?: boolean }): Promise<Buffer>;
  /** Checks a multipart/signed or signed-data message; the path must lead to `ca` directly. */
  verify(ca: Pick<Identity, 'certDer'>, message: Buffer): Promise<SignatureVerdict>;
  encrypt(
    recipient: Pick<Identity, 'certDer'>,
    content: Buffer,
    o: {
      cipher: 'aes-128-cbc' | 'aes-256-cbc' | 'aes-256-gcm';
      transport: 'rsa' | 'rsa-oaep-sha256' | 'ecdh';
    },
  ): Promise<Buffer>;
  decrypt(identity: Identity, der: Buffer): Promise<DecryptionVerdict>;
  close(): Promise<void>;
}

/** Where Debian puts jars; libbcmail-java brings the rest along. */
const jars = ['bcmail', 'bcpkix', 'bcutil', 'bcprov', 'javax.mail', 'javax.activation'].map(
  (name) => `/usr/share/java/${name}.jar`,
);

/** Whether there is a compiler, a JVM, and Bouncy Castle. */
export function hasBouncyCastle(): boolean {
  return hasProgram('javac') && hasProgram('java') && jars.every((jar) => existsSync(jar));
}

/** Compiles the program and starts it. Call `close()`. */
export async function makeBouncyCastle(): Promise<BouncyCastle> {
  const folder = tempFolder();
  const source = fileURLToPath(new URL('java/SmimePeer.java', import.meta.url));
  const classPath = [folder, ...jars].join(':');
  await mustRun('javac', ['-proc:none', '-nowarn', '-d', folder, '-cp', classPath, source]);
  // The folder of classes goes with the run; a JVM for some seconds needs neither its best compiler nor many threads.
  const options = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Djava.awt.headless=true'];
  const child = spawn(
    programPath('java') ?? 'java',
    [...options, `-Djava.io.tmpdir=${folder}`, '-cp', classPath, 'SmimePeer'],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const ask = dialogue(child);
  /** The first result, or the exception. */
  const one = async (...words: string[]) => {
    const [first = '-'] = await ask(words);
    return bytesOf(first);
  };
  const keyOf = ({ key }: Identity) => key.export({ type: 'pkcs8', format: 'der' }).toString('base64');
  const certOf = ({ certDer }: Pick<Identity, 'certDer'>) => certDer.toString('base64');

  return {
    version: async () => (await one('version')).toString(),
    sign: (signer, algorithm, entity, o = {}) =>
      one('sign', o.opaque ? 'opaque' : 'detached', algorithm, keyOf(signer), certOf(signer), wordOf(entity)),
    async verify(ca, message) {
      const [intact, trusted, content = '-', said = '-'] = await ask([
        'verify',
        certOf(ca),
        wordOf(message),
      ]).catch((problem: Error) => ['0', '0', '-', wordOf(Buffer.from(problem.message))]);
      return {
        intact: intact === '1',
        trusted: trusted === '1',
        content: intact === '1' ? bytesOf(content) : null,
        said: bytesOf(said).toString(),
      };
    },
    encrypt: (recipient, content, o) =>
      one('encrypt', o.cipher, o.transport, certOf(recipient), wordOf(content)),
    async decrypt(identity, der) {
      try {
        const content = await one('decrypt', keyOf(identity), certOf(identity), wordOf(der));
        return { ok: true, content, said: '' };
      } catch (problem) {
        return { ok: false, content: Buffer.alloc(0), said: String(problem) };
      }
    },
    close: () =>
      new Promise((resolve) => {
        child.once('close', () => resolve());
        child.stdin?.end();
      }),
  };
}

const wordOf = (bytes: Buffer): string => (bytes.length === 0 ? '-' : bytes.toString('base64'));
const bytesOf = (word: string): Buffer => (word === '-' ? Buffer.alloc(0) : Buffer.from(word, 'base64'));

/** One line out, one line back, in turn; rejects with the exception that a `no` carries, or if the JVM ends. */
function dialogue(child: ChildProcess): (words: readonly string[]) => Promise<string[]> {
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error('the JVM has no pipes');
  const waiting: { resolve: (words: string[]) => void; reject: (problem: Error) => void }[] = [];
  createInterface({ input: stdout }).on('line', (line) => {
    const [word, ...results] = line.split(' ');
    const next = waiting.shift();
    if (word === 'ok') next?.resolve(results);
    else next?.reject(new Error(`Bouncy Castle: ${bytesOf(results[0] ?? '-').toString()}`));
  });
  child.once('close', () => {
    for (const { reject } of waiting.splice(0)) reject(new Error('the JVM has ended'));
  });
  stdin.on('error', () => undefined);
  return (words) =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      stdin.write(`${words.join(' ')}\n`);
    });
}
