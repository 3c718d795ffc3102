import type { Clock } from '../../base/clock.ts';
import type { Capabilities } from '../../cms/capabilities.ts';
import type { KeyTransport } from '../../cms/encrypt.ts';
import { contentCiphers, strengthOf } from '../../pki/algorithms.ts';
import { type Certificate, mayServe, parseCertificate } from '../../pki/certificate.ts';
import type { PathResult } from '../../pki/path.ts';
import { type AlgorithmPins, type Choice, chooseAlgorithms, isCostly } from '../../smime/choose.ts';
import type { SealRecipient } from '../../smime/jobs.ts';
import { pendingAmong } from '../../store/bindings.ts';
import {
  type BoundCertificate,
  capabilitiesOf,
  type EncryptionCertificate,
  encryptionCertificates,
  findCertificates,
  inUseMany,
  supersededFor,
} from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import type { CertificateSource, JsonObject } from '../../store/schema.ts';
import type { ListContext } from '../lists/list-context.ts';
import {
  type CertificateFacts,
  type RememberedFacts,
  readCapabilities,
  rememberFacts,
} from './certificate-facts.ts';
import { type CertificateReason, objectionOn } from './judge-certificate.ts';
import type { PathOf } from './member-path.ts';

/** Why a copy cannot be sealed for a member; each is told to him in his notice. */
export const missingReasons = [
  'no-certificate',
  'pending',
  'expired',
  'not-yet-valid',
  'wrong-usage',
  'weak-key',
  'revoked',
  'not-checked',
  'not-trusted',
  'unusable',
  'weak-cipher',
] as const satisfies readonly (CertificateReason | 'no-certificate' | 'unusable' | 'weak-cipher')[];
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
 * `receivedBits` is the strength that the post came with, 0 in clear. `brought` takes the place of what is in use: of a
 * preview.
 */
export type FindRecipients = (
  list: ListContext,
  members: readonly MemberSettings[],
  receivedBits: number,
  brought?: Brought,
) => Promise<Map<string, MemberCertificate>>;

/** Certificates that would come in use, by address, with the capabilities that were signed with them. */
export type Brought = ReadonlyMap<
  string,
  { readonly row: BoundCertificate; readonly capabilities: Buffer | null }
>;

/** Brings another certificate of an address in use, for that one can not be used: `why` for the ledger. */
export type UseInstead = (address: string, row: BoundCertificate, why: string) => Promise<unknown>;

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
  const facts = rememberFacts((sha256s) => findCertificates(d.q, sha256s));
  return async (list, members, receivedBits, brought) => {
    const now = d.clock.now();
    const addresses = members.map((member) => member.address);
    const rows = await encryptionCertificates(d.q, addresses);
    const known = await facts.ofMany([...rows.values()].map((row) => row.sha256));
    const without = addresses.filter((address) => !rows.has(address));
    const others = {
      signing: await inUseMany(d.q, without, 'sign'),
      pending: await pendingAmong(d.q, without, 'enc'),
    };
    const found = new Map<string, MemberCertificate>();
    for (const member of members) {
      const { address } = member;
      const judgeOne = (one: Candidate): Promise<MemberCertificate> => {
        const { sha256, boundBy, certificate } = one;
        const path = () => d.pathOf(list, { sha256, read: one.read ?? (() => read(d.q, sha256)) });
        const capabilities = one.signed ? readCapabilities(one.signed) : certificate.capabilities;
        return judge(list, member, { sha256, boundBy, certificate, capabilities, path, now, receivedBits });
      };
      const news = brought?.get(address);
      const row = rows.get(address);
      const current = news
        ? candidateOf(news.row, capabilitiesWith(news, row), facts)
        : row && inUseOne(row, known);
      if (!current) {
        found.set(address, none(address, d.fileProblemOf(address), others));
        continue;
      }
      const first = await judgeOne(current);
      const judged = first.usable
        ? first
        : await another({ ...d, facts }, address, { current, first, judgeOne });
      found.set(address, judged ?? first);
    }
    return found;
  };
}

/** A certificate that a copy may be sealed to. */
interface Candidate extends Pick<EncryptionCertificate, 'sha256' | 'spkiSha256' | 'boundBy'> {
  readonly certificate: CertificateFacts;
  /** The capabilities that were signed with it. */
  readonly signed: Buffer | null;
  /** It is at hand; else it is stored. */
  readonly read?: () => Promise<Certificate>;
}

function inUseOne(
  { sha256, spkiSha256, boundBy, capabilities }: EncryptionCertificate,
  known: ReadonlyMap<string, CertificateFacts>,
): Candidate | null {
  const certificate = known.get(sha256);
  return certificate ? { sha256, spkiSha256, boundBy, certificate, signed: capabilities } : null;
}

function candidateOf(row: BoundCertificate, signed: Buffer | null, facts: RememberedFacts): Candidate {
  const { sha256, spkiSha256, boundBy } = row;
  const read = async () => parseCertificate(row.der);
  return { sha256, spkiSha256, boundBy, certificate: facts.of(row), signed, read };
}

/** What was signed with the key that is in use holds for another certificate of that key. */
function capabilitiesWith(
  { row, capabilities }: { readonly row: BoundCertificate; readonly capabilities: Buffer | null },
  current: EncryptionCertificate | undefined,
): Buffer | null {
  return capabilities ?? (current?.spkiSha256 === row.spkiSha256 ? current.capabilities : null);
}

/** Certificates are never deleted: one that is in use is there. */
async function read(q: Queries, sha256: string): Promise<Certificate> {
  const [row] = await findCertificates(q, [sha256]);
  if (!row) throw new Error(`the certificate ${sha256} is not stored`);
  return parseCertificate(row.der);
}

/** Certificates that are tried when the one in use cannot be used. */
const mostOthers = 4;

/** What is no reason to bring another in use. */
const isNoReason: ReadonlySet<MissingReason> = new Set(['not-checked', 'weak-cipher', 'pending']);

/**
 * The best valid one of those that the address used before: it comes in use at once. Where the trouble may be over in a
 * moment (`not-checked`), or is this list's alone, nothing is changed.
 */
async function another(
  d: Pick<Parameters<typeof findRecipientsWith>[0], 'q' | 'useInstead'> & { readonly facts: RememberedFacts },
  address: string,
  {
    current,
    first,
    judgeOne,
  }: {
    readonly current: Candidate;
    readonly first: MemberCertificate & { readonly usable: false };
    readonly judgeOne: (one: Candidate) => Promise<MemberCertificate>;
  },
): Promise<MemberCertificate | null> {
  if (isNoReason.has(first.reason)) return null;
  for (const row of await supersededFor(d.q, address, 'enc', mostOthers)) {
    // A key that was lost is lost under every certificate.
    if (first.reason === 'revoked' && row.spkiSha256 === current.spkiSha256) continue;
    const capabilities = (await capabilitiesOf(d.q, row.spkiSha256))?.der ?? null;
    const judged = await judgeOne(candidateOf(row, capabilities, d.facts));
    if (!judged.usable) continue;
    await d.useInstead(address, row, first.detail);
    return judged;
  }
  return null;
}

/** A rubbish file counts as no certificate, and says so; what is there but waits, or can only sign, is named. */
function none(
  address: string,
  problem: string | null,
  others: { readonly signing: ReadonlyMap<string, BoundCertificate>; readonly pending: ReadonlySet<string> },
): MemberCertificate {
  const missing = (reason: MissingReason, detail: string) => ({ usable: false, reason, detail }) as const;
  if (problem !== null) return missing('no-certificate', problem);
  if (others.pending.has(address))
    return missing('pending', `a certificate for ${address} waits for approval`);
  const signing = others.signing.get(address);
  if (signing && !mayServe(parseCertificate(signing.der), 'encrypt'))
    return missing(
      'wrong-usage',
      `the certificate of ${signing.subject} may only sign, and none to encrypt to is known for ${address}`,
    );
  return missing('no-certificate', `no certificate is known for ${address}`);
}

async function judge(
  list: ListContext,
  member: MemberSettings,
  facts: {
    readonly sha256: string;
    readonly boundBy: CertificateSource;
    readonly certificate: CertificateFacts;
    readonly capabilities: Capabilities | null;
    readonly path: () => Promise<PathResult>;
    readonly now: number;
    readonly receivedBits: number;
  },
): Promise<MemberCertificate> {
  const { sha256, boundBy, certificate, capabilities, now, receivedBits } = facts;
  const missing = (reason: MissingReason, detail: string): MemberCertificate => ({
    usable: false,
    reason,
    detail,
  });
  const asked = { at: now, purpose: 'encrypt', source: boundBy, path: facts.path } as const;
  const objection = await objectionOn(list, certificate, asked);
  if (objection) return missing(objection.reason, objection.why);
  const choice = chooseAlgorithms(certificate, capabilities, pinsOf(member.settings), {
    unknown: list.policy['send.cipher'],
    receivedBits,
  });
  if (!choice)
    return missing('unusable', `mail can not be encrypted to a key of the type ${certificate.keyType}`);
  if (strengthOf(choice.cipher) < list.floor.cipherBits)
    return missing('weak-cipher', `${choice.cipher} is weaker than the list's minimum.cipher`);
  const recipient = { sha256, transport: choice.keyTransport, costly: isCostly(certificate) };
  return { usable: true, recipient, choice, sha256 };
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
