import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressKind } from '../../src/policy/list-name.ts';
import { isOwnSender, readVerp, verpSender } from '../../src/policy/verp.ts';

const bounces = 'team-bounces@lists.example';
const secret = Buffer.alloc(32, 7);
const message = '01hz';

describe('a VERP sender', () => {
  it('is LIST-bounces+tag=name=domain', () => {
    expect(verpSender(secret, { bounces, member: 'bob@example.org', message })).toMatch(
      /^team-bounces\+[a-z2-7]{8}=bob=example\.org@lists\.example$/,
    );
  });

  it('is known again for this member, list and message, in any case; with this secret only', () => {
    const sender = verpSender(secret, { bounces, member: 'bob@example.org', message }) ?? '';
    const read = readVerp(sender.toUpperCase().toLowerCase());
    if (!read) throw new Error('it is a VERP sender');
    const bobs = { member: 'bob@example.org', message };
    expect(isOwnSender(secret, read, bobs)).toBe(true);
    expect(isOwnSender(secret, read, { ...bobs, message: 'another' })).toBe(false);
    expect(isOwnSender(Buffer.alloc(32, 8), read, bobs)).toBe(false);
    expect(isOwnSender(secret, read, { ...bobs, member: 'eve@example.org' })).toBe(false);
    expect(isOwnSender(secret, { ...read, bounces: 'other-bounces@lists.example' }, bobs)).toBe(false);
    expect(isOwnSender(secret, { ...read, tag: 'aaaaaaaa' }, bobs)).toBe(false);
  });

  it('names the member again, whatever his address', () => {
    const name = fc.stringMatching(/^[a-z0-9+=_-]{1,20}(\.[a-z0-9+=]{1,9})?$/);
    fc.assert(
      fc.property(name, (local) => {
        const member = `${local}@mx.example.org`;
        const sender = verpSender(secret, { bounces, member, message }) ?? '';
        expect(sender.split('@')[0]?.length).toBeLessThanOrEqual(64);
        expect(readVerp(sender)).toMatchObject({ bounces, member });
        expect(addressKind(sender)).toEqual({ base: 'team@lists.example', kind: 'bounces' });
      }),
    );
  });

  it.each([
    ['too long for a local part', `${'b'.repeat(50)}@example.org`],
    ['in need of SMTPUTF8', 'zo\u00eb@example.org'],
    ['in need of quotes', '"b:b"@example.org'],
  ])('leaves out an address that is %s', (_, member) => {
    const sender = verpSender(secret, { bounces, member, message }) ?? '';
    expect(sender).toMatch(/^team-bounces\+[a-z2-7]{8}@lists\.example$/);
    const read = readVerp(sender);
    expect(read).toMatchObject({ bounces, member: null });
    expect(read && isOwnSender(secret, read, { member, message })).toBe(true);
    expect(read && isOwnSender(secret, read, { member: 'bob@example.org', message })).toBe(false);
    expect(addressKind(sender)).toEqual({ base: 'team@lists.example', kind: 'bounces' });
  });

  it('is none for a list whose own name is too long for a tag', () => {
    const long = `${'t'.repeat(48)}-bounces@lists.example`;
    expect(verpSender(secret, { bounces: long, member: 'bob@example.org', message })).toBeNull();
  });

  it.each([
    'team-bounces@lists.example',
    'team+aaaaaaaa=bob=example.org@lists.example',
    'team-owner+aaaaaaaa=bob=example.org@lists.example',
    'team-bounces+bob=example.org@lists.example',
    'team-bounces+aaaaaaaa=bob@lists.example',
    'team-bounces+aaaaaaaa==@lists.example',
  ])('%s names nobody', (address) => {
    expect(readVerp(address)).toBeNull();
  });
});
