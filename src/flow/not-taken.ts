import { sentenceOf } from '../pki/reasons.ts';
import type { Findings } from '../smime/open.ts';
import type { FilingReason } from './harvest.ts';
import { sentenceFor } from './verdict-record.ts';

/** Why a certificate was not taken, for its sender; the other filings were. */
const sentences: Readonly<
  Record<
    Exclude<FilingReason, 'first' | 'same-key' | 'newer' | 'already-known' | 'signed-by-old' | 'further'>,
    string
  >
> = {
  'changed-key':
    'it has another key than the certificate that is known for you; it has arrived, and the owners of the list were asked to approve it. You need not send it again',
  'refused-before':
    'an owner of the list decided before that it is not used; the owners were told that it came again',
  'owner-decides':
    'it has arrived, and the owners of the list were asked to approve it. You need not send it again',
  candidate: 'nothing signed says that it is yours: an owner of the list has to approve it first',
  older: 'a newer one is known',
  'too-many':
    'too many certificates wait for you already: an owner of the list has to decide about them first',
  future: sentenceOf('future'),
  off: 'this list does not take certificates from mail',
};

/**
 * Why no certificate was taken from a mail, as its sender reads it: `reason` is a code of the harvest or of the engine,
 * perhaps from the ledger (no `report` then); null if the mail had no certificate that can be used.
 */
export function whyNotTaken(reason: string | null, report: Findings | null): string {
  if (reason === null) return 'the message has no usable certificate';
  if (reason === 'not-signed') return 'the message is not signed';
  if (isFiling(reason)) return sentences[reason];
  const sentence = sentenceFor(reason, report);
  // A code of an old row says nothing to a member.
  return sentence === reason ? 'it could not be used' : sentence;
}

function isFiling(reason: string): reason is keyof typeof sentences {
  return Object.hasOwn(sentences, reason);
}
