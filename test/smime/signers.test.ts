import { beforeAll, describe, expect, it } from 'vitest';
import { readBer } from '../../src/pki/ber.ts';
import * as w from '../../src/pki/der.ts';
import type { OpenReport } from '../../src/smime/open.ts';
import {
  contentInfo,
  contentTypeAttribute,
  digestAttribute,
  type Forgery,
  forgeSignedData,
  oid,
} from '../cms/forge.ts';
import { cmsEntity, mailOf, signedEntity } from '../kit/smime-mime.ts';
import { encrypted, from, makePeople, type Opening, open, type People, plain } from './messages.ts';

// Several signers in one SignedData (RFC 5652 5): each is reported, one bad one makes the message not signed.

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

type Kind = 'good' | 'bad-digest' | 'bad-signature' | 'no-certificate' | 'odd';
type Who = 'alice' | 'mallory';

/** One SignedData per signer, as the tests of one signer have it. */
function forgeryOf(who: Who, kind: Kind): Forgery {
  const signer = people[who];
  const attributes = [
    contentTypeAttribute(),
    digestAttribute(kind === 'bad-digest' ? Buffer.from('x') : plain),
  ];
  const base = { signer, content: plain, attributes };
  if (kind === 'bad-signature') return { ...base, signature: Buffer.alloc(256, 7) };
  if (kind === 'no-certificate') return { ...base, certificates: [] };
  return kind === 'odd' ? { ...base, algorithm: w.derSequence(w.derOid('1.3.6.1.4.1.99999.1')) } : base;
}

/** All signers over one content, opaque or detached. */
function signedBy(
  signers: readonly (readonly [Who, Kind])[],
  d: { detached?: boolean; type?: string } = {},
): Buffer {
  const forged = signers.map(([who, kind]) => forgeryOf(who, kind));
  const parts = forged.map((one) => readBer(forgeSignedData(one)).children[1]?.children[0]);
  const infos = parts.map((data) => data?.children.at(-1)?.children[0]);
  const raw = (node: (typeof infos)[number]) =>
    node ? node.source.subarray(node.start, node.end) : Buffer.alloc(0);
  const content = d.detached ? [] : [w.derContext(0, w.derOctets(plain))];
  const bag = forged.flatMap((one) => one.certificates ?? [one.signer.certDer]);
  return contentInfo(
    oid.signedData,
    w.derSequence(
      w.derInteger(1),
      w.derSetOf(),
      w.derSequence(w.derOid(d.type ?? oid.data), ...content),
      w.derContext(0, ...bag),
      w.der(0x31, ...infos.map(raw)),
    ),
  );
}

const openIt = (entity: Buffer, o: Opening = {}): OpenReport =>
  open(people, mailOf(from(people.alice.address), entity), o);
/** `signed`, and of each signer whether he is intact and trusted, or why not. */
const story = ({ verdict, layers }: OpenReport) => {
  const layer = layers.find((one) => one.kind === 'signed');
  const signers = layer?.kind === 'signed' ? layer.signers : [];
  return [
    verdict,
    ...signers.map(({ intact, trusted, reasons }) => (intact && trusted ? 'ok' : reasons.join('+'))),
  ].join(' ');
};

describe('signers', () => {
  it.each<[readonly (readonly [Who, Kind])[], string]>([
    [[['alice', 'good']], 'signed ok'],
    [
      [
        ['alice', 'good'],
        ['mallory', 'good'],
      ],
      'signed ok ok',
    ],
    [
      [
        ['mallory', 'good'],
        ['alice', 'good'],
      ],
      'signed ok ok',
    ],
    [
      [
        ['alice', 'good'],
        ['alice', 'good'],
      ],
      'signed ok ok',
    ],
    [[['mallory', 'good']], 'mismatch ok'],
    [
      [
        ['alice', 'good'],
        ['mallory', 'bad-digest'],
      ],
      'invalid ok bad-digest',
    ],
    [
      [
        ['mallory', 'bad-signature'],
        ['alice', 'good'],
      ],
      'invalid bad-signature ok',
    ],
    [
      [
        ['alice', 'bad-digest'],
        ['mallory', 'good'],
      ],
      'invalid bad-digest ok',
    ],
    [
      [
        ['alice', 'good'],
        ['alice', 'bad-signature'],
      ],
      'invalid ok bad-signature',
    ],
    [
      [
        ['alice', 'good'],
        ['mallory', 'no-certificate'],
      ],
      'untrusted ok signer-unknown',
    ],
    [
      [
        ['mallory', 'bad-digest'],
        ['alice', 'no-certificate'],
      ],
      'invalid bad-digest signer-unknown',
    ],
    // RFC 5752: an algorithm to come, beside one of today; only of the same signer.
    [
      [
        ['alice', 'good'],
        ['alice', 'odd'],
      ],
      'signed ok unsupported',
    ],
    [
      [
        ['alice', 'odd'],
        ['alice', 'good'],
      ],
      'signed unsupported ok',
    ],
    [
      [
        ['alice', 'good'],
        ['mallory', 'odd'],
      ],
      'untrusted ok unsupported',
    ],
    [[['alice', 'odd']], 'untrusted unsupported'],
    [[], 'unsigned'],
  ])('%j', async (signers, expected) => {
    const cms = signedBy(signers);
    const detached = signedEntity(plain, signedBy(signers, { detached: true }));
    for (const entity of [cmsEntity(cms, 'signed-data'), detached, await encrypted(people.list, detached)]) {
      const report = openIt(entity);
      expect(story(report)).toBe(expected);
      expect(report.author).toBe(expected.startsWith('signed') ? people.alice.address : null);
      expect(report.signature === null).toBe(!expected.startsWith('signed'));
    }
  });

  it('whose certificates are not in the message are all asked for, and count when given', () => {
    const cms = cmsEntity(
      signedBy([
        ['alice', 'no-certificate'],
        ['mallory', 'no-certificate'],
      ]),
      'signed-data',
    );
    const first = openIt(cms);
    expect([story(first), first.needs.length]).toEqual(['untrusted signer-unknown signer-unknown', 2]);
    const { certDer: alice } = people.alice;
    const { certDer: mallory } = people.mallory;
    expect(story(openIt(cms, { known: [alice] }))).toBe('untrusted ok signer-unknown');
    const both = openIt(cms, { known: [mallory, alice] });
    expect([story(both), both.needs.length]).toEqual(['signed ok ok', 0]);
  });

  it('one bad one outside the encryption says nothing about the signature inside', async () => {
    const inner = cmsEntity(signedBy([['alice', 'good']]), 'signed-data');
    const sealed = await encrypted(people.list, inner);
    const outside = signedEntity(sealed, signedBy([['mallory', 'bad-digest']], { detached: true }));
    const report = openIt(outside);
    expect([report.verdict, report.author, report.layers.length]).toEqual([
      'signed',
      people.alice.address,
      3,
    ]);
  });
});

describe('what was signed is refused', () => {
  it('beside a detached part (eContent confusion)', () => {
    for (const shown of [plain, Buffer.from('Content-Type: text/plain\r\n\r\nanother text\r\n')]) {
      const report = openIt(signedEntity(shown, signedBy([['alice', 'good']])));
      expect([report.verdict, report.reasons, report.author]).toEqual([
        'invalid',
        ['content-beside-detached'],
        null,
      ]);
    }
  });

  it('as content of another type: a time stamp is no mail', () => {
    const timestamp = '1.2.840.113549.1.9.16.1.4';
    const signed = (type: string) => {
      const attributes = [contentTypeAttribute(type), digestAttribute(plain)];
      const forged = { signer: people.alice, content: plain, attributes, eContentType: type };
      return openIt(cmsEntity(forgeSignedData(forged), 'signed-data'));
    };
    expect(signed(oid.data).verdict).toBe('signed');
    expect(signed(timestamp)).toMatchObject({
      verdict: 'invalid',
      reasons: ['content-type-mismatch'],
      author: null,
    });
    const detached = signedEntity(plain, signedBy([['alice', 'good']], { detached: true, type: timestamp }));
    expect(openIt(detached)).toMatchObject({ verdict: 'invalid', author: null });
  });

  it('under two Content-Type fields, or two boundaries', () => {
    const cms = cmsEntity(signedBy([['alice', 'good']]), 'signed-data').toString('latin1');
    const twice = `Content-Type: text/plain\r\n${cms}`;
    const detached = signedEntity(plain, signedBy([['alice', 'good']], { detached: true })).toString(
      'latin1',
    );
    const bounds = detached.replace('boundary=', 'boundary="other"; boundary=');
    expect(openIt(Buffer.from(detached, 'latin1')).verdict).toBe('signed');
    for (const text of [`${cms.split('\r\n')[0]}\r\n${cms}`, bounds])
      expect(openIt(Buffer.from(text, 'latin1'))).toMatchObject({ verdict: 'malformed', author: null });
    expect(openIt(Buffer.from(twice, 'latin1')).author).toBeNull();
  });
});
