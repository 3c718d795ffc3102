import { describe, expect, it } from 'vitest';
import { isPublicAddress } from '../../src/fetch/addresses.ts';

describe('isPublicAddress', () => {
  it.each([
    ['this network', '0.0.0.0 0.255.255.255'],
    ['private', '10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255'],
    ['carrier-grade NAT', '100.64.0.1 100.127.255.255'],
    ['loopback', '127.0.0.1 127.1.2.3 127.255.255.255'],
    ['link-local', '169.254.0.1 169.254.169.254'],
    ['protocol assignments', '192.0.0.1 192.0.0.170 192.88.99.1'],
    ['AS112, AMT', '192.31.196.1 192.52.193.1 192.175.48.1 2620:4f:8000::1'],
    ['documentation', '192.0.2.1 198.51.100.7 203.0.113.9 2001:db8::1 3fff::1'],
    ['benchmarks', '198.18.0.1 198.19.255.255'],
    ['multicast', '224.0.0.1 239.255.255.255 ff02::1'],
    ['reserved and broadcast', '240.0.0.1 255.255.255.255'],
    ['unspecified and loopback', ':: ::1'],
    ['IPv4-mapped', '::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:7f00:1'],
    ['IPv4-compatible and translated', '::127.0.0.1 ::ffff:0:127.0.0.1'],
    ['NAT64', '64:ff9b::7f00:1 64:ff9b:1::1'],
    ['discard', '100::1'],
    ['Teredo, ORCHID, protocol assignments', '2001::1 2001:10::1 2001:20::1 2001:1ff::1'],
    ['6to4', '2002:7f00:1:: 2002:808:808::1'],
    ['unique local', 'fc00::1 fd12:3456::1'],
    ['link-local and site-local', 'fe80::1 febf::1 fec0::1'],
    ['with a zone', 'fe80::1%eth0 2a00::1%1'],
    ['no address', '127.0.0 1 0x7f.1 localhost'],
  ])('is false for %s', (_, addresses) => {
    expect(addresses.split(' ').filter(isPublicAddress)).toEqual([]);
  });

  it('is true beside those blocks', () => {
    const open =
      '1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.1 192.0.1.1 192.0.3.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255 2001:200::1 2001:4860::1 2003::1 2620:4f:8001::1 2a00:1450::1 3ffe::1';
    expect(open.split(' ').filter((address) => !isPublicAddress(address))).toEqual([]);
  });
});
