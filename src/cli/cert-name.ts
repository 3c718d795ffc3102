import { cliFault } from './faults.ts';

/**
 * A fingerprint or its beginning as the store writes it: colons and capitals, as other programs print them, go.
 * Fault 'usage-value'.
 */
export function fingerprintOf(text: string): string {
  const prefix = text.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{6,64}$/.test(prefix)) {
    throw cliFault('usage-value', {
      what: 'a fingerprint',
      found: text,
      expected: 'at least 6 hexadecimal digits of the SHA-256',
    });
  }
  return prefix;
}
