/** A copy that the relay refused for good, as the table has it. */
export interface RefusalsTable {
  deliveryId: number;
  postingId: number;
  listId: number;
  address: string;
  at: number;
  /** 0: the answer speaks of the message or of our session. */
  ofRecipient: 0 | 1;
  code: string;
  reply: string;
  /** Whose doing it is held to be; null until the posting's copies are over. */
  verdict: 'member' | 'relay' | null;
}

/** The same as it is read. */
export type RefusalRow = Readonly<RefusalsTable>;
