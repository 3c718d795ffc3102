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
    expect(isOwnSender(secret, read, message)).toBe(true);
    expect(isOwnSender(secret, read, 'another')).toBe(false);
    expect(isOwnSender(Buffer.alloc(32, 8), read, message)).toBe(false);
    expect(isOwnSender(secret, { ...read, member: 'eve@example.org' }, message)).toBe(false);
    expect(isOwnSender(secret, { ...read, bounces: 'other-bounces@lists.example' }, message)).toBe(false);
    expect(isOwnSender(secret, { ...read, tag: 'aaaaaaaa' }, message)).toBe(false);
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
  ])('is none for an address that is %s', (_, member) => {
    expect(verpSender(secret, { bounces, member, message })).toBeNull();
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
