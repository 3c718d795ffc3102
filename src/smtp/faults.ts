import { faultsOf } from '../base/errors.ts';

/** What `src/smtp` throws: into the stream that `store` reads, and from `receive` when it cannot listen. */
export const fault = faultsOf({
  'listen-failed': (d: { address: string; reason: string }) =>
    `cannot listen on ${d.address}: ${d.reason}; is another program there, and may this user use the address?`,
  'client-gone': (d: { octets: number }) =>
    `the client closed the connection after ${d.octets} octets, before the end of the message`,
  'bare-line-end': (d: { octets: number }) =>
    `the message has a CR without LF or an LF without CR within its first ${d.octets} octets`,
  'message-too-big': (d: { limit: number }) =>
    `the message is larger than the ${d.limit} octets announced by SIZE`,
});
