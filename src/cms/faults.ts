import { faultsOf, isFault } from '../base/errors.ts';

export const cmsFault = faultsOf({
  'cms-malformed': (d: { what: string }) => `the S/MIME structure is broken: ${d.what}`,
  'cms-budget': (d: { limit: string; value: number }) =>
    `the S/MIME structure has more than ${d.value} ${d.limit}, which is more than reseal reads`,
  'cms-unsupported': (d: { what: string }) => `reseal cannot read ${d.what}`,
  'cms-recipient': (d: { certificate: string; why: string }) =>
    `nothing can be encrypted to the certificate with SHA-256 ${d.certificate}: ${d.why}`,
  'cms-signer': (d: { certificate: string; why: string }) =>
    `nothing can be signed with the certificate with SHA-256 ${d.certificate}: ${d.why}`,
  'cms-disposed': (_: Record<string, never>) => 'the content key was wiped already: encrypt the entity again',
});

/** Runs a reader of BER and gives its failures this folder's codes, so that callers need to know only one set. */
export function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isFault(error, 'ber-budget'))
      throw cmsFault('cms-budget', { limit: String(error.data.limit), value: Number(error.data.value) });
    if (isFault(error, 'ber-malformed'))
      throw cmsFault('cms-malformed', { what: `${error.data.what} (octet ${error.data.at})` });
    throw error;
  }
}

/** Throws `cms-budget` if `count` is over `value`; call it before the work that `limit` names. */
export function withinBudget(count: number, limit: string, value: number): void {
  if (count > value) throw cmsFault('cms-budget', { limit, value });
}
