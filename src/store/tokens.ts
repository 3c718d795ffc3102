import { createHash } from 'node:crypto';
import { type Queries, requireTransaction } from './database.ts';
import type { TokensTable } from './schema.ts';

export type TokenRow = Readonly<TokensTable>;

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

/** Keeps a token for one change of a certificate; of the token itself only its hash. */
export async function addToken(
  tx: Queries,
  token: string,
  row: Omit<TokenRow, 'tokenSha256' | 'usedAt'>,
): Promise<void> {
  await tx
    .insertInto('tokens')
    .values({ ...row, tokenSha256: hashOf(token), usedAt: null })
    .execute();
}

/** Whether a token for this change was mailed, which this signing key may still answer at `at`. */
export async function hasToken(
  q: Queries,
  d: {
    readonly address: string;
    readonly newSha256: string;
    readonly signerSpki: string;
    readonly at: number;
  },
): Promise<boolean> {
  const row = await q
    .selectFrom('tokens')
    .select('tokenSha256')
    .where('address', '=', d.address)
    .where('newSha256', '=', d.newSha256)
    .where('signerSpki', '=', d.signerSpki)
    .where('expiresAt', '>', d.at)
    .executeTakeFirst();
  return row !== undefined;
}

/**
 * Uses a token up and gives the changes that it stands for: empty if there is none such for this address and signing
 * key, or it was used or is too old. Fault: 'transaction-required'.
 */
export async function useToken(
  tx: Queries,
  token: string,
  d: { readonly address: string; readonly signerSpki: string; readonly at: number },
): Promise<TokenRow[]> {
  requireTransaction(tx, 'useToken');
  return tx
    .updateTable('tokens')
    .set({ usedAt: d.at })
    .where('tokenSha256', '=', hashOf(token))
    .where('address', '=', d.address)
    .where('signerSpki', '=', d.signerSpki)
    .where('usedAt', 'is', null)
    .where('expiresAt', '>', d.at)
    .returningAll()
    .execute();
}

/** Forgets tokens that nobody can use any more. */
export async function forgetTokens(q: Queries, at: number): Promise<void> {
  await q.deleteFrom('tokens').where('expiresAt', '<=', at).execute();
}
