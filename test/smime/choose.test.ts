import { describe, expect, it } from 'vitest';
import type { Capabilities } from '../../src/cms/capabilities.ts';
import type { ContentCipher } from '../../src/pki/algorithms.ts';
import type { KeyType } from '../../src/pki/certificate.ts';
import { type AlgorithmPins, chooseAlgorithms } from '../../src/smime/choose.ts';

const can = (ciphers: ContentCipher[], oaep: Capabilities['oaep'] = []): Capabilities => ({ ciphers, oaep });
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
    const choice = chooseAlgorithms({ keyType }, capabilities, pins);
    expect(choice && `${choice.cipher} ${choice.keyTransport}`).toBe(expected);
  });

  it("takes the list's cipher for the unknown, and only for them", () => {
    expect(chooseAlgorithms({ keyType: 'rsa' }, null, nothing, 'aes-128-cbc')?.cipher).toBe('aes-128-cbc');
    expect(chooseAlgorithms({ keyType: 'rsa' }, can(['aes-256-cbc']), nothing, 'aes-128-cbc')?.cipher).toBe(
      'aes-256-cbc',
    );
  });
});
