/** What a ledger entry may tell: the closed set that `explain` and reports look for. */
const ledgerEvents = [
  // A message and its postings.
  'received',
  'authorized',
  'forwarded',
  'command',
  'bounce',
  'refused',
  'dropped',
  'unopened',
  'malformed',
  'quarantined',
  'parked',
  // Cryptography, one line each: without a reason it came out well. Of the copies of a post their own lines tell what
  // they were encrypted to; `encryption` is that of reseal's own mail.
  'decryption',
  'verification',
  'signature',
  'encryption',
  // Copies: the state that the row came to; `held`, `dropped`, `expired` and `released` also of postings.
  'pending',
  'in-flight',
  'deferred',
  'held',
  'released',
  'retry',
  'delivered',
  'failed',
  'expired',
  'cancelled',
  // Certificates.
  'harvested',
  'certificate-received',
  'certificate-not-taken',
  'certificate-pending',
  'certificate-in-use',
  'certificate-refused',
  'certificate-removed',
  // What operators did.
  'list-created',
  'list-changed',
  'list-open',
  'list-closed',
  'list-key',
  'list-certificate',
  'member-added',
  'member-changed',
  'member-removed',
  'members-imported',
] as const;
export type LedgerEvent = (typeof ledgerEvents)[number];
