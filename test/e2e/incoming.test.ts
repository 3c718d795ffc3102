import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Gpgsm, makeGpgsm } from '../kit/gpgsm.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { makeNss, type Nss } from '../kit/nss.ts';
import { cmsEncrypt, cmsSign, type EncryptOptions, type SignOptions } from '../kit/openssl.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, cmsOf, mailOf, signedEntity, splitSigned } from '../kit/smime-mime.ts';
import {
  encrypted,
  openCopy,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
} from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

let world: World;
let rsa: Identity;
let ec: Identity;
let reader: Identity;
const lists: Record<string, List> = {};
beforeAll(async () => {
  world = await makeWorld();
  rsa = await world.person('rsa-author', { key: 'rsa' });
  ec = await world.person('ec-author', { key: 'p384' });
  reader = await world.person('reader', { key: 'rsa' });
  for (const key of ['rsa', 'p256', 'p384', 'p521'] as const)
    lists[key] = await world.list({ name: `to-${key}`, key, members: [rsa, ec, reader] });
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const list = (name: string): List => lists[name] as List;

async function arrives(entity: Buffer, post: Buffer, to: List): Promise<void> {
  expect(await world.post(post, to.address)).toMatchObject({ event: 'authorized', reason: null });
  const copy = await world.copyFor(reader, post);
  expect(await readCopy(world.ca, reader, copy.bytes)).toEqual(entity);
}

describe('encryption that openssl makes', () => {
  const cases: [name: string, list: string, encrypt: EncryptOptions][] = [
    ['RSA v1.5, AES-128-CBC', 'rsa', { cipher: 'aes-128-cbc' }],
    ['RSA v1.5, AES-192-CBC', 'rsa', { cipher: 'aes-192-cbc' }],
    ['RSA v1.5, AES-256-CBC', 'rsa', { cipher: 'aes-256-cbc' }],
    ['RSA v1.5, AES-128-GCM', 'rsa', { cipher: 'aes-128-gcm' }],
    ['RSA-OAEP SHA-1, AES-256-GCM', 'rsa', { cipher: 'aes-256-gcm', oaep: 'sha1' }],
    ['RSA-OAEP SHA-256, AES-256-CBC', 'rsa', { oaep: 'sha256' }],
    ['RSA, recipient by key identifier', 'rsa', { keyId: true }],
    ['RSA, streamed BER', 'rsa', { stream: true }],
    ['ECDH P-256', 'p256', {}],
    ['ECDH P-256, SHA-256 KDF, GCM', 'p256', { kdf: 'sha256', cipher: 'aes-256-gcm' }],
    ['ECDH P-384', 'p384', { kdf: 'sha384' }],
    ['ECDH P-521, streamed', 'p521', { kdf: 'sha512', stream: true }],
  ];
  it.each(cases)('%s', async (_, name, encrypt) => {
    const entity = secretEntity();
    await arrives(entity, await signedAndEncrypted(rsa, list(name), { entity, encrypt }), list(name));
  });

  it('3DES is opened and held; the owner is told', async () => {
    const to = list('rsa');
    const post = await signedAndEncrypted(rsa, to, { encrypt: { cipher: 'des-ede3-cbc' } });
    expect(await world.post(post, to.address)).toMatchObject({ event: 'held', reason: 'weak-cipher' });
    const [notice] = await world.mailTo(to.owner);
    expect(notice?.bytes.toString()).toMatch(/weaker encryption/);
  });
});

describe('signatures that openssl makes', () => {
  const cases: [name: string, author: 'rsa' | 'ec', sign: SignOptions][] = [
    ['RSA, detached', 'rsa', {}],
    ['RSA-PSS', 'rsa', { pss: true }],
    ['RSA SHA-512', 'rsa', { digest: 'sha512' }],
    ['ECDSA P-384', 'ec', { digest: 'sha384' }],
    ['signer by key identifier', 'rsa', { keyId: true }],
    ['two signers', 'ec', { also: [] }],
  ];
  it.each(cases)('%s', async (name, who, sign) => {
    const entity = secretEntity();
    const author = who === 'rsa' ? rsa : ec;
    const how = name === 'two signers' ? { also: [rsa] } : sign;
    await arrives(entity, await signedAndEncrypted(author, list('rsa'), { entity, sign: how }), list('rsa'));
  });

  it.each([
    ['opaque', {}],
    ['opaque, streamed BER', { stream: true }],
  ])('%s: the copy holds the very SignedData', async (_, more) => {
    const entity = secretEntity();
    const inner = await signed(rsa, entity, { opaque: true, ...more });
    const to = list('rsa');
    const post = mailOf(postHeaders(rsa.address, to.address), await encrypted(to.identity, inner));
    await world.post(post, to.address);
    const opened = await openCopy(reader, (await world.copyFor(reader, post)).bytes);
    expect(opened).toEqual(inner);
    expect(cmsOf(opened).includes(entity.subarray(-20))).toBe(true);
  });

  it('without a certificate inside: the one that is known verifies it', async () => {
    const entity = secretEntity();
    const to = list('rsa');
    const post = await signedAndEncrypted(rsa, to, { entity, sign: { noCertificates: true } });
    expect(await world.post(post, to.address)).toMatchObject({ event: 'authorized', author: rsa.address });
  });

  it('with an intermediate authority along', async () => {
    const middle = await world.ca.intermediate({ name: 'Middle' });
    const below = await middle.issue({ name: 'Below', address: 'below@example.org', key: 'p256' });
    const to = await world.list({ key: 'p256', members: [below, reader] });
    const entity = secretEntity();
    const post = await signedAndEncrypted(below, to, { entity, sign: { chain: [middle] } });
    await arrives(entity, post, to);
  });
});

describe('names and nesting', () => {
  const rename = (entity: Buffer, from: string | RegExp, to: string): Buffer =>
    Buffer.from(entity.toString('latin1').replace(from, to), 'latin1');
  const outer = async (entity: Buffer): Promise<Buffer> =>
    encrypted(list('rsa').identity, await signed(rsa, entity));

  it.each([
    [
      'application/x-pkcs7-mime',
      (e: Buffer) => rename(e, 'application/pkcs7-mime', 'application/x-pkcs7-mime'),
    ],
    ['no smime-type', (e: Buffer) => rename(e, ' smime-type=enveloped-data;', '')],
    ['a wrong smime-type', (e: Buffer) => rename(e, 'smime-type=enveloped-data', 'smime-type=signed-data')],
    [
      'octet-stream with the name of S/MIME',
      (e: Buffer) => rename(e, /application\/pkcs7-mime; smime-type=[^;]*;/, 'application/octet-stream;'),
    ],
    ['upper case', (e: Buffer) => rename(e, 'application/pkcs7-mime', 'Application/PKCS7-MIME')],
  ])('%s', async (_, change) => {
    const entity = secretEntity();
    const post = mailOf(postHeaders(rsa.address, list('rsa').address), change(await outer(entity)));
    await arrives(entity, post, list('rsa'));
  });

  it('a signature named x-pkcs7-signature', async () => {
    const entity = secretEntity();
    const inner = rename(
      await signed(rsa, entity),
      /application\/pkcs7-signature/g,
      'application/x-pkcs7-signature',
    );
    const to = list('rsa');
    const post = mailOf(postHeaders(rsa.address, to.address), await encrypted(to.identity, inner));
    expect(await world.post(post, to.address)).toMatchObject({ event: 'authorized', author: rsa.address });
    expect(await openCopy(reader, (await world.copyFor(reader, post)).bytes)).toEqual(inner);
  });

  it('triple wrapped: the outer signature is left out, the inner one arrives', async () => {
    const entity = secretEntity();
    const to = list('rsa');
    const wrapped = await outer(entity);
    const post = mailOf(
      postHeaders(rsa.address, to.address),
      signedEntity(wrapped, await cmsSign(rsa, wrapped)),
    );
    await arrives(entity, post, to);
  });

  it('encrypted twice', async () => {
    const entity = secretEntity();
    const to = list('rsa');
    const post = mailOf(
      postHeaders(rsa.address, to.address),
      await encrypted(to.identity, await outer(entity)),
    );
    await arrives(entity, post, to);
  });

  it('to several recipients, of which the list is the last', async () => {
    const entity = secretEntity();
    const to = list('rsa');
    const der = await cmsEncrypt([reader, ec, to.identity], await signed(rsa, entity));
    await arrives(entity, mailOf(postHeaders(rsa.address, to.address), cmsEntity(der, 'enveloped-data')), to);
  });

  it('signed twice, one inside the other: the copy has both', async () => {
    const innermost = secretEntity();
    const entity = signedEntity(innermost, await cmsSign(ec, innermost), 'sha-256', '=_inner');
    const to = list('rsa');
    const post = await signedAndEncrypted(rsa, to, { entity });
    await world.post(post, to.address);
    const opened = await openCopy(reader, (await world.copyFor(reader, post)).bytes);
    expect(splitSigned(opened).content).toEqual(entity);
  });
});

describe.skipIf(!needs('cmsutil', hasProgram('cmsutil')))('NSS (Thunderbird)', () => {
  let nss: Nss;
  beforeAll(async () => {
    nss = await makeNss([world.ca], [rsa, reader]);
    await nss.addRecipient(list('rsa').identity);
  });

  it.each([['detached'], ['opaque']])('its post, %s; the copy opened and verified by it', async (form) => {
    const entity = secretEntity();
    const to = list('rsa');
    const der = await nss.sign(rsa, entity, { opaque: form === 'opaque' });
    const inner = form === 'opaque' ? cmsEntity(der, 'signed-data') : signedEntity(entity, der);
    const sealed = cmsEntity(await nss.encrypt([to.address], inner), 'enveloped-data');
    const post = mailOf(postHeaders(rsa.address, to.address), sealed);
    expect(await world.post(post, to.address)).toMatchObject({ event: 'authorized', author: rsa.address });
    const copy = await world.copyFor(reader, post);
    const opened = await nss.decrypt(cmsOf(copy.bytes));
    expect(opened.ok, opened.said).toBe(true);
    expect(opened.content).toEqual(inner);
    const verdict =
      form === 'opaque'
        ? await nss.verify(cmsOf(opened.content), null)
        : await nss.verify(splitSigned(opened.content).signatureDer, splitSigned(opened.content).content);
    expect(verdict.trusted, verdict.said).toBe(true);
  });
});

describe.skipIf(!needs('gpgsm', hasProgram('gpgsm')))('gpgsm', () => {
  let gpgsm: Gpgsm;
  beforeAll(async () => {
    gpgsm = await makeGpgsm([world.ca], [rsa, reader]);
    await gpgsm.addRecipient(list('rsa').identity);
  });
  afterAll(() => gpgsm?.close());

  it.each([['detached'], ['opaque']])('its post, %s; the copy opened and verified by it', async (form) => {
    const entity = secretEntity();
    const to = list('rsa');
    const der = await gpgsm.sign(rsa, entity, { opaque: form === 'opaque' });
    const inner = form === 'opaque' ? cmsEntity(der, 'signed-data') : signedEntity(entity, der);
    const sealed = cmsEntity(await gpgsm.encrypt([to.address], inner), 'enveloped-data');
    const post = mailOf(postHeaders(rsa.address, to.address), sealed);
    expect(await world.post(post, to.address)).toMatchObject({ event: 'authorized', author: rsa.address });
    const copy = await world.copyFor(reader, post);
    const opened = await gpgsm.decrypt(cmsOf(copy.bytes));
    expect(opened.ok, opened.said).toBe(true);
    expect(opened.content).toEqual(inner);
    const verdict =
      form === 'opaque'
        ? await gpgsm.verify(cmsOf(opened.content), null)
        : await gpgsm.verify(splitSigned(opened.content).signatureDer, splitSigned(opened.content).content);
    expect(verdict.trusted, verdict.said).toBe(true);
  });
});
