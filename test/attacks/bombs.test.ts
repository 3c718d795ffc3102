import { generateKeyPairSync } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { derAlgorithm } from '../../src/pki/algorithms.ts';
import * as w from '../../src/pki/der.ts';
import { contentInfo, forgeSignedData, oid } from '../cms/forge.ts';
import {
  basicConstraints,
  distinguishedName,
  keyUsage,
  signCertificate,
  spkiOf,
  subjectAltName,
} from '../kit/issue.ts';
import { cmsSign } from '../kit/openssl.ts';
import { cmsEntity, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  from,
  makePeople,
  opaque,
  open,
  openEntity,
  type People,
  plain,
  signed,
} from '../smime/messages.ts';
import { answer, crlf, multipartOf, outcome, signedBy } from './scene.ts';

// Messages that are small to write and large to read. Each has its answer within a second or two; most at once.

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

/** The result, and the milliseconds of processor time that it took: a busy machine makes nothing fail. */
function timed<T>(work: () => T): [T, number] {
  const began = process.cpuUsage();
  const result = work();
  return [result, process.cpuUsage(began).user / 1000];
}
const openedIn = (most: number, entity: Buffer) => {
  const [report, took] = timed(() => outcome(openEntity(people, entity)));
  expect(took).toBeLessThan(most);
  return report;
};
const budget = (layers = 'none') => answer(layers, 'malformed', 'budget');

describe('certificate-bundle bomb', () => {
  const bundle = (certificates: readonly Buffer[]) =>
    cmsEntity(
      forgeSignedData({ signer: people.alice, content: plain, attributes: null, certificates }),
      'signed-data',
    );

  it('twenty certificates are read, twenty-one and ten thousand are not', () => {
    const many = (n: number) => [people.alice.certDer, ...Array<Buffer>(n - 1).fill(people.mallory.certDer)];
    expect(openedIn(200, bundle(many(20)))).toEqual(signedBy('alice@example.org', 'opaque'));
    expect(openedIn(200, bundle(many(21)))).toEqual(budget());
    expect(openedIn(2000, bundle(many(10_000)))).toEqual(budget());
  });

  it('ten thousand pieces of rubbish among them are counted too', () => {
    const rubbish = Array<Buffer>(10_000).fill(w.derSequence());
    expect(openedIn(500, bundle([people.alice.certDer, ...rubbish]))).toEqual(budget());
  });

  it('ten thousand CRLs beside it are not read', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    const { bytesOf, readBer } = await import('../../src/pki/ber.ts');
    const fields = (readBer(der).children[1]?.children[0]?.children ?? []).map(bytesOf);
    const crls = w.derContext(1, ...Array<Buffer>(10_000).fill(w.derSequence(w.derSequence())));
    const more = contentInfo(
      oid.signedData,
      w.derSequence(...fields.slice(0, -1), crls, fields.at(-1) as Buffer),
    );
    expect(openedIn(1000, cmsEntity(more, 'signed-data'))).toEqual(budget());
  });
});

describe('path-building bomb', () => {
  const { privateKey: shared } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const authority = (subject: string, issuer: string, key = shared, signer = shared, serial = '01') =>
    signCertificate({
      serial: Buffer.from(serial, 'hex'),
      issuerDer: distinguishedName(issuer),
      subjectDer: distinguishedName(subject),
      notBefore: new Date(0),
      notAfter: new Date(Date.now() + 1e10),
      spkiDer: spkiOf(key),
      extensions: [basicConstraints(true), keyUsage('keyCertSign')],
      signer,
      digest: 'sha256',
    });
  const leaf = (issuer: string, signer = shared) =>
    signCertificate({
      serial: Buffer.from('02', 'hex'),
      issuerDer: distinguishedName(issuer),
      subjectDer: distinguishedName('Alice'),
      notBefore: new Date(0),
      notAfter: new Date(Date.now() + 1e10),
      spkiDer: spkiOf(people.alice.key),
      extensions: [subjectAltName(['alice@example.org'])],
      signer,
      digest: 'sha256',
    });
  const message = (certDer: Buffer, bag: readonly Buffer[]) =>
    cmsEntity(
      forgeSignedData({
        signer: { certDer, key: people.alice.key },
        content: plain,
        attributes: null,
        certificates: [certDer, ...bag],
      }),
      'signed-data',
    );

  it('nineteen authorities that certify each other, none of them trusted', () => {
    // Different names and keys, everybody certified by everybody as far as twenty certificates go.
    const keys = Array.from(
      { length: 5 },
      () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey,
    );
    const bag: Buffer[] = [];
    for (let i = 0; i < 5; i++)
      for (let j = 0; j < 5; j++)
        if (i !== j && bag.length < 19) bag.push(authority(`CA ${i}`, `CA ${j}`, keys[i], keys[j]));
    const report = openedIn(3000, message(leaf('CA 0', keys[0]), bag));
    expect(report).toMatchObject({ verdict: 'untrusted', author: null });
    expect(
      report.reasons.every((reason) =>
        ['no-path', 'path-budget', 'bad-certificate-signature'].includes(reason),
      ),
    ).toBe(true);
  });

  it('many authorities of one name and different keys, of which the last one signed', () => {
    const bag = Array.from({ length: 19 }, (_, n) => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      return authority('Same', 'Same', n === 18 ? shared : privateKey, shared, `0${n % 10}`);
    });
    expect(openedIn(3000, message(leaf('Same'), bag))).toMatchObject({ verdict: 'untrusted', author: null });
  });

  it('a genuine chain is found among them', async () => {
    const bag = Array.from({ length: 15 }, (_, n) => authority(`CA ${n}`, `CA ${(n + 1) % 15}`));
    const der = forgeSignedData({
      signer: people.alice,
      content: plain,
      attributes: null,
      certificates: [...bag, people.alice.certDer],
    });
    expect(openedIn(1000, cmsEntity(der, 'signed-data'))).toEqual(signedBy('alice@example.org', 'opaque'));
  });

  it('a chain of fifteen authorities under the trusted root is too long', async () => {
    const chain = [];
    let last = people.ca;
    for (let n = 0; n < 15; n++) {
      last = await last.intermediate({ name: `Deep ${n}`, key: 'p256' });
      chain.push(last);
    }
    const deep = await last.issue({ name: 'Alice', address: 'alice@example.org', key: 'p256' });
    const report = openedIn(2000, signedEntity(plain, await cmsSign(deep, plain, { chain })));
    expect(report).toEqual(answer('detached', 'untrusted', 'no-path', 'path-budget'));
  });
});

describe('deep MIME nesting', () => {
  it('ten thousand multiparts in each other are content like other content', () => {
    const nested = 'Content-Type: multipart/mixed; boundary=w\r\n\r\n--w\r\n'.repeat(10_000);
    expect(openedIn(1000, Buffer.from(nested))).toEqual(answer('none', 'unsigned'));
  });

  it('ten thousand signed parts in each other: ten layers, then no more', () => {
    // A multipart/signed whose first part is one again, all with one and the same boundary, and with many.
    const head = (boundary: string) =>
      `Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary="${boundary}"\r\n\r\n--${boundary}\r\n`;
    const tail = (boundary: string) =>
      `\r\n--${boundary}\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--${boundary}--\r\n`;
    const names = Array.from({ length: 300 }, (_, n) => `b${n}`);
    const text = `${names.map(head).join('')}\r\nx${names.toReversed().map(tail).join('')}`;
    expect(openedIn(1000, Buffer.from(text))).toEqual(answer('none', 'malformed', 'malformed'));
  });

  it('eleven layers that are each good', () => {
    const wrap = (content: Buffer) =>
      cmsEntity(
        forgeSignedData({ signer: people.alice, attributes: null, content, repeat: 0 }),
        'signed-data',
      );
    let entity: Buffer = plain;
    for (let n = 0; n < 11; n++) entity = wrap(entity);
    expect(openedIn(1000, entity)).toMatchObject({ verdict: 'malformed', reasons: ['budget'], author: null });
  });

  it.each([
    ['constructed ASN.1', '3080'],
    ['constructed octet strings', '2480'],
    ['definite ASN.1', '3084000fffff'],
  ])('%s, a hundred thousand deep', (_, hex) => {
    const der = Buffer.from(hex.repeat(100_000), 'hex');
    const { verdict, author } = openedIn(1000, cmsEntity(der, 'signed-data'));
    expect([verdict, author]).toEqual(['malformed', null]);
  });

  it('a Content-Type with a hundred thousand open comments', () => {
    const entity = Buffer.from(`Content-Type: ${'('.repeat(100_000)} multipart/signed\r\n\r\nx`);
    expect(openedIn(1000, entity)).toEqual(answer('none', 'unsigned'));
  });
});

describe('ten thousand parts', () => {
  it('in a multipart/mixed are not counted: nobody looks into it', () => {
    const parts = Array<string>(10_000).fill('\r\nx');
    expect(openedIn(1000, multipartOf('multipart/mixed', ...parts))).toEqual(answer('none', 'unsigned'));
  });

  it('in a multipart/signed are over the budget', () => {
    const entity = multipartOf(
      'multipart/signed; protocol="application/pkcs7-signature"',
      ...Array<string>(10_000).fill('\r\nx'),
    );
    expect(openedIn(1000, entity)).toEqual(budget());
  });

  it('ten thousand header fields, a header of a megabyte, and a megabyte of parameters', async () => {
    const hers = await signed(people.alice, plain);
    const within = (header: string) => {
      const [report, took] = timed(() =>
        open(people, Buffer.concat([Buffer.from(header), mailOf(from('alice@example.org'), hers)])),
      );
      expect(took).toBeLessThan(1000);
      return report;
    };
    for (const header of ['X: y\r\n'.repeat(10_000), `X: ${'y'.repeat(1_000_000)}\r\n`])
      expect(within(header)).toMatchObject({ verdict: 'malformed', reasons: ['budget'], entity: null });
    const inside = await opaque(people.alice, Buffer.concat([Buffer.from('X: y\r\n'.repeat(10_000)), plain]));
    expect(openEntity(people, inside)).toMatchObject({ verdict: 'malformed', author: null });
    expect(
      openedIn(1000, Buffer.from(`Content-Type: multipart/signed${'; a=b'.repeat(40_000)}\r\n\r\n`)),
    ).toEqual(answer('none', 'unsigned'));
  });

  it('ten thousand delimiters that are none', async () => {
    const body = crlf('--=_kit_signedX\n--=_kit_signe\n'.repeat(10_000));
    const entity = Buffer.concat([textEntity('x\n'), body]);
    expect(openedIn(1000, await signed(people.alice, entity))).toEqual(
      signedBy('alice@example.org', 'detached'),
    );
  });
});

describe('decompression bomb (CompressedData, RFC 3274)', () => {
  const compressed = (zlib: Buffer) =>
    cmsEntity(
      contentInfo(
        '1.2.840.113549.1.9.16.1.9',
        w.derSequence(
          w.derInteger(0),
          derAlgorithm('1.2.840.113549.1.9.16.3.8'),
          w.derSequence(w.derOid(oid.data), w.derContext(0, w.derOctets(zlib))),
        ),
      ),
      'compressed-data',
    );
  const bomb = compressed(deflateSync(Buffer.alloc(200_000_000)));

  it('200 MB of zeros in 200 kB stop at the budget', () => {
    const before = process.memoryUsage().arrayBuffers;
    const report = openedIn(2000, bomb);
    expect(report).toMatchObject({ verdict: 'malformed', reasons: ['budget'], author: null });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
  });

  it('also inside a signature, an encryption, and a compression', async () => {
    for (const entity of [
      await signed(people.mallory, bomb),
      await encrypted(people.list, bomb),
      compressed(deflateSync(bomb)),
    ])
      expect(openedIn(3000, entity)).toMatchObject({
        verdict: 'malformed',
        reasons: ['budget'],
        author: null,
      });
  });

  it('a compression of itself, ten times over, is counted as layers and as octets', () => {
    let entity: Buffer = textEntity('x'.repeat(200_000));
    for (let n = 0; n < 12; n++) entity = compressed(deflateSync(entity));
    expect(openedIn(2000, entity)).toMatchObject({ verdict: 'malformed', reasons: ['budget'], author: null });
  });

  it('what compresses is no signature, and a signature inside it counts', async () => {
    const hers = compressed(deflateSync(await signed(people.alice, plain)));
    expect(openEntity(people, compressed(deflateSync(plain)))).toMatchObject({
      verdict: 'unsigned',
      author: null,
    });
    expect(openEntity(people, hers)).toMatchObject({ verdict: 'signed', author: 'alice@example.org' });
    expect(openEntity(people, compressed(Buffer.from('no zlib')))).toMatchObject({ verdict: 'malformed' });
  });
});
