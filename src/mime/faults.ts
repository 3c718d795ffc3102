import { faultsOf } from '../base/errors.ts';

/** All that this folder throws on purpose. Hostile input gives one of these or a value, never another error. */
export const mimeFault = faultsOf({
  'mime-budget': (d: { limit: string; value: number }) =>
    `the message has more than ${d.value} ${d.limit}, which is more than reseal reads`,
  'header-injection': (d: { field: string; what: string }) =>
    `the header field ${d.field} cannot be written: ${d.what}; nothing was written`,
  'address-malformed': (d: { field: string; what: string }) =>
    `the addresses of the field ${d.field} cannot be read: ${d.what}`,
  'envelope-malformed': (d: { what: string }) =>
    `the first line of the spool file is no envelope: ${d.what}; move the file away and look at it`,
  'boundary-unusable': (d: { what: string }) => `the multipart boundary cannot be used: ${d.what}`,
});
