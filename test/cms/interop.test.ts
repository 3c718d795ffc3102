import { beforeAll, describe, expect, it } from 'vitest';
import { formatCapabilities, ownCapabilities } from '../../src/cms/capabilities.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { encryptContent, recipientOf } from '../../src/cms/encrypt.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import { signDetached } from '../../src/cms/sign.ts';
import { type SignerReport, verifySigner } from '../../src/cms/verify.ts';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type Gpgsm, makeGpgsm } from '../kit/gpgsm.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { makeNss, type Nss } from '../kit/nss.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { readSigned } from './forge.ts';
import { decryptionKey } from './keys.ts';

/** The two stacks beside OpenSSL that mail clients are built on: libksba (KMail, Claws) and NSS (Thunderbird, Evolution). */
const clients: [
  string,
  (ca: TestCa, alice: Identity) => Promise<(Gpgsm | Nss) & { close?: () => Promise<void> }>,
][] = [
  ['gpgsm', (ca, alice) => makeGpgsm([ca], [alice])],
  ['cmsutil', (ca, alice) => makeNss([ca], [alice])],
];

const text = Buffer.from('Content-Type: text/plain\r\n\r\nAcross stacks.\r\n');

describe.each(clients)('%s', (program, make) => {
  describe.skipIf(!needs(program, hasProgram(program)))('both ways', () => {
    let alice: Identity;
    let list: Identity;
    let ca: TestCa;
    let client: Awaited<ReturnType<typeof make>>;

    beforeAll(async () => {
      ca = await makeCa('Interop Root');
      alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
      list = await ca.issue({ name: 'List', address: 'list@a.example' });
      client = await make(ca, alice);
      await client.addRecipient(list);
      return () => client.close?.();
    });

    const verify = (der: Buffer, content: Buffer | null): SignerReport[] => {
      const data = readSigned(der);
      return data.signers.map((signer) =>
        verifySigner(data, signer, content ? [content] : (data.content ?? []), [], defaultFloor),
      );
    };

    it.each([false, true])('what it signs is intact, opaque: %s', async (opaque) => {
      const der = await client.sign(alice, text, { opaque });
      expect(verify(der, opaque ? null : text)).toMatchObject([
        { intact: true, reasons: [], certificate: { addresses: ['alice@a.example'] } },
      ]);
    });

    it('what it encrypts opens', async () => {
      const der = await client.encrypt([list.address], text);
      const result = openEnveloped(parseContentInfo(der).content, [decryptionKey(list)]);
      expect(result.opened ? result.content.expose().toString() : result.detail).toBe(text.toString());
    });

    it('trusts what we sign', async () => {
      const signer = {
        key: list.key,
        certificate: parseCertificate(list.certDer),
        chain: [],
        at: Date.now(),
      };
      const der = signDetached(text, { ...signer, capabilities: formatCapabilities(ownCapabilities('rsa')) });
      expect(await client.verify(der, text)).toMatchObject({ intact: true, trusted: true });
    });

    it('opens what we encrypt', async () => {
      const encrypted = encryptContent(text, 'aes-256-cbc');
      const recipient = recipientOf(parseCertificate(alice.certDer), 'rsa');
      const opened = await client.decrypt(Buffer.concat([encrypted.prefixFor(recipient), encrypted.tail]));
      expect({ ok: opened.ok, text: opened.content.toString() }, opened.said).toEqual({
        ok: true,
        text: text.toString(),
      });
    });
  });
});
