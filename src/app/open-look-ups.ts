import {
  type FindRecipients,
  findRecipientsWith,
  type UseInstead,
} from '../flow/certificates/member-certificate.ts';
import { validatePathsWith } from '../flow/certificates/member-path.ts';
import { type FindIntermediates, findIntermediatesWith } from '../flow/revocation/intermediates.ts';
import type { RevocationBook } from '../flow/revocation/revocation-book.ts';
import type { OpenSite } from './open-site.ts';

/** How certificates are looked up: authorities above one, and what to encrypt to for a member. */
export interface LookUps {
  readonly intermediates: FindIntermediates;
  /**
   * `fileProblemOf`: what is wrong with the file of an address in the certificate directory, or null. `useInstead`:
   * brings another certificate in use where the one in use cannot serve.
   */
  recipients(fileProblemOf: (address: string) => string | null, useInstead: UseInstead): FindRecipients;
}

/** Builds the look-ups of a site. */
export function openLookUps({ database, keyring, clock }: OpenSite, revocation: RevocationBook): LookUps {
  const { q } = database;
  const intermediates = findIntermediatesWith({ q, clock });
  const pathOf = validatePathsWith({ keyring, intermediates, revocation, clock });
  return {
    intermediates,
    recipients: (fileProblemOf, useInstead) =>
      findRecipientsWith({ q, clock, pathOf, fileProblemOf, useInstead }),
  };
}
