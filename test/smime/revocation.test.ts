import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import type { Evidence, RevocationPolicy } from '../../src/pki/revocation.ts';
import type { OpenReport } from '../../src/smime/open.ts';
import { contentTypeAttribute, digestAttribute, forgeSignedData } from '../cms/forge.ts';
import { type Identity, makeCa, makeSelfSigned } from '../kit/pki.ts';
import { cmsEntity, mailOf } from '../kit/smime-mime.ts';
import { encrypted, from, makePeople, type Opening, open, type People, plain } from './messages.ts';

// What revocation does to a verdict, with evidence from outside and from the message (RFC 8550 2.1, 4.1).

const day = 86_400_000;
let people: People;
let alice: Identity;
/** DER of lists by the authority: Alice is not on it; she is; it has run out. */
let clean: Buffer;
let revoking: Buffer;
let stale: Buffer;
beforeAll(async () => {
  people = await makePeople();
  const crlAt = (url: string) =>
    w.derSequence(
      w.derSequence(w.derContext(0, w.derContext(0, w.derContextPrimitive(6, Buffer.from(url))))),
    );
  alice = await people.ca.issue({
    name: 'Alice',
    address: people.alice.address,
    extensions: [{ oid: '2.5.29.31', valueDer: crlAt('http://ca.example/root.crl') }],
  });
  clean = derOf(people.ca.crl());
  revoking = derOf(people.ca.crl({ revoked: [alice], number: 2 }));
  stale = derOf(
    people.ca.crl({ thisUpdate: new Date(Date.now() - 9 * day), nextUpdate: new Date(Date.now() - day) }),
  );
});

const derOf = (text: string) => Buffer.from(text.replace(/-----[^-]+-----/g, ''), 'base64');
const policy = (mode: RevocationPolicy['mode'], ...crls: Buffer[]): Opening => ({
  revocation: { mode, evidence: { crls, ocsp: [] } satisfies Evidence },
});

/** Signed by `signer` with revocation lists beside the certificate. */
function signedWith(signer: Identity, ...revocations: Buffer[]): Buffer {
  const attributes = [contentTypeAttribute(), digestAttribute(plain)];
  const more = revocations.length > 0 ? { revocations } : {};
  return cmsEntity(forgeSignedData({ signer, content: plain, attributes, ...more }), 'signed-data');
}
const openIt = (entity: Buffer, o: Opening, address = alice.address): OpenReport =>
  open(people, mailOf(from(address), entity), o);
const outcome = ({ verdict, reasons, remarks }: OpenReport) =>
  [verdict, ...reasons, remarks.length > 0 ? `(${remarks.join(' ')})` : ''].join(' ').trim();

type Lists = 'none' | 'clean' | 'revoking' | 'stale';
const list = (name: Lists): Buffer[] => (name === 'none' ? [] : [{ clean, revoking, stale }[name]]);

describe('by policy', () => {
  it.each<[RevocationPolicy['mode'], known: Lists, beside: Lists, expected: string]>([
    ['off', 'none', 'none', 'signed'],
    ['off', 'revoking', 'revoking', 'signed'],
    ['soft', 'none', 'none', 'signed (crl-missing)'],
    ['soft', 'clean', 'none', 'signed'],
    ['soft', 'stale', 'none', 'signed (crl-expired)'],
    ['soft', 'revoking', 'none', 'untrusted revoked'],
    ['hard', 'none', 'none', 'untrusted crl-missing'],
    ['hard', 'clean', 'none', 'signed'],
    ['hard', 'stale', 'none', 'untrusted crl-expired'],
    ['hard', 'revoking', 'none', 'untrusted revoked'],
    // What the message brings is verified as what was fetched is.
    ['soft', 'none', 'clean', 'signed'],
    ['hard', 'none', 'clean', 'signed'],
    ['soft', 'none', 'revoking', 'untrusted revoked'],
    ['hard', 'none', 'revoking', 'untrusted revoked'],
    // RFC 8550 6: an old list sent along does not hide the revocation.
    ['hard', 'revoking', 'clean', 'untrusted revoked'],
    ['hard', 'clean', 'stale', 'signed'],
  ])('%s, known: %s, in the message: %s', (mode, known, beside, expected) => {
    const report = openIt(signedWith(alice, ...list(beside)), policy(mode, ...list(known)));
    expect(outcome(report)).toBe(expected);
    expect(report.author).toBe(expected.startsWith('signed') ? alice.address : null);
    const [layer] = report.layers;
    const signer = layer?.kind === 'signed' ? layer.signers[0] : undefined;
    expect([signer?.intact, signer?.trusted]).toEqual([true, expected.startsWith('signed')]);
    expect(signer?.remarks).toEqual(report.remarks);
  });

  it('a list of an authority that is not trusted proves nothing', async () => {
    const impostor = await makeCa('Other', { subjectDer: people.ca.subjectDer });
    const forged = derOf(impostor.crl({ revoked: [alice] }));
    expect(outcome(openIt(signedWith(alice, forged), policy('soft')))).toMatch(/^signed \(crl-/);
  });

  it('a list is judged at the instant of receipt', async () => {
    const notBefore = new Date(Date.now() - 8 * day);
    const old = await people.ca.issue({ name: 'Alice', address: alice.address, notBefore });
    const entity = signedWith(old);
    const then = { ...policy('hard', stale), at: Date.now() - 2 * day };
    expect(outcome(openIt(entity, then))).toBe('signed');
    expect(outcome(openIt(entity, policy('hard', stale)))).toBe('untrusted crl-expired');
  });
});

describe('a pin', () => {
  const pinned = (who: Identity) => ({
    pins: [{ sha256: parseCertificate(who.certDer).sha256, address: alice.address }],
  });

  it('stands where no authority says anything', async () => {
    const self = await makeSelfSigned({ name: 'Self', address: alice.address });
    expect(outcome(openIt(signedWith(self), { ...policy('hard'), ...pinned(self) }))).toBe('signed');
    expect(outcome(openIt(signedWith(alice), { ...policy('hard'), ...pinned(alice) }))).toBe('signed');
  });

  it('does not stand against a revocation', () => {
    for (const mode of ['soft', 'hard'] as const) {
      const report = openIt(signedWith(alice), { ...policy(mode, revoking), ...pinned(alice) });
      expect([outcome(report), report.author]).toEqual(['untrusted revoked', null]);
    }
  });
});

describe('what could be looked for, and what came along', () => {
  const crl = { kind: 'crl', url: 'http://ca.example/root.crl' };

  it('is told for the signer that speaks for From', async () => {
    const report = openIt(await encrypted(people.list, signedWith(alice)), policy('soft'));
    expect(report.wanted).toEqual([crl]);
    expect(openIt(signedWith(alice), policy('hard')).wanted).toEqual([crl]);
    expect(openIt(signedWith(alice), policy('off')).wanted).toEqual([]);
    expect(openIt(signedWith(alice), policy('soft', clean)).wanted).toEqual([]);
  });

  it('is not told for a stranger: nobody makes us fetch by naming somebody', () => {
    const report = openIt(signedWith(alice, clean), policy('soft'), 'boss@example.org');
    expect(report.verdict).toBe('mismatch');
    expect([report.wanted, report.crls, report.remarks]).toEqual([[], [], []]);
    const bare = openIt(signedWith(alice), policy('hard'), 'boss@example.org');
    expect([bare.verdict, bare.wanted, bare.remarks]).toEqual(['mismatch', [], []]);
  });

  it('gives out the lists of the deciding signature, in memory of their own', async () => {
    const report = openIt(await encrypted(people.list, signedWith(alice, clean)), policy('off'));
    expect(report.crls.map((der) => Buffer.from(der))).toEqual([clean]);
    expect(report.crls[0]?.buffer.byteLength).toBe(clean.length);
    expect(report.ocsp).toEqual([]);
    const outer = signedWith(people.mallory, stale);
    expect(openIt(outer, policy('off'), people.mallory.address).crls).toHaveLength(1);
  });

  it('names the certificates that came, each once', async () => {
    const report = openIt(signedWith(alice), policy('off'));
    expect(report.certificates.map((der) => Buffer.from(der))).toEqual([alice.certDer]);
  });
});
