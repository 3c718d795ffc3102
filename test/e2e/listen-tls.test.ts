import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { type SendResult, sendMail } from '../kit/smtp-send.ts';
import { tempFolder } from '../kit/tmp.ts';
import { clearPost } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

const folder = join(tempFolder(), 'tls');
const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
let first: Identity;
let second: Identity;
let world: World;
let list: List;

const author = 'alice@example.org';
const install = ({ certPath, keyPath }: Identity): void => {
  copyFileSync(certPath, files.cert);
  copyFileSync(keyPath, files.key);
};
const nameOf = (who: Identity): string => parseCertificate(who.certDer).sha256;

beforeAll(async () => {
  mkdirSync(folder);
  const ca = await makeCa();
  first = await ca.issue({ name: 'lists.example', eku: 'serverAuth' });
  second = await ca.issue({ name: 'lists.example', eku: 'serverAuth' });
  install(first);
  world = await makeWorld({
    listen: `listen: [{protocol: smtp, port: 0, tls: {cert: ${files.cert}, key: ${files.key}}}, {port: 0}]`,
  });
  list = await world.list({ bare: [author] });
});
afterAll(() => world.stop());

/** Sends a post over TLS; what the server answers and which certificate it shows. */
async function sendOverTls(mailParameters?: string): Promise<SendResult & { shown: string }> {
  let shown = '';
  const result = await sendMail({
    port: world.daemon.port(),
    from: author,
    to: [list.address],
    data: clearPost(author, list.address),
    tls: (fingerprint) => {
      shown = fingerprint;
    },
    ...(mailParameters ? { mailParameters } : {}),
  });
  return { ...result, shown };
}

describe('a listening socket with listen.tls', () => {
  it('offers STARTTLS, and says so in the Received field', async () => {
    const { code, shown, text } = await sendOverTls();
    expect([code, shown]).toEqual([250, nameOf(first)]);
    const id = /accepted as (\w+)/.exec(text)?.[1] ?? '';
    await world.fate({ id });
    expect((await world.mailTo(author)).at(-1)?.bytes.toString()).toContain('with ESMTPS');
  });

  it('takes REQUIRETLS over TLS only (RFC 8689 3)', async () => {
    expect((await sendOverTls('REQUIRETLS')).code).toBe(250);
    const data = clearPost(author, list.address);
    const inClear = { from: author, to: [list.address], data, mailParameters: 'REQUIRETLS' };
    expect((await sendMail({ ...inClear, port: world.daemon.port() })).code).toBeGreaterThanOrEqual(500);
  });

  it('takes a renewed certificate on SIGHUP; one that does not fit its key is told of, and the old one stays', async () => {
    install(second);
    world.daemon.signal('SIGHUP');
    while ((await sendOverTls()).shown !== nameOf(second));
    copyFileSync(first.certPath, files.cert);
    world.daemon.signal('SIGHUP');
    const told = await world.daemon.logged((line) => line.event === 'reload-failed');
    expect(String(told.detail)).toMatch(
      /cert\.pem and .*key\.pem cannot be used for TLS \(listen\.tls\): .*the key does not belong to the certificate/,
    );
    expect((await sendOverTls()).shown).toBe(nameOf(second));
    const check = await world.daemon.run(['check']);
    expect(check.stdout).toMatch(/problem +listen 127\.0\.0\.1:0: .*cannot be used for TLS/);
    install(second);
    expect((await world.daemon.run(['check'])).stdout).toContain('certificate and key for TLS can be used');
  });

  it('that is not there keeps reseal from starting, in words', async () => {
    writeFileSync(files.key, '');
    await world.daemon.stop();
    await expect(world.restart()).rejects.toThrow(/cannot be used for TLS \(listen\.tls\)/);
    install(second);
    await world.restart();
  });

  it('is one of several: the others offer no TLS', async () => {
    const lmtp = { port: world.daemon.port(1), lmtp: true, from: author, to: [list.address] };
    const data = clearPost(author, list.address);
    expect(await sendMail({ ...lmtp, data, tls: () => {} })).toMatchObject({
      code: expect.toSatisfy((code: number) => code >= 500),
    });
    expect(await sendMail({ ...lmtp, data })).toMatchObject({ code: 250 });
  });
});
