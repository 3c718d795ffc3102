import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Gpgsm, makeGpgsm } from './gpgsm.ts';
import { hasProgram, needs } from './needs.ts';
import { makeNss, type Nss } from './nss.ts';
import { cmsDecrypt, cmsEncrypt, cmsSign, cmsVerify } from './openssl.ts';
import { type Identity, makeCa, type TestCa } from './pki.ts';
import { cmsEntity, cmsOf, headerOf, mailOf, signedEntity, splitSigned, textEntity } from './smime-mime.ts';

const present = ['openssl', 'cmsutil', 'certutil', 'pk12util', 'gpgsm'].every(hasProgram);
const content = textEntity('Grüße,\n.\nfrom Alice \n');
const changed = textEntity('Grüße,\n.\nfrom Mallory\n');

describe.skipIf(!needs('openssl, gpgsm and NSS tools', present))('independent S/MIME clients', () => {
  let ca: TestCa;
  let alice: Identity;
  let bob: Identity;
  let stranger: Identity;
  let nss: Nss;
  let gpgsm: Gpgsm;

  beforeAll(async () => {
    ca = await makeCa();
    alice = await ca.issue({ name: 'Alice', address: 'alice@kit.example' });
    bob = await ca.issue({ name: 'Bob', address: 'bob@kit.example' });
    stranger = await (await makeCa('Other Root')).issue({
      name: 'Stranger',
      address: 'stranger@kit.example',
    });
    [nss, gpgsm] = await Promise.all([makeNss([ca], [alice, bob]), makeGpgsm([ca], [alice, bob])]);
  });
  afterAll(() => gpgsm?.close());

  const clients = ['openssl', 'nss', 'gpgsm'] as const;
  type Client = (typeof clients)[number];
  // Each against OpenSSL, both ways: whom OpenSSL agrees with agrees with the third.
  const pairs = clients
    .flatMap((from) => clients.map((to) => [from, to] as const))
    .filter((pair) => pair.includes('openssl'));
  const sign = (client: Client, opaque: boolean) =>
    client === 'openssl'
      ? cmsSign(alice, content, { opaque })
      : { nss, gpgsm }[client].sign(alice, content, { opaque });
  const verify = (client: Client, der: Buffer, over: Buffer | null, o: { at?: Date } = {}) =>
    client === 'openssl' ? cmsVerify(ca, der, over, o) : { nss, gpgsm }[client].verify(der, over, o);
  const encrypt = (client: Client) =>
    client === 'openssl'
      ? cmsEncrypt([bob], content)
      : { nss, gpgsm }[client].encrypt([bob.address], content);
  const decrypt = (client: Client, der: Buffer) =>
    client === 'openssl' ? cmsDecrypt(bob, der) : { nss, gpgsm }[client].decrypt(der);

  it.each(pairs)('%s signs, %s verifies', async (from, to) => {
    const detached = await sign(from, false);
    expect(await verify(to, detached, content)).toMatchObject({ intact: true, trusted: true, content: null });
    expect(await verify(to, detached, changed)).toMatchObject({ intact: false, trusted: false });
    expect(await verify(to, await sign(from, true), null)).toMatchObject({
      intact: true,
      trusted: true,
      content,
    });
  });

  it.each(clients)('%s tells an intact signature from a trusted one', async (client) => {
    const unknown = await cmsSign(stranger, content);
    expect(await verify(client, unknown, content)).toMatchObject({
      intact: client !== 'nss',
      trusted: false,
    });
    expect(await verify(client, unknown, changed)).toMatchObject({ intact: false, trusted: false });
  });

  it.each(clients)('%s can look from another time', async (client) => {
    if (client === 'nss' && !needs('faketime', hasProgram('faketime'))) return;
    // Without signingTime: NSS would judge the certificate at the time that the message claims.
    const der = await cmsSign(alice, content, { noAttributes: true });
    const at = new Date(Date.now() + 3 * 365 * 86_400_000);
    expect(await verify(client, der, content, { at })).toMatchObject({ trusted: false });
    expect(await verify(client, der, content, { at: new Date(Date.now() + 3_600_000) })).toMatchObject({
      trusted: true,
    });
  });

  it.each(clients)('%s does not call a message without signers signed', async (client) => {
    const bare = Buffer.from(
      '3023' +
        '06092a864886f70d010702' +
        'a016' +
        '3014' +
        '020101' +
        '3100' +
        '300b06092a864886f70d010701' +
        '3100',
      'hex',
    );
    expect(await verify(client, bare, content)).toMatchObject({ intact: false, trusted: false });
  });

  it.each(pairs)('%s encrypts, %s decrypts', async (from, to) => {
    const der = await encrypt(from);
    expect(await decrypt(to, der)).toMatchObject({ ok: true, content });
    const broken = Buffer.from(der);
    broken.fill(0, der.length - 40);
    const verdict = await decrypt(to, broken);
    expect(verdict.content.equals(content), verdict.said).toBe(false);
  });

  it.each(clients)('%s does not open what is for somebody else', async (client) => {
    expect(await decrypt(client, await cmsEncrypt([stranger], content))).toMatchObject({ ok: false });
  });

  it('the MIME around is what OpenSSL takes and gives', async () => {
    const mail = mailOf(
      [['From', 'alice@kit.example']],
      signedEntity(content, await cmsSign(alice, content)),
    );
    expect(headerOf(mail, 'content-type')).toContain(
      'multipart/signed; protocol="application/pkcs7-signature"; micalg',
    );
    const parts = splitSigned(mail);
    expect(parts.content.equals(content)).toBe(true);
    expect(await verify('nss', parts.signatureDer, parts.content)).toMatchObject({ trusted: true });
    const sealed = cmsEntity(await cmsEncrypt([bob], content), 'enveloped-data');
    expect(await cmsDecrypt(bob, cmsOf(mailOf([['To', 'bob@kit.example']], sealed)))).toMatchObject({
      ok: true,
      content,
    });
  });
});
