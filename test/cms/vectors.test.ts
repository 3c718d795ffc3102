import { constants, createPrivateKey, generateKeyPairSync, publicEncrypt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { unwrapUnder } from '../../src/cms/ecdh.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import { recoverOaep } from '../../src/cms/oaep.ts';
import { recoverRsa15 } from '../../src/cms/rsa15.ts';
import { type DigestName, derAlgorithm, derRsaEncryption } from '../../src/pki/algorithms.ts';
import { derInteger, derOctets, derSequence } from '../../src/pki/der.ts';
import { hex, labelOf, needsWycheproof, type WycheproofVector, wycheproof } from '../kit/wycheproof.ts';
import { forgeEnvelope } from './forge.ts';

interface Transport {
  readonly msg: string;
  readonly ct: string;
  readonly label?: string;
}
interface TransportGroup {
  readonly privateKeyPkcs8: string;
  readonly sha?: string;
  readonly mgfSha?: string;
}
interface Cipher {
  readonly key: string;
  readonly iv: string;
  readonly msg: string;
  readonly ct: string;
}

const keyOf = (group: TransportGroup) =>
  createPrivateKey({ key: hex(group.privateKeyPkcs8), format: 'der', type: 'pkcs8' });
const digest = (name: string | undefined) => (name ?? '').toLowerCase().replace('-', '') as DigestName;

describe.skipIf(!needsWycheproof())('Wycheproof, key transport', () => {
  /** A valid one gives its message; of any other one gets octets that are not the message, and no error. */
  function check(
    vector: WycheproofVector & Transport,
    recover: (ct: Buffer, length: number) => Buffer,
  ): void {
    const message = hex(vector.msg);
    const length = vector.result === 'valid' || message.length > 0 ? message.length : 24;
    const recovered = recover(hex(vector.ct), length);
    expect(recovered, labelOf(vector)).toHaveLength(length);
    expect(recovered.equals(message), labelOf(vector)).toBe(vector.result === 'valid');
  }

  it('RSA v1.5', () => {
    for (const group of wycheproof<TransportGroup, Transport>('rsa_pkcs1_2048_test.json')) {
      const key = keyOf(group);
      for (const vector of group.tests) check(vector, (ct, length) => recoverRsa15(key, ct, length));
    }
  });

  it.each(['sha1_mgf1sha1', 'sha256_mgf1sha1', 'sha256_mgf1sha256', 'sha512_mgf1sha512'])(
    'RSA-OAEP %s',
    (name) => {
      for (const group of wycheproof<TransportGroup, Transport>(`rsa_oaep_2048_${name}_test.json`)) {
        const key = keyOf(group);
        const [hash, mask] = [digest(group.sha), digest(group.mgfSha)];
        for (const vector of group.tests) {
          const label = hex(vector.label ?? '');
          check(vector, (ct, length) => recoverOaep(key, ct, length, { hash, mask, label }));
        }
      }
    },
  );
});

describe.skipIf(!needsWycheproof())('Wycheproof, content and key wrap', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  /** Stands for a certificate of ours: all that opening looks at. */
  const certificate = {
    issuerDer: derSequence(),
    serialDer: Buffer.from([1]),
    subjectKeyId: null,
    spkiDer: publicKey.export({ type: 'spki', format: 'der' }),
    sha256: 'ours',
  };
  const toUs = (key: Buffer): Buffer =>
    derSequence(
      derInteger(0),
      derSequence(certificate.issuerDer, derInteger(1)),
      derRsaEncryption(),
      derOctets(publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, key)),
    );
  const ours = [{ certificate, key: privateKey }];
  const vectors = (file: string) => wycheproof<unknown, Cipher>(file).flatMap((group) => group.tests);

  it('AES-CBC content, with right and wrong padding', () => {
    const oids = new Map([
      [16, '2.16.840.1.101.3.4.1.2'],
      [24, '2.16.840.1.101.3.4.1.22'],
      [32, '2.16.840.1.101.3.4.1.42'],
    ]);
    const all = vectors('aes_cbc_pkcs5_test.json');
    for (const vector of all) {
      const key = hex(vector.key);
      const algorithm = derAlgorithm(oids.get(key.length) ?? '', derOctets(hex(vector.iv)));
      const der = forgeEnvelope({ recipients: [toUs(key)], algorithm, ciphertext: hex(vector.ct) });
      const result = openEnveloped(parseContentInfo(der).content, ours);
      expect(result.opened, labelOf(vector)).toBe(vector.result === 'valid');
      if (result.opened) expect(result.content.expose().equals(hex(vector.msg)), labelOf(vector)).toBe(true);
      else expect(result.reason, labelOf(vector)).toBe('decrypt-failed');
    }
    expect(all).toHaveLength(216);
  });

  it('AES key wrap', () => {
    const all = vectors('aes_wrap_test.json');
    const wraps = new Map<number, 'id-aes128-wrap' | 'id-aes192-wrap' | 'id-aes256-wrap'>([
      [16, 'id-aes128-wrap'],
      [24, 'id-aes192-wrap'],
      [32, 'id-aes256-wrap'],
    ]);
    for (const vector of all) {
      const kek = hex(vector.key);
      const wrap = wraps.get(kek.length);
      if (wrap === undefined) continue;
      const unwrapped = () => unwrapUnder(kek, wrap, hex(vector.ct));
      if (vector.result === 'valid') expect(unwrapped().equals(hex(vector.msg)), labelOf(vector)).toBe(true);
      else if (vector.result === 'invalid' && vector.ct !== '') expect(unwrapped, labelOf(vector)).toThrow();
    }
    expect(all).toHaveLength(165);
  });
});
