import { beforeAll, describe, expect, it } from 'vitest';
import { parseCapabilities } from '../../src/cms/capabilities.ts';
import { chooseAlgorithms } from '../../src/smime/choose.ts';
import { readSigned } from '../cms/forge.ts';
import { needs } from '../kit/needs.ts';
import { splitSigned } from '../kit/smime-mime.ts';
import { entity } from './attempt.ts';
import { type PeerName, peerNames, peers } from './peers.ts';
import { makePeople, type People } from './people.ts';

// The measurement behind the deviation from RFC 8551 2.7.1.1 (the first capability of the list, where reseal takes the
// strongest): what programs list in what they sign, in their order. A program that lists otherwise fails here: then the
// reason given in test/conformance/requirements.yaml is to be looked at again.

const listed: Readonly<Record<PeerName, string | null>> = {
  OpenSSL: 'aes-256-cbc aes-192-cbc aes-128-cbc des-ede3-cbc',
  NSS: 'aes-256-cbc aes-128-cbc des-ede3-cbc',
  gpgsm: 'aes-128-cbc des-ede3-cbc',
  'Bouncy Castle': null,
  'Crypt::SMIME': 'aes-256-cbc aes-192-cbc aes-128-cbc des-ede3-cbc',
};

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

describe.each(peerNames)('%s', (name) => {
  const { what, present, make } = peers[name];
  it.skipIf(!needs(what, present()))('lists its strongest cipher first, and no GCM', async () => {
    const peer = await make(people);
    try {
      const step = { kind: 'sign', form: 'detached', key: 'rsa' } as const;
      const message = await peer.sign(entity, step, people.correspondents.rsa);
      const [signer] = readSigned(splitSigned(message).signatureDer).signers;
      const capabilities = signer?.capabilities ? parseCapabilities(signer.capabilities) : null;
      expect(capabilities?.ciphers.join(' ') ?? null).toBe(listed[name]);
      if (capabilities === null) return;
      // So the first one and the strongest one are the same choice.
      const post = { unknown: 'aes-128-cbc', receivedBits: 0 } as const;
      const choice = chooseAlgorithms({ keyType: 'rsa' }, capabilities, {}, post);
      expect(choice?.cipher).toBe(capabilities.ciphers[0]);
      expect(capabilities.ciphers.filter((cipher) => cipher.endsWith('gcm'))).toEqual([]);
    } finally {
      await peer.close?.();
    }
  });
});
