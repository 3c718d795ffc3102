import { expect, it } from 'vitest';
import { ClientCounts, isNetwork } from '../../src/smtp/client-counts.ts';

it.each([
  ['one IPv4 address', '192.0.2.1', '192.0.2.1', false],
  ['the same as IPv6 sockets say it', '192.0.2.1', '::ffff:192.0.2.1', false],
  ['another IPv4 address', '192.0.2.1', '192.0.2.2', true],
  ['two addresses of one IPv6 network', '2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', false],
  ['written out and not', '2001:db8::1', '2001:db8:0:0:1:2:3:4', false],
  ['two IPv6 networks', '2001:db8:1:2::1', '2001:db8:1:3::1', true],
  ['IPv6 on this machine', '::1', '::1', false],
  ['a link-local address with its interface', 'fe80::1%eth0', 'fe80::2%eth0', false],
])('%s: a second client may stay beside the first: %s %s %s', (_, first, second, stays) => {
  const counts = new ClientCounts(1, []);
  expect(counts.enter(first)).toBe(true);
  expect(counts.enter(second)).toBe(stays);
});

it('a place is free again when its client leaves, also one that could not stay', () => {
  const counts = new ClientCounts(2, []);
  const enter = () => counts.enter('192.0.2.1');
  expect([enter(), enter(), enter()]).toEqual([true, true, false]);
  counts.leave('192.0.2.1');
  expect(enter()).toBe(false);
  counts.leave('192.0.2.1');
  counts.leave('192.0.2.1');
  expect(enter()).toBe(true);
});

it.each([
  ['192.0.2.1', '192.0.2.1'],
  ['192.0.2.1', '::ffff:192.0.2.1'],
  ['192.0.2.0/24', '192.0.2.77'],
  ['2001:db8::/32', '2001:db8:7::1'],
])('%s is exempt: %s may come any number of times', (network, address) => {
  const counts = new ClientCounts(1, [network]);
  expect([counts.enter(address), counts.enter(address)]).toEqual([true, true]);
  expect([counts.enter('198.51.100.1'), counts.enter('198.51.100.1')]).toEqual([true, false]);
});

it('a local client on a Unix socket has no address and no limit', () => {
  const counts = new ClientCounts(1, []);
  expect([counts.enter(undefined), counts.enter(undefined)]).toEqual([true, true]);
});

it.each([
  '',
  'localhost',
  '192.0.2',
  '192.0.2.0/33',
  '192.0.2.0/',
  '192.0.2.0/8/8',
  '2001:db8::/129',
  '::/x',
])('"%s" is no network', (text) => expect(isNetwork(text)).toBe(false));
