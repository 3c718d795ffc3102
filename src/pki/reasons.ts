/** What a sentence may name; each is optional, and the sentence reads well without it. */
export interface ReasonData {
  /** The certificate concerned, as its subject name. */
  readonly subject?: string | null;
  /** Who issued it, as a name: of `no-path` the authority that is missing. */
  readonly issuer?: string | null;
  /** An algorithm, a key size or a certificate extension. */
  readonly algorithm?: string | null;
  /** The mailbox concerned. */
  readonly address?: string | null;
}

const certificate = (d: ReasonData) =>
  d.subject
    ? `the certificate of ${d.subject}${d.issuer ? ` (issued by ${d.issuer})` : ''}`
    : 'a certificate';
const named = (word: string, value: string | null | undefined) => (value ? `${word} ${value}` : word);

/** Code → sentence for postmasters, without a full stop. Grouped by who finds it out. */
const sentences = {
  // Certificates and paths (RFC 5280 6, RFC 8550 6).
  expired: (d: ReasonData) => `${certificate(d)} had expired`,
  'not-yet-valid': (d) => `${certificate(d)} was not valid yet`,
  'no-path': (d) =>
    d.issuer
      ? `the certificate is issued by ${d.issuer}, which is not among this list's authorities`
      : 'no chain leads from the certificate to one of the authorities that this list trusts',
  'not-a-ca': (d) => `${certificate(d)} issued another one but is not an authority's`,
  'path-too-long': (d) => `${certificate(d)} stands above more authorities than it allows`,
  'wrong-usage': (d) => `the key usage of ${certificate(d)} does not allow what the key was used for`,
  'wrong-extended-usage': (d) =>
    `the extended key usage of ${certificate(d)} does not allow e-mail protection`,
  'unknown-critical': (d) =>
    `${certificate(d)} has a critical extension that reseal does not know${d.algorithm ? ` (${d.algorithm})` : ''}`,
  'name-constraint': (d) => `${certificate(d)} has a name that an authority above it may not issue`,
  policy: (d) => `${certificate(d)} lacks a certificate policy that an authority above it requires`,
  'bad-certificate-signature': (d) => `${certificate(d)} is not signed by the authority that it names`,
  'certificate-malformed': () => 'a certificate could not be read',
  'path-budget': () => 'the certificates in the message form more paths than reseal tries',
  revoked: (d) => `${certificate(d)} was revoked`,
  'crl-missing': (d) => `no current revocation list was found for ${certificate(d)}`,
  'crl-expired': (d) => `the revocation list or answer for ${certificate(d)} is out of date`,
  'crl-invalid': (d) => `the revocation list for ${certificate(d)} is broken or not signed by its authority`,
  'not-checked': () => 'revocation was not checked',
  // Strength (RULES 5).
  weak: () => 'the cryptography is weaker than this list accepts',
  'weak-digest': (d) => `${named('the digest', d.algorithm)} is weaker than this list accepts`,
  'weak-key': (d) => `${named('the key', d.algorithm)} is weaker than this list accepts`,
  'weak-cipher': (d) => `${named('the cipher', d.algorithm)} is weaker than this list accepts`,
  // One signature (RFC 5652 5.6, 11).
  'bad-signature': () => 'the signature is not right: the message was changed or signed with another key',
  'bad-digest': () => 'the message was changed after it was signed',
  'content-type-mismatch': () => 'the signature was made for content of another type',
  'missing-attribute': () => 'the signature lacks an attribute that it must have',
  'duplicate-attribute': () => 'the signature has an attribute twice',
  'certificate-binding': () => 'the signature names another certificate than the one that verifies it',
  'signer-unknown': () => "the signer's certificate is neither in the message nor known here",
  'no-signers': () => 'nobody signed it',
  'content-beside-detached': () => 'it has content of its own beside the part that is said to be signed',
  unsupported: (d) => `${named('the algorithm', d.algorithm)} is not supported`,
  // Whose signature (RULES 3, 4).
  'no-address': () => "the signer's certificate names no e-mail address",
  'no-address-match': (d) =>
    `the signer's certificate does not name ${d.address ?? 'the address in the From field'}`,
  'signed-by-sender': () => 'the signer is the Sender, not the author in the From field',
  'two-from': () => 'it does not have exactly one From address',
  'header-mismatch': () => 'the protected header fields differ from the outer ones',
  stale: () => 'the signature is older than this list accepts',
  future: () => 'the signature is dated in the future',
  // Opening (RULES 1, 6, 7).
  'outer-only': () => 'the signature is outside the encryption and proves nothing about the content',
  'decrypt-failed': () => 'it could not be decrypted',
  'no-recipient': () => "it is not encrypted to any of the list's keys",
  malformed: () => 'its structure is broken',
  budget: () => 'it is larger or more nested than reseal reads',
} satisfies Record<string, (d: ReasonData) => string>;

/** The closed set of trust and signature reasons (RULES 22, RFC 8550 6); stable, shown by `inspect` and `explain`. */
export type Reason = keyof typeof sentences;

/** All reason codes, for the manual. */
export const reasons = Object.keys(sentences) as readonly Reason[];

/** Whether a code is one of these. */
export function isReason(code: string): code is Reason {
  return Object.hasOwn(sentences, code);
}

/** The sentence for a reason, without a full stop, naming what `data` has. */
export function sentenceOf(reason: Reason, data: ReasonData = {}): string {
  return sentences[reason](data);
}
