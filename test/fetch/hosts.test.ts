import { describe, expect, it } from 'vitest';
import { allowedUrl, hostPattern } from '../../src/fetch/hosts.ts';

const hosts = ['pki.example.org', '*.Example.net', 'ca.example.com:8080'];

describe('allowedUrl', () => {
  it.each([
    'http://pki.example.org/ca.crl',
    'https://pki.example.org/ca.crl?x=1',
    'HTTP://PKI.EXAMPLE.ORG:80/ca.crl',
    'https://pki.example.org:443/',
    'http://pki.example.org./ca.crl',
    'http://a.example.net/',
    'http://a.b.example.net/',
    'http://ca.example.com:8080/',
    'https://ca.example.com:8080/',
  ])('allows %s', (url) => expect(allowedUrl(hosts, url)).not.toBeNull());

  it.each([
    'http://example.org/',
    'http://evil.pki.example.org/',
    'http://pki.example.org.evil.example/',
    'http://evilpki.example.org/',
    'http://example.net/',
    'http://evilexample.net/',
    'http://pki.example.org:8080/',
    'http://pki.example.org:443/',
    'https://pki.example.org:80/',
    'http://ca.example.com/',
    'http://pki.example.org@evil.example/',
    'http://user@pki.example.org/',
    'http://user:word@pki.example.org/',
    'http://evil.example/#pki.example.org',
    'http://evil.example\\@pki.example.org/',
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://[::1]/',
    'ldap://pki.example.org/',
    'ftp://pki.example.org/',
    'file:///etc/passwd',
    'pki.example.org/ca.crl',
    '',
    `http://pki.example.org/${'a'.repeat(2000)}`,
  ])('does not allow %s', (url) => expect(allowedUrl(hosts, url)).toBeNull());

  it('allows nothing by an empty list', () => {
    expect(allowedUrl([], 'http://pki.example.org/ca.crl')).toBeNull();
  });
});

describe('hostPattern', () => {
  it.each(['pki.example.org', '*.example.org', 'a:8080', 'ca-1.example.org:65535', '192.0.2.1'])(
    'takes %s',
    (entry) => expect(entry).toMatch(hostPattern),
  );

  it.each([
    '*',
    '*.',
    '.example.org',
    'a.*.org',
    'http://a',
    'a/b',
    'a:',
    'a:0',
    'a b',
    '[::1]',
    'a_b',
    '-a',
  ])('refuses %s', (entry) => expect(entry).not.toMatch(hostPattern));
});
