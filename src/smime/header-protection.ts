import { mailboxesOf, theMailbox } from '../mime/address.ts';
import type { Entity } from '../mime/entity.ts';
import { fieldValue } from '../mime/header.ts';
import { decodeWords } from '../mime/words.ts';

/** Header fields that the payload itself carries (RFC 9788): inside the signature, so they win for decisions. */
export interface ProtectedHeader {
  readonly form: 'clear' | 'cipher';
  /** The one protected From mailbox; null when there is none or not exactly one. */
  readonly from: string | null;
  readonly hasFrom: boolean;
  /** Text for people; of an encrypted post it is plaintext and must stay in memory (RULES 14). */
  readonly subject: string | null;
  /** Protected To and Cc addresses, to find a post meant for another list (RULES 4); null without such a field. */
  readonly recipients: readonly string[] | null;
}

/** The protected header fields of a payload, or null if its Content-Type has no hp parameter (RFC 9788 2.1.1). */
export function protectedHeaderOf(payload: Entity): ProtectedHeader | null {
  const form = payload.contentType.parameters.get('hp')?.toLowerCase();
  if (form !== 'clear' && form !== 'cipher') return null;
  const subject = fieldValue(payload.fields, 'Subject');
  const addressed = ['To', 'Cc'].filter((name) => fieldValue(payload.fields, name) !== null);
  return {
    form,
    from: theMailbox(payload.fields, 'From')?.address ?? null,
    hasFrom: fieldValue(payload.fields, 'From') !== null,
    subject: subject === null ? null : decodeWords(subject),
    recipients: addressed.length > 0 ? addressed.flatMap((name) => addressesOf(payload, name)) : null,
  };
}

function addressesOf(payload: Entity, name: string): string[] {
  try {
    return mailboxesOf(payload.fields, name).map((mailbox) => mailbox.address);
  } catch {
    return []; // an unreadable To names no list, so not this one either
  }
}
