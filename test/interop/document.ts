import { fileURLToPath } from 'node:url';
import { type Direction, directions, matrix } from './matrix.ts';
import { operationNames } from './operations.ts';
import { type PeerName, peerNames } from './peers.ts';

/** The matrix for people, in the project's documentation. */
export const documentPath = fileURLToPath(new URL('../../docs/interop.md', import.meta.url));

const titles: Readonly<Record<Direction, string>> = {
  'peer to reseal': 'The other program signs or encrypts, reseal reads',
  'reseal to peer': 'reseal signs or encrypts, the other program reads',
};

/** The document. Its line of versions begins with `Run with`; the rest depends on the matrix alone. */
export function documentOf(versions: Readonly<Record<PeerName, string>>): string {
  const reasons: string[] = [];
  const numberOf = (reason: string): number => {
    if (!reasons.includes(reason)) reasons.push(reason);
    return reasons.indexOf(reason) + 1;
  };
  const tables = directions.map((direction) =>
    [`## ${titles[direction]}`, '', ...tableOf(direction, numberOf), ''].join('\n'),
  );
  return [
    '# Interoperation',
    '',
    'What reseal exchanges with other S/MIME programs. Every cell is run by `npx vitest run test/interop`, also those that',
    'cannot work: they must fail for the reason given. This file is written from `test/interop/matrix.ts` by',
    '`RESEAL_WRITE_DOCS=1 npx vitest run test/interop`.',
    '',
    `Run with ${peerNames.map((name) => `${name} ${versions[name]}`).join(', ')}.`,
    '',
    'A signature counts as read when the program calls it good and its certificate trusted; an encrypted message when',
    'the same octets come out. NSS is the library of Thunderbird and Evolution, gpgsm that of KMail and Claws Mail,',
    'Crypt::SMIME (OpenSSL inside) that of Sympa.',
    '',
    ...tables,
    '## Why not',
    '',
    ...reasons.map((reason, index) => `${index + 1}. ${reason}.`),
    '',
  ].join('\n');
}

function tableOf(direction: Direction, numberOf: (reason: string) => number): string[] {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const body = operationNames.map((operation) =>
    row([
      operation,
      ...peerNames.map((name) => {
        const outcome = matrix[operation][name][direction];
        return outcome === 'works' ? '✓' : `no (${numberOf(reasonOf(outcome))})`;
      }),
    ]),
  );
  return [row(['', ...peerNames]), row(['---', ...peerNames.map(() => '---')]), ...body];
}

const reasonOf = ({ cannot, until }: { cannot: string; until?: string }): string =>
  until === undefined ? cannot : `${cannot}; from ${until} on it works`;

/** The document without its line of versions, to compare. */
export const withoutVersions = (text: string): string => text.replace(/^Run with .*$/m, '');
