// Postfix's own test programs: smtp-sink takes our copies, smtp-source shows how fast it could take them.
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const found = (name) =>
  [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/lib/postfix/sbin']
    .map((folder) => join(folder, name))
    .find(isProgram);

/** The names of the programs that are not there. */
export const missingPrograms = () => ['smtp-sink', 'smtp-source'].filter((name) => found(name) === undefined);

/** Starts smtp-sink on a free port: { port, pid, stop() }. It throws away what it takes. */
export async function startSink(folder) {
  const env = environment(folder);
  const port = await freePort();
  // It refuses to run as root.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(found('smtp-sink'), [...user, `127.0.0.1:${port}`, '1000'], { env, stdio: 'inherit' });
  const stop = () => void child.kill('SIGTERM');
  process.once('exit', stop);
  await untilListening(port);
  return { port, pid: child.pid, stop };
}

/**
 * smtp-source sends `copies` times the octets of `file` (LF line ends) over `sessions` connections at a time, which are
 * kept as ours are, or with `keep` false made for each message.
 */
export async function sendBySource(folder, d) {
  const { port, file, copies, sessions, to = 'member@example.org', keep = true } = d;
  const options = [...(keep ? ['-d'] : []), '-s', sessions, '-m', copies, '-F', file];
  const envelope = ['-f', 'bench@lists.example', '-t', to];
  await run(found('smtp-source'), [...options.map(String), ...envelope, `127.0.0.1:${port}`], {
    env: environment(folder),
  });
}

/** Postfix's programs read a main.cf; an empty one does. */
function environment(folder) {
  const config = join(folder, 'postfix');
  mkdirSync(config, { recursive: true });
  writeFileSync(join(config, 'main.cf'), '');
  return { ...process.env, MAIL_CONFIG: config };
}

/** A port that nothing listens on now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function untilListening(port, tries = 100) {
  for (let n = 0; n < tries; n++) {
    const socket = connect(port, '127.0.0.1');
    const answered = await new Promise((resolve) => {
      socket.once('data', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`smtp-sink does not answer on port ${port}`);
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
