import { type Reason, type ReasonData, sentenceOf } from '../pki/reasons.ts';

/** Where the engine speaks of a list and its settings, this command has files and options. */
const ownSentences: { readonly [R in Reason]?: (d: ReasonData) => string } = {
  'no-path': (d) =>
    d.issuer
      ? `its certificate was issued by ${d.issuer}, which is not among the authorities given; add it with \`--ca FILE\``
      : 'no chain leads from its certificate to one of the authorities given with `--ca`',
  'crl-missing': (d) =>
    `no current revocation list${d.issuer ? ` of ${d.issuer}` : ''} was found for ${d.subject ? `the certificate of ${d.subject}` : 'a certificate'}`,
  weak: () => 'the cryptography is weak',
  'weak-digest': () => 'its digest is weak',
  'weak-key': () => 'its key is weak',
  'weak-cipher': () => 'its cipher is weak',
  stale: () => 'the signature is old',
  'no-recipient': () => 'none of the keys given is one that it is encrypted to',
};

/** `weak` says nothing beside what it is that is weak. */
export function specific(reasons: readonly Reason[]): readonly Reason[] {
  const isPlain = (reason: Reason) => reason !== 'weak';
  return reasons.some((reason) => reason.startsWith('weak-')) ? reasons.filter(isPlain) : reasons;
}

/** The sentence of `inspect` and `cert verify` for a reason, naming what `data` has, without a full stop. */
export function wordsFor(reason: Reason, data: ReasonData): string {
  return (ownSentences[reason] ?? ((d: ReasonData) => sentenceOf(reason, d)))(data);
}
