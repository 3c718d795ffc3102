import { execFileSync } from 'node:child_process';
import { beforeAll, describe, expect, it } from 'vitest';
import { withFiles } from '../kit/client.ts';
import { cmsEncrypt, cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { cmsEntity, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';

// Whole messages through the engine as it is built: MIME, base64 and CMS together (test/cms/large.test.ts is CMS alone).

const megabyte = 1 << 20;
let ca: TestCa;
let alice: Identity;
let list: Identity;
beforeAll(async () => {
  ca = await makeCa('Large');
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org' });
  list = await ca.issue({ name: 'List', address: 'list@lists.example' });
});

/** Signed and encrypted by OpenSSL, about `size` octets as mail; streamed: BER in segments, as programs write what is long. */
async function message(size: number, streamed: boolean): Promise<Buffer> {
  const line = `${'x'.repeat(74)}\n`;
  const text = textEntity(line.repeat(Math.floor((size * 0.73) / line.length)));
  const entity = signedEntity(text, await cmsSign(alice, text));
  const der = await cmsEncrypt([list], entity, { stream: streamed });
  return mailOf([['From', alice.address]], cmsEntity(der, 'enveloped-data'));
}

/** Opens it in a process of its own: the verdict, and how much the process grew beyond the message, in octets. */
const opened = (mail: Buffer): Promise<{ verdict: string; grown: number }> =>
  withFiles({ mail, anchor: ca.certDer, certificate: list.certDer }, async (paths) => {
    const program = `
      import { readFileSync } from 'node:fs';
      import { createPrivateKey } from 'node:crypto';
      import { openMessage } from './dist/smime/open.js';
      import { defaultFloor } from './dist/pki/algorithms.js';
      import { parseCertificate } from './dist/pki/certificate.js';
      import { revocationOff } from './dist/pki/revocation.js';
      const peak = () => Number(/VmHWM:\\s+(\\d+) kB/.exec(readFileSync('/proc/self/status', 'latin1'))[1]) * 1024;
      const [message, anchor, own] = ${JSON.stringify([paths.mail, paths.anchor, paths.certificate])}.map((path) => readFileSync(path));
      const key = createPrivateKey(readFileSync(${JSON.stringify(list.keyPath)}));
      const before = peak();
      const { verdict } = openMessage({
        message, anchors: [anchor], keys: [{ key, certificate: parseCertificate(own) }],
        known: [], pins: [], at: Date.now(), floor: defaultFloor, openedSize: 100e6, revocation: revocationOff,
      });
      console.log(JSON.stringify({ verdict, grown: peak() - before }));`;
    return JSON.parse(
      execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' }),
    );
  });

describe('a message of 10 and of 50 MB opens in memory linear in its size', () => {
  it.each([
    ['definite lengths', false],
    ['BER, streamed', true],
  ])(
    '%s',
    async (_, streamed) => {
      for (const size of [10 * megabyte, 50 * megabyte]) {
        const mail = await message(size, streamed);
        expect(mail.length).toBeGreaterThan(0.95 * size);
        const { verdict, grown } = await opened(mail);
        expect(verdict).toBe('signed');
        expect(grown, `for ${size} octets`).toBeLessThan(4 * mail.length + 16 * megabyte);
      }
    },
    60_000,
  );
});
