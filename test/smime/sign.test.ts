import { beforeAll, describe, expect, it } from 'vitest';
import { formatCapabilities, ownCapabilities } from '../../src/cms/capabilities.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { signEntity } from '../../src/smime/sign.ts';
import { cmsVerify } from '../kit/openssl.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { cmsOf, headerOf, splitSigned, textEntity } from '../kit/smime-mime.ts';
import { openEntity } from './messages.ts';

let root: TestCa;
let middle: TestCa;
beforeAll(async () => {
  root = await makeCa();
  middle = await root.intermediate({ name: 'Middle' });
});

const at = Date.now();
const entity = textEntity('a notice\n');
const signerOf = (who: Identity) => ({
  key: who.key,
  certificate: parseCertificate(who.certDer),
  chain: [middle, root].map((one) => parseCertificate(one.certDer)),
});

describe('signEntity', () => {
  it.each([
    ['rsa', 'sha-256'],
    ['rsa-pss', 'sha-256'],
    ['p256', 'sha-256'],
    ['p384', 'sha-256'],
  ] as const)('by an %s key: openssl verifies it, over the entity as it was', async (key, micalg) => {
    const team = await middle.issue({ name: 'Team', address: 'team@lists.example', key });
    const made = signEntity(entity, signerOf(team), { at, boundary: '=_b' });
    const { content, signatureDer } = splitSigned(made);
    expect(content.equals(entity)).toBe(true);
    expect(headerOf(made, 'Content-Type')).toContain(`micalg=${micalg}`);
    // The intermediate is in it, the root need not be.
    expect(await cmsVerify(root, signatureDer, content)).toMatchObject({ intact: true, trusted: true });
    expect((await cmsVerify(root, signatureDer, textEntity('another notice\n'))).intact).toBe(false);
  });

  it('by an Ed25519 key says SHA-512 (RFC 8419 3.1); OpenSSL 3.0 cannot read it, our own engine can', async () => {
    const team = await middle.issue({ name: 'Team', address: 'team@lists.example', key: 'ed25519' });
    const signed = signEntity(entity, signerOf(team), { at, boundary: '=_b' });
    expect(headerOf(signed, 'Content-Type')).toContain('micalg=sha-512');
    const report = openEntity({ ca: root, alice: team, mallory: team, list: team }, signed);
    expect(report).toMatchObject({ verdict: 'signed', author: 'team@lists.example' });
  });

  it('is what our own engine calls signed, at the time that was given', async () => {
    const team = await middle.issue({ name: 'Team', address: 'team@lists.example' });
    const capabilities = formatCapabilities(ownCapabilities('rsa'));
    const signed = signEntity(entity, signerOf(team), { at: at - 60_000, boundary: '=_b', capabilities });
    const report = openEntity({ ca: root, alice: team, mallory: team, list: team }, signed);
    expect(report).toMatchObject({ verdict: 'signed', author: 'team@lists.example' });
    expect(report.signature?.signingTime).toBe(Math.floor((at - 60_000) / 1000) * 1000);
    expect(
      report.signature?.capabilities && Buffer.from(report.signature.capabilities).equals(capabilities),
    ).toBe(true);
  });

  it('takes a longer boundary where the entity has the one it is given', async () => {
    const team = await middle.issue({ name: 'Team', address: 'team@lists.example' });
    const nasty = textEntity('before\n--=_b\nafter\n--=_b--\n');
    const { content, signatureDer } = splitSigned(signEntity(nasty, signerOf(team), { at, boundary: '=_b' }));
    expect(content.equals(nasty)).toBe(true);
    expect((await cmsVerify(root, signatureDer, content)).intact).toBe(true);
  });

  it('signs what programs would convert opaquely: bare line ends', async () => {
    const team = await middle.issue({ name: 'Team', address: 'team@lists.example' });
    const unix = Buffer.from('Content-Type: text/plain\n\nlines of Unix\n');
    const made = signEntity(unix, signerOf(team), { at, boundary: '=_b' });
    expect(headerOf(made, 'Content-Type')).toContain('smime-type=signed-data');
    expect(await cmsVerify(root, cmsOf(made), null)).toMatchObject({
      intact: true,
      trusted: true,
      content: unix,
    });
  });
});
