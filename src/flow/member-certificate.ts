import type { Clock } from '../base/clock.ts';
import { dayOf } from '../base/day.ts';
import { isFault } from '../base/errors.ts';
import { type Capabilities, parseCapabilities } from '../cms/capabilities.ts';
import type { KeyTransport } from '../cms/encrypt.ts';
import { contentCiphers, strengthOf } from '../pki/algorithms.ts';
import { type Certificate, mayServe, parseCertificate } from '../pki/certificate.ts';
import type { PathResult } from '../pki/path.ts';
import { type Reason, sentenceOf } from '../pki/reasons.ts';
import { keyWeakness } from '../pki/signatures.ts';
import { type AlgorithmPins, type Choice, chooseAlgorithms } from '../smime/choose.ts';
import type { SealRecipient } from '../smime/jobs.ts';
import {
  type BoundCertificate,
  type CertificateRow,
  capabilitiesOf,
  capabilitiesOfMany,
  inUseMany,
  supersededFor,
} from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import type { JsonObject } from '../store/schema.ts';
import type { ListContext } from './list-context.ts';
import type { PathOf } from './member-path.ts';

/** Why a copy cannot be sealed for a member; each is told to him in his notice. */
export const missingReasons = [
  'no-certificate',
  'expired',
  'not-yet-valid',
  'wrong-usage',
  'weak-key',
  'revoked',
  'not-checked',
  'not-trusted',
  'unusable',
  'weak-cipher',
] as const;
export type MissingReason = (typeof missingReasons)[number];

export type MemberCertificate =
  | {
      readonly usable: true;
      readonly recipient: SealRecipient;
      readonly choice: Choice;
      readonly sha256: string;
    }
  | { readonly usable: false; readonly reason: MissingReason; readonly detail: string };

export interface MemberSettings {
  readonly address: string;
  readonly settings: JsonObject;
}

/**
 * Finds, for a batch of members, the certificate to seal with at this moment and the algorithms (RULES 11, 18).
 * `receivedBits` is the strength that the post came with, 0 in clear.
 */
export type FindRecipients = (
  list: ListContext,
  members: readonly MemberSettings[],
  receivedBits: number,
) => Promise<Map<string, MemberCertificate>>;

/** Brings another certificate of an address in use, for that one can not be used: `why` for the ledger. */
export type UseInstead = (address: string, row: BoundCertificate, why: string) => Promise<void>;

/** Makes the look-up of one site. */
export function findRecipientsWith(d: {
  q: Queries;
  clock: Clock;
  pathOf: PathOf;
  /** What is wrong with the file that somebody put into the certificate directory for an address, or null. */
  fileProblemOf: (address: string) => string | null;
  /** Brings a certificate in use again because the one in use cannot be used any more, and why. */
  useInstead: UseInstead;
}): FindRecipients {
  return async (list, members, receivedBits) => {
    const now = d.clock.now();
    const addresses = members.map((member) => member.address);
    const rows = await inUseMany(d.q, addresses, 'enc');
    const keys = [...rows.values()].map((row) => row.spkiSha256);
    const signed = await capabilitiesOfMany(d.q, keys);
    const found = new Map<string, MemberCertificate>();
    for (const member of members) {
      const { address } = member;
      const row = rows.get(address);
      if (!row) {
        found.set(address, none(address, d.fileProblemOf(address)));
        continue;
      }
      const judgeRow = (one: BoundCertificate, capabilities: Buffer | undefined) => {
        const certificate = parseCertificate(one.der);
        const path = () => d.pathOf(list, certificate);
        const read = readCapabilities(capabilities ?? certificate.smimeCapabilities);
        return judge(list, member, { row: one, certificate, capabilities: read, path, now, receivedBits });
      };
      const first = await judgeRow(row, signed.get(row.spkiSha256)?.der);
      found.set(address, first.usable ? first : ((await another(d, address, first, judgeRow)) ?? first));
    }
    return found;
  };
}

/** Certificates that are tried when the one in use cannot be used. */
const mostOthers = 4;

/**
 * The best valid one of those that the address used before: it comes in use at once. Where the trouble may be over in a
 * moment (`not-checked`), nothing is changed.
 */
async function another(
  d: Pick<Parameters<typeof findRecipientsWith>[0], 'q' | 'useInstead'>,
  address: string,
  first: MemberCertificate & { readonly usable: false },
  judgeRow: (row: BoundCertificate, capabilities: Buffer | undefined) => Promise<MemberCertificate>,
): Promise<MemberCertificate | null> {
  if (first.reason === 'not-checked' || first.reason === 'weak-cipher') return null;
  for (const row of await supersededFor(d.q, address, 'enc', mostOthers)) {
    const judged = await judgeRow(row, (await capabilitiesOf(d.q, row.spkiSha256))?.der);
    if (!judged.usable) continue;
    await d.useInstead(address, row, first.detail);
    return judged;
  }
  return null;
}

/** A rubbish file counts as no certificate, and says so. */
function none(address: string, problem: string | null): MemberCertificate {
  const detail = problem ?? `no certificate is known for ${address}`;
  return { usable: false, reason: 'no-certificate', detail };
}

/**
 * Signed capabilities of the key, else those that its certificate states (RFC 4262). What cannot be read says nothing:
 * thrown, one member's broken attribute would hold up the copies of all.
 */
export function readCapabilities(der: Buffer | null): Capabilities | null {
  try {
    return der && parseCapabilities(der);
  } catch (error) {
    if (isFault(error)) return null;
    throw error;
  }
}

/** All is right but that nobody knows whether it was revoked (`revocation: hard`): that is ours to mend, not the member's. */
const openReasons: ReadonlySet<Reason> = new Set(['crl-missing', 'crl-expired', 'crl-invalid']);

async function judge(
  list: ListContext,
  member: MemberSettings,
  facts: {
    readonly row: BoundCertificate;
    readonly certificate: Certificate;
    readonly capabilities: Capabilities | null;
    readonly path: () => Promise<PathResult>;
    readonly now: number;
    readonly receivedBits: number;
  },
): Promise<MemberCertificate> {
  const { row, certificate, capabilities, now, receivedBits } = facts;
  const missing = (reason: MissingReason, detail: string): MemberCertificate => ({
    usable: false,
    reason,
    detail,
  });
  const said = (reason: 'expired' | 'not-yet-valid' | 'wrong-usage' | 'weak-key' | 'revoked') =>
    missing(reason, `${sentenceOf(reason, { subject: certificate.subject })}${whenOf(reason, certificate)}`);
  if (now > certificate.notAfter) return said('expired');
  if (now < certificate.notBefore) return said('not-yet-valid');
  if (!mayServe(certificate, 'encrypt')) return said('wrong-usage');
  if (keyWeakness(certificate, list.floor).length > 0) return said('weak-key');
  const path = await facts.path();
  // A pin stands in for the authority, but not against its word that the key was lost.
  if (path.reasons.includes('revoked')) return said('revoked');
  if (!path.valid && row.boundBy !== 'pinned') {
    const words = path.reasons.map((reason) =>
      sentenceOf(reason, { subject: certificate.subject, issuer: path.missingIssuer }),
    );
    const isOpen = path.reasons.length > 0 && path.reasons.every((reason) => openReasons.has(reason));
    return missing(isOpen ? 'not-checked' : 'not-trusted', words.join('; ') || 'it is not trusted');
  }
  const choice = chooseAlgorithms(certificate, capabilities, pinsOf(member.settings), {
    unknown: list.policy['send.cipher'],
    receivedBits,
  });
  if (!choice)
    return missing('unusable', `mail can not be encrypted to a key of the type ${certificate.keyType}`);
  if (strengthOf(choice.cipher) < list.floor.cipherBits)
    return missing('weak-cipher', `${choice.cipher} is weaker than the list's minimum.cipher`);
  const recipient = sealRecipientOf(row, certificate, choice.keyTransport);
  return { usable: true, recipient, choice, sha256: row.sha256 };
}

/** A stored certificate as sealing needs it. */
export function sealRecipientOf(
  { sha256, issuerDer, serialDer, publicKey, keyForm }: CertificateRow,
  { keyType, curve }: Certificate,
  transport: KeyTransport,
): SealRecipient {
  const key = { form: keyForm, der: publicKey };
  return { sha256, issuerDer, serialDer, publicKey: key, keyType, curve, transport };
}

function whenOf(reason: string, certificate: Certificate): string {
  const at =
    reason === 'expired' ? certificate.notAfter : reason === 'not-yet-valid' ? certificate.notBefore : null;
  return at === null ? '' : ` (${dayOf(at)})`;
}

/** The ways to send a content key that `member set` may pin. */
export const keyTransports = [
  'rsa',
  'rsa-oaep-sha1',
  'rsa-oaep-sha256',
  'rsa-oaep-sha384',
  'rsa-oaep-sha512',
] as const satisfies readonly KeyTransport[];

/** What `member set` pinned; anything else in the row is not believed. */
export function pinsOf(settings: JsonObject): AlgorithmPins {
  const { cipher, keyTransport } = settings;
  return {
    cipher: contentCiphers.find((one) => one === cipher),
    keyTransport: keyTransports.find((one) => one === keyTransport),
  };
}
