import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type KeyTransport, recipientOf } from '../../src/cms/encrypt.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import type { ContentCipher } from '../../src/pki/algorithms.ts';
import { smallIntegerOf } from '../../src/pki/ber.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type Sealing, startSealing } from '../../src/smime/seal.ts';
import { decryptionKey } from '../cms/keys.ts';
import { makeGpgsm } from '../kit/gpgsm.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { makeNss } from '../kit/nss.ts';
import { cmsDecrypt } from '../kit/openssl.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { textEntity } from '../kit/smime-mime.ts';

const entity = textEntity('the wedding is on Friday\n');
let ca: TestCa;
let rsa: readonly Identity[];
let ec: Identity;
let x25519: Identity;

beforeAll(async () => {
  ca = await makeCa();
  const person = (n: number, key: 'rsa' | 'p256' | 'x25519') =>
    ca.issue({ name: `Member ${n}`, address: `m${n}@example.org`, key, serial: Buffer.alloc(8 + n, 0x11) });
  rsa = await Promise.all([1, 2, 3].map((n) => person(n, 'rsa')));
  ec = await person(4, 'p256');
  x25519 = await person(5, 'x25519');
});

type To = readonly (readonly [Identity, KeyTransport])[];

function sharedCopy(sealing: Sealing, to: To) {
  const wraps = to.map(([who, transport]) =>
    sealing.wrap(recipientOf(parseCertificate(who.certDer), transport)),
  );
  const { head, phase } = sealing.headOf(wraps);
  const body = Buffer.concat([head, sealing.sharedLines(phase)]).toString('latin1');
  return { phase, der: Buffer.from(body, 'base64') };
}

/** The version in EnvelopedData or AuthEnvelopedData. */
const versionOf = (der: Buffer): number => smallIntegerOf(parseContentInfo(der).content.children[0]);

const transportOnly = (count: number): To => rsa.slice(0, count).map((who) => [who, 'rsa']);
const mixed = (): To => [...transportOnly(2), [ec, 'ecdh']];

const withOaep = (): To => [...transportOnly(2), [rsa[2] as Identity, 'rsa-oaep-sha256']];

function opens(der: Buffer, who: Identity): boolean {
  const { kind, content } = parseContentInfo(der);
  const result = (kind === 'enveloped-data' ? openEnveloped : openAuthEnveloped)(content, [
    decryptionKey(who),
  ]);
  return result.opened && result.content.expose().equals(entity);
}

describe('a copy that several members share', () => {
  it.each<ContentCipher>(['aes-256-cbc', 'aes-256-gcm'])(
    '%s: is opened by each, in every phase',
    (cipher) => {
      const sealing = startSealing(entity, cipher);
      const phases = new Set<number>();
      for (const to of [transportOnly(1), transportOnly(2), transportOnly(3), mixed()]) {
        const { der, phase } = sharedCopy(sealing, to);
        phases.add(phase);
        for (const [who] of to) expect(opens(der, who)).toBe(true);
        expect(opens(der, x25519)).toBe(false);
      }
      expect(phases.size).toBeGreaterThan(1);
    },
  );

  it('has the version of RFC 5652 6.1: 2 as soon as one of them has key agreement; RFC 5083 2.1 knows only 0', () => {
    const cbc = startSealing(entity, 'aes-128-cbc');
    expect(versionOf(sharedCopy(cbc, transportOnly(3)).der)).toBe(0);
    expect(versionOf(sharedCopy(cbc, mixed()).der)).toBe(2);
    expect(versionOf(sharedCopy(startSealing(entity, 'aes-128-gcm'), mixed()).der)).toBe(0);
  });

  it.each<ContentCipher>(['aes-256-cbc', 'aes-256-gcm'])('%s: openssl opens it for each', async (cipher) => {
    const to: To = [...mixed(), [rsa[2] as Identity, 'rsa-oaep-sha256']];
    const { der } = sharedCopy(startSealing(entity, cipher), to);
    for (const [who] of to) {
      const read = await cmsDecrypt(who, der);
      expect([read.ok, read.content.equals(entity)], read.said).toEqual([true, true]);
    }
  });

  it.skipIf(!needs('cmsutil (libnss3-tools)', hasProgram('cmsutil')))(
    'NSS opens it if the others have key transport too, whichever',
    async () => {
      for (const to of [transportOnly(3), withOaep()]) {
        const nss = await makeNss([ca], [rsa[0] as Identity]);
        const read = await nss.decrypt(sharedCopy(startSealing(entity, 'aes-256-cbc'), to).der);
        expect([read.ok, read.content.equals(entity)], read.said).toEqual([true, true]);
      }
      // Why `sealBatch` keeps the two apart.
      const nss = await makeNss([ca], [rsa[0] as Identity]);
      const read = await nss.decrypt(sharedCopy(startSealing(entity, 'aes-256-cbc'), mixed()).der);
      expect([read.ok, read.said]).toEqual([false, expect.stringContaining('SEC_ERROR_BAD_DER')]);
    },
  );

  it.skipIf(!needs('gpgsm', hasProgram('gpgsm')))('gpgsm opens it, whatever the others have', async () => {
    for (const to of [transportOnly(3), withOaep(), mixed()]) {
      const gpgsm = await makeGpgsm([ca], [rsa[0] as Identity]);
      onTestFinished(() => gpgsm.close());
      const read = await gpgsm.decrypt(sharedCopy(startSealing(entity, 'aes-256-cbc'), to).der);
      expect([read.ok, read.content.equals(entity)], read.said).toEqual([true, true]);
    }
  });
});
