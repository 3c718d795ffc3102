// reseal as its users run it: `node bin/reseal.mjs`, in processes of their own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { dieWithUs } from './children.mjs';

const reseal = fileURLToPath(new URL('../reseal.mjs', import.meta.url));
// A real site's settings in the environment must not reach the demonstration.
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(RESEAL_|CREDENTIALS_DIRECTORY$|NODE_OPTIONS$)/.test(name),
  ),
);

/** Runs one command of the site in `root` and gives its standard output; throws with its words if it fails. */
export async function run(root, args) {
  const child = spawn(process.execPath, [reseal, '--root', root, ...args], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  dieWithUs(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const [code] = await once(child, 'close');
  if (code !== 0)
    throw new Error(`reseal ${args.join(' ')} ended with ${code}: ${(stderr || stdout).trim()}`);
  return stdout;
}

/** Starts `reseal serve` and waits until it listens. */
export async function serve(root, patienceMs) {
  const child = spawn(process.execPath, [reseal, 'serve', '--root', root], {
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  dieWithUs(child);
  const kill = () => child.kill('SIGKILL');
  const ended = once(child, 'exit').then(([code]) => code);
  const log = [];
  const watchers = new Set();
  let over = false;
  const look = () => {
    for (const watch of [...watchers]) watch();
  };
  const reader = createInterface({ input: child.stderr });
  reader.on('line', (line) => {
    log.push(line);
    look();
  });
  reader.on('close', () => {
    over = true;
    look();
  });

  /** Waits for a line of the log: an event with these fields. */
  const logged = (what, fields) =>
    new Promise((resolve, reject) => {
      const finish = (done) => {
        clearTimeout(timer);
        watchers.delete(watch);
        done();
      };
      const watch = () => {
        const found = log.map(fieldsOf).find((line) => matches(line, fields));
        if (found) finish(() => resolve(found));
        else if (over) finish(() => reject(new Error(`reseal ended before ${what}`)));
      };
      const late = () => finish(() => reject(new Error(`${what}: not within ${patienceMs / 1000} s`)));
      const timer = setTimeout(late, patienceMs);
      watchers.add(watch);
      watch();
    });

  const daemon = {
    log,
    logged,
    port: 0,
    kill,
    /** SIGTERM; its exit code. */
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
  };
  try {
    const { listen } = await logged('it was ready', { event: ['ready'] });
    return { ...daemon, port: Number(/:(\d+)$/.exec(listen[0])[1]) };
  } catch (error) {
    kill();
    throw new Error(`${error.message}; it said: ${log.slice(-5).join('\n') || 'nothing'}`);
  }
}

function fieldsOf(line) {
  try {
    return JSON.parse(line) ?? {};
  } catch {
    return {};
  }
}

function matches(line, fields) {
  return Object.entries(fields).every(([name, wanted]) =>
    Array.isArray(wanted) ? wanted.includes(line[name]) : line[name] === wanted,
  );
}
