import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { brandComposed } from '../../src/base/bytes.ts';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { groupCommit } from '../../src/store/group-commit.ts';
import { newId, openSpool } from '../../src/store/spool.ts';
import { type FileLayer, realFiles } from '../../src/store/spool-files.ts';
import { isSpoolId } from '../../src/store/spool-id.ts';
import { tempFolder } from '../kit/tmp.ts';
import { envelope, t0 } from './fixtures.ts';

const line = formatEnvelopeLine({ ...envelope, receivedAt: t0 });
const body = [Buffer.from('Subject: Agenda\r\n\r\n'), Buffer.from('Dear council,\r\n')];
const whole = Buffer.concat(body);

const systemError = (code: string) => Object.assign(new Error(`${code}: no luck`), { code });

/** The real file system, which writes down what is asked of it and fails where `fail` says. */
function recording(
  fail: (call: string) => Error | null = () => null,
): FileLayer & { calls: string[]; folder: string } {
  const calls: string[] = [];
  const layer = { calls, folder: tempFolder() };
  const short = (path: string) => path.slice(layer.folder.length + 1).replace(/[0-9a-z]{26}/, 'ID');
  const call = async <T>(text: string, work: () => Promise<T>): Promise<T> => {
    calls.push(text);
    const error = fail(text);
    if (error) throw error;
    return work();
  };
  return Object.assign(layer, {
    create: (path: string) =>
      call(`create ${short(path)}`, async () => {
        const file = await realFiles.create(path);
        return {
          write: (bytes: Buffer) => call(`write ${bytes.length}`, () => file.write(bytes)),
          sync: () => call('fsync file', () => file.sync()),
          close: async () => {
            await file.close();
            await call('close', async () => undefined);
          },
        };
      }),
    rename: (from: string, to: string) =>
      call(`rename ${short(from)} ${short(to)}`, () => realFiles.rename(from, to)),
    link: (from: string, to: string) =>
      call(`link ${short(from)} ${short(to)}`, () => realFiles.link(from, to)),
    remove: (path: string) => call(`remove ${short(path)}`, () => realFiles.remove(path)),
    syncFolder: (path: string) => call(`fsync ${short(path)}`, () => realFiles.syncFolder(path)),
    read: (path: string) => realFiles.read(path),
    list: (path: string) => realFiles.list(path),
  });
}

const contents = (folder: string) =>
  Object.fromEntries(
    ['tmp', 'incoming', 'messages', 'quarantine'].map((name) => [
      name,
      readdirSync(join(folder, name)).length,
    ]),
  );

describe('receive and commit', () => {
  it('writes, fsyncs the file, renames and fsyncs the folder before it says that it is durable', async () => {
    const files = recording();
    const spool = await openSpool(files.folder, files);
    const id = newId(t0);
    expect(await spool.receive(id, line, body)).toEqual({ size: whole.length });
    await spool.commit(id);
    expect(files.calls).toEqual([
      'create tmp/ID',
      // Small chunks go out together.
      `write ${line.length + whole.length}`,
      'fsync file',
      'close',
      'rename tmp/ID incoming/ID',
      'fsync incoming',
    ]);
    const file = join(files.folder, 'incoming', id);
    expect(readFileSync(file).equals(Buffer.concat([line, whole]))).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(files.folder, 'incoming')).mode & 0o777).toBe(0o700);
    expect(await spool.incoming()).toEqual([id]);
  });

  it('gives the envelope and the very bytes back', async () => {
    const spool = await openSpool(tempFolder());
    const id = newId(t0);
    await spool.receive(id, line, body);
    await spool.commit(id);
    const message = await spool.read(id);
    expect(message.envelope).toEqual(envelope);
    expect(message.receivedAt).toBe(t0);
    expect(message.bytes.equals(whole)).toBe(true);
  });

  it('gives a large message back, which is written as it comes', async () => {
    const files = recording();
    const spool = await openSpool(files.folder, files);
    const id = newId(t0);
    const chunks = Array.from({ length: 300 }, (_, n) => Buffer.alloc(1000, n));
    expect(await spool.receive(id, line, chunks)).toEqual({ size: 300_000 });
    const writes = files.calls.filter((call) => call.startsWith('write')).length;
    expect(writes).toBeGreaterThan(2);
    expect(writes).toBeLessThan(7);
    expect((await spool.read(id)).bytes.equals(Buffer.concat(chunks))).toBe(true);
  });

  it('reads a small message from the disk once only if it was written lately, and never a removed one', async () => {
    const folder = tempFolder();
    let reads = 0;
    const files: FileLayer = {
      ...realFiles,
      read: (path) => {
        reads++;
        return realFiles.read(path);
      },
    };
    const spool = await openSpool(folder, files);
    const id = newId(t0);
    await spool.receive(id, line, body);
    await spool.commit(id);
    await spool.settle(id);
    const first = await spool.read(id);
    // What one reader does to its bytes is not seen by the next.
    first.bytes.fill(0);
    expect((await spool.read(id)).bytes.equals(whole)).toBe(true);
    expect(reads).toBe(0);
    await spool.quarantine(id, 'it broke its worker');
    expect((await spool.read(id)).bytes.equals(whole)).toBe(true);
    expect(reads).toBeGreaterThan(0);
    await spool.remove(id);
    await expect(spool.read(id)).rejects.toMatchObject({ code: 'spool-missing' });
  });

  it('leaves nothing of a stream that breaks', async () => {
    const files = recording();
    const spool = await openSpool(files.folder, files);
    async function* broken() {
      yield Buffer.from('Subject: half');
      throw systemError('ECONNRESET');
    }
    await expect(spool.receive(newId(t0), line, broken())).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(contents(files.folder)).toEqual({ tmp: 0, incoming: 0, messages: 0, quarantine: 0 });
    expect(files.calls.slice(-2)).toEqual(['close', 'remove tmp/ID']);
  });

  it.each(['ENOSPC', 'EDQUOT'])(
    'says %s as spool-full, wherever it comes, and leaves nothing',
    async (code) => {
      for (const step of ['create tmp', 'write ', 'fsync file', 'close', 'rename tmp', 'fsync incoming']) {
        let armed = true;
        const files = recording((call) => {
          if (!armed || !call.startsWith(step)) return null;
          armed = false;
          return systemError(code);
        });
        const spool = await openSpool(files.folder, files);
        const id = newId(t0);
        const work = spool.receive(id, line, body).then(() => spool.commit(id));
        await expect(work, step).rejects.toMatchObject({
          code: 'spool-full',
          message: expect.stringMatching(/no space.*free space/),
        });
        await spool.discard(id);
        expect(contents(files.folder), step).toEqual({ tmp: 0, incoming: 0, messages: 0, quarantine: 0 });
      }
    },
  );

  it('shows a message in incoming only when its commit can fail no more', async () => {
    const seen: string[][] = [];
    const files = recording();
    const { syncFolder } = files;
    files.syncFolder = async (path) => {
      if (path.endsWith('incoming')) seen.push(await spool.incoming());
      await syncFolder(path);
    };
    const spool = await openSpool(files.folder, files);
    const id = newId(t0);
    await spool.receive(id, line, body);
    await spool.commit(id);
    expect(seen).toEqual([[]]);
    expect(await spool.incoming()).toEqual([id]);
  });

  it('handIn: the daemon takes it only when it can fail no more, and never if it failed', async () => {
    let failing: Error | null = null;
    const files = recording((call) => (call === 'fsync incoming' ? failing : null));
    const daemon = await openSpool(files.folder);
    const seen: string[][] = [];
    const { syncFolder } = files;
    files.syncFolder = async (path) => {
      if (path.endsWith('incoming')) seen.push(await daemon.incoming());
      await syncFolder(path);
    };
    const spool = await openSpool(files.folder, files);
    const handIn = async () => {
      const id = newId(t0);
      await spool.receive(id, line, body);
      files.calls.length = 0;
      return {
        id,
        handed: await spool.handIn(id).then(
          () => null,
          (error: unknown) => error,
        ),
      };
    };
    const first = await handIn();
    expect(first.handed).toBeNull();
    expect(files.calls).toEqual(['link tmp/ID incoming/ID', 'fsync incoming', 'remove tmp/ID']);
    failing = systemError('EIO');
    const second = await handIn();
    expect(second.handed).toMatchObject({ code: 'EIO' });
    expect(seen).toEqual([[], [first.id]]);
    expect(await daemon.incoming()).toEqual([first.id]);
    failing = null;
    await spool.discard(second.id);
    expect(contents(files.folder)).toEqual({ tmp: 0, incoming: 1, messages: 0, quarantine: 0 });
    await expect(spool.handIn(second.id)).rejects.toMatchObject({ code: 'spool-missing' });
  });

  it('takes a message back that could not be made durable', async () => {
    const files = recording((call) => (call === 'fsync incoming' ? systemError('EIO') : null));
    const spool = await openSpool(files.folder, files);
    const id = newId(t0);
    await spool.receive(id, line, body);
    await expect(spool.commit(id)).rejects.toMatchObject({ code: 'EIO' });
    expect(await spool.incoming()).toEqual([]);
  });

  it("never touches another message's file", async () => {
    const spool = await openSpool(tempFolder());
    const id = newId(t0);
    await spool.receive(id, line, body);
    await expect(spool.receive(id, line, [Buffer.from('other')])).rejects.toMatchObject({ code: 'EEXIST' });
    await spool.commit(id);
    expect((await spool.read(id)).bytes.equals(whole)).toBe(true);
  });

  it.each(['../../etc/passwd', '', 'a/b', '0'.repeat(27), `${newId(t0)}\n`, '.'.repeat(26)])(
    'refuses the id %j',
    async (id) => {
      const folder = tempFolder();
      const spool = await openSpool(folder);
      for (const work of [
        spool.receive(id, line, body),
        spool.read(id),
        spool.settle(id),
        spool.remove(id),
      ]) {
        await expect(work).rejects.toMatchObject({ code: 'spool-id' });
      }
    },
  );
});

describe('each step again, after a crash in between', () => {
  const committed = async () => {
    const folder = tempFolder();
    const spool = await openSpool(folder);
    const id = newId(t0);
    await spool.receive(id, line, body);
    await spool.commit(id);
    return { folder, spool, id };
  };

  it('settle', async () => {
    const { folder, spool, id } = await committed();
    await spool.settle(id);
    await spool.settle(id);
    expect(contents(folder)).toEqual({ tmp: 0, incoming: 0, messages: 1, quarantine: 0 });
    expect((await spool.read(id)).bytes.equals(whole)).toBe(true);
    await spool.remove(id);
    await spool.remove(id);
    await expect(spool.settle(id)).rejects.toMatchObject({ code: 'spool-missing' });
    await expect(spool.read(id)).rejects.toMatchObject({ code: 'spool-missing', data: { id } });
  });

  it('discard', async () => {
    const { folder, spool, id } = await committed();
    await spool.discard(id);
    await spool.discard(id);
    expect(contents(folder)).toEqual({ tmp: 0, incoming: 0, messages: 0, quarantine: 0 });
    await expect(spool.commit(id)).rejects.toMatchObject({ code: 'spool-missing' });
  });

  it('discard does not reach what was taken in', async () => {
    const { spool, id } = await committed();
    await spool.settle(id);
    await spool.discard(id);
    expect(await spool.messages()).toEqual([id]);
  });

  it.each([false, true])('quarantine and restore (settled before: %s)', async (settled) => {
    const { folder, spool, id } = await committed();
    if (settled) await spool.settle(id);
    for (let n = 0; n < 2; n++) await spool.quarantine(id, 'opened twice,\nthe worker died');
    expect(await spool.quarantined()).toEqual([{ id, reason: 'opened twice, the worker died' }]);
    expect((await spool.read(id)).bytes.equals(whole)).toBe(true);
    for (let n = 0; n < 2; n++) await spool.restore(id);
    expect(contents(folder)).toEqual({ tmp: 0, incoming: 0, messages: 1, quarantine: 0 });
  });

  it('quarantine works on a full disk, without the reason', async () => {
    const files = recording((call) => (call.startsWith('create quarantine') ? systemError('ENOSPC') : null));
    const spool = await openSpool(files.folder, files);
    const id = newId(t0);
    await spool.receive(id, line, body);
    await spool.commit(id);
    await spool.quarantine(id, 'opened twice');
    expect(await spool.quarantined()).toEqual([{ id, reason: 'no reason was written down' }]);
  });

  it('quarantine of what is not there leaves no reason behind', async () => {
    const { folder, spool } = await committed();
    await expect(spool.quarantine(newId(t0), 'x')).rejects.toMatchObject({ code: 'spool-missing' });
    expect(readdirSync(join(folder, 'quarantine'))).toEqual([]);
  });

  it('the start removes what was never answered with 250', async () => {
    const { folder, spool, id } = await committed();
    const [old, fresh] = [newId(t0), newId(t0)];
    for (const one of [old, fresh]) await spool.receive(one, line, body);
    utimesSync(join(folder, 'tmp', old), new Date(t0), new Date(t0));
    await spool.cleanTmp(t0 + 1);
    expect(readdirSync(join(folder, 'tmp'))).toEqual([fresh]);
    await spool.cleanTmp();
    expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
    expect(await spool.incoming()).toEqual([id]);
  });
});

it('a start beside a command that has just moved its message on does not fail', async () => {
  const folder = tempFolder();
  const daemon = await openSpool(folder, {
    ...realFiles,
    // It moves between the look into the folder and the look at the file.
    list: async (path) => {
      const names = await realFiles.list(path);
      if (path.endsWith('tmp')) await command.handIn(id);
      return names;
    },
  });
  const command = await openSpool(folder);
  const id = newId(t0);
  await command.receive(id, line, body);
  await daemon.cleanTmp(0);
  expect(contents(folder)).toMatchObject({ tmp: 0, incoming: 1 });
});

describe('place', () => {
  it('puts composed mail into messages, durably', async () => {
    const files = recording();
    const spool = await openSpool(files.folder, files);
    const id = newId(t0);
    await spool.place(id, line, brandComposed(whole));
    expect(files.calls.slice(-4)).toEqual([
      'fsync file',
      'close',
      'rename tmp/ID messages/ID',
      'fsync messages',
    ]);
    expect(await spool.messages()).toEqual([id]);
  });
});

describe('listing', () => {
  it('gives ids oldest first and nothing else', async () => {
    const folder = tempFolder();
    const spool = await openSpool(folder);
    const ids = [newId(t0 + 2), newId(t0), newId(t0 + 1)];
    for (const id of ids) {
      await spool.receive(id, line, body);
      await spool.commit(id);
    }
    writeFileSync(join(folder, 'incoming', '.nfs0001'), '');
    mkdirSync(join(folder, 'incoming', 'lost+found'));
    expect(await spool.incoming()).toEqual([ids[1], ids[2], ids[0]]);
  });

  it('cannot open a spool that is no folder', async () => {
    const path = join(tempFolder(), 'spool');
    writeFileSync(path, '');
    await expect(openSpool(path)).rejects.toMatchObject({ code: 'spool-unwritable', data: { path } });
    expect(existsSync(join(path, 'tmp'))).toBe(false);
  });
});

describe('newId', () => {
  it('sorts by time, never repeats, and has the form of an id', () => {
    const ids = Array.from({ length: 1000 }, (_, n) => newId(t0 + n));
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(Array.from({ length: 1000 }, () => newId(t0))).size).toBe(1000);
    expect(ids.every(isSpoolId)).toBe(true);
    expect(newId(2 ** 48 - 1) > newId(t0)).toBe(true);
  });
});

describe('groupCommit', () => {
  /** A sync that ends when told to. */
  function manual() {
    const running: { resolve: () => void; reject: (error: Error) => void }[] = [];
    const sync = () => new Promise<void>((resolve, reject) => running.push({ resolve, reject }));
    return { running, ask: groupCommit(sync) };
  }
  const turns = async () => {
    for (let n = 0; n < 3; n++) await nextTurn();
  };

  it('serves all who ask before it begins, and makes later ones wait for the next', async () => {
    const { running, ask } = manual();
    const done: string[] = [];
    const first = [ask().then(() => done.push('a')), ask().then(() => done.push('b'))];
    await turns();
    expect(running).toHaveLength(1);
    const later = [ask().then(() => done.push('c')), ask().then(() => done.push('d'))];
    await turns();
    // c and d asked while the first was running: it may have missed their renames.
    expect(running).toHaveLength(1);
    running[0]?.resolve();
    await Promise.all(first);
    await turns();
    expect(done).toEqual(['a', 'b']);
    expect(running).toHaveLength(2);
    running[1]?.resolve();
    await Promise.all(later);
    expect(done).toEqual(['a', 'b', 'c', 'd']);
  });

  it('serves all who ask in one turn of the event loop', async () => {
    const { running, ask } = manual();
    const first = ask();
    for (let n = 0; n < 100; n++) await Promise.resolve();
    const second = ask();
    await turns();
    expect(running).toHaveLength(1);
    running[0]?.resolve();
    await Promise.all([first, second]);
  });

  it('fails those it served and nobody after them', async () => {
    const { running, ask } = manual();
    const first = ask();
    await turns();
    const second = ask();
    running[0]?.reject(systemError('EIO'));
    await expect(first).rejects.toThrow('EIO');
    await turns();
    running[1]?.resolve();
    await second;
  });

  it('needs fewer fsyncs than messages', async () => {
    const files = recording();
    const spool = await openSpool(files.folder, files);
    const ids = Array.from({ length: 40 }, () => newId(t0));
    await Promise.all(ids.map((id) => spool.receive(id, line, body)));
    await Promise.all(ids.map((id) => spool.commit(id)));
    expect(await spool.incoming()).toHaveLength(40);
    expect(files.calls.filter((call) => call === 'fsync incoming').length).toBeLessThan(20);
  });
});
