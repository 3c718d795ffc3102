import { type Floor, openingCiphers, strengthOf } from '../pki/algorithms.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import type { EncryptedLayer, SignerVerdict } from '../smime/layers.ts';
import type { OpenReport } from '../smime/open.ts';
import type { Verdict } from '../smime/verdict.ts';
import { remedies } from './inspect-remedies.ts';
import type { InspectedCertificate, InspectedLayer, Inspection } from './inspect-value.ts';
import { specific, wordsFor } from './inspect-words.ts';
import { counted, folded, instant, shortSha, table } from './output.ts';

/** What the story needs beside the stable value. */
export interface InspectionStory {
  readonly report: OpenReport;
  readonly value: Inspection;
  /** Certificates whose keys were given. */
  readonly own: readonly Certificate[];
  /** Whether revocation lists were given. */
  readonly crls: boolean;
  /** The instant judged at, ms. */
  readonly at: number;
  readonly floor: Floor;
}

/**
 * What `inspect` found, for postmasters, folded to `width` columns: who and what, the verdict, each layer from outside
 * in, what would change it, and the certificates that came along.
 */
export function inspectionLines(story: InspectionStory, width: number): string[] {
  const { report, value, crls } = story;
  const say: Say = (text, first = '', rest) => folded(text, { width, first, ...(rest ? { rest } : {}) });
  const hasTrust = report.layers.some((layer) => layer.kind === 'signed' && layer.signers.length > 0);
  return [
    ...say(value.from.join(', ') || '(none that can be read)', 'From        '),
    ...say(value.subject ?? '(none)', 'Subject     '),
    ...protectedWords(story, say),
    '',
    ...say(`${verdictWords(value, story)}.`),
    ...layersWords(story, say),
    ...(hasTrust && !crls ? say('Revocation was not checked: `--crl FILE` gives the lists to do it.') : []),
    ...remedyWords(value, say),
    ...certificateWords(value.certificates, story.at),
    ...(value.content_sha256 === null ? [] : ['', `Content     SHA-256 ${value.content_sha256}`]),
  ];
}

/** Folds a text; `first` and `rest` are what its lines begin with. */
type Say = (text: string, first?: string, rest?: string) => string[];

function protectedWords({ report, value }: InspectionStory, say: Say): string[] {
  const header = value.protected;
  if (header === null) return [];
  const { form, from, subject, to } = header;
  const fields = [
    ...(from === null ? [] : [`From ${from}`]),
    ...(subject === null ? [] : [`Subject ${subject}`]),
    ...(to === null ? [] : [`To ${to.join(', ') || '(nobody)'}`]),
  ];
  const vouched = report.protected?.authenticated ? '' : '; no signature covers them';
  return say(`(${form}${vouched}) ${fields.join('; ')}`, 'Protected   ');
}

const verdicts: Readonly<Record<Verdict, string>> = {
  signed: 'SIGNED: the signature is intact, its certificate is trusted, and From is the signer',
  unsigned: 'UNSIGNED: nothing proves who wrote it',
  untrusted: 'UNTRUSTED: it is signed, but the signature cannot be relied on',
  mismatch: 'MISMATCH: it is signed, but not by the author in the From field',
  invalid: 'INVALID: the signature is not right',
  unopened: 'UNOPENED: it is encrypted and was not decrypted',
  malformed: 'MALFORMED: it cannot be read',
};

/** The verdict, and what of its reasons no layer tells. */
function verdictWords({ verdict, reasons, layers }: Inspection, story: InspectionStory): string {
  const told = new Set(layers.flatMap(reasonsIn));
  const why = sentencesOf(
    reasons.filter((reason) => !told.has(reason)),
    story,
  );
  return `${verdicts[verdict]}${why ? ` (${why})` : ''}`;
}

function layersWords(story: InspectionStory, say: Say): string[] {
  const { layers } = story.report;
  if (layers.length === 0)
    return story.value.verdict === 'malformed' ? [] : ['', ...say('It is neither encrypted nor signed.')];
  const words = layers.flatMap((layer, index) => {
    const first = `${index + 1}. `;
    if (layer.kind === 'encrypted') return say(encryptedWords(layer, story), first);
    if (layer.kind === 'compressed') {
      const end = layer.opened ? 'unfolded' : `not unfolded: ${sentencesOf(reasonList(layer.reason), story)}`;
      return say(`Compressed (${layer.algorithm ?? 'unknown'}): ${end}.`, first);
    }
    const form = layer.form === 'detached' ? 'beside the content' : 'around the content';
    const about = layer.reasons.length > 0 ? ` ${capital(sentencesOf(layer.reasons, story))}.` : '';
    return [
      ...say(`Signed (${layer.form}: ${form}).${about}`, first),
      ...layer.signers.flatMap((signer) => say(signerWords(signer, story), '   - ', '     ')),
    ];
  });
  return ['', ...words];
}

const reasonsIn = (layer: InspectedLayer): readonly Reason[] =>
  layer.kind === 'signed' ? layer.signers.flatMap((signer) => signer.reasons) : reasonList(layer.reason);

const reasonList = (reason: Reason | null): readonly Reason[] => (reason === null ? [] : [reason]);

function encryptedWords(layer: EncryptedLayer, story: InspectionStory): string {
  const { form, cipher, keyTransport, keyAgreement, kdf, recipients, opened, keySha256, reason } = layer;
  const key = keyTransport ?? keyAgreement;
  const how = [
    cipher ?? 'unknown cipher',
    ...(key ? [`key by ${[key, kdf].filter(Boolean).join(' ')}`] : []),
  ];
  const own = story.own.find((one) => one.sha256 === keySha256);
  const whose = own ? `${own.subject} (${shortSha(own.sha256)})` : 'its own';
  const end = opened
    ? `opened with the key of ${whose}${isWeak(cipher, story.floor) ? '; the cipher is weak, and a list does not distribute what comes so' : ''}`
    : `not opened: ${sentencesOf(reasonList(reason), story) || 'no reason is known'}`;
  return `Encrypted (${form}, ${how.join(', ')}) for ${counted(recipients, 'recipient')}: ${end}.`;
}

function isWeak(name: string | null, floor: Floor): boolean {
  const cipher = openingCiphers.find((one) => one === name);
  return cipher !== undefined && !floor.allowWeak && strengthOf(cipher) < floor.cipherBits;
}

function signerWords(signer: SignerVerdict, story: InspectionStory): string {
  const addresses = signer.addresses.length > 0 ? ` <${signer.addresses.join(', ')}>` : '';
  const time = signer.signingTime === null ? '' : `, at ${instant(signer.signingTime)}`;
  const { algorithm, digest } = signer;
  const how = algorithm.includes(digest) ? algorithm : `${algorithm}, ${digest}`;
  const who = `${signer.subject ?? 'Somebody unknown'}${addresses}, ${how}${time}`;
  return `${who}: ${foundWords(signer, story)}.`;
}

function foundWords(signer: SignerVerdict, story: InspectionStory): string {
  const why = sentencesOf(signer.reasons, story, signer);
  if (signer.intact && signer.trusted)
    return `the signature is intact, its certificate trusted${why ? ` (${why})` : ''}`;
  if (signer.intact) return `the signature is intact, but ${why || 'its certificate is not trusted'}`;
  const isOpen = signer.reasons.some((reason) => reason === 'signer-unknown' || reason === 'unsupported');
  return `${isOpen ? 'the signature could not be checked' : 'the signature is NOT right'}: ${why}`;
}

function sentencesOf(reasons: readonly Reason[], story: InspectionStory, signer?: SignerVerdict): string {
  return specific(reasons)
    .map((reason) => {
      const flaw = signer?.flaws.find((one) => one.reason === reason);
      const issuer = flaw ? flaw.issuer : story.report.missingIssuer;
      return wordsFor(reason, { issuer, subject: flaw?.subject ?? null, address: story.report.claimed });
    })
    .join('; ');
}

/** What would change the verdict, once for each reason that a layer or the verdict has. */
function remedyWords({ verdict, reasons, layers }: Inspection, say: Say): string[] {
  if (verdict === 'signed') return [];
  const all = specific([...new Set([...reasons, ...layers.flatMap(reasonsIn)])]);
  const words = [...new Set(all.map((reason) => remedies[reason]))];
  return words.length === 0
    ? []
    : ['', 'What would change it:', ...words.flatMap((one) => say(`${one}.`, '- '))];
}

function certificateWords(certificates: readonly InspectedCertificate[], at: number): string[] {
  if (certificates.length === 0) return [];
  const rows = certificates.map((one) => [
    shortSha(one.sha256),
    Date.parse(one.not_after) < at ? 'EXPIRED' : one.not_after.slice(0, 10),
    one.key,
    one.addresses.join(', ') || '-',
    one.subject,
  ]);
  return ['', ...table(['CERTIFICATE', 'UNTIL', 'KEY', 'NAMES', 'SUBJECT'], rows, '')];
}

const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
