import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Random, randomOf } from '../fuzz/random.ts';
import { canForget, type ForgetfulDisk, makeForgetfulDisk } from '../kit/forgetful-disk.ts';
import type { Identity } from '../kit/pki.ts';
import { type Auditor, makeAuditor } from './auditor.ts';
import { type Chores, makeChores } from './chores.ts';
import { makeOld, passTime, retryQuarantined } from './due.ts';
import { type Fault, planRound, pointOf, type Round, wordsOfFault } from './plan.ts';
import { type PointReport, type Points, pointsOf, unmet } from './points.ts';
import { isSafeToRepeat, makePost, type Post, sendAll, sendOne, usualKind } from './posts.ts';
import { moods, startTortureRelay, type TortureRelay } from './relay.ts';
import { makeSite, type TortureSite } from './site.ts';
import { makeSpecials, type Specials } from './special.ts';
import { type DiskTrouble, type Ending, type Notes, startVictim, takeNotes, type Victim } from './victim.ts';

export interface TortureOptions {
  readonly seed: number;
  /** A folder that is there and empty; all of it is searched for the secret at the end. */
  readonly folder: string;
  /** Whether another round is to begin. */
  goesOn(rounds: number): boolean;
  /** Told what each round does, and what is wrong at once. */
  say(words: string): void;
}

/** What a campaign found. Without `violations` all is well. */
export interface TortureReport {
  readonly seed: number;
  readonly rounds: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Where daemons died, and where commands did. */
  readonly points: PointReport;
  readonly commandPoints: PointReport;
  /** Transactions of the program that nothing brought about. */
  readonly unmet: readonly string[];
  readonly commands: { readonly run: number; readonly died: number };
  /** Messages that an operator took out of quarantine: their worker was ended twice. */
  readonly quarantined: number;
  readonly messages: { readonly offered: number; readonly accepted: number };
  /** (message, member) pairs by what became of them. */
  readonly pairs: Readonly<Record<string, number>>;
  /** Copies that the relay took, of posts and of reseal's own mail. */
  readonly copies: number;
  readonly duplicates: number;
  /** Kills after which a copy was in doubt, and the most copies in doubt after one. */
  readonly doubts: { readonly kills: number; readonly most: number };
  readonly lost: number;
  readonly leaked: number;
  readonly violations: readonly string[];
}

/** Connections to the relay: so many copies may be in doubt after a death. */
const connections = 5;
/** A round that nothing ends by itself ends then. */
const roundMs = 8000;
const hourMs = 3_600_000;

const atPoint = 'kill -9 at a named point';
const whenQuiet = 'kill -9 when quiet';
const mostNewcomers = 30;

/** Runs rounds of load and faults against the real daemon, and accounts for every copy. */
export async function runTorture(options: TortureOptions): Promise<TortureReport> {
  const campaign = await Campaign.begin(options);
  try {
    let rounds = 0;
    while (options.goesOn(rounds)) await campaign.round(rounds++);
    await campaign.end();
    return campaign.report(rounds);
  } finally {
    await campaign.relay.sink.close();
  }
}

class Campaign {
  readonly relay: TortureRelay;
  readonly #options: TortureOptions;
  readonly #site: TortureSite;
  readonly #notes: Notes;
  readonly #auditor: Auditor;
  readonly #posts: Post[];
  readonly #newcomers: Identity[] = [];
  readonly #faults = new Map<string, number>();
  readonly #points: Points;
  readonly #commandPoints: Points;
  readonly #chores: Chores;
  readonly #specials: Specials;
  readonly #commands = { run: 0, died: 0 };
  readonly #disk: ForgetfulDisk | null;
  #quarantined = 0;
  /** Whether the last daemon that was to die at a new point took nothing before. */
  #isVain = false;

  private constructor(
    options: TortureOptions,
    d: { relay: TortureRelay; site: TortureSite; posts: Post[]; specials: Specials },
  ) {
    const { relay, site, posts, specials } = d;
    this.#options = options;
    this.relay = relay;
    this.#site = site;
    this.#posts = posts;
    this.#specials = specials;
    this.#notes = takeNotes(join(options.folder, 'notes'));
    this.#points = pointsOf(this.#notes);
    const notes = takeNotes(join(options.folder, 'notes/commands'));
    this.#commandPoints = pointsOf(notes);
    this.#disk = canForget() ? makeForgetfulDisk(join(site.root, 'spool')) : null;
    const scratch = join(options.folder, 'scratch');
    mkdirSync(scratch);
    const { folder, say } = options;
    this.#auditor = makeAuditor({ site, relay, posts: this.#posts, folder, scratch, connections, say });
    this.#chores = makeChores({
      site,
      notes,
      folder: join(options.folder, 'chores'),
      posts,
      known: () => this.#commandPoints.known(),
      wrong: (words) => this.#wrong(words),
    });
  }

  static async begin(options: TortureOptions): Promise<Campaign> {
    const relay = await startTortureRelay(randomOf(options.seed, -1));
    const root = mkdtempSync(join(options.folder, 'site-'));
    const site = await makeSite(root, { relayPort: relay.sink.port, connections });
    const posts: Post[] = [];
    const specials = await makeSpecials({ site, relay, posts });
    return new Campaign(options, { relay, site, posts, specials });
  }

  /** One life of the daemon: load, a fault, and the books after it. */
  async round(index: number): Promise<void> {
    const random = randomOf(this.#options.seed, index);
    const planned = planRound(random, this.#points.known());
    // While daemons die of new points before they take anything, nothing needs to be made for them.
    const isVain = this.#isVain && isHunt(planned.fault);
    const round = isVain ? { ...planned, posts: 2, specials: [], joins: false, withWide: false } : planned;
    const { fault } = round;
    const where = `round ${index}, ${wordsOfFault(fault)}${round.powerCut ? ', power cut' : ''}${round.mood ? `, relay ${round.mood}` : ''}`;
    this.#auditor.enter(where);
    const posts = await this.#makePosts(random, round);
    if (round.passesMs > 0 && index > 0) await passTime(this.#site.root, round.passesMs);
    if (round.ages && index > 0) await makeOld(this.#site.root, this.#site.side.id);
    const order = 'order' in fault ? fault.order : {};
    const disk = round.powerCut ? this.#disk : null;
    disk?.begin();
    const half = this.#auditor.halfWritten();
    const victim = startVictim(this.#site.root, {
      notes: this.#notes,
      order,
      hourMs: round.hourMs,
      ...(disk ? { env: disk.env } : {}),
    });
    if (fault.kind === 'kill-in-database') this.#notes.killInDatabase(fault.moment, fault.skip);
    const port = await victim.ready;
    if (port !== null) this.#auditor.expectGone(half);
    const life = port === null ? null : this.#live(victim, port, round, posts);
    await Promise.all([life, this.#doChores(random, round.chores)]);
    const ending = await victim.ended;
    this.#notes.mendDisk();
    this.relay.mood = null;
    this.#judgeEnding(ending, fault);
    this.#commandPoints.noteRound('commands');
    if (disk && ending.signal === 'SIGKILL') {
      this.#count('power cut with it');
      disk.cut();
    }
    // Without a memory it ends at once, and what the relay was about to answer is given back.
    const wasCut = fault.kind === 'disk' && fault.trouble === 'log';
    await this.#auditor.audit(index % 20 === 19, wasCut);
    const answered = posts.filter((post) => post.accepted.length > 0).length;
    if (isHunt(fault)) this.#isVain = answered === 0;
    this.#options.say(
      `${where}: ${answered} of ${posts.length} accepted, ${this.#auditor.inDoubt.at(-1)} in doubt`,
    );
  }

  async #makePosts(random: Random, round: Round): Promise<Post[]> {
    const site = this.#site;
    if (round.joins && this.#newcomers.length < mostNewcomers)
      this.#newcomers.push(await site.joinWithout(`new${this.#newcomers.length}`));
    const posts: Post[] = [];
    for (let n = 0; n < round.posts; n++) {
      const size = round.withLarge && n === 0 ? 400_000 : 200 + random.below(8000);
      posts.push(makePost(site, usualKind(random), random.pick(site.authors), size));
    }
    if (round.withWide) posts.push(makePost(site, 'wide', site.authors[0] ?? random.pick(site.authors), 500));
    const silent = this.#newcomers.filter((one) => !this.#hasWritten(one));
    const newcomer = silent.length > 0 && random.once(2) ? random.pick(silent) : null;
    if (newcomer) posts.push(makePost(site, 'certificate', newcomer, 200));
    const again = this.#posts.filter(
      (post) => post.accepted.length === 0 && post.answers.length > 0 && isSafeToRepeat(post),
    );
    for (const kind of round.specials) {
      const special = await this.#specials.make(kind, random);
      if (special) posts.push(special);
    }
    this.#posts.push(...posts);
    return [...posts, ...again.slice(-3)];
  }

  /** Commands beside the daemon, or where it was. */
  async #doChores(random: Random, count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      const done = await this.#chores.run(random);
      if (!done) continue;
      this.#commands.run++;
      if (done.died) this.#commands.died++;
      this.#options.say(`  ${done.words}${done.died ? ', killed and run again' : ''}`);
    }
  }

  #hasWritten(newcomer: Identity): boolean {
    return this.#posts.some((post) => post.from === newcomer.address && post.accepted.length > 0);
  }

  async #live(victim: Victim, port: number, round: Round, posts: readonly Post[]): Promise<void> {
    const { fault, sessions } = round;
    this.relay.mood = round.mood === null ? null : (moods[round.mood] ?? null);
    const load = sendAll(posts, { port, sessions, isOver: victim.isOver });
    if (round.reloads) void load.then(() => victim.signal('SIGHUP'));
    switch (fault.kind) {
      case 'kill-at':
        await Promise.race([victim.ended, load.then(() => this.#untilQuiet(victim))]);
        victim.signal('SIGKILL');
        break;
      case 'kill-in-database': {
        await Promise.race([victim.ended, load.then(() => this.#untilQuiet(victim))]);
        // Stopping, it does what is left to do in the database.
        victim.signal('SIGTERM');
        break;
      }
      case 'end-worker':
        await load;
        await this.#untilQuiet(victim);
        // What broke is tried once more, at the next look at the queue.
        if (!victim.isOver()) await passTime(this.#site.root, hourMs);
        await Promise.race([pause(1500), victim.ended]);
        await this.#untilQuiet(victim);
        victim.signal('SIGKILL');
        break;
      case 'kill-after':
        await pause(fault.ms);
        victim.signal('SIGKILL');
        break;
      case 'terminate':
        if (fault.ms !== null) await pause(fault.ms);
        else await load.then(() => this.#untilQuiet(victim));
        victim.signal('SIGTERM');
        break;
      case 'disk':
        await this.#liveThroughDisk(victim, port, fault.trouble);
        break;
    }
    await load;
  }

  /** The disk fails for a while under load; except for the database's log, the daemon must serve again without a restart. */
  async #liveThroughDisk(victim: Victim, port: number, trouble: DiskTrouble): Promise<void> {
    const make = (): Post => {
      const post = makePost(this.#site, 'secret', this.#site.authors[0] as Identity, 3000);
      this.#posts.push(post);
      return post;
    };
    await pause(200);
    this.#notes.breakDisk(trouble);
    const during = Array.from({ length: 6 }, make);
    for (const post of during) await sendOne(post, port);
    await pause(500);
    this.#notes.mendDisk();
    if (victim.isOver() && trouble !== 'log') return;
    const codes = during.flatMap((post) => post.answers);
    // A lost database ends the daemon: who comes then hears 421, or nothing.
    const right: readonly (number | null)[] =
      trouble === 'full' ? [452, 451, 250] : trouble === 'log' ? [451, 250, 421, null] : [451, 250];
    if (codes.some((code) => !right.includes(code))) this.#wrong(`answered ${codes.join(', ')}`);
    if (trouble === 'full' && !codes.includes(452)) this.#wrong(`no 452 among ${codes.join(', ')}`);
    if (trouble === 'log') return void (await victim.ended);
    const after = make();
    await sendOne(after, port);
    if (victim.isOver()) return;
    if (after.accepted.length === 0) this.#wrong(`after the disk was mended: ${after.answers.join(', ')}`);
    const got = (): boolean => {
      this.relay.read();
      return this.relay.count(after.messageId, this.#site.authors[1]?.address ?? '') > 0;
    };
    if (after.accepted.length > 0 && !(await soon(got, 60_000)))
      this.#wrong('after the disk was mended a post was not delivered without a restart');
    victim.signal('SIGKILL');
  }

  /** Until the relay has heard nothing for a while, or the daemon is dead. */
  async #untilQuiet(victim: Victim): Promise<void> {
    const deadline = Date.now() + roundMs;
    let heard = -1;
    while (!victim.isOver() && Date.now() < deadline) {
      this.#auditor.readRelay();
      const now = this.relay.taken.size;
      if (now === heard) return;
      heard = now;
      await Promise.race([pause(900), victim.ended]);
    }
  }

  #judgeEnding({ code, signal, noise }: Ending, fault: Fault): void {
    const died = signal === 'SIGKILL';
    const isFired = this.#points.hasFired();
    // Nobody else kills it then.
    const isInDatabase = fault.kind === 'kill-in-database' && died;
    if (fault.kind === 'kill-in-database' && died) this.#points.noteKill(pointOf(fault.moment));
    const name = this.#nameOf(fault, isFired || isInDatabase);
    this.#count(name);
    this.#points.noteRound(name);
    const isLog = fault.kind === 'disk' && fault.trouble === 'log';
    const isStopped = fault.kind === 'terminate' || fault.kind === 'kill-in-database' || isLog;
    // It cannot write down that it stops, and says so.
    const strange = noise.filter((line) => !(isLog && line.includes('the disk did not take')));
    // EX_IOERR of sysexits.h: systemd starts it again.
    const isKilled = isFired || isInDatabase;
    const isRight = isStopped && !isKilled ? code === 0 || (isLog && code === 74) : died;
    if (!isRight) this.#wrong(`the daemon ended with ${signal ?? code}: ${noise.slice(-5).join(' | ')}`);
    if (strange.length > 0) this.#wrong(`on stderr: ${strange.slice(0, 5).join(' | ')}`);
  }

  #wrong(words: string): void {
    this.#auditor.wrong(words);
  }

  /** Lets everything come to its end, and settles the accounts. */
  async end(): Promise<void> {
    this.#auditor.enter('at the end');
    const victim = startVictim(this.#site.root, { notes: this.#notes, order: {}, hourMs: 500 });
    const port = await victim.ready;
    const unsent = this.#newcomers.filter((one) => !this.#hasWritten(one));
    const last = unsent.map((one) => makePost(this.#site, 'certificate', one, 100));
    this.#posts.push(...last);
    if (port !== null) await sendAll(last, { port, sessions: 1, isOver: victim.isOver });
    const isDone = async (): Promise<boolean> => {
      await this.#chores.decideAll();
      await passTime(this.#site.root, hourMs);
      this.#quarantined += await retryQuarantined(this.#site.root);
      await pause(2500);
      this.#auditor.readRelay();
      return this.#auditor.unfinished() === 0;
    };
    if (port === null) this.#wrong('it does not start');
    else if (!(await soon(isDone, 120_000))) this.#wrong('not everything came to an end within two minutes');
    const agrees = async () => (await this.#auditor.directoryDiffers()) === '';
    if (port !== null && !(await soon(agrees, 10_000)))
      this.#wrong(`the certificate directory: ${await this.#auditor.directoryDiffers()}`);
    await this.#chores.checkKeys();
    victim.signal('SIGTERM');
    this.#judgeEnding(await victim.ended, { kind: 'terminate', ms: null, order: {} });
    await this.#auditor.close();
  }

  /** What really happened: a point that was not met in a round is not where the daemon died. */
  #nameOf(fault: Fault, isMet: boolean): string {
    switch (fault.kind) {
      case 'kill-at':
        return isMet ? atPoint : whenQuiet;
      case 'kill-after':
        return 'kill -9 at some moment';
      case 'terminate':
        return isMet ? `${atPoint} after SIGTERM` : 'SIGTERM';
      case 'kill-in-database':
        return isMet ? 'kill -9 within SQLite' : 'SIGTERM';
      case 'end-worker':
        return isMet ? 'worker ended, then kill -9' : whenQuiet;
      case 'disk': {
        const words = wordsOfFault({ ...fault, order: {} });
        return `${words}, then ${fault.trouble === 'log' && !isMet ? 'SIGTERM' : 'kill -9'}`;
      }
    }
  }

  #count(fault: string): void {
    this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1);
  }

  report(rounds: number): TortureReport {
    const { relay } = this;
    const { violations, inDoubt } = this.#auditor;
    const copies = [...relay.taken.values()].reduce((all, one) => all + one, 0);
    const points = this.#points.report();
    const commandPoints = this.#commandPoints.report();
    const met = [points, commandPoints].flatMap(({ hits }) => Object.keys(hits));
    return {
      seed: this.#options.seed,
      rounds,
      faults: Object.fromEntries([...this.#faults].sort()),
      points,
      commandPoints,
      unmet: unmet(this.#notes, met),
      commands: this.#commands,
      quarantined: this.#quarantined,
      messages: {
        offered: this.#posts.filter((post) => post.answers.length > 0).length,
        accepted: this.#posts.filter((post) => post.accepted.length > 0).length,
      },
      pairs: Object.fromEntries(this.#auditor.pairs),
      copies,
      duplicates: copies - relay.taken.size,
      doubts: {
        kills: inDoubt.filter((one) => one > 0).length,
        most: Math.max(0, ...inDoubt),
      },
      lost: violations.filter((one) => one.includes('LOST')).length,
      leaked: violations.filter((one) => one.includes('LEAKED')).length + relay.leaks,
      violations,
    };
  }
}

const isHunt = (fault: Fault): boolean =>
  fault.kind === 'kill-at' && fault.order.kill !== undefined && 'spared' in fault.order.kill;

/** Waits for what shows nowhere else than in files and rows. */
async function soon(condition: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) return false;
    await pause(50);
  }
  return true;
}
