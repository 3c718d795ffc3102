import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../kit/needs.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, cmsOf, mailOf } from '../kit/smime-mime.ts';
import { entity, peerToReseal, resealOpens, resealSeals, resealSigns, resealToPeer } from './attempt.ts';
import { documentOf, documentPath, withoutVersions } from './document.ts';
import { complaint } from './judge.ts';
import { changedContent, directions, matrix, unknownAuthority } from './matrix.ts';
import { type EncryptStep, operationNames, operations, type SignStep } from './operations.ts';
import { type Peer, type PeerName, peerNames, peers } from './peers.ts';
import { makePeople, type People } from './people.ts';

let people: People;
const versions = new Map<PeerName, string>();
beforeAll(async () => {
  people = await makePeople();
});

const cells = operationNames.flatMap((operation) =>
  directions.map((direction) => [operation, direction] as const),
);
const attempts = { 'peer to reseal': peerToReseal, 'reseal to peer': resealToPeer };

const byRsa: SignStep = { kind: 'sign', form: 'detached', key: 'rsa' };
const withGcm: EncryptStep = { kind: 'encrypt', cipher: 'aes-256-gcm', transport: 'rsa', key: 'rsa' };

/** The message with another day in its text. */
const changed = (message: Buffer): Buffer => {
  const text = message.toString('latin1');
  expect(text).toContain('on Friday');
  return Buffer.from(text.replace('on Friday', 'on Monday'), 'latin1');
};

/** The message with another bit in its tag: the last octets but for the ends of what BER leaves open. */
const damaged = (message: Buffer): Buffer => {
  const der = cmsOf(message);
  const at = der.length - 12;
  der.writeUInt8(der.readUInt8(at) ^ 1, at);
  return mailOf([], cmsEntity(der, 'authEnveloped-data'));
};

const mailFrom = (who: Identity, inside: Buffer): Buffer => mailOf([['From', who.address]], inside);

describe.each(peerNames)('%s', (name) => {
  const { what, present, make } = peers[name];
  describe.skipIf(!needs(what, present()))('both ways', () => {
    let peer: Peer;
    beforeAll(async () => {
      peer = await make(people);
      versions.set(name, peer.version);
    });
    afterAll(() => peer?.close?.());

    it.each(cells)('%s, %s', async (operation, direction) => {
      const outcome = matrix[operation][name][direction];
      const result = await attempts[direction](peer, operations[operation], people);
      expect(complaint(outcome, result, `${name}: ${operation}, ${direction}`, peer.version)).toBeNull();
    });

    it('reseal sees that what it signed was changed', async () => {
      const author = people.correspondents.rsa;
      const message = changed(await peer.sign(entity, byRsa, author));
      const report = resealOpens(people, author, people.lists.rsa, message);
      expect(report).toMatchObject({ verdict: 'invalid', author: null });
    });

    it('it sees that what reseal signed was changed', async () => {
      const message = mailFrom(people.lists.rsa, resealSigns(entity, byRsa, people.lists.rsa));
      expect(await peer.verify(message)).toMatchObject({ intact: true, trusted: true });
      const verdict = await peer.verify(changed(message));
      expect(verdict).toMatchObject({ intact: false, trusted: false });
      expect(verdict.said).toMatch(changedContent[name]);
    });

    it('it does not trust everybody', async () => {
      const message = mailFrom(people.stranger, resealSigns(entity, byRsa, people.stranger));
      const verdict = await peer.verify(message);
      // NSS does not look at the signature of a certificate that it does not trust.
      expect(verdict).toMatchObject({ intact: name !== 'NSS', trusted: false });
      expect(verdict.said).toMatch(unknownAuthority[name]);
    });

    const gcm = matrix['encrypt AES-256-GCM, RSA v1.5'][name];
    if (gcm['peer to reseal'] === 'works')
      it('reseal opens no damaged AES-GCM of its', async () => {
        const message = damaged(await peer.encrypt(entity, withGcm, people.lists.rsa));
        const report = resealOpens(people, people.correspondents.rsa, people.lists.rsa, message);
        expect(report).toMatchObject({ verdict: 'unopened', reasons: ['decrypt-failed'], entity: null });
      });

    if (gcm['reseal to peer'] === 'works')
      it('it opens no damaged AES-GCM of ours', async () => {
        const member = people.correspondents.rsa;
        const message = mailFrom(people.lists.rsa, resealSeals(entity, withGcm, member));
        expect(await peer.decrypt(message, member)).toMatchObject({ ok: true });
        expect(await peer.decrypt(damaged(message), member)).toMatchObject({ ok: false });
      });
  });
});

describe('a cell', () => {
  const no = { cannot: 'it has no X', said: /no X/, until: '3.110' };
  const of = (outcome: typeof no | 'works', result: Parameters<typeof complaint>[1], version = '3.87.1') =>
    complaint(outcome, result, 'NSS: sign', version);

  it.each([
    ['works and shall', of('works', 'works')],
    ['cannot, for the reason given', of(no, { because: 'there is no X here' })],
    ['works from the version on that can', of(no, 'works', '3.110')],
    ['works later still', of(no, 'works', '4.0')],
  ])('is as the matrix says: %s', (_, sentence) => expect(sentence).toBeNull());

  it.each([
    ['does not work and should', of('works', { because: 'no key' }), /should work: no key/],
    ['works unexpectedly', of(no, 'works'), /^NSS: sign, version 3\.87\.1: it now can\. Update/],
    ['fails for another reason', of(no, { because: 'no Y' }), /another reason than "it has no X": no Y/],
    ['fails though the version is new enough', of(no, { because: 'no X' }, '3.111.2'), /should work/],
  ])('is complained of that %s', (_, sentence, words) => expect(sentence).toMatch(words));

  it.each(directions)('does not work where other octets come out, %s', async (direction) => {
    const liar: Peer = {
      version: '1',
      sign: async () => Buffer.alloc(0),
      encrypt: async (_, how, list) =>
        resealSeals(Buffer.from('Content-Type: text/plain\r\n\r\nother'), how, list),
      verify: async () => ({ intact: true, trusted: true, content: entity, said: '' }),
      decrypt: async () => ({ ok: true, content: Buffer.from('other'), said: '' }),
    };
    const steps = operations['encrypt AES-256-CBC, RSA v1.5'];
    expect(await attempts[direction](liar, steps, people)).toEqual({ because: 'other octets came out' });
  });
});

describe('docs/interop.md', () => {
  it('says what the matrix says', () => {
    const given = Object.fromEntries(peerNames.map((name) => [name, versions.get(name) ?? '?']));
    const text = documentOf(given as Record<PeerName, string>);
    if (process.env.RESEAL_WRITE_DOCS === '1') {
      mkdirSync(dirname(documentPath), { recursive: true });
      writeFileSync(documentPath, text);
    }
    expect(withoutVersions(readFileSync(documentPath, 'utf8'))).toBe(withoutVersions(text));
  });
});
