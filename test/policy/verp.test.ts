import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressKind } from '../../src/policy/list-name.ts';
import { readVerp, verpSender } from '../../src/policy/verp.ts';

const bounces = 'team-bounces@lists.example';

describe('a VERP sender', () => {
  it('is LIST-bounces+name=domain, as Mailman and Sympa write it', () => {
    expect(verpSender(bounces, 'bob@example.org')).toBe('team-bounces+bob=example.org@lists.example');
  });

  it('names the member again, whatever his address', () => {
    const name = fc.stringMatching(/^[a-z0-9+=_-]{1,20}(\.[a-z0-9+=]{1,9})?$/);
    fc.assert(
      fc.property(name, (local) => {
        const member = `${local}@mx.example.org`;
        const sender = verpSender(bounces, member) ?? '';
        expect(readVerp(sender)).toEqual({ bounces, member });
        expect(addressKind(sender)).toEqual({ base: 'team@lists.example', kind: 'bounces' });
      }),
    );
  });

  it.each([
    ['too long for a local part', `${'b'.repeat(50)}@example.org`],
    ['in need of SMTPUTF8', 'zo\u00eb@example.org'],
    ['in need of quotes', '"b:b"@example.org'],
  ])('is none for an address that is %s', (_, member) => {
    expect(verpSender(bounces, member)).toBeNull();
  });

  it.each([
    'team-bounces@lists.example',
    'team+bob=example.org@lists.example',
    'team-owner+bob=example.org@lists.example',
    'team-bounces+bob@lists.example',
    'team-bounces+=@lists.example',
  ])('%s names nobody', (address) => {
    expect(readVerp(address)).toBeNull();
  });
});
