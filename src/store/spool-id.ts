import { randomBytes } from 'node:crypto';
import { storeFault } from './faults.ts';

/** Crockford's base 32 in lower case: sorts like the numbers it stands for, no i, l, o, u. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * A new spool id: 10 characters of time (48 bits, milliseconds) and 16 of chance (80 bits). Ids sort by time, are
 * unique without asking anybody, and are safe in file names, header fields and URLs.
 */
export function newId(now: number): string {
  let id = '';
  for (let rest = now; id.length < 10; rest = Math.floor(rest / 32)) id = alphabet.charAt(rest % 32) + id;
  for (const byte of randomBytes(16)) id += alphabet.charAt(byte % 32);
  return id;
}

/** When an id was made, ms. */
export function timeOfId(id: string): number {
  return [...id.slice(0, 10)].reduce((time, sign) => time * 32 + alphabet.indexOf(sign), 0);
}

const form = /^[0-9a-hjkmnp-tv-z]{26}$/;

/** Whether `text` has the form of an id. */
export function isSpoolId(text: string): boolean {
  return form.test(text);
}

/** Gives the id back, or throws 'spool-id': what is no id must not become part of a path. */
export function checkedId(id: string): string {
  if (!isSpoolId(id)) throw storeFault('spool-id', { id });
  return id;
}
