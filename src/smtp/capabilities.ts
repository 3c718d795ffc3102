import { isAscii } from 'node:buffer';
import type { ClearBytes, ReceivedBytes, SealedBytes } from '../base/bytes.ts';
import { type Misfit, notSent, type Outcome } from './outcome.ts';

/** One message in one transaction: for one recipient, or for several who get the same octets. */
export interface Copy {
  /** Which message it is a copy of, by its spool id: a relay that stumbles over one takes others. */
  readonly message: string;
  /** '' is the null sender. */
  readonly from: string;
  /** At least one; all of one way (`Relays.together`). */
  readonly to: readonly string[];
  /** The first octets of the message; CRLF line ends. */
  readonly head: Buffer;
  /**
   * The rest, which other copies share; CRLF line ends, ends with CRLF. Never changed or copied here. Received are mail
   * of reseal's own, as it lies in the spool.
   */
  readonly body: SealedBytes | ClearBytes | ReceivedBytes;
  /** The message may have non-ASCII header fields (RFC 6531). */
  readonly smtpUtf8: boolean;
  /** The message may have 8-bit lines (RFC 6152). */
  readonly body8bit: boolean;
  /** The author asked for REQUIRETLS (RFC 8689). */
  readonly requireTls: boolean;
}

/** What the relay announced in its reply to EHLO or LHLO, over the connection as it is now. */
export interface Capabilities {
  /** Largest message in octets; null if no limit was announced. */
  readonly size: number | null;
  /** Whether MAIL may tell the size. */
  readonly offersSize: boolean;
  readonly pipelining: boolean;
  readonly eightBitMime: boolean;
  readonly smtpUtf8: boolean;
  readonly requireTls: boolean;
  /** TLS with a certificate that was verified for the relay's name. */
  readonly verifiedTls: boolean;
}

/** Reads the lines of an EHLO reply after the first, e.g. `SIZE 1000` (RFC 5321 4.1.1.1; RFC 1870 4: 0 is no limit). */
export function capabilitiesOf(ehloLines: readonly string[], verifiedTls: boolean): Capabilities {
  const words = ehloLines.map((line) => line.toUpperCase().split(/\s+/));
  const has = (keyword: string): boolean => words.some((line) => line[0] === keyword);
  const size = Number(words.find((line) => line[0] === 'SIZE')?.[1] ?? 0);
  return {
    size: Number.isSafeInteger(size) && size > 0 ? size : null,
    offersSize: has('SIZE'),
    pipelining: has('PIPELINING'),
    eightBitMime: has('8BITMIME'),
    smtpUtf8: has('SMTPUTF8'),
    requireTls: has('REQUIRETLS'),
    verifiedTls,
  };
}

/** Whether the transaction needs the SMTPUTF8 parameter: a flag alone is no reason to refuse an all-ASCII copy. */
function needsSmtpUtf8(copy: Copy): boolean {
  return !/^[\x20-\x7e]*$/.test(copy.from + copy.to.join('')) || (copy.smtpUtf8 && !isAscii(copy.head));
}

/** What a message asks of a relay, whoever its recipient is. */
export interface Needs extends Pick<Copy, 'smtpUtf8' | 'body8bit' | 'requireTls'> {
  readonly octets: number;
}

/** Why this copy must not be offered to a relay with these capabilities, or null. */
export function misfit(copy: Copy, relay: Capabilities): Outcome | null {
  const octets = copy.head.length + copy.body.length;
  const { body8bit, requireTls } = copy;
  return misfitOf({ octets, smtpUtf8: !relay.smtpUtf8 && needsSmtpUtf8(copy), body8bit, requireTls }, relay);
}

/** The same for what a message needs at least, before there are copies of it. */
export function misfitOf(needs: Needs, relay: Capabilities): Outcome | null {
  const { octets } = needs;
  // RFC 1870 6.1
  if (relay.size !== null && octets > relay.size)
    return unfit(
      'too-large-for-relay',
      '5.3.4',
      `the copy has ${octets} octets, the relay takes ${relay.size}`,
    );
  // RFC 6531 3.4, codes of 4.4.
  if (!relay.smtpUtf8 && needs.smtpUtf8)
    return unfit('needs-smtputf8', '5.6.7', 'the copy needs SMTPUTF8, which the relay does not offer');
  // RFC 6152 3: convert or return; converting would break signatures.
  if (!relay.eightBitMime && needs.body8bit)
    return unfit(
      'needs-8bitmime',
      '5.6.3',
      'the copy has 8-bit lines, and the relay does not offer 8BITMIME',
    );
  // RFC 8689 4.2.1 and 5: TLS, its certificate verified, and a server that promises to go on like that.
  if (needs.requireTls && !relay.verifiedTls)
    return unfit('needs-tls', '5.7.10', 'the author requires TLS, and there is no verified TLS to the relay');
  if (needs.requireTls && !relay.requireTls)
    return unfit('needs-tls', '5.7.30', 'the author requires TLS, and the relay does not offer REQUIRETLS');
  return null;
}

const unfit = (reason: Misfit, enhanced: string, text: string): Outcome => ({
  ...notSent('refused', enhanced, text),
  misfit: reason,
});
