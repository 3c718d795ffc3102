import type { Queries } from './database.ts';
import type { Purpose } from './schema.ts';

/** A certificate in use that ends, for an active member of an open list: a row per list and purpose. */
export interface Ending {
  readonly listId: number;
  readonly address: string;
  readonly purpose: Purpose;
  readonly sha256: string;
  readonly subject: string;
  readonly issuer: string;
  readonly notAfter: number;
}

/** Certificates in use whose validity ends after `from` and not after `to`, the soonest first; of one list if given. */
export async function endingBetween(
  q: Queries,
  d: { from: number; to: number; listId?: number },
): Promise<Ending[]> {
  let query = q
    .selectFrom('certificates as c')
    .innerJoin('bindings as b', 'b.sha256', 'c.sha256')
    .innerJoin('members as m', 'm.address', 'b.address')
    .innerJoin('lists as l', 'l.id', 'm.listId')
    .select(['m.listId', 'b.address', 'b.purpose', 'c.sha256', 'c.subject', 'c.issuer', 'c.notAfter'])
    .where('c.notAfter', '>', d.from)
    .where('c.notAfter', '<=', d.to)
    .where('c.state', '=', 'good')
    .where('b.state', '=', 'in-use')
    .where('m.state', '=', 'active')
    .where('l.state', '=', 'open')
    .orderBy('c.notAfter')
    .orderBy('b.address')
    .orderBy('m.listId')
    .orderBy('b.purpose');
  if (d.listId !== undefined) query = query.where('m.listId', '=', d.listId);
  return query.execute();
}
