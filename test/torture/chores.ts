import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Queries } from '../../src/store/database.ts';
import type { Random } from '../fuzz/random.ts';
import type { Identity } from '../kit/pki.ts';
import type { Known } from './plan.ts';
import { makePost, type Post } from './posts.ts';
import type { TortureSite } from './site.ts';
import { type Kill, type Notes, type Ran, runCommand } from './victim.ts';

// What operators do beside the daemon. A command dies as the daemon does; who runs it again gets what he asked for.

/** A command with its arguments, ready to be run. */
interface Chore {
  readonly args: readonly string[];
  readonly input?: Buffer;
  /** What `inject` hands in. */
  readonly post?: Post;
}

/** The commands, and what they are run on. */
export interface Chores {
  /** Runs one, which may die at a new point. Gives what it was, and whether it died. */
  run(random: Random): Promise<{ words: string; died: boolean } | null>;
  /** At the end: what waits for a person, or cannot be opened, is decided. */
  decideAll(): Promise<void>;
  /** Whether the keys of all lists are whole after all that was done to them. */
  checkKeys(): Promise<void>;
}

/** What a command says that finds its work done, or somebody else quicker: the daemon works on the same rows. */
const done =
  /already|exists|no longer|not .*waits?|is not|unknown|nothing|no .* waits|no .* in use|does not|has no|needs? |only|cannot be removed/i;

/** `known`: points of commands so far. `wrong` is told what should not be; `posts` gets what is injected. */
export function makeChores(d: {
  readonly site: TortureSite;
  readonly notes: Notes;
  readonly folder: string;
  readonly posts: Post[];
  readonly known: () => Known;
  readonly wrong: (words: string) => void;
}): Chores {
  const { site, notes, posts } = d;
  const { side } = site;
  const service = 'reseal@lists.example';
  mkdirSync(d.folder, { recursive: true });
  let count = 0;
  const made: string[] = [];
  const gone: string[] = [];

  const rows = <T>(work: (q: Queries) => Promise<T>): Promise<T> => site.onDatabase(work);
  const member = async (random: Random): Promise<string> => {
    const all = await rows((q) =>
      q.selectFrom('members').select('address').where('listId', '=', side.id).execute(),
    );
    return random.pick(all).address;
  };
  const held = async (random: Random): Promise<string | null> => {
    const found = await rows((q) =>
      q.selectFrom('postings').select('id').where('state', '=', 'held').execute(),
    );
    return found.length > 0 ? String(random.pick(found).id) : null;
  };
  const stuck = async (random: Random): Promise<string | null> => {
    const states = ['unopened', 'quarantine'] as const;
    const found = await rows((q) =>
      q.selectFrom('messages').select('id').where('state', 'in', states).execute(),
    );
    return found.length > 0 ? random.pick(found).id : null;
  };
  const pending = async (random: Random) => {
    const found = await rows((q) =>
      q.selectFrom('bindings').select(['address', 'sha256']).where('state', '=', 'pending').execute(),
    );
    return found.length > 0 ? random.pick(found) : null;
  };
  const pem = (one: Identity): string => {
    const file = join(d.folder, `${one.address}.pem`);
    writeFileSync(file, one.certPem);
    return file;
  };
  const when = <T>(found: T | null, args: (found: T) => readonly string[]): Chore | null =>
    found === null ? null : { args: args(found) };
  const pair = async (state: string): Promise<string | null> => {
    const { stdout } = await plain(['key', 'list', side.address, '--json']);
    const { keys } = JSON.parse(stdout) as { keys: readonly { state: string; sha256: string }[] };
    return keys.find((one) => one.state === state)?.sha256 ?? null;
  };
  const newKey = ['--key', 'p-256', '--yes'];

  type Maker = (random: Random) => Promise<Chore | null> | Chore | null;
  const makers: Readonly<Record<string, readonly Maker[]>> = {
    inject: [inject],
    member: [
      () => ({ args: ['member', 'add', side.address, `added${++count}@example.net`] }),
      async (random) => ({ args: ['member', 'remove', side.address, await member(random)] }),
      async (random) => ({
        args: ['member', 'set', side.address, await member(random), random.pick(['--suspend', '--resume'])],
      }),
      () => ({
        args: ['member', 'import', side.address, '-'],
        input: Buffer.from(`in${++count}@example.net\nin${++count}@example.net\n`),
      }),
    ],
    cert: [
      importCertificate,
      importCertificate,
      async (random) => when(await pending(random), (one) => ['cert', 'approve', one.address, one.sha256]),
      async (random) => when(await pending(random), (one) => ['cert', 'refuse', one.address, one.sha256]),
      () => when(gone.pop() ?? null, (address) => ['cert', 'remove', address]),
    ],
    key: [
      () => ({ args: ['key', 'rotate', side.address, ...newKey] }),
      () => ({ args: ['key', 'rotate', side.address, '--csr', ...newKey] }),
      () => ({ args: ['key', 'generate', service, ...newKey] }),
      async () => when(await pair('retired'), (sha256) => ['key', 'remove', side.address, sha256, '--yes']),
      importKey,
    ],
    list: [
      () => {
        const address = `made${++count}@lists.example`;
        made.push(address);
        return { args: ['list', 'create', address, '--owner', 'olga@example.org', ...newKey] };
      },
      (random) => ({
        args: ['list', 'set', side.address, `send.subject-tag=${random.pick(['[a]', '[b]'])}`],
      }),
      (random) =>
        when(made.length > 0 ? random.pick(made) : null, (one) => [
          'list',
          random.pick(['close', 'open']),
          one,
        ]),
    ],
    queue: [
      async (random) =>
        when(await held(random), (id) => [
          'queue',
          random.pick(['release', 'release', 'refuse', 'drop']),
          id,
        ]),
      async (random) => when(await stuck(random), (id) => ['queue', random.pick(['retry', 'drop']), id]),
      () => ({ args: ['queue', 'retry', '--all'] }),
    ],
    retry: [async (random) => when(await stuck(random), (id) => ['retry', id])],
    housekeeping: [() => ({ args: ['housekeeping'] })],
  };
  /** Rather of a kind that has points left. */
  const pickMaker = (random: Random, { seen, killedAt }: Known): Maker => {
    const left = seen.filter((point) => !killedAt.includes(point));
    const kind = left.length > 0 && !random.once(3) ? random.pick(left).split(':')[0] : undefined;
    return random.pick(makers[kind ?? random.pick(Object.keys(makers))] ?? [inject]);
  };

  function inject(random: Random): Chore {
    const post = makePost(site, random.pick(['secret', 'signed']), random.pick(site.authors), 2000);
    return { args: ['inject', '--json', '-f', post.from, post.to], input: post.data, post };
  }

  async function importCertificate(): Promise<Chore> {
    const address = `imported${++count}@example.org`;
    const one = await site.ca.issue({ name: address, address, key: 'p256' });
    // Copies may be held for him.
    await site.joinSide(one, false);
    gone.push(address);
    return { args: ['cert', 'import', pem(one)] };
  }

  async function importKey(): Promise<Chore> {
    const one = await site.ca.issue({ name: 'side', address: side.address, key: 'rsa' });
    return { args: ['key', 'import', side.address, one.keyPath, '--cert', pem(one), '--no-announce'] };
  }

  const plain = (args: readonly string[]): Promise<Ran> =>
    runCommand(site.root, { notes: null, order: {}, who: '', args });
  const attempt = async (chore: Chore, kill: Kill | null): Promise<Ran> => {
    const { args, input, post } = chore;
    const [who = ''] = args;
    const order = kill === null ? {} : { kill };
    const ran = await runCommand(site.root, { notes, order, who, args, ...(input ? { input } : {}) });
    if (post) {
      post.answers.push(ran.code);
      if (ran.code === 0) post.accepted.push((JSON.parse(ran.stdout) as { id: string }).id);
    }
    return ran;
  };
  const judge = (chore: Chore, { code, signal, stderr }: Ran): void => {
    const words = chore.args.join(' ');
    if (signal !== null || (code !== 0 && !done.test(stderr)) || /\n\s+at /.test(stderr))
      d.wrong(`${words} ended with ${signal ?? code}: ${stderr.trim()}`);
  };

  return {
    async run(random) {
      const known = d.known();
      const chore = await pickMaker(random, known)(random);
      if (!chore) return null;
      if (chore.post) posts.push(chore.post);
      const words = chore.args.join(' ');
      const first = await attempt(chore, { spared: known.killedAt });
      if (first.signal !== 'SIGKILL') {
        judge(chore, first);
        return { words, died: false };
      }
      // Most things are done another time; keys, lists and mail at once.
      if (/^(key|list|inject)/.test(words) || random.once(3)) judge(chore, await attempt(chore, null));
      return { words, died: true };
    },
    async decideAll() {
      const postings = await rows((q) =>
        q.selectFrom('postings').select('id').where('state', '=', 'held').execute(),
      );
      for (const { id } of postings)
        judge({ args: ['queue', 'release'] }, await plain(['queue', 'release', String(id)]));
      const messages = await rows((q) =>
        q.selectFrom('messages').select('id').where('state', '=', 'unopened').execute(),
      );
      for (const { id } of messages) judge({ args: ['queue', 'drop'] }, await plain(['queue', 'drop', id]));
    },
    async checkKeys() {
      const { stdout } = await plain(['check']);
      for (const address of [side.address, ...made]) {
        const said = stdout.split('\n').filter((line) => line.includes(address));
        // Of lists that a command was to make there may be none.
        if (said.length === 0 && address !== side.address) continue;
        if (!said.some((line) => line.includes('key pair and certificate are right')))
          d.wrong(`check says after all commands: ${said.join(' | ')}`);
      }
    },
  };
}
