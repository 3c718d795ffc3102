import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadTrustAnchors } from '../../src/pki/trust.ts';
import { mustRun } from '../kit/client.ts';
import { makeCa } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';

const ca = (name: string) => makeCa(name, { key: 'p256' });
const subjects = (loaded: Awaited<ReturnType<typeof loadTrustAnchors>>) =>
  loaded.anchors.certificates.map((c) => c.subject);

describe('loadTrustAnchors', () => {
  it('trusts nothing by default', async () => {
    expect(await loadTrustAnchors({})).toEqual({ anchors: { certificates: [] }, problems: [] });
  });

  it('reads a bundle with text between the certificates, each once', async () => {
    const [a, b] = [await ca('A'), await ca('B')];
    const cafile = join(tempFolder(), 'ca.pem');
    writeFileSync(
      cafile,
      `# ours\n${a.certPem}\nSubject: B\n${b.certPem.replaceAll('\n', '\r\n')}${a.certPem}`,
    );
    const loaded = await loadTrustAnchors({ cafile });
    expect(subjects(loaded)).toEqual(['CN=A', 'CN=B']);
    expect(loaded.problems).toEqual([]);
  });

  it('reads one DER file, and TRUSTED CERTIFICATE as OpenSSL writes it', async () => {
    const a = await ca('A');
    const folder = tempFolder();
    writeFileSync(join(folder, 'ca.der'), a.certDer);
    expect(subjects(await loadTrustAnchors({ cafile: join(folder, 'ca.der') }))).toEqual(['CN=A']);
    const trusted = (
      await mustRun('openssl', ['x509', '-trustout', '-addtrust', 'emailProtection', '-in', a.certPath])
    ).stdout;
    expect(trusted.toString()).toContain('TRUSTED');
    writeFileSync(join(folder, 'ca.pem'), trusted);
    expect(subjects(await loadTrustAnchors({ cafile: join(folder, 'ca.pem') }))).toEqual(['CN=A']);
  });

  it('reads a folder as c_rehash leaves it', async () => {
    const folder = tempFolder();
    const [a, b] = [await ca('A'), await ca('B')];
    writeFileSync(join(folder, 'a.pem'), a.certPem);
    writeFileSync(join(folder, 'b.crt'), b.certPem);
    writeFileSync(join(folder, 'README'), 'authorities of the site');
    await mustRun('openssl', ['rehash', folder]);
    symlinkSync('gone.pem', join(folder, '01234567.0'));
    const loaded = await loadTrustAnchors({ capath: folder });
    expect(subjects(loaded).sort()).toEqual(['CN=A', 'CN=B']);
    expect(loaded.problems).toEqual([`${folder}/01234567.0: it cannot be read (ENOENT)`]);
  });

  it('keeps the rest when one certificate is broken', async () => {
    const a = await ca('A');
    const cafile = join(tempFolder(), 'ca.pem');
    writeFileSync(cafile, `-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n${a.certPem}`);
    const loaded = await loadTrustAnchors({ cafile });
    expect(subjects(loaded)).toEqual(['CN=A']);
    expect(loaded.problems).toEqual([expect.stringContaining(`${cafile}: certificate 1:`)]);
  });

  it('says aloud that a file holds none', async () => {
    const cafile = join(tempFolder(), 'ca.pem');
    writeFileSync(cafile, 'nothing');
    expect((await loadTrustAnchors({ cafile })).problems).toEqual([
      `${cafile}: it holds no certificate in PEM or DER`,
    ]);
  });

  it.each(['cafile', 'capath'] as const)('refuses a %s that is not there', async (setting) => {
    const path = join(tempFolder(), 'nowhere');
    const loading = loadTrustAnchors({ [setting]: path });
    await expect(loading).rejects.toMatchObject({
      code: 'trust-unreadable',
      data: { path, errno: 'ENOENT' },
    });
  });

  it('refuses a folder given as a file', async () => {
    const folder = join(tempFolder(), 'x');
    mkdirSync(folder);
    await expect(loadTrustAnchors({ cafile: folder })).rejects.toMatchObject({ code: 'trust-unreadable' });
  });
});
