import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { isFault } from '../../src/base/errors.ts';
import { contentOf, readBer } from '../../src/pki/ber.ts';
import { type Crl, crlIssuerNameOf, crlsFromPem, entryFor, parseCrl } from '../../src/pki/crl.ts';
import {
  derBits,
  derContext,
  derInteger,
  derNull,
  derOctets,
  derSequence,
  derTime,
} from '../../src/pki/der.ts';
import { mustRun } from '../kit/client.ts';
import { distinguishedName } from '../kit/issue.ts';
import { makeCa, type TestCa } from '../kit/pki.ts';
import { derLine, extension, type Line, type ListOptions, listPem, makeList } from './lists.ts';

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa('Lister', { key: 'p256' });
});

const from = new Date('2026-03-01T00:00:00Z');
const list = (options: Partial<ListOptions> = {}): Buffer =>
  makeList({ issuerDer: ca.subjectDer, signer: ca.key, thisUpdate: from, ...options });
const line = (serial: string, more: Partial<Line> = {}): Line => ({
  serial: Buffer.from(serial, 'hex'),
  at: new Date('2026-02-01T00:00:00Z'),
  ...more,
});
const find = (crl: Crl, serial: string, issuerName = crl.issuerName) =>
  entryFor(crl, { serialDer: Buffer.from(serial, 'hex'), issuerName });
const codeOf = (read: () => unknown): string => {
  try {
    read();
    return 'read';
  } catch (error) {
    return isFault(error) ? error.code : String(error);
  }
};

describe('parseCrl', () => {
  it('reads what OpenSSL reads', async () => {
    const der = list({ number: 300, lines: [line('5a01', { reason: 1 })] });
    const crl = parseCrl(der);
    const options = ['-issuer', '-lastupdate', '-nextupdate', '-crlnumber'];
    const said = (
      await mustRun('openssl', ['crl', '-noout', ...options], { input: listPem(der) })
    ).stdout.toString();
    const fieldOf = (name: string) => new RegExp(`^${name}=(.*)$`, 'im').exec(said)?.[1] ?? '';
    expect(fieldOf('issuer')).toBe('CN = Lister');
    expect(crl.issuer).toBe('CN=Lister');
    expect(crl.thisUpdate).toBe(Date.parse(fieldOf('lastUpdate')));
    expect(crl.nextUpdate).toBe(Date.parse(fieldOf('nextUpdate')));
    expect(crl.number).toBe(BigInt(fieldOf('crlNumber')));
    expect(crl.sha256).toBe(createHash('sha256').update(der).digest('hex'));
    expect([crl.isDelta, crl.isIndirect, crl.unknownCritical, crl.entries.count]).toEqual([
      false,
      false,
      [],
      1,
    ]);
  });

  it('reads version 1, without numbers and next update', () => {
    const crl = parseCrl(list({ version: 1, nextUpdate: null, lines: [line('5a01')] }));
    expect([crl.number, crl.nextUpdate, crl.baseNumber]).toEqual([null, null, null]);
    expect(find(crl, '5a01')).not.toBeNull();
  });

  it('tells delta and indirect lists', () => {
    const crl = parseCrl(list({ number: 9, base: 7, scope: [Buffer.from('8401ff', 'hex')] }));
    expect([crl.isDelta, crl.baseNumber, crl.isIndirect]).toEqual([true, 7n, true]);
  });

  it('names critical extensions that it does not know, of the list and of entries', () => {
    const odd = (oid: string) => extension(oid, derNull(), true);
    const entry = line('5a01', { extensions: [odd('1.2.3.5')] });
    const lenient = line('5a02', { extensions: [extension('1.2.3.6', derNull())] });
    const crl = parseCrl(list({ extensions: [odd('1.2.3.4')], lines: [entry, lenient, entry] }));
    expect(crl.unknownCritical).toEqual(['1.2.3.4', '1.2.3.5']);
  });

  it('takes the earlier of revocation and invalidity date, and knows who was taken off', () => {
    const lost = new Date('2026-01-01T00:00:00Z');
    const crl = parseCrl(
      list({ lines: [line('5a01', { invalidFrom: lost, reason: 1 }), line('5a02', { reason: 8 })] }),
    );
    expect(find(crl, '5a01')).toEqual({ revokedAt: lost.getTime(), removed: false });
    expect(find(crl, '5a02')).toEqual({ revokedAt: Date.parse('2026-02-01'), removed: true });
    expect(find(crl, '5a03')).toBeNull();
  });

  it.each([
    ['longer', '5a0101', false],
    ['shorter', '5a', false],
    ['negative', 'ff', true],
    ['with a needless zero octet', '005a01', false],
  ])('compares serial numbers by octets: %s', (_what, serial, expected) => {
    const crl = parseCrl(list({ lines: [line('5a01'), line('ff')] }));
    expect(find(crl, serial) !== null).toBe(expected);
  });

  it('gives entries after a certificate issuer to that issuer, until the next', () => {
    const [anna, bert] = ['Anna', 'Bert'].map((name) => distinguishedName(name));
    if (!anna || !bert) throw new Error('no names');
    const crl = parseCrl(
      list({
        scope: [Buffer.from('8401ff', 'hex')],
        lines: [
          line('5a01'),
          line('5a02', { issuerDer: anna }),
          line('5a03'),
          line('5a04', { issuerDer: bert }),
        ],
      }),
    );
    const nameOf = (der: Buffer) => crlIssuerNameOf(list({ issuerDer: der })) as string;
    const owners = ['5a01', '5a02', '5a03', '5a04'].map((serial) =>
      [crl.issuerName, nameOf(anna), nameOf(bert)].map((name) => find(crl, serial, name) !== null),
    );
    expect(owners).toEqual([
      [true, false, false],
      [false, true, false],
      [false, true, false],
      [false, false, true],
    ]);
  });

  it('does not compare a name of unusual length', () => {
    const long = list({ issuerDer: distinguishedName('x'.repeat(3_000)) });
    expect(crlIssuerNameOf(long)).toBeNull();
    expect(parseCrl(long).issuerName).toContain('xxx');
    expect(crlIssuerNameOf(list())).toBe(parseCrl(list()).issuerName);
  });

  it('reads indefinite lengths', () => {
    const der = list({ lines: [line('5a01')] });
    const crl = parseCrl(der);
    const tbsContent = contentOf(readBer(crl.tbsDer));
    const open = (...content: Buffer[]) =>
      Buffer.concat([Buffer.from([0x30, 0x80]), ...content, Buffer.alloc(2)]);
    const ber = open(open(tbsContent), crl.signatureAlgorithmDer, derBits(crl.signature));
    const again = parseCrl(ber);
    expect([again.issuerName, again.number, again.thisUpdate]).toEqual([
      crl.issuerName,
      crl.number,
      crl.thisUpdate,
    ]);
    expect(find(again, '5a01')).not.toBeNull();
    expect(crlIssuerNameOf(ber)).toBe(crl.issuerName);
  });

  it('finds the first, the middle and the last of 100,000, and nobody else', () => {
    const serials = Array.from({ length: 100_000 }, (_, i) => {
      const serial = createHash('sha256').update(String(i)).digest().subarray(0, 16);
      serial[0] = 0x5a;
      return serial;
    });
    const template = derLine({ serial: Buffer.alloc(16, 0x5a), at: from, reason: 1 });
    const lines = serials.map((serial) => {
      const copy = Buffer.from(template);
      serial.copy(copy, 4);
      return copy;
    });
    const crl = parseCrl(list({ linesDer: Buffer.concat(lines) }));
    expect(crl.entries.count).toBe(100_000);
    const found = (serial: Buffer | undefined) =>
      find(crl, (serial ?? Buffer.alloc(0)).toString('hex')) !== null;
    expect([0, 50_000, 99_999].map((i) => found(serials[i]))).toEqual([true, true, true]);
    expect(found(randomBytes(16).fill(0x5b, 0, 1))).toBe(false);
  });

  const entryWith = (content: Buffer): Buffer =>
    list({ lines: [{ ...line('5a01'), extensions: [content] }] });
  it.each([
    ['nothing', () => Buffer.alloc(0)],
    ['octets after it', () => Buffer.concat([list(), Buffer.from([0])])],
    ['one octet missing', () => list().subarray(0, -1)],
    ['version 1 with extensions', () => Buffer.from(list().toString('hex').replace('020101', ''), 'hex')],
    ['an extension twice', () => list({ extensions: [extension('2.5.29.20', derInteger(1))] })],
    [
      'a negative number',
      () => list({ extensions: [extension('2.5.29.27', Buffer.from('0201ff', 'hex'), true)] }),
    ],
    [
      'a broken scope',
      () => list({ extensions: [extension('2.5.29.28', derOctets(Buffer.alloc(1)), true)] }),
    ],
    ['an entry extension that is no sequence', () => entryWith(derNull())],
    [
      'another algorithm outside',
      () =>
        Buffer.from(
          list()
            .toString('hex')
            .replace(/2a8648ce3d040302(?!.*2a8648ce3d040302)/, '2a8648ce3d040303'),
          'hex',
        ),
    ],
  ])('refuses %s', (_what, make) => {
    expect(codeOf(() => parseCrl(make()))).toBe('crl-malformed');
  });

  it('throws nothing but its own fault on mutated lists', () => {
    const whole = list({
      lines: [line('5a01', { reason: 1 }), line('5a02', { issuerDer: distinguishedName('X') })],
    });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, value, length) => {
        const mutated = Buffer.from(whole.subarray(0, Math.max(length, at + 1)));
        mutated[at] = value;
        const read = () => find(parseCrl(mutated), '5a02');
        expect(['read', 'crl-malformed', 'ber-malformed', 'ber-budget']).toContain(codeOf(read));
        crlIssuerNameOf(mutated);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('crlsFromPem', () => {
  it('reads PEM, several in one file, and DER', () => {
    const [one, two] = [list({ number: 1 }), list({ number: 2 })];
    const text = Buffer.from(`a note\n${listPem(one)}${ca.certPem}${listPem(two)}`);
    expect(crlsFromPem(text).crls.map((crl) => crl.number)).toEqual([1n, 2n]);
    expect(crlsFromPem(one).crls.map((crl) => crl.number)).toEqual([1n]);
  });

  it('tells which cannot be read, and that there is none', () => {
    const broken = listPem(derSequence(derContext(0, derTime(0))));
    const { crls, problems } = crlsFromPem(Buffer.from(listPem(list()) + broken));
    expect(crls).toHaveLength(1);
    expect(problems).toEqual([
      expect.stringMatching(/^revocation list 2: the revocation list cannot be read: /),
    ]);
    expect(crlsFromPem(Buffer.from(ca.certPem)).problems).toEqual([
      'it holds no revocation list in PEM or DER',
    ]);
  });
});
