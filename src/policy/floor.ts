import type { Floor } from '../pki/algorithms.ts';
import type { ListPolicy } from './settings.ts';

/** The floor that a policy sets for signatures, keys and ciphers, in the form that the cryptographic stages take. */
export function floorOf(policy: ListPolicy): Floor {
  return Object.freeze({
    rsaBits: policy['minimum.rsa'],
    digest: policy['minimum.digest'],
    cipherBits: policy['minimum.cipher'],
    // Not `weak.action === 'mark'`: to be marked, weak things must still be called weak, and copies keep the floor (RULES 5).
    allowWeak: false,
  });
}
