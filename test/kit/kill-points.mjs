// Loaded before the program (`node --import …/kill-points.mjs dist/cli/main.js serve`): names the moments at which a process may
// die or its disk fail, and makes it happen at one of them. RESEAL_KILL_POINTS is the order, as JSON:
//   root   folder of the site; without it nothing is named
//   seen   file to which each named point is added when it is met the first time
//   disk   file that says what is wrong with the disk now, if anything: `full`, `fsync`, `log`, or `io`, which failing-disk.c
//          brings about
//   fired  file that is told when the order was carried out
//   who    stands before each name: points of a command are not the daemon's
//   kill   {point, nth}: SIGKILL of this process at the n-th time that this point is met; or {spared}: at the first
//          point that is none of these; `from` not before SIGTERM came, `disk` says something, or the third worker was ended
//   endWorker   {point, nth}: the worker ends then; {point, each: true}: each time
//   hourMs what an hour's repetition takes instead
//   sites  file that gets the name of every transaction of the daemon's, met or not, if it is not there
// Test only: the program knows nothing of this file, and has no switch for it.
import { AsyncLocalStorage } from 'node:async_hooks';
import calls, { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { Socket } from 'node:net';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker } from 'node:worker_threads';

const order = JSON.parse(process.env.RESEAL_KILL_POINTS ?? '{}');
const counts = new Map();
const { kill = {}, endWorker = {} } = order;
const spared = kill.spared && new Set(kill.spared);
const root = order.root ?? '/';
const dist = fileURLToPath(new URL('../../dist/', import.meta.url));

/** What `kill.from` waits for has come. */
let isArmed = kill.from === undefined;
let ended = 0;

if (isMainThread && order.root) {
  // First of all, so that the order holds when the program hears of it.
  if (kill.from === 'SIGTERM')
    process.once('SIGTERM', () => {
      isArmed = true;
    });
  nameFileCalls();
  nameSpoolCalls();
  syncBuiltinESMExports();
  await nameTransactions();
  nameStatements();
  nameSockets();
  nameWorkers();
  shortenHours();
}

/** The process is here, before or after something. */
function at(moment, worker = null) {
  const point = order.who ? `${order.who}: ${moment}` : moment;
  const n = (counts.get(point) ?? 0) + 1;
  counts.set(point, n);
  if (n === 1) appendFileSync(order.seen, `${point}\n`);
  if (worker && point === endWorker.point && (endWorker.each || n === endWorker.nth)) {
    appendFileSync(order.fired, `end-worker ${point}\n`);
    isArmed ||= kill.from === 'worker' && ++ended > 2;
    return void worker.terminate();
  }
  if (spared ? spared.has(point) : point !== kill.point || n !== kill.nth) return;
  if (!(isArmed || (kill.from === 'disk' && disk() !== ''))) return;
  appendFileSync(order.fired, `kill ${point}\n`);
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

function around(point, work) {
  at(`before ${point}`);
  const result = work();
  at(`after ${point}`);
  return result;
}

async function aroundAsync(point, work) {
  at(`before ${point}`);
  const result = await work();
  at(`after ${point}`);
  return result;
}

/** What is wrong with the disk at this moment. */
function disk() {
  try {
    return readFileSync(order.disk, 'utf8').trim();
  } catch {
    return '';
  }
}

function failure(code, call) {
  return Object.assign(new Error(`${code}: made by the test, ${call}`), { code, syscall: call });
}

/** `spool/incoming/*`, or null for what is not the site's. */
function placeOf(path) {
  const place = relative(root, String(path));
  if (place.startsWith('..')) return null;
  return place
    .split('/')
    .map((name) =>
      /^\d|^[0-9A-Z]{20,}$|@|\.tmp$|^\.new-/.test(name) ? '*' : name.replace(/\.retired-.*/, '.retired-*'),
    )
    .join('/');
}

function nameFileCalls() {
  const real = { open: fs.open, rename: fs.rename, unlink: fs.unlink, link: fs.link, rm: fs.rm };
  fs.rename = (from, to) => aroundAsync(`rename to ${placeOf(to)}`, () => real.rename(from, to));
  fs.link = (from, to) => aroundAsync(`link to ${placeOf(to)}`, () => real.link(from, to));
  fs.unlink = (path) => aroundAsync(`unlink ${placeOf(path)}`, () => real.unlink(path));
  fs.rm = (path, options) => aroundAsync(`remove ${placeOf(path)}`, () => real.rm(path, options));
  fs.open = async (path, flags, mode) => {
    const place = placeOf(path);
    if (place === null) return real.open(path, flags, mode);
    const isNew = String(flags).startsWith('wx');
    if (isNew && disk() === 'full' && Math.random() < 0.3) throw failure('ENOSPC', 'open');
    const handle = isNew
      ? await aroundAsync(`create ${place}`, () => real.open(path, flags, mode))
      : await real.open(path, flags, mode);
    const { sync, datasync, write, writeFile } = handle;
    handle.write = (...values) => aroundAsync(`write ${place}`, () => write.apply(handle, values));
    handle.sync = () =>
      aroundAsync(`fsync ${place}`, () => {
        if (disk() === 'fsync' && Math.random() < 0.5) throw failure('EIO', 'fsync');
        return sync.call(handle);
      });
    handle.datasync = () =>
      aroundAsync(`fdatasync ${place}`, () => {
        if (disk() === 'log') throw failure('EIO', 'fdatasync');
        return datasync.call(handle);
      });
    handle.writeFile = async (bytes) => {
      // Halves, so that there is a moment at which the file is half-written.
      const half = Math.floor(bytes.length / 2);
      await writeFile.call(handle, bytes.slice(0, half));
      if (disk() === 'full') throw failure('ENOSPC', 'write');
      at(`amid write ${place}`);
      await writeFile.call(handle, bytes.slice(half));
    };
    return handle;
  };
}

/** The same calls as the spool makes them: by descriptor, and in the main thread where they do not wait for the disk. */
function nameSpoolCalls() {
  const { openSync, closeSync, renameSync, writeFileSync, writeFile, fsync } = calls;
  const places = new Map();
  calls.openSync = (path, flags, mode) => {
    const place = placeOf(path);
    if (place === null) return openSync(path, flags, mode);
    const isNew = String(flags).startsWith('wx');
    if (isNew && disk() === 'full' && Math.random() < 0.3) throw failure('ENOSPC', 'open');
    const open = () => openSync(path, flags, mode);
    const file = isNew ? around(`create ${place}`, open) : open();
    places.set(file, place);
    return file;
  };
  calls.closeSync = (file) => {
    places.delete(file);
    closeSync(file);
  };
  calls.renameSync = (from, to) => around(`rename to ${placeOf(to)}`, () => renameSync(from, to));
  calls.fsync = (file, done) => {
    const place = places.get(file);
    if (place === undefined) return fsync(file, done);
    at(`before fsync ${place}`);
    if (disk() === 'fsync' && Math.random() < 0.5) return done(failure('EIO', 'fsync'));
    fsync(file, (error) => {
      at(`after fsync ${place}`);
      done(error);
    });
  };
  // Halves, as above.
  calls.writeFileSync = (file, bytes, ...rest) => {
    const place = places.get(file);
    if (place === undefined) return writeFileSync(file, bytes, ...rest);
    const half = Math.floor(bytes.length / 2);
    writeFileSync(file, bytes.subarray(0, half));
    if (disk() === 'full') throw failure('ENOSPC', 'write');
    at(`amid write ${place}`);
    writeFileSync(file, bytes.subarray(half));
  };
  calls.writeFile = (file, bytes, done) => {
    const place = places.get(file);
    if (place === undefined) return writeFile(file, bytes, done);
    const half = Math.floor(bytes.length / 2);
    writeFile(file, bytes.subarray(0, half), (error) => {
      if (error) return done(error);
      if (disk() === 'full') return done(failure('ENOSPC', 'write'));
      at(`amid write ${place}`);
      writeFile(file, bytes.subarray(half), done);
    });
  };
}

/** Whose transaction it is: the place in the program that asked for it. */
const transaction = new AsyncLocalStorage();

async function nameTransactions() {
  if (order.sites && !existsSync(order.sites)) writeFileSync(order.sites, allSites().join('\n'));
  const { Kysely } = await import('kysely');
  const begin = Kysely.prototype.transaction;
  Kysely.prototype.transaction = function () {
    const site = siteNow();
    const builder = begin.call(this);
    const execute = builder.execute.bind(builder);
    builder.execute = (work) => transaction.run(site, () => execute(work));
    return builder;
  };
}

/** `filePost in flow/decision/post`, for the line of a compiled file that calls `database.write` or `hastily`. */
function siteAt(file, line) {
  const lines = readFileSync(join(dist, file), 'utf8').split('\n');
  const named = (n) => {
    const above = lines
      .slice(0, n)
      .findLast((one) => /^(export )?(async )?function \w|^(export )?const \w+ = |^export class/.test(one));
    return /(?:function|const|class) (\w+)/.exec(above ?? '')?.[1] ?? 'top';
  };
  const sites = lines.flatMap((one, n) => (/database\.(write|hastily)\(/.test(one) ? [n + 1] : []));
  const alike = sites.filter((n) => named(n) === named(line));
  const number = alike.length > 1 ? ` ${alike.indexOf(line) + 1}` : '';
  return `${named(line)}${number} in ${file.replace(/\.js$/, '')}`;
}

function siteNow() {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 30;
  const { stack } = new Error();
  Error.stackTraceLimit = limit;
  for (const frame of stack.split('\n')) {
    const [, path, line] = /file:\/\/(\/[^:]+):(\d+):\d+/.exec(frame) ?? [];
    if (!path?.startsWith(dist) || path === `${dist}store/database.js`) continue;
    return siteAt(path.slice(dist.length), Number(line));
  }
  return 'unknown';
}

/** What only commands call stands in `operator` and `cli`. */
function allSites() {
  const files = readdirSync(dist, { recursive: true }).filter((name) => name.endsWith('.js'));
  return files
    .filter((file) => !/^cli\/|^flow\/operator\//.test(file))
    .flatMap((file) =>
      readFileSync(join(dist, file), 'utf8')
        .split('\n')
        .flatMap((one, n) =>
          /database\.(write|hastily)\(/.test(one) ? [`commit of ${siteAt(file, n + 1)}`] : [],
        ),
    )
    .sort();
}

/** Transactions by who asked for them, other writes by their table. */
function nameStatements() {
  const SQLite = createRequire(import.meta.url)('better-sqlite3');
  const prepare = SQLite.prototype.prepare;
  const full = new WeakMap();
  SQLite.prototype.prepare = function (text) {
    const statement = prepare.call(this, text);
    const [, write, table] = /^\s*(insert into|update|delete from)\s+"?(\w+)/i.exec(text) ?? [];
    const isCommit = text === 'commit';
    if (!write && !isCommit && text !== 'begin immediate') return statement;
    for (const method of ['run', 'all', 'get']) {
      const real = statement[method];
      statement[method] = (...values) => {
        // Really SQLITE_FULL: a database may not grow beyond its size of now.
        const isFull = disk() === 'full';
        if (isFull !== (full.get(this) ?? false)) {
          full.set(this, isFull);
          this.pragma(`max_page_count = ${isFull ? 1 : 1073741823}`);
        }
        const call = () => real.apply(statement, values);
        if (isCommit) return around(`commit of ${transaction.getStore() ?? 'nobody'}`, call);
        return write && !this.inTransaction ? around(`${write.toLowerCase()} ${table}`, call) : call();
      };
    }
    return statement;
  };
}

/** Towards the relay: the final dot and what it answers. Towards clients: 250. */
function nameSockets() {
  const real = {
    write: Socket.prototype.write,
    uncork: Socket.prototype.uncork,
    emit: Socket.prototype.emit,
  };
  const dotted = new WeakSet();
  const isClient = (socket) => Boolean(socket.server);
  const isRelay = (socket) => !isClient(socket) && socket.remotePort !== undefined;
  const sent = (socket) => {
    if (!dotted.delete(socket)) return;
    at('after dot');
  };
  Socket.prototype.write = function (chunk, ...rest) {
    if (isRelay(this) && endsWithDot(chunk)) {
      at('before dot');
      dotted.add(this);
    }
    const accepts =
      isClient(this) && String(chunk).startsWith('250') && String(chunk).includes('accepted as');
    if (accepts) at('before 250');
    const result = real.write.call(this, chunk, ...rest);
    if (accepts) at('after 250');
    if (this.writableCorked === 0) sent(this);
    return result;
  };
  Socket.prototype.uncork = function () {
    real.uncork.call(this);
    if (this.writableCorked === 0) sent(this);
  };
  Socket.prototype.emit = function (event, ...values) {
    if (event !== 'data' || !isRelay(this)) return real.emit.call(this, event, ...values);
    const codes = String(values[0]).match(/^\d{3}(?= )/gm) ?? ['?'];
    return around(`reply ${codes.at(-1)}`, () => real.emit.call(this, event, ...values));
  };
}

function endsWithDot(chunk) {
  return String(chunk) === '.\r\n' || (chunk.length < 10_000 && String(chunk).endsWith('\r\n.\r\n'));
}

function nameWorkers() {
  const { postMessage, emit } = Worker.prototype;
  Worker.prototype.postMessage = function (message, ...rest) {
    const kind = message?.job?.kind ?? 'other';
    at(`before job ${kind}`, this);
    postMessage.call(this, message, ...rest);
    at(`amid job ${kind}`, this);
  };
  Worker.prototype.emit = function (event, ...values) {
    if (event !== 'message') return emit.call(this, event, ...values);
    at('before answer of worker', this);
    const result = emit.call(this, event, ...values);
    at('after answer of worker', this);
    return result;
  };
}

/** Housekeeping comes every hour; here it is to come under load. */
function shortenHours() {
  const real = globalThis.setInterval;
  globalThis.setInterval = (work, ms, ...rest) =>
    real(work, ms === 3_600_000 && order.hourMs ? order.hourMs : ms, ...rest);
}
