import { describe, expect, it } from 'vitest';
import type { Capabilities } from '../../src/cms/capabilities.ts';
import type { ContentCipher } from '../../src/pki/algorithms.ts';
import type { KeyType } from '../../src/pki/certificate.ts';
import { type AlgorithmPins, chooseAlgorithms, isCostly, type PostCiphers } from '../../src/smime/choose.ts';

const can = (
  ciphers: ContentCipher[],
  oaep: Capabilities['oaep'] = [],
  agreements: Capabilities['agreements'] = [],
): Capabilities => ({ ciphers, oaep, agreements });
const wrap256 = 'id-aes256-wrap';
const inClear: PostCiphers = { unknown: 'aes-256-cbc', receivedBits: 0 };
const nothing: AlgorithmPins = {};

// RULES 11.
describe('chooseAlgorithms', () => {
  it.each<[string, KeyType, Capabilities | null, AlgorithmPins, string | null]>([
    ['the unknown', 'rsa', null, nothing, 'aes-256-cbc rsa'],
    ['EC, unknown', 'ec', null, nothing, 'aes-256-cbc ecdh'],
    ['X25519', 'x25519', null, nothing, 'aes-256-cbc ecdh'],
    [
      'GCM, whatever the order',
      'rsa',
      can(['aes-128-cbc', 'aes-256-cbc', 'aes-256-gcm']),
      nothing,
      'aes-256-gcm rsa',
    ],
    ['CBC only', 'rsa', can(['aes-128-cbc', 'aes-256-cbc']), nothing, 'aes-256-cbc rsa'],
    ['AES-128 only', 'rsa', can(['aes-128-cbc']), nothing, 'aes-128-cbc rsa'],
    ['AES-192 only', 'rsa', can(['aes-192-cbc']), nothing, 'aes-192-cbc rsa'],
    ['AES-128-GCM only', 'rsa', can(['aes-128-gcm']), nothing, 'aes-128-gcm rsa'],
    ['3DES only: not that', 'rsa', can(['des-ede3-cbc']), nothing, 'aes-256-cbc rsa'],
    ['capabilities that say nothing', 'rsa', can([]), nothing, 'aes-256-cbc rsa'],
    [
      'OAEP as he says',
      'rsa',
      can(['aes-256-gcm'], ['sha512', 'sha256']),
      nothing,
      'aes-256-gcm rsa-oaep-sha512',
    ],
    ['OAEP for an EC key means nothing', 'ec', can(['aes-256-gcm'], ['sha256']), nothing, 'aes-256-gcm ecdh'],
    [
      'the key agreement that he names, with the key wrap of the cipher',
      'ec',
      can(
        ['aes-256-cbc'],
        [],
        [
          { scheme: 'ecdh-sha256kdf', wrap: 'id-aes128-wrap' },
          { scheme: 'ecdh-sha512kdf', wrap: wrap256 },
          { scheme: 'ecdh-sha256kdf', wrap: wrap256 },
        ],
      ),
      nothing,
      'aes-256-cbc ecdh-sha512kdf',
    ],
    [
      'a key agreement for any key wrap',
      'x448',
      can(['aes-128-cbc'], [], [{ scheme: 'ecdh-hkdf-sha256', wrap: null }]),
      nothing,
      'aes-128-cbc ecdh-hkdf-sha256',
    ],
    [
      'HKDF for an EC key: not that (RFC 8418)',
      'ec',
      can([], [], [{ scheme: 'ecdh-hkdf-sha256', wrap: wrap256 }]),
      nothing,
      'aes-256-cbc ecdh',
    ],
    [
      'the cofactor scheme for X25519: not that (RFC 8418)',
      'x25519',
      can([], [], [{ scheme: 'ecdh-cofactor-sha256kdf', wrap: wrap256 }]),
      nothing,
      'aes-256-cbc ecdh',
    ],
    [
      'a key agreement for an RSA key means nothing',
      'rsa',
      can([], [], [{ scheme: 'ecdh-sha256kdf', wrap: wrap256 }]),
      nothing,
      'aes-256-cbc rsa',
    ],
    ['a key bound to OAEP', 'rsa-oaep', null, nothing, 'aes-256-cbc rsa-oaep-sha256'],
    [
      'a key bound to OAEP that says which',
      'rsa-oaep',
      can([], ['sha1']),
      nothing,
      'aes-256-cbc rsa-oaep-sha1',
    ],
    [
      'a key bound to OAEP, pinned to v1.5',
      'rsa-oaep',
      null,
      { keyTransport: 'rsa' },
      'aes-256-cbc rsa-oaep-sha256',
    ],
    ['a key for signatures only', 'rsa-pss', can(['aes-256-gcm'], ['sha256']), nothing, null],
    ['Ed25519', 'ed25519', null, nothing, null],
    ['a key of no known kind', 'other', null, nothing, null],
    ['pinned cipher', 'rsa', can(['aes-256-gcm']), { cipher: 'aes-128-cbc' }, 'aes-128-cbc rsa'],
    ['pinned transport', 'rsa', null, { keyTransport: 'rsa-oaep-sha256' }, 'aes-256-cbc rsa-oaep-sha256'],
    ['pinned away from OAEP', 'rsa', can([], ['sha256']), { keyTransport: 'rsa' }, 'aes-256-cbc rsa'],
    ['an RSA pin for an EC key', 'ec', null, { keyTransport: 'rsa' }, 'aes-256-cbc ecdh'],
  ])('%s', (_, keyType, capabilities, pins, expected) => {
    const choice = chooseAlgorithms({ keyType }, capabilities, pins, inClear);
    expect(choice && `${choice.cipher} ${choice.keyTransport}`).toBe(expected);
  });

  const strong = (unknown: ContentCipher, receivedBits: number): PostCiphers => ({ unknown, receivedBits });
  it.each<[string, Capabilities | null, AlgorithmPins, PostCiphers, string]>([
    ["the list's cipher, for the unknown", null, nothing, strong('aes-128-cbc', 0), 'aes-128-cbc'],
    ['and for them only', can(['aes-256-cbc']), nothing, strong('aes-128-cbc', 0), 'aes-256-cbc'],
    ['raised to what the post came with', null, nothing, strong('aes-128-cbc', 256), 'aes-256-cbc'],
    ['no higher than that', null, nothing, strong('aes-128-cbc', 192), 'aes-192-cbc'],
    ['in its kind', null, nothing, strong('aes-128-gcm', 256), 'aes-256-gcm'],
    ['never lowered', null, nothing, strong('aes-256-cbc', 128), 'aes-256-cbc'],
    ['3DES does not lower it', null, nothing, strong('aes-128-cbc', 112), 'aes-128-cbc'],
    ['listed weaker', can(['aes-128-cbc']), nothing, strong('aes-256-cbc', 256), 'aes-128-cbc weaker'],
    [
      'pinned weaker',
      can(['aes-256-gcm']),
      { cipher: 'aes-192-cbc' },
      strong('aes-256-cbc', 256),
      'aes-192-cbc weaker',
    ],
    ['listed as strong', can(['aes-128-gcm']), nothing, strong('aes-256-cbc', 128), 'aes-128-gcm'],
  ])('never below the post where the member can do as much: %s', (_, capabilities, pins, post, expected) => {
    const choice = chooseAlgorithms({ keyType: 'rsa' }, capabilities, pins, post);
    expect(`${choice?.cipher}${choice?.weaker ? ' weaker' : ''}`).toBe(expected);
  });
});

describe('a key is costly', () => {
  const key = (keyType: KeyType, rsaBits: number | null = null, curve: string | null = null) =>
    isCostly({ keyType, rsaBits, curve });
  it('on curves other than P-256, and when it is a long one', () => {
    expect([key('rsa', 2048), key('rsa', 3072), key('ec', null, 'prime256v1'), key('x25519')]).not.toContain(
      true,
    );
    expect([
      key('rsa', 4096),
      key('rsa-oaep', 4096),
      key('ec', null, 'secp384r1'),
      key('ec', null, 'brainpoolP256r1'),
      key('x448'),
    ]).not.toContain(false);
  });
});
