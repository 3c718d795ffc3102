import { describe, expect, it } from 'vitest';
import { errnoOf, Fault, faultsOf, isFault, wordsOf } from '../../src/base/errors.ts';

const fault = faultsOf({
  'key-mode': (d: { path: string }) => `${d.path} may be read by others: chmod 600 it`,
  'disk-full': (d: { free: number }) => `${d.free} octets are left`,
});

describe('faultsOf', () => {
  it('makes errors with a code, a sentence and the data', () => {
    const cause = new Error('EACCES');
    const made = fault('key-mode', { path: 'private_key' }, { cause });
    expect(made).toBeInstanceOf(Fault);
    expect(made).toBeInstanceOf(Error);
    expect({ ...made, message: made.message, name: made.name }).toMatchObject({
      name: 'Fault',
      code: 'key-mode',
      message: 'private_key may be read by others: chmod 600 it',
      data: { path: 'private_key' },
    });
    expect(made.cause).toBe(cause);
  });

  it('tells faults from other errors, and one code from another', () => {
    const made = fault('disk-full', { free: 0 });
    expect([isFault(made), isFault(made, 'disk-full'), isFault(made, 'key-mode')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(isFault(Object.assign(new Error('x'), { code: 'disk-full' }), 'disk-full')).toBe(false);
    expect(isFault(null)).toBe(false);
  });
});

describe('errnoOf', () => {
  it.each([
    ['a failed system call', Object.assign(new Error('no'), { code: 'ENOSPC' }), 'ENOSPC'],
    ['an error of Node', Object.assign(new Error('no'), { code: 'ERR_INVALID_ARG_TYPE' }), null],
    ['a fault', fault('disk-full', { free: 0 }), null],
    ['an error without a code', new Error('no'), null],
    ['no error', { code: 'ENOSPC' }, null],
  ])('%s', (_, error, errno) => expect(errnoOf(error)).toBe(errno));
});

describe('wordsOf', () => {
  it('is one line and not endless', () => {
    expect(wordsOf(new Error('first\n  second\r\nthird'))).toBe('first second third');
    expect(wordsOf('x'.repeat(10_000))).toHaveLength(500);
    expect(wordsOf(new Error('no'))).not.toContain('at ');
  });
});
