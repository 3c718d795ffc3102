import { constants, generateKeyPairSync, publicEncrypt } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { unwrapUnder } from '../../src/cms/ecdh.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import { derAlgorithm, derRsaEncryption } from '../../src/pki/algorithms.ts';
import { derInteger, derOctets, derSequence } from '../../src/pki/der.ts';
import { forgeEnvelope } from '../cms/forge.ts';
import { needs } from '../kit/needs.ts';

/** Project Wycheproof's vectors put into CMS structures and opened by the engine: each must end as its file says. */
const folder = '../shared/corpora/wycheproof';

interface Vector {
  readonly tcId: number;
  readonly comment: string;
  readonly flags: readonly string[];
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly [field: string]: unknown;
}
const vectors = (file: string): readonly Vector[] =>
  (JSON.parse(readFileSync(join(folder, file), 'utf8')).testGroups as { tests: Vector[] }[]).flatMap(
    (group) => group.tests,
  );
const hex = (vector: Vector, field: string): Buffer => Buffer.from(String(vector[field]), 'hex');
const name = (vector: Vector): string => `${vector.tcId} ${vector.comment} (${vector.flags.join(', ')})`;

describe.skipIf(!needs('the corpus wycheproof', existsSync(folder)))('Wycheproof in CMS', () => {
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

  it('AES-CBC content, with right and wrong padding', () => {
    const oids = new Map([
      [16, '2.16.840.1.101.3.4.1.2'],
      [24, '2.16.840.1.101.3.4.1.22'],
      [32, '2.16.840.1.101.3.4.1.42'],
    ]);
    const all = vectors('aes_cbc_pkcs5_test.json');
    for (const vector of all) {
      const key = hex(vector, 'key');
      const algorithm = derAlgorithm(oids.get(key.length) ?? '', derOctets(hex(vector, 'iv')));
      const der = forgeEnvelope({ recipients: [toUs(key)], algorithm, ciphertext: hex(vector, 'ct') });
      const result = openEnveloped(parseContentInfo(der).content, ours);
      expect(result.opened, name(vector)).toBe(vector.result === 'valid');
      if (result.opened) expect(result.content.expose().equals(hex(vector, 'msg')), name(vector)).toBe(true);
      else expect(result.reason, name(vector)).toBe('decrypt-failed');
    }
    expect(all).toHaveLength(216);
  });

  it('AES key wrap', () => {
    const all = vectors('aes_wrap_test.json');
    const wraps = new Map([
      [16, 'id-aes128-wrap'],
      [24, 'id-aes192-wrap'],
      [32, 'id-aes256-wrap'],
    ] as const);
    for (const vector of all) {
      const kek = hex(vector, 'key');
      const wrap = wraps.get(kek.length as 16 | 24 | 32);
      if (wrap === undefined) continue;
      const unwrapped = () => unwrapUnder(kek, wrap, hex(vector, 'ct'));
      if (vector.result === 'valid') expect(unwrapped().equals(hex(vector, 'msg')), name(vector)).toBe(true);
      else if (vector.result === 'invalid' && vector.ct !== '') expect(unwrapped, name(vector)).toThrow();
    }
    expect(all).toHaveLength(165);
  });
});
