import { createPrivateKey } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { recoverOaep } from '../../src/cms/oaep.ts';
import { recoverRsa15 } from '../../src/cms/rsa15.ts';
import type { DigestName } from '../../src/pki/algorithms.ts';
import { needs } from '../kit/needs.ts';

const folder = '../shared/corpora/wycheproof';

interface Vector {
  readonly tcId: number;
  readonly comment: string;
  readonly msg: string;
  readonly ct: string;
  readonly label?: string;
  readonly result: 'valid' | 'invalid' | 'acceptable';
}
interface Group {
  readonly privateKeyPkcs8: string;
  readonly sha?: string;
  readonly mgfSha?: string;
  readonly tests: readonly Vector[];
}

const groups = (file: string): readonly Group[] =>
  JSON.parse(readFileSync(join(folder, file), 'utf8')).testGroups;
const keyOf = (group: Group) =>
  createPrivateKey({ key: Buffer.from(group.privateKeyPkcs8, 'hex'), format: 'der', type: 'pkcs8' });
const digest = (name: string | undefined) => (name ?? '').toLowerCase().replace('-', '') as DigestName;

describe.skipIf(!needs('the corpus wycheproof', existsSync(folder)))('Wycheproof', () => {
  /** A valid one gives its message; of any other one gets octets that are not the message, and no error. */
  function check(vector: Vector, recover: (ct: Buffer, length: number) => Buffer): void {
    const message = Buffer.from(vector.msg, 'hex');
    const length = vector.result === 'valid' || message.length > 0 ? message.length : 24;
    const recovered = recover(Buffer.from(vector.ct, 'hex'), length);
    expect(recovered, `${vector.tcId}: ${vector.comment}`).toHaveLength(length);
    if (vector.result === 'valid')
      expect(recovered.equals(message), `${vector.tcId}: ${vector.comment}`).toBe(true);
    else expect(recovered.equals(message), `${vector.tcId}: ${vector.comment}`).toBe(false);
  }

  it('RSA v1.5', () => {
    for (const group of groups('rsa_pkcs1_2048_test.json')) {
      const key = keyOf(group);
      for (const vector of group.tests) check(vector, (ct, length) => recoverRsa15(key, ct, length));
    }
  });

  it.each(['sha1_mgf1sha1', 'sha256_mgf1sha1', 'sha256_mgf1sha256', 'sha512_mgf1sha512'])(
    'RSA-OAEP %s',
    (name) => {
      for (const group of groups(`rsa_oaep_2048_${name}_test.json`)) {
        const key = keyOf(group);
        const [hash, mask] = [digest(group.sha), digest(group.mgfSha)];
        for (const vector of group.tests) {
          const label = Buffer.from(vector.label ?? '', 'hex');
          check(vector, (ct, length) => recoverOaep(key, ct, length, { hash, mask, label }));
        }
      }
    },
  );
});
