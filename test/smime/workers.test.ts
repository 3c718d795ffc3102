import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Plaintext } from '../../src/base/bytes.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import type { SealKey, SealRecipient } from '../../src/smime/jobs.ts';
import { openMessage } from '../../src/smime/open.ts';
import { type CryptoWorkers, startWorkers } from '../../src/smime/workers.ts';
import { decryptionKey } from '../cms/keys.ts';
import { cmsDecrypt, cmsSign, cmsVerify } from '../kit/openssl.ts';
import { type Identity, nextKey } from '../kit/pki.ts';
import { cmsEntity, mailOf, splitSigned, textEntity } from '../kit/smime-mime.ts';
import { encrypted, from, makePeople, opaque, type People, plain, requestOf, signed } from './messages.ts';

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

/** The compiled worker: `npm run build` makes it. */
const real = new URL('../../dist/smime/worker.js', import.meta.url);
const stub = new URL('../fixtures/workers/stub.mjs', import.meta.url);

function pool(script: URL, d: { count?: number; timeoutMs?: number } = {}): CryptoWorkers {
  const workers = startWorkers({ count: 1, timeoutMs: 60_000, script, ...d });
  onTestFinished(() => workers.close());
  return workers;
}

const openRequest = (message: Buffer) =>
  requestOf(message, { keys: [decryptionKey(people.list)], anchors: [people.ca.certDer] });

const recipientOf = (who: Identity): SealRecipient => ({
  sha256: keyOf(who).sha256,
  transport: keyOf(who).keyType === 'ec' ? 'ecdh' : 'rsa',
});

function keyOf(who: Identity): SealKey {
  const { sha256, issuerDer, serialDer, spkiDer, keyType, curve } = parseCertificate(who.certDer);
  const publicKey = { form: 'spki', der: spkiDer } as const;
  return { sha256, issuerDer, serialDer, publicKey, keyType, curve };
}

const noKeys = async (): Promise<SealKey[]> => [];

describe('the crypto workers', () => {
  it('open a message and give its content back as Plaintext', async () => {
    const inner = await signed(people.alice, plain);
    const workers = pool(real);
    const report = await workers.open(
      openRequest(mailOf(from('alice@example.org'), await encrypted(people.list, inner))),
    );
    expect(report).toMatchObject({ verdict: 'signed', author: 'alice@example.org', encrypted: true });
    expect(report.entity).toBeInstanceOf(Plaintext);
    expect(report.entity?.expose().equals(inner)).toBe(true);
    expect(JSON.stringify(report)).not.toContain('wedding');
  });

  it('say what the engine says, with evidence that threads share', async () => {
    const der = Buffer.from(people.ca.crl().replace(/-----[^-]+-----/g, ''), 'base64');
    const shared = new Uint8Array(new SharedArrayBuffer(der.length));
    shared.set(der);
    const inner = await signed(people.alice, textEntity('hello', 'text/plain; hp="cipher"'));
    const message = mailOf(from('alice@example.org'), await encrypted(people.list, inner));
    const revocation = { mode: 'hard', evidence: { crls: [shared], ocsp: [] } } as const;
    const { entity: _, ...findings } = await pool(real).open({ ...openRequest(message), revocation });
    const { entity: __, ...expected } = openMessage({ ...openRequest(message), revocation });
    expect(expected).toMatchObject({ verdict: 'signed', remarks: [], contentSha256: expect.any(String) });
    expect(JSON.stringify(findings)).toBe(JSON.stringify(expected));
  });

  it('give identifiers back as Buffers, to be looked up with', async () => {
    const workers = pool(real);
    for (const keyId of [false, true]) {
      const entity = await opaque(people.alice, plain, { noCertificates: true, keyId });
      const report = await workers.open(openRequest(mailOf(from('alice@example.org'), entity)));
      const [need] = report.needs;
      const [id] = need?.kind === 'key-id' ? [need.keyId] : [need?.serialDer];
      expect([need?.kind, Buffer.isBuffer(id)]).toEqual([keyId ? 'key-id' : 'issuer-serial', true]);
      const known = [people.alice.certDer];
      const again = { ...openRequest(mailOf(from('alice@example.org'), entity)), known };
      expect(await workers.open(again)).toMatchObject({ verdict: 'signed' });
    }
  });

  it('give the preferred certificate back as Buffers', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    const report = await pool(real).open(
      openRequest(mailOf(from('alice@example.org'), cmsEntity(der, 'signed-data'))),
    );
    const preference = report.signature?.preference ?? null;
    if (preference?.kind === 'issuer-serial') expect(Buffer.isBuffer(preference.issuerDer)).toBe(true);
    expect(report.signature?.certificate).toEqual(new Uint8Array(people.alice.certDer));
  });

  it('seal once and address many, and only the one whose key is bad gets nothing', async () => {
    const workers = pool(real);
    const ec = await people.ca.issue({ name: 'Eva', address: 'eva@example.org', key: 'p256' });
    const session = await workers.seal(new Plaintext(Buffer.from(plain)), 'aes-256-cbc');
    expect(session.contentType).toContain('enveloped-data');
    const rubbish = {
      ...keyOf(people.mallory),
      sha256: 'ff',
      publicKey: { form: 'spki', der: Buffer.from('rubbish') } as const,
    };
    const asked: (readonly string[])[] = [];
    const findKeys = async (sha256s: readonly string[]) => {
      asked.push(sha256s);
      return [keyOf(people.alice), rubbish, keyOf(ec)];
    };
    const recipients = [
      recipientOf(people.alice),
      { sha256: 'ff', transport: 'rsa' } as const,
      recipientOf(ec),
      { sha256: 'gone', transport: 'rsa' } as const,
    ];
    const [one, bad, two, gone] = await session.address(recipients, findKeys);
    expect(bad).toEqual({ at: [1], unusable: expect.any(String) });
    expect(gone).toEqual({ at: [3], unusable: expect.stringContaining('not stored') });
    expect([one?.at, two?.at]).toEqual([[0], [2]]);
    // What it has met it does not ask for again.
    const [again] = await session.address([recipientOf(people.alice)], findKeys);
    expect(again).toMatchObject({ phase: one && 'phase' in one ? one.phase : null });
    expect(asked).toEqual([recipients.map((each) => each.sha256)]);
    for (const [who, copy] of [
      [people.alice, one],
      [ec, two],
    ] as const) {
      if (!copy || !('head' in copy)) throw new Error('not addressed');
      const lines = await session.lines(copy.phase);
      expect(lines.buffer).toBeInstanceOf(SharedArrayBuffer);
      const der = Buffer.from(Buffer.concat([copy.head, lines]).toString('latin1'), 'base64');
      expect((await cmsDecrypt(who, der)).content.equals(plain)).toBe(true);
      expect(openEnveloped(parseContentInfo(der).content, [decryptionKey(who)]).opened).toBe(true);
    }
    await session.end();
    await session.end();
    await expect(session.address([], noKeys)).rejects.toMatchObject({ code: 'sealing-gone' });
  });

  it('address one copy to several together, without those whose keys are bad', async () => {
    const workers = pool(real);
    const session = await workers.seal(new Plaintext(Buffer.from(plain)), 'aes-256-cbc');
    const findKeys = async () => [keyOf(people.alice), keyOf(people.mallory)];
    const gone = { sha256: 'gone', transport: 'rsa' } as const;
    const to = [recipientOf(people.alice), gone, recipientOf(people.mallory)];
    const [none, shared, ...more] = await session.address(to, findKeys, true);
    expect(more).toEqual([]);
    expect(none).toEqual({ at: [1], unusable: expect.stringContaining('not stored') });
    if (!shared || !('head' in shared)) throw new Error('not addressed');
    expect(shared.at).toEqual([0, 2]);
    const body = Buffer.concat([shared.head, await session.lines(shared.phase)]);
    const der = Buffer.from(body.toString('latin1'), 'base64');
    for (const who of [people.alice, people.mallory])
      expect((await cmsDecrypt(who, der)).content.equals(plain)).toBe(true);
    expect(await session.address([gone], findKeys, true)).toEqual([
      { at: [0], unusable: expect.stringContaining('not stored') },
    ]);
  });

  it('begin a sealing where the fewest are, when none has anything to do', async () => {
    const workers = pool(stub, { count: 2 });
    const seal = async () => workers.seal(new Plaintext(Buffer.from('x')), 'aes-256-cbc');
    const [one, two, three] = [await seal(), await seal(), await seal()];
    // Each thread counts its own.
    expect([one, two, three].map((each) => each?.contentType)).toEqual(['sealed 1', 'sealed 1', 'sealed 2']);
    for (const each of [one, three]) await each?.end();
    expect((await seal()).contentType).toBe('sealed 3');
  });

  it('leave the entity to seal as it was', async () => {
    const entity = new Plaintext(Buffer.from(plain));
    const session = await pool(real).seal(entity, 'aes-256-gcm');
    expect(entity.expose().equals(plain)).toBe(true);
    expect(session.contentType).toContain('authEnveloped-data');
  });

  it('sign with a key that is never seen as text', async () => {
    const signer = { key: people.list.key, certificate: people.list.certDer, chain: [] };
    const made = await pool(real).sign(plain, signer, { boundary: '=_b', at: Date.now() });
    const { content, signatureDer } = splitSigned(made);
    expect(content.equals(plain)).toBe(true);
    expect(await cmsVerify(people.ca, signatureDer, content)).toMatchObject({ intact: true, trusted: true });
  });

  it('sign plaintext as plaintext, and leave what they were given as it was', async () => {
    const signer = { key: people.list.key, certificate: people.list.certDer, chain: [] };
    const secret = new Plaintext(Buffer.from(plain));
    const wrapper = { text: 'a warning\n', headers: [], encrypted: true, hidesSubject: false };
    const made = await pool(real).signPlaintext(secret, signer, { boundary: '=_b', at: Date.now(), wrapper });
    expect(made).toBeInstanceOf(Plaintext);
    expect(secret.expose().equals(plain)).toBe(true);
    const { content, signatureDer } = splitSigned(made.expose());
    expect(content.toString()).toContain('a warning');
    expect(await cmsVerify(people.ca, signatureDer, content)).toMatchObject({ intact: true, trusted: true });
    secret.wipe();
    await expect(pool(real).signPlaintext(secret, signer, { boundary: '=_b', at: 0 })).rejects.toThrow(
      'wiped',
    );
  });

  it('name the certificate to encrypt answers to', async () => {
    const encryption = await people.ca.issue({ name: 'Enc', address: 'team@lists.example', key: 'p256' });
    const signer = {
      key: people.list.key,
      certificate: people.list.certDer,
      chain: [],
      encryption: encryption.certDer,
    };
    const made = await pool(real).sign(plain, signer, { boundary: '=_b', at: Date.now() });
    const data = parseSignedData(parseContentInfo(splitSigned(made).signatureDer).content);
    expect(data.certificates.map((one) => one.subject)).toContain('CN=Enc');
    const [info] = data.signers;
    expect(info?.preference).toMatchObject({ kind: 'issuer-serial' });
  });

  it('say a fault of the work as a Fault with its code', async () => {
    const x25519 = await people.ca.issue({ name: 'X', address: 'x@example.org', key: 'x25519' });
    const signer = { key: x25519.key, certificate: x25519.certDer, chain: [] };
    await expect(pool(real).sign(plain, signer, { boundary: '=_b', at: 0 })).rejects.toMatchObject({
      name: 'Fault',
      code: 'cms-signer',
    });
  });

  it('many jobs at once all come to their own end', async () => {
    const workers = pool(real, { count: 2 });
    const mail = mailOf(from('alice@example.org'), await opaque(people.alice, plain));
    const other = mailOf(from('mallory@evil.example'), await opaque(people.mallory, plain));
    const jobs = Array.from({ length: 20 }, (_, i) => workers.open(openRequest(i % 2 ? mail : other)));
    const authors = (await Promise.all(jobs)).map((report) => report.author);
    expect(authors).toEqual(authors.map((_, i) => (i % 2 ? 'alice@example.org' : 'mallory@evil.example')));
  });
});

describe('what crosses between threads', () => {
  it('keys stay keys, and octets stay octets', async () => {
    const { port1, port2 } = new MessageChannel();
    onTestFinished(() => port1.close());
    const id = { kind: 'key-id', keyId: Buffer.from('0102', 'hex') };
    port1.postMessage({ ...decryptionKey(people.list), id });
    const [got] = await once(port2, 'message');
    expect(new X509Certificate(people.list.certDer).checkPrivateKey(got.key)).toBe(true);
    expect(got.certificate.serialDer).toEqual(new Uint8Array(people.list.serial));
    expect(got.id.keyId).toEqual(new Uint8Array([1, 2]));
  });
});

describe('a worker that', () => {
  const signer = async () => ({ key: await nextKey('p256'), certificate: people.list.certDer, chain: [] });
  const told = async (workers: CryptoWorkers, order: string) =>
    (await workers.sign(Buffer.alloc(0), await signer(), { boundary: order, at: 0 })).toString();

  it.each([
    // Longer than a busy machine takes to start a thread, for the jobs after it.
    ['hangs', 'hang', 'worker-timeout', 3000],
    ['never answers', 'silent', 'worker-timeout', 3000],
    ['exits', 'exit', 'worker-died', 60_000],
    ['throws', 'throw', 'worker-died', 60_000],
  ])('%s costs its own job only', async (_, order, code, timeoutMs) => {
    const workers = pool(stub, { timeoutMs });
    const bad = told(workers, order);
    const waiting = ['a', 'b', 'c'].map((name) => told(workers, name));
    await expect(bad).rejects.toMatchObject({ name: 'Fault', code });
    expect(await Promise.all(waiting)).toEqual(['answer to a', 'answer to b', 'answer to c']);
  });

  it('takes all memory is stopped by its limit, not the process', async () => {
    const workers = pool(stub, { timeoutMs: 60_000 });
    await expect(told(workers, 'memory')).rejects.toMatchObject({ code: 'worker-died' });
    expect(await told(workers, 'after')).toBe('answer to after');
  });

  it('hangs does not hold up the other one', async () => {
    const workers = pool(stub, { count: 2, timeoutMs: 2000 });
    const bad = told(workers, 'hang');
    bad.catch(() => undefined);
    for (const name of ['a', 'b', 'c', 'd']) expect(await told(workers, name)).toBe(`answer to ${name}`);
    await expect(bad).rejects.toMatchObject({ code: 'worker-timeout' });
  });

  it('has several jobs does first what was asked first, whether it belongs to a sealing or not', async () => {
    const workers = pool(stub);
    const session = await workers.seal(new Plaintext(Buffer.from('x')), 'aes-256-cbc');
    const signer = { key: await nextKey('p256'), certificate: people.list.certDer, chain: [] };
    const sign = (boundary: string) => workers.sign(Buffer.alloc(0), signer, { boundary, at: 0 });
    const done: string[] = [];
    const note = (name: string) => () => void done.push(name);
    await Promise.all([
      sign('a').then(note('a')),
      sign('b').then(note('b')),
      session.address([], noKeys).then(note('heads')),
      sign('c').then(note('c')),
      session.lines(0).then(note('lines')),
    ]);
    expect(done).toEqual(['a', 'b', 'heads', 'c', 'lines']);
  });

  it('answers for another job is not believed', async () => {
    expect(await told(pool(stub), 'twice')).toBe('answer to twice');
  });

  it('says a fault gives that fault', async () => {
    await expect(told(pool(stub), 'fault')).rejects.toMatchObject({
      code: 'key-unsupported',
      message: 'no such key',
    });
  });

  it('died takes its sealings with it', async () => {
    const workers = pool(stub, { timeoutMs: 3000 });
    const session = await workers.seal(new Plaintext(Buffer.from('x')), 'aes-256-cbc');
    expect(await session.address([], noKeys)).toEqual([]);
    const bad = workers.seal(new Plaintext(Buffer.from('exit')), 'aes-256-cbc');
    const queued = session.address([], noKeys);
    queued.catch(() => undefined);
    await expect(bad).rejects.toMatchObject({ code: 'worker-died' });
    // In the queue of the thread that died, and after it.
    await expect(queued).rejects.toMatchObject({ code: 'worker-restarted' });
    await expect(session.address([], noKeys)).rejects.toMatchObject({ code: 'worker-restarted' });
    await expect(session.lines(0)).rejects.toMatchObject({ code: 'worker-restarted' });
    await expect(session.end()).resolves.toBeUndefined();
    const fresh = await workers.seal(new Plaintext(Buffer.from('x')), 'aes-256-cbc');
    expect(fresh.contentType).toBe('sealed 1');
  });
});

describe('close', () => {
  it('ends what is under way and what waits, and takes nothing more', async () => {
    const workers = startWorkers({ count: 1, timeoutMs: 60_000, script: stub });
    const key = await nextKey('p256');
    const ask = (boundary: string) =>
      workers.sign(
        Buffer.alloc(0),
        { key, certificate: people.list.certDer, chain: [] },
        { boundary, at: 0 },
      );
    const asked = [ask('silent'), ask('a'), workers.seal(new Plaintext(Buffer.from('x')), 'aes-256-cbc')];
    const ended = Promise.allSettled(asked);
    await workers.close();
    for (const one of await ended) {
      const reason: unknown = one.status === 'rejected' ? one.reason : null;
      expect(reason).toMatchObject({ name: 'Fault', code: expect.stringMatching(/^worker-(closed|died)$/) });
    }
    await expect(ask('b')).rejects.toMatchObject({ code: 'worker-closed' });
    await expect(workers.close()).resolves.toBeUndefined();
  });

  it('of workers that never worked is nothing', async () => {
    await expect(startWorkers({ count: 2, timeoutMs: 1000, script: stub }).close()).resolves.toBeUndefined();
  });
});
