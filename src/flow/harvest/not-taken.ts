import { sentenceOf } from '../../pki/reasons.ts';
import type { Findings } from '../../smime/open.ts';
import { sentenceFor } from '../post/verdict-record.ts';
import type { Filing, FilingReason } from './harvest.ts';

/** Why a certificate was not taken, for its sender; the other filings were. */
const sentences: Readonly<
  Record<
    Exclude<FilingReason, 'first' | 'same-key' | 'newer' | 'already-known' | 'signed-by-old' | 'further'>,
    string
  >
> = {
  'changed-key':
    'it has another key than the certificate that is known for you; it has arrived, and the owners of the list were asked to approve it. You need not send it again',
  'revoked-key':
    'its key is that of a certificate which was revoked: an owner of the list has to approve it first, and a new key is better',
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

/** Why a certificate of a mail was filed as it was, for who runs the list; without a full stop. */
export function whyFiled({ reason, certificate }: Pick<Filing, 'reason' | 'certificate'>): string {
  if (isFilingReason(reason)) return filingWords[reason];
  const { subject, issuer } = certificate;
  return sentenceOf(reason, { subject, issuer });
}

const filingWords: Readonly<Record<FilingReason, string>> = {
  first: 'it is the first that is known',
  'same-key': 'it renews the one in use, for the same key',
  'signed-by-old': 'the key that is known signed the same mail',
  newer: 'it is newer than the one in use (harvest: verified)',
  further: 'nothing is known for this address yet',
  'already-known': 'it is in use already',
  'changed-key':
    'it has another key than the one that is known, so the member is asked to confirm it, else an owner to approve it',
  'revoked-key': 'a certificate of the same key was revoked, so an owner decides',
  'refused-before': 'an owner refused or removed it before: `reseal cert approve` takes it all the same',
  'owner-decides': 'an owner decides about the first one (harvest.first: owner)',
  candidate: 'nothing signed names it, so an owner decides',
  older: 'a newer one is known',
  'too-many': 'too many wait for this address already: `reseal cert pending` lists them',
  future: 'its signature is dated in the future',
  off: 'the list takes no certificate from mail (harvest, harvest.first)',
};

function isFilingReason(reason: Filing['reason']): reason is FilingReason {
  return Object.hasOwn(filingWords, reason);
}
