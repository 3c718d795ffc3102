import { describe, expect, it } from 'vitest';
import { addressKind, checkListName, furtherAddress, listEndings } from '../../src/policy/list-name.ts';
import { nearest } from '../../src/policy/nearest.ts';

describe('checkListName', () => {
  it.each([
    'team@lists.example',
    'a@x',
    'a-b.c_d2@lists.example',
    'owner@lists.example',
    'coowner@lists.example',
    `${'x'.repeat(55)}@lists.example`,
    'team@xn--bcher-kva.example',
  ])('takes %s', (address) => expect(checkListName(address)).toBe(address));

  it.each([
    ['team-owner@lists.example', 'belong to the list before'],
    ['team-sendcert@lists.example', 'belong to the list before'],
    ['team-request@lists.example', 'belong to the list before'],
    ['team-editor@lists.example', 'belong to the list before'],
    ['team-bounces@lists.example', 'belong to the list before'],
    ['postmaster@lists.example', 'for itself'],
    ['mailer-daemon@lists.example', 'for itself'],
    ['Team@lists.example', 'lower-case'],
    ['team@Lists.example', 'domain'],
    ['te+am@lists.example', 'lower-case'],
    ['../team@lists.example', 'lower-case'],
    ['te/am@lists.example', 'lower-case'],
    ['.team@lists.example', 'lower-case'],
    ['team..x@lists.example', 'lower-case'],
    ['team-@lists.example', 'lower-case'],
    ['téam@lists.example', 'lower-case'],
    ['team\0@lists.example', 'lower-case'],
    ['team@x@lists.example', 'lower-case'],
    ['team@lists..example', 'domain'],
    ['team@-x.example', 'domain'],
    ['team@lists.example/..', 'domain'],
    ['team@lists.example\n', 'domain'],
    ['team', 'name and domain'],
    ['@lists.example', 'name and domain'],
    ['team@', 'name and domain'],
    ['', 'name and domain'],
    [`${'x'.repeat(56)}@lists.example`, '55 characters'],
  ])('refuses %j: %s', (address, why) => {
    expect(() => checkListName(address)).toThrow(
      expect.objectContaining({ code: 'list-name', message: expect.stringContaining(why) }),
    );
  });
});

describe('addressKind', () => {
  it.each([
    ['team@lists.example', 'team@lists.example', 'post'],
    ['team-owner@lists.example', 'team@lists.example', 'owner'],
    ['team-sendcert@lists.example', 'team@lists.example', 'sendcert'],
    ['my-team-request@lists.example', 'my-team@lists.example', 'request'],
    ['team-bounces@lists.example', 'team@lists.example', 'bounces'],
    ['team-editor@lists.example', 'team@lists.example', 'editor'],
    ['coowner@lists.example', 'coowner@lists.example', 'post'],
    ['-owner@lists.example', '-owner@lists.example', 'post'],
    ['owner@lists.example', 'owner@lists.example', 'post'],
    ['team@x-owner', 'team@x-owner', 'post'],
    ['team-owner', 'team-owner', 'post'],
  ])('%s → %s, %s', (address, base, kind) => expect(addressKind(address)).toEqual({ base, kind }));

  it('knows the endings it is given only', () => {
    expect(addressKind('team-owner@x', ['request'])).toEqual({ base: 'team-owner@x', kind: 'post' });
  });

  it.each(listEndings)('undoes furtherAddress for -%s', (ending) => {
    expect(addressKind(furtherAddress('team@lists.example', ending))).toEqual({
      base: 'team@lists.example',
      kind: ending,
    });
  });
});

describe('nearest', () => {
  it.each([
    ['sise', ['size', 'spool'], 'size'],
    ['SIZE', ['size'], 'size'],
    ['relay.hots', ['relay.host', 'relay.port'], 'relay.host'],
    ['xyz', ['size', 'spool'], null],
    ['', ['size'], null],
    ['size', [], null],
  ])('%j among %j: %s', (name, known, expected) => expect(nearest(name, known)).toBe(expected));
});
