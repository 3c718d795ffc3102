import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs } from './needs.ts';

/** Project Wycheproof's vectors, as they lie in the public corpora. Values are hexadecimal. */

const folder = '../shared/corpora/wycheproof';

/** What every vector has, beside the fields of its file. */
export interface WycheproofVector {
  readonly tcId: number;
  readonly comment: string;
  readonly flags: readonly string[];
  readonly result: 'valid' | 'invalid' | 'acceptable';
}

/** Whether they are here; a skip is said aloud. */
export const needsWycheproof = (): boolean => needs('the corpus wycheproof', existsSync(folder));

/** The groups of a file; the caller names the fields that it reads of a group (`G`) and of each of its vectors (`V`). */
export function wycheproof<G, V>(
  file: string,
): readonly (G & {
  readonly tests: readonly (WycheproofVector & V)[];
})[] {
  return JSON.parse(readFileSync(join(folder, file), 'utf8')).testGroups;
}

/** Says in a failure which vector it was. */
export const labelOf = ({ tcId, comment, flags }: WycheproofVector): string =>
  `${tcId}: ${comment} (${flags.join(', ')})`;

export const hex = (text: string): Buffer => Buffer.from(text, 'hex');
