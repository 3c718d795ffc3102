import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { storyLines } from '../../src/cli/story.ts';
import { formatCapabilities } from '../../src/cms/capabilities.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { signDetached } from '../../src/cms/sign.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { storiesOf } from '../../src/flow/operator/explain.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type OpenReport, openMessage } from '../../src/smime/open.ts';
import { decryptionKey } from '../cms/keys.ts';
import { runProgram, saidBy, withFiles } from '../kit/client.ts';
import type { Identity } from '../kit/pki.ts';
import { headerOf, mailOf, signedEntity, splitSigned, textEntity } from '../kit/smime-mime.ts';
import { requestOf } from '../smime/messages.ts';
import {
  clearPost,
  encrypted,
  encryptedOnly,
  openCopy,
  postHeaders,
  secretEntity,
  signed,
  signedAndEncrypted,
  signedBy,
  verifyEntity,
} from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

let world: World;
let author: Identity;
let member: Identity;
beforeAll(async () => {
  world = await makeWorld();
  author = await world.person('author', { key: 'rsa' });
  member = await world.person('member');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const listWith = (settings: Readonly<Record<string, string>>): Promise<List> =>
  world.list({ members: [author, member], settings });

/** Subject of the certificate that made a multipart/signed. */
function signerOf(entity: Buffer): string {
  const data = parseSignedData(parseContentInfo(splitSigned(entity).signatureDer).content);
  return data.certificates[0]?.subject ?? 'nobody';
}

const nameOf = (list: List) => list.address.split('@')[0] ?? '';
const headOf = (mail: Buffer) => mail.subarray(0, mail.indexOf('\r\n\r\n')).toString();

/** What a mail program with our engine makes of a copy. */
function readBy(who: Identity, copy: Buffer): OpenReport {
  return openMessage(requestOf(copy, { keys: [decryptionKey(who)], anchors: [world.ca.certDer] }));
}

/** openssl's word on the list's signature, with the binding of its certificate (RFC 5035). */
async function cades(entity: Buffer): Promise<string> {
  const { content, signatureDer } = splitSigned(entity);
  return withFiles({ der: signatureDer, content }, async ({ der, content }, out) => {
    const args = [
      'cms',
      '-verify',
      '-cades',
      '-binary',
      '-inform',
      'DER',
      '-in',
      der,
      '-content',
      content,
      '-out',
      out,
    ];
    return saidBy(await runProgram('openssl', [...args, '-CAfile', world.ca.certPath]));
  });
}

describe('send.sign: unsigned', () => {
  it('a post that nobody signed: From the list, a warning, and the signature inside the encryption', async () => {
    const list = await listWith({
      'send.sign': 'unsigned',
      'send.encrypt': 'always',
      'send.subject-tag': 'x',
    });
    const post = clearPost(`Alice Author <${author.address}>`, list.address, [], 'gr\u00fcn\n');
    const fate = await world.post(post, list.address);
    const copy = (await world.copyFor(member, post)).bytes;
    const entity = await openCopy(member, copy);
    expect(signerOf(entity)).toBe(`CN=${nameOf(list)}`);
    expect(await cades(entity)).toContain('CAdES Verification successful');
    const content = (await verifyEntity(world.ca, entity)).toString();
    expect(content.replaceAll('=\r\n', '')).toContain(
      `nobody verified that this message is from ${author.address}`,
    );
    expect(content).toContain('gr=C3=BCn');
    expect(headerOf(copy, 'From')).toBe(`Alice Author via ${nameOf(list)} <${list.address}>`);
    expect(headerOf(copy, 'Reply-To')).toBe(`Alice Author <${author.address}>`);
    expect(headerOf(copy, 'Sender')).toBe(list.address);
    // The same stands inside the signature (RFC 9788).
    for (const name of ['From', 'Subject', 'Message-ID', 'Date', 'To'])
      expect(headerOf(Buffer.from(content), name), name).toBe(headerOf(copy, name));
    expect(headerOf(Buffer.from(content), 'Content-Type')).toMatch(/^multipart\/mixed;.* hp="cipher"$/);
    expect(content).toContain('\r\nHP-Outer: Subject: [x] the outer subject\r\n');
    expect(readBy(member, copy)).toMatchObject({ verdict: 'signed', author: list.address });
    const story = await world.onDatabase((q) => storiesOf(q, fate.id, null));
    expect(JSON.stringify(story)).toContain('the list signs it with its own From');
  });

  it('in clear it is 7 bit, and openssl and our engine accept it', async () => {
    const list = await listWith({ 'send.sign': 'unsigned' });
    const post = clearPost(author.address, list.address, [], 'gr\u00fcn\n');
    await world.post(post, list.address);
    const copy = (await world.copyFor(member, post)).bytes;
    expect(copy.toString('latin1')).toMatch(/^[\r\n\t -~]*$/);
    const content = await verifyEntity(world.ca, copy);
    expect(content.toString()).toContain('gr=C3=BCn');
    expect(headerOf(content, 'Content-Type')).toContain('hp="clear"');
    expect(readBy(member, copy)).toMatchObject({ verdict: 'signed', author: list.address });
  });

  it('an encrypted one that the list lets through leaves so too', async () => {
    const list = await listWith({ 'send.sign': 'unsigned', 'accept.encrypted-unsigned': 'allow' });
    const post = await encryptedOnly(author.address, list);
    await world.post(post, list.address);
    const copy = (await world.copyFor(member, post)).bytes;
    expect(readBy(member, copy)).toMatchObject({ verdict: 'signed', author: list.address, encrypted: true });
    expect(headerOf(copy, 'From')).toBe(`author via ${nameOf(list)} <${list.address}>`);
  });

  it('a post that its author signed leaves as it is', async () => {
    const list = await listWith({ 'send.sign': 'unsigned' });
    const post = await signedAndEncrypted(author, list);
    await world.post(post, list.address);
    const copy = (await world.copyFor(member, post)).bytes;
    expect(signerOf(await openCopy(member, copy))).toBe('CN=author');
    expect(headerOf(copy, 'From')).toBe(author.address);
  });
});

describe('send.sign: always', () => {
  it("puts the list's signature around the author's entity, which keeps every octet", async () => {
    const list = await listWith({ 'send.sign': 'always' });
    const entity = secretEntity();
    const inner = await signed(author, entity);
    const post = mailOf(postHeaders(author.address, list.address), await encrypted(list.identity, inner));
    await world.post(post, list.address);
    for (const who of [member, author]) {
      const copy = (await world.copyFor(who, post)).bytes;
      expect(headerOf(copy, 'From')).toBe(author.address);
      const opened = await openCopy(who, copy);
      expect(signerOf(opened)).toBe(`CN=${nameOf(list)}`);
      const content = await verifyEntity(world.ca, opened);
      expect(content.equals(inner)).toBe(true);
      expect(await verifyEntity(world.ca, content)).toEqual(entity);
    }
  });

  it('signs once for all members of one cipher', async () => {
    const list = await listWith({ 'send.sign': 'always' });
    const post = await signedAndEncrypted(author, list);
    await world.post(post, list.address);
    const [one, two] = await Promise.all(
      [member, author].map(async (who) => openCopy(who, (await world.copyFor(who, post)).bytes)),
    );
    expect(one?.equals(two ?? Buffer.alloc(0))).toBe(true);
  });

  it('in clear around what the author signed, if that is 7 bit', async () => {
    const list = await listWith({ 'send.sign': 'always' });
    const inner = await signed(author, Buffer.from('Content-Type: text/plain\r\n\r\nplain, 7 bit\r\n'));
    const post = mailOf(postHeaders(author.address, list.address), inner);
    await world.post(post, list.address);
    const copy = (await world.copyFor(member, post)).bytes;
    expect(signerOf(copy)).toBe(`CN=${nameOf(list)}`);
    expect((await verifyEntity(world.ca, copy)).equals(inner)).toBe(true);
  });

  it('else the copies leave with the signature of the author alone, and the ledger says why', async () => {
    const list = await listWith({ 'send.sign': 'always' });
    const inner = await signed(author, textEntity('gr\u00fcn\n'));
    const post = mailOf(postHeaders(author.address, list.address), inner);
    const fate = await world.post(post, list.address);
    const copy = (await world.copyFor(member, post)).bytes;
    expect(signerOf(copy)).toBe('CN=author');
    const [story] = await world.onDatabase((q) => storiesOf(q, fate.id, null));
    expect(JSON.stringify(story?.history)).toContain('the list does not sign it: the post is not 7 bit');
  });

  it('a list without a key: the post leaves as it came, and the log says so', async () => {
    const list = await listWith({ 'send.sign': 'always' });
    for (const file of ['cert.pem', 'private_key']) rmSync(join(list.keyFolder, file));
    const post = clearPost(author.address, list.address);
    const fate = await world.post(post, list.address);
    const copy = (await world.copyFor(member, post)).bytes;
    expect(headerOf(copy, 'From')).toBe(author.address);
    expect(headerOf(copy, 'Content-Type')).toContain('text/plain');
    expect(
      world.daemon.log.find((line) => line.id === fate.id && line.event === 'not-signed-by-list'),
    ).toMatchObject({
      level: 'warn',
      detail: 'it has no key to sign with',
    });
  });
});

it('a notice is signed, with its header inside and the certificate bound', async () => {
  const bare = 'bare-notice@example.org';
  const list = await world.list({ members: [author], bare: [bare] });
  await world.post(await signedAndEncrypted(author, list), list.address);
  const [notice] = await world.mailTo(bare);
  if (!notice) throw new Error('no notice');
  expect(await cades(notice.bytes)).toContain('CAdES Verification successful');
  const content = await verifyEntity(world.ca, notice.bytes);
  expect(headerOf(content, 'Content-Type')).toContain('hp="clear"');
  for (const name of ['From', 'To', 'Subject', 'Date', 'Message-ID'])
    expect(headerOf(content, name), name).toBe(headerOf(notice.bytes, name));
  const report = readBy(member, notice.bytes);
  expect(report).toMatchObject({ verdict: 'signed', author: list.address, protected: { form: 'clear' } });
});

describe('the Subject', () => {
  let texts = 0;
  // New each time: the same text signed within one second would be a replay.
  const inside = (subject: string, more = '') =>
    Buffer.from(
      `From: ${author.address}\r\nSubject: ${subject}\r\n${more}Content-Type: text/plain; hp="cipher"\r\n\r\ntext ${++texts}\r\n`,
    );
  const post = async (list: List, entity: Buffer, subject: string) => {
    const data = await signedAndEncrypted(author, list, { entity, headers: [['Subject', subject]] });
    await world.post(data, list.address);
    return (await world.copyFor(member, data)).bytes;
  };

  it('send.hide-subject: yes hides it outside where it is inside', async () => {
    const list = await listWith({ 'send.hide-subject': 'yes', 'send.subject-tag': 'tag' });
    const copy = await post(list, inside('lunch', 'HP-Outer: Subject: lunch\r\n'), 'lunch');
    expect(headOf(copy).match(/^Subject:.*$/gm)).toEqual(['Subject: [...]']);
    expect(readBy(member, copy).protected?.subject).toBe('lunch');
  });

  it('and leaves it where it would be lost', async () => {
    const list = await listWith({ 'send.hide-subject': 'yes' });
    expect(headerOf(await post(list, secretEntity(), 'lunch'), 'Subject')).toBe('lunch');
  });

  it('nor is it inside because the header of an unsigned post says so', async () => {
    const list = await listWith({ 'send.hide-subject': 'yes', 'send.encrypt': 'always' });
    const entity = Buffer.from('Content-Type: text/plain; hp="clear"\r\n\r\ntext\r\n');
    const data = mailOf(postHeaders(author.address, list.address), entity);
    await world.post(data, list.address);
    expect(headerOf((await world.copyFor(member, data)).bytes, 'Subject')).toBe('the outer subject');
  });

  it('is shown unless the list hides it', async () => {
    const list = await listWith({});
    const outer = 'HP-Outer: Subject: lunch\r\n';
    expect(headerOf(await post(list, inside('lunch', outer), 'lunch'), 'Subject')).toBe('lunch');
  });

  it("in the list's own wrapping is inside, so it can be hidden", async () => {
    const settings = { 'send.hide-subject': 'yes', 'send.sign': 'unsigned', 'send.encrypt': 'when-possible' };
    const list = await world.list({ members: [author, member], bare: ['bare-hide@example.org'], settings });
    const data = clearPost(author.address, list.address);
    await world.post(data, list.address);
    const sealed = (await world.copyFor(member, data)).bytes;
    expect(headerOf(sealed, 'Subject')).toBe('[...]');
    expect(readBy(member, sealed).protected).toMatchObject({
      subject: 'the outer subject',
      hidden: ['subject'],
    });
    const clear = (await world.copyFor({ address: 'bare-hide@example.org' }, data)).bytes;
    expect(headerOf(clear, 'Subject')).toBe('the outer subject');
  });

  it('that came hidden never leaves: no copy, notice or moderator sees it', async () => {
    const settings = { 'send.subject-tag': 'tag', 'send.encrypt': 'when-possible', 'send.sign': 'always' };
    const bare = 'bare-hidden@example.org';
    const list = await world.list({ members: [author, member], bare: [bare], settings });
    const outer = 'HP-Outer: Subject: [...]\r\n';
    const copy = await post(list, inside('plan-b-7731', outer), '[...]');
    expect(headOf(copy).match(/^Subject:.*$/gm)).toEqual(['Subject: [...]']);
    expect(readBy(member, copy).protected?.subject).toBe('plan-b-7731');
    await world.mailTo(bare);
    // Nobody signed this one: it waits for a moderator.
    const unsigned = await encryptedOnly(author.address, list, {
      entity: inside('plan-b-7731', outer),
      headers: [['Subject', '[...]']],
    });
    expect(await world.post(unsigned, list.address)).toMatchObject({ event: 'held' });
    await world.mailTo(list.owner);
    const seen = world.sink.messages.filter(({ bytes }) => bytes.includes('plan-b-7731'));
    expect(seen).toEqual([]);
    expect(world.daemon.log.filter((line) => JSON.stringify(line).includes('plan-b-7731'))).toEqual([]);
  });

  it('that was hidden by other words is not shown with a tag either', async () => {
    const list = await listWith({ 'send.subject-tag': 'tag' });
    const copy = await post(list, inside('plan-b', 'HP-Outer: Subject: ...\r\n'), '...');
    expect(headOf(copy).match(/^Subject:.*$/gm)).toEqual(['Subject: [...]']);
  });
});

describe('each member gets the best that he signed for', () => {
  const cipherOf = async (list: List, who: Identity, data: Buffer) => {
    const { id } = await world.post(data, list.address);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    const row = rows.find((one) => one.member === who.address);
    return `${row?.cipher} ${row?.keyTransport}${row?.reason ? ` ${row.reason}` : ''}`;
  };
  const told = (capabilities: Buffer, who: Identity, list: List) =>
    encrypted(list.identity, signedBy(who, secretEntity(), { capabilities })).then((entity) =>
      mailOf(postHeaders(who.address, list.address), entity),
    );

  it('RSA: GCM and OAEP with his hash', async () => {
    const list = await listWith({});
    const rsa = await world.person('best-rsa', { key: 'rsa' });
    await world.join(list, rsa);
    const capabilities = formatCapabilities({
      ciphers: ['aes-128-cbc', 'aes-256-gcm'],
      oaep: ['sha512', 'sha256'],
      agreements: [],
    });
    const data = await told(capabilities, rsa, list);
    expect(await cipherOf(list, rsa, data)).toBe('aes-256-gcm rsa-oaep-sha512');
    expect(readBy(rsa, (await world.copyFor(rsa, data)).bytes)).toMatchObject({ verdict: 'signed' });
    expect((await openCopy(rsa, (await world.copyFor(rsa, data)).bytes)).length).toBeGreaterThan(0);
  });

  it('EC: the key agreement that he names', async () => {
    const list = await listWith({});
    const ec = await world.person('best-ec', { key: 'p384' });
    await world.join(list, ec);
    const agreements = [{ scheme: 'ecdh-sha512kdf', wrap: 'id-aes256-wrap' }] as const;
    const data = await told(formatCapabilities({ ciphers: ['aes-256-cbc'], oaep: [], agreements }), ec, list);
    expect(await cipherOf(list, ec, data)).toBe('aes-256-cbc ecdh-sha512kdf');
    expect((await openCopy(ec, (await world.copyFor(ec, data)).bytes)).length).toBeGreaterThan(0);
  });

  it('X25519: a certificate of its own, which his signature names', async () => {
    const list = await listWith({});
    const signing = await world.person('best-x', { usage: 'digitalSignature' });
    const x25519 = await world.person('best-x', { key: 'x25519' });
    await world.join(list, signing.address);
    const agreements = [{ scheme: 'ecdh-hkdf-sha512', wrap: 'id-aes256-wrap' }] as const;
    const entity = secretEntity();
    const der = signDetached(entity, {
      key: signing.key,
      certificate: parseCertificate(signing.certDer),
      chain: [],
      at: Date.now(),
      encryption: parseCertificate(x25519.certDer),
      capabilities: formatCapabilities({ ciphers: ['aes-256-gcm'], oaep: [], agreements }),
    });
    const data = mailOf(
      postHeaders(signing.address, list.address),
      await encrypted(list.identity, signedEntity(entity, der)),
    );
    expect(await cipherOf(list, signing, data)).toBe('aes-256-gcm ecdh-hkdf-sha512');
    // OpenSSL 3.0 has no X25519 in CMS.
    expect(readBy(x25519, (await world.copyFor(signing, data)).bytes)).toMatchObject({
      verdict: 'signed',
      author: signing.address,
    });
  });

  it('nothing is chosen from mail that does not verify', async () => {
    const list = await listWith({ 'send.encrypt': 'always' });
    const rsa = await world.person('best-forged', { key: 'rsa' });
    await world.join(list, rsa);
    const capabilities = formatCapabilities({ ciphers: ['aes-128-cbc'], oaep: [], agreements: [] });
    const broken = signedBy(rsa, textEntity('what he signed\n'), { capabilities });
    const forged = Buffer.from(broken.toString('latin1').replace('what he', 'what she'), 'latin1');
    expect(
      await world.post(mailOf(postHeaders(rsa.address, list.address), forged), list.address),
    ).toMatchObject({
      event: 'held',
    });
    expect(await cipherOf(list, rsa, await signedAndEncrypted(author, list))).toBe('aes-256-cbc rsa');
  });

  it('not less than the post came with, unless he cannot: that is recorded and explained', async () => {
    const list = await listWith({ 'send.cipher': 'aes-128-cbc' });
    const pinned = await world.person('best-pinned', { key: 'rsa' });
    await world.join(list, pinned, { cipher: 'aes-128-cbc' });
    const strong = await signedAndEncrypted(author, list);
    expect(await cipherOf(list, pinned, strong)).toBe('aes-128-cbc rsa weaker-than-received');
    const weak = await signedAndEncrypted(author, list, { encrypt: { cipher: 'aes-128-cbc' } });
    expect(await cipherOf(list, member, weak)).toBe('aes-128-cbc ecdh');
    expect(await cipherOf(list, member, await signedAndEncrypted(author, list))).toBe('aes-256-cbc ecdh');
    const [story] = await world.onDatabase((q) => storiesOf(q, headerOf(strong, 'Message-ID') ?? '', null));
    expect(story?.postings[0]?.members.find((one) => one.member === pinned.address)).toMatchObject({
      state: 'delivered',
      reason: 'weaker-than-received',
      detail: expect.stringContaining('weaker cipher than it came with'),
    });
    const told = story ? storyLines(story, { width: 80 }).join(' ').replace(/\s+/g, ' ') : '';
    expect(told).toContain(`${pinned.address} delivered: it left with a weaker cipher than it came with`);
  });
});
