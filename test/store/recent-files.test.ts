import { describe, expect, it } from 'vitest';
import { gathered } from '../../src/store/gathered.ts';
import { RecentFiles } from '../../src/store/recent-files.ts';

const kept = (files: RecentFiles, ids: number) =>
  Array.from({ length: ids }, (_, n) => n).filter((n) => files.get(String(n)) !== null);

describe('files that were written lately', () => {
  it('are kept up to 16 MB, the newest ones', () => {
    const files = new RecentFiles();
    for (let n = 0; n < 500; n++) files.put(String(n), Buffer.alloc(50_000, n));
    const ids = kept(files, 500);
    expect(ids).toEqual(Array.from({ length: 335 }, (_, n) => 165 + n));
    expect(files.get('499')).toEqual(Buffer.alloc(50_000, 499));
  });

  it('are counted right when one is put again, forgotten, or forgotten twice', () => {
    const files = new RecentFiles();
    for (let n = 0; n < 1000; n++) files.put('same', Buffer.alloc(60_000, n));
    for (let n = 0; n < 1000; n++) {
      files.put('other', Buffer.alloc(60_000));
      files.forget('other');
      files.forget('other');
    }
    expect(files.get('same')).not.toBeNull();
    for (let n = 0; n < 270; n++) files.put(String(n), Buffer.alloc(60_000));
    expect(files.get('same')).not.toBeNull();
    for (let n = 270; n < 280; n++) files.put(String(n), Buffer.alloc(60_000));
    expect(files.get('same')).toBeNull();
  });

  it('are not kept if they are large, and an older one of that id is no longer true', () => {
    const files = new RecentFiles();
    files.put('a', Buffer.from('old'));
    files.put('a', Buffer.alloc(70_000));
    expect(files.get('a')).toBeNull();
  });

  it('do not change with the bytes that were given or got', () => {
    const files = new RecentFiles();
    const bytes = Buffer.from('text');
    files.put('a', bytes);
    bytes.fill(0);
    files.get('a')?.fill(0);
    expect(files.get('a')).toEqual(Buffer.from('text'));
  });
});

describe('gathered', () => {
  const all = async (chunks: readonly Buffer[]) => {
    const found: Buffer[] = [];
    for await (const one of gathered(chunks)) found.push(one);
    return found;
  };

  it.each([
    [0, 0, []],
    [1, 10, [10]],
    [5, 10_000, [50_000]],
    [7, 10_000, [70_000]],
    [8, 10_000, [70_000, 10_000]],
    [2, 200_000, [200_000, 200_000]],
  ])('%i chunks of %i octets', async (count, size, sizes) => {
    const chunks = Array.from({ length: count }, (_, n) => Buffer.alloc(size, n + 1));
    const found = await all(chunks);
    expect(found.map((one) => one.length)).toEqual(sizes);
    expect(Buffer.concat(found).equals(Buffer.concat(chunks))).toBe(true);
  });
});
