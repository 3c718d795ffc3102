import { isAgreement } from '../../cms/recipient-info.ts';
import type { ContentCipher } from '../../pki/algorithms.ts';
import { furtherAddress } from '../../policy/list-name.ts';
import { verpSender } from '../../policy/verp.ts';
import type { FindSealKeys } from '../../smime/workers.ts';
import type { Copy } from '../../smtp/pool.ts';
import type { ClaimedRow } from '../../store/deliveries.ts';
import type { MessageRow } from '../../store/messages.ts';
import type { MemberCertificate } from '../certificates/member-certificate.ts';
import type { ListContext } from '../lists/list-context.ts';
import { sealedHead } from '../post/prepare.ts';
import type { PostingSeal } from './seal-copies.ts';

/** One of those whom a copy is for, and how it was sealed for him. */
export interface Addressee {
  readonly row: ClaimedRow;
  readonly certificate: {
    readonly sha256: string;
    readonly cipher: ContentCipher;
    readonly keyTransport: string;
    /** It is weaker than the encryption the post came with. */
    readonly weaker: boolean;
  } | null;
}

/** One copy ready to be sent: made at the last moment, so that one shared encoding is alive at a time. */
export interface ReadyCopy {
  /** At least one; several get the same octets in one transaction. */
  readonly addressees: readonly Addressee[];
  make(): Promise<Copy>;
}

/** A copy that cannot be made for this member now. */
export interface MissingCopy {
  readonly row: ClaimedRow;
  readonly certificate: MemberCertificate & { readonly usable: false };
}

export interface SealedBatch {
  readonly ready: readonly ReadyCopy[];
  readonly missing: readonly MissingCopy[];
}

/** What the relay is told beside the recipients, and who share a transaction. */
export interface Envelope extends Omit<Copy, 'from' | 'to' | 'head' | 'body'> {
  /** Who hears of it when a member's copy comes back. */
  readonly senderFor: (member: string) => string;
  /** Parts members into those who may get the same octets in one transaction. */
  readonly together: (members: readonly string[]) => readonly (readonly string[])[];
}

const eachAlone = (members: readonly string[]): string[][] => members.map((one) => [one]);

/** Of a list: from LIST-bounces, by VERP (with the site's secret) if the list wants that, and with what the post came with. */
export function envelopeOf(
  list: ListContext,
  message: MessageRow,
  d: { readonly body8bit: boolean; readonly together: Envelope['together']; readonly secret: Buffer },
): Envelope {
  const { smtpUtf8, requireTls } = message.envelope;
  const bounces = furtherAddress(list.address, 'bounces');
  const verp = list.policy['send.verp'] === 'yes';
  return {
    message: message.id,
    smtpUtf8,
    requireTls,
    body8bit: d.body8bit,
    senderFor: (member) =>
      (verp ? verpSender(d.secret, { bounces, member, message: message.id }) : null) ?? bounces,
    together: verp ? eachAlone : d.together,
  };
}

/** A member's row with the certificate to seal to. */
interface Sealable {
  readonly row: ClaimedRow;
  readonly certificate: MemberCertificate & { readonly usable: true };
}

/**
 * Seals a batch of one posting: each member's key wrap and own lines, by the certificate he has now. The result is
 * grouped by cipher and phase, so that members who share an encoding follow each other (RULES 12).
 */
export async function sealBatch(
  seal: PostingSeal,
  d: {
    readonly rows: readonly ClaimedRow[];
    readonly certificates: ReadonlyMap<string, MemberCertificate>;
    readonly header: Buffer;
    readonly envelope: Envelope;
    readonly findKeys: FindSealKeys;
    /** Members share copies, as far as the envelope lets them. */
    readonly grouped: boolean;
  },
): Promise<SealedBatch> {
  const missing: MissingCopy[] = [];
  const groups = new Map<ContentCipher, Sealable[]>();
  for (const row of d.rows) {
    const certificate = d.certificates.get(row.member);
    if (!certificate) continue;
    if (!certificate.usable) missing.push({ row, certificate });
    else {
      const { cipher } = certificate.choice;
      groups.set(cipher, [...(groups.get(cipher) ?? []), { row, certificate }]);
    }
  }
  const ready: ReadyCopy[] = [];
  for (const [cipher, members] of groups) {
    const head = sealedHead(d.header, await seal.contentType(cipher));
    const parts = d.grouped ? sharers(members, d.envelope) : [members];
    for (const part of parts) {
      const recipients = part.map((one) => one.certificate.recipient);
      const copies = await seal.address(cipher, recipients, { findKeys: d.findKeys, together: d.grouped });
      for (const copy of copies) {
        const theirs = copy.at.flatMap((at) => part[at] ?? []);
        if ('unusable' in copy) {
          const certificate = { usable: false, reason: 'unusable', detail: copy.unusable } as const;
          missing.push(...theirs.map(({ row }) => ({ row, certificate })));
          continue;
        }
        const to = theirs.map(({ row }) => row.member);
        ready.push({
          addressees: theirs.map(addresseeOf),
          make: async () => copyOf(d.envelope, to, [head, copy.head], await copy.lines()),
        });
      }
    }
  }
  return { ready, missing };
}

/** NSS reads no envelope in which key agreement stands beside key transport. */
function sharers(members: readonly Sealable[], envelope: Envelope): Sealable[][] {
  const agrees = ({ certificate }: Sealable): boolean => isAgreement(certificate.choice.keyTransport);
  const kinds = [members.filter((one) => !agrees(one)), members.filter(agrees)];
  return kinds.flatMap((kind) => together(kind, envelope));
}

function addresseeOf({ row, certificate: { sha256, choice } }: Sealable): Addressee {
  const { cipher, keyTransport, weaker } = choice;
  return { row, certificate: { sha256, cipher, keyTransport, weaker } };
}

/** Copies that are the same for all: posts in clear, mail passed on as it came, and reseal's own mail. */
export function sameCopies(
  rows: readonly ClaimedRow[],
  envelope: Envelope,
  head: Buffer,
  body: Copy['body'],
): ReadyCopy[] {
  const addressees = rows.map((row): Addressee => ({ row, certificate: null }));
  return together(addressees, envelope).map((group) => {
    const to = group.map(({ row }) => row.member);
    return { addressees: group, make: async () => copyOf(envelope, to, [head], body) };
  });
}

/** Those who share a transaction; a member has one row of a posting. */
function together<T extends { readonly row: ClaimedRow }>(all: readonly T[], envelope: Envelope): T[][] {
  const byMember = new Map(all.map((one) => [one.row.member, one]));
  return envelope
    .together([...byMember.keys()])
    .map((group) => group.flatMap((member) => byMember.get(member) ?? []));
}

function copyOf(
  { message, senderFor, smtpUtf8, body8bit, requireTls }: Envelope,
  to: readonly string[],
  head: readonly Buffer[],
  body: Copy['body'],
): Copy {
  return {
    message,
    from: senderFor(to[0] ?? ''),
    to,
    head: Buffer.concat(head),
    body,
    smtpUtf8,
    body8bit,
    requireTls,
  };
}

/**
 * Rows of active members of an open list, and the others (RULES 17): whoever left gets nothing more, also if he came
 * back after the post was distributed.
 */
export function withoutLeavers(
  rows: readonly ClaimedRow[],
  members: ReadonlyMap<string, { state: string; since: number }>,
  list: ListContext,
): { staying: ClaimedRow[]; leaving: ClaimedRow[] } {
  const stays = (row: ClaimedRow) => {
    const member = members.get(row.member);
    return list.open && member?.state === 'active' && member.since <= row.createdAt;
  };
  return { staying: rows.filter(stays), leaving: rows.filter((row) => !stays(row)) };
}
