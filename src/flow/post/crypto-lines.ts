import { sentenceOf } from '../../pki/reasons.ts';
import type { EncryptedLayer, Layer, SignerVerdict } from '../../smime/layers.ts';
import type { LedgerEntry } from '../../store/ledger.ts';

/** What the lines of one opening share. */
type About = Pick<LedgerEntry, 'at' | 'messageId' | 'postingId' | 'list' | 'member'>;

/**
 * The ledger's lines about the cryptography of an opening, from outside in: a decryption for each encrypted layer, a
 * verification for each signer. Without a reason it came out well. No word of what was inside (RULES 14), and of a
 * decryption that failed the one code (RULES 6).
 */
export function openingLines(layers: readonly Layer[], about: About): LedgerEntry[] {
  return layers.flatMap((layer): LedgerEntry[] => {
    if (layer.kind === 'encrypted') return [{ ...about, ...decryption(layer) }];
    if (layer.kind === 'compressed') return [];
    const [broken] = layer.reasons;
    return layer.signers.length === 0 && broken !== undefined
      ? [{ ...about, event: 'verification', reason: broken, detail: sentenceOf(broken) }]
      : layer.signers.map((signer) => ({ ...about, ...verification(signer) }));
  });
}

function decryption(layer: EncryptedLayer) {
  const { form, cipher, keyTransport, keyAgreement, kdf, keySha256, recipients, opened, reason } = layer;
  return {
    event: 'decryption',
    reason: opened ? null : (reason ?? 'decrypt-failed'),
    detail: `encrypted (${cipherWords(layer)}) and ${openedWords(layer)}`,
    data: { form, cipher, keyTransport, keyAgreement, kdf, recipients, certificate: keySha256 },
  } as const;
}

function verification(signer: SignerVerdict) {
  const { subject, issuer, certificate, addresses, algorithm, digest, signingTime, reasons } = signer;
  const isGood = signer.intact && signer.trusted;
  return {
    event: 'verification',
    reason: isGood ? null : (reasons[0] ?? 'no-path'),
    detail: `signed by ${namesOf(signer)}: ${foundWords(signer)}`,
    data: { subject, issuer, certificate, addresses, algorithm, digest, signingTime, reasons },
  } as const;
}

/** The ledger's line about a signature that the list made. */
export function signatureLine(
  about: About,
  { certificate, what }: { readonly certificate: string; readonly what: string },
): LedgerEntry {
  const detail = `the list signed ${what} with its certificate ${short(certificate)}`;
  return { ...about, event: 'signature', detail, data: { certificate } };
}

/** The ledger's line about a mail of the list's own that was encrypted; copies of posts have theirs. */
export function encryptionLine(
  about: About,
  data: { readonly certificate: string; readonly cipher: string },
): LedgerEntry {
  const detail = `encrypted to the certificate ${short(data.certificate)} (${data.cipher})`;
  return { ...about, event: 'encryption', detail, data };
}

const short = (sha256: string): string => sha256.slice(0, 8);

/** `aes-256-cbc, key by rsa`. */
export function cipherWords({
  cipher,
  keyTransport,
  keyAgreement,
}: Pick<EncryptedLayer, 'cipher' | 'keyTransport' | 'keyAgreement'>): string {
  const key = keyTransport ?? keyAgreement;
  return [cipher ?? 'unknown cipher', ...(key ? [`key by ${key}`] : [])].join(', ');
}

/** What became of an encrypted layer, after "it was encrypted and …". */
export function openedWords({ opened, keySha256, reason }: EncryptedLayer): string {
  return opened
    ? `opened with the list's key ${short(keySha256 ?? '')}`
    : `could not be opened: ${reason ? sentenceOf(reason) : 'no reason is known'}`;
}

/** `CN=Alice <alice@example.org>, rsa-sha256`. */
export function namesOf({ subject, addresses, algorithm }: SignerVerdict): string {
  const named = addresses.length > 0 ? ` <${addresses.join(', ')}>` : '';
  return `${subject ?? 'somebody unknown'}${named}, ${algorithm}`;
}

/** What was found of a signature; each reason names the certificate that it is about, the signer's or an authority's. */
export function foundWords({ intact, trusted, reasons, flaws, missingIssuer }: SignerVerdict): string {
  const found = intact ? 'the signature is intact' : 'the signature is NOT right';
  const trust = trusted ? 'the certificate trusted' : 'the certificate is NOT trusted';
  const why = reasons.flatMap((reason) => {
    const about = flaws.filter((flaw) => flaw.reason === reason);
    return about.length === 0
      ? [sentenceOf(reason, { issuer: missingIssuer })]
      : about.map(({ subject, issuer }) => sentenceOf(reason, { subject, issuer }));
  });
  return `${found}, ${trust}${why.length > 0 ? ` (${[...new Set(why)].join('; ')})` : ''}`;
}
