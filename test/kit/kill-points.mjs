// Loaded before the program (`node --import …/kill-points.mjs dist/cli/main.js serve`): names the moments at which a process may
// die or its disk fail, and makes it happen at one of them. RESEAL_KILL_POINTS is the order, as JSON:
//   seen   file to which each named point is added when it is met the first time
//   disk   file that says what is wrong with the disk now, if anything: `full`, `fsync` or `log`
//   fired  file that is told when the order was carried out
//   point, nth, act   `kill` (SIGKILL of this process) or `end-worker`, at the n-th time that this point is met
//   spared   instead of `point` and `nth`: at the first point that is none of these
//   hourMs what an hour's repetition takes instead
// Test only: the program knows nothing of this file, and has no switch for it.
import calls, { appendFileSync, readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { Socket } from 'node:net';
import { relative } from 'node:path';
import { isMainThread, Worker } from 'node:worker_threads';

const order = JSON.parse(process.env.RESEAL_KILL_POINTS ?? '{}');
const counts = new Map();
const spared = order.spared && new Set(order.spared);
const root = order.root ?? '/';

if (isMainThread && order.root) {
  nameFileCalls();
  nameSpoolCalls();
  syncBuiltinESMExports();
  nameStatements();
  nameSockets();
  nameWorkers();
  shortenHours();
}

/** The process is here, before or after something. */
function at(point, worker = null) {
  const n = (counts.get(point) ?? 0) + 1;
  counts.set(point, n);
  if (n === 1) appendFileSync(order.seen, `${point}\n`);
  if (spared ? spared.has(point) : point !== order.point || n !== order.nth) return;
  appendFileSync(order.fired, `${order.act} ${point}\n`);
  if (order.act === 'end-worker') return void worker?.terminate();
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
    .map((name) => (/^\d|^[0-9A-Z]{20,}$|@|\.tmp$|^\.new-/.test(name) ? '*' : name))
    .join('/');
}

function nameFileCalls() {
  const real = { open: fs.open, rename: fs.rename, unlink: fs.unlink };
  fs.rename = (from, to) => aroundAsync(`rename to ${placeOf(to)}`, () => real.rename(from, to));
  fs.unlink = (path) => aroundAsync(`unlink ${placeOf(path)}`, () => real.unlink(path));
  fs.open = async (path, flags, mode) => {
    const place = placeOf(path);
    if (place === null) return real.open(path, flags, mode);
    const isNew = String(flags).startsWith('wx');
    if (isNew && disk() === 'full' && Math.random() < 0.3) throw failure('ENOSPC', 'open');
    const handle = isNew
      ? await aroundAsync(`create ${place}`, () => real.open(path, flags, mode))
      : await real.open(path, flags, mode);
    const { sync, datasync, writeFile } = handle;
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

/** Transactions by the tables that they wrote to, other writes by their own. */
function nameStatements() {
  const SQLite = createRequire(import.meta.url)('better-sqlite3');
  const prepare = SQLite.prototype.prepare;
  const full = new WeakMap();
  const written = new WeakMap();
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
        const tables = written.get(this) ?? new Set();
        written.set(this, tables);
        if (isCommit) {
          const point = `commit of ${[...tables].sort().join(', ')}`;
          tables.clear();
          return around(point, () => real.apply(statement, values));
        }
        if (!write) tables.clear();
        if (write && this.inTransaction) tables.add(table);
        if (!write || this.inTransaction) return real.apply(statement, values);
        return around(`${write.toLowerCase()} ${table}`, () => real.apply(statement, values));
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
