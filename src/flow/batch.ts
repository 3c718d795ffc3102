import type { ContentCipher } from '../pki/algorithms.ts';
import type { FindSealKeys } from '../smime/workers.ts';
import type { Copy } from '../smtp/pool.ts';
import type { MessageRow } from '../store/messages.ts';
import type { DeliveryRow } from '../store/schema.ts';
import type { ListContext } from './list-context.ts';
import type { MemberCertificate } from './member-certificate.ts';
import { sealedHead } from './prepare.ts';
import type { PostingSeal } from './seal-copies.ts';

/** One copy ready to be sent: made at the last moment, so that one shared encoding is alive at a time. */
export interface ReadyCopy {
  readonly row: DeliveryRow;
  readonly certificate: {
    readonly sha256: string;
    readonly cipher: ContentCipher;
    readonly keyTransport: string;
    /** It is weaker than the encryption the post came with. */
    readonly weaker: boolean;
  } | null;
  make(): Promise<Copy>;
}

/** A copy that cannot be made for this member now. */
export interface MissingCopy {
  readonly row: DeliveryRow;
  readonly certificate: MemberCertificate & { readonly usable: false };
}

export interface SealedBatch {
  readonly ready: readonly ReadyCopy[];
  readonly missing: readonly MissingCopy[];
}

export type Envelope = Omit<Copy, 'to' | 'head' | 'body'>;

/** What the relay is told beside the recipient: from LIST-bounces, and what the post came with. */
export function envelopeOf(from: string, message: MessageRow, body8bit: boolean): Envelope {
  const { smtpUtf8, requireTls } = message.envelope;
  return { from, smtpUtf8, body8bit, requireTls };
}

/**
 * Seals a batch of one posting: each member's key wrap and own lines, by the certificate he has now. The result is
 * grouped by cipher and phase, so that members who share an encoding follow each other (RULES 12).
 */
export async function sealBatch(
  seal: PostingSeal,
  d: {
    readonly rows: readonly DeliveryRow[];
    readonly certificates: ReadonlyMap<string, MemberCertificate>;
    readonly header: Buffer;
    readonly envelope: Envelope;
    readonly findKeys: FindSealKeys;
  },
): Promise<SealedBatch> {
  const missing: MissingCopy[] = [];
  const groups = new Map<
    ContentCipher,
    { row: DeliveryRow; certificate: MemberCertificate & { usable: true } }[]
  >();
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
  for (const [cipher, group] of groups) {
    const head = sealedHead(d.header, await seal.contentType(cipher));
    const copies = await seal.address(
      cipher,
      group.map((one) => one.certificate.recipient),
      d.findKeys,
    );
    for (const copy of copies) {
      const one = group[copy.at];
      if (!one) continue;
      const { row, certificate } = one;
      if ('unusable' in copy) {
        missing.push({ row, certificate: { usable: false, reason: 'unusable', detail: copy.unusable } });
        continue;
      }
      const { sha256, choice } = certificate;
      ready.push({
        row,
        certificate: { sha256, cipher, keyTransport: choice.keyTransport, weaker: choice.weaker },
        make: async () => copyOf(d.envelope, row.member, [head, copy.head], await copy.lines()),
      });
    }
  }
  return { ready, missing };
}

/** Copies that are the same for all: posts in clear, mail passed on as it came, and reseal's own mail. */
export function sameCopies(
  rows: readonly DeliveryRow[],
  envelope: Envelope,
  head: Buffer,
  body: Copy['body'],
): ReadyCopy[] {
  return rows.map((row) => ({
    row,
    certificate: null,
    make: async () => copyOf(envelope, row.member, [head], body),
  }));
}

function copyOf(envelope: Envelope, to: string, head: readonly Buffer[], body: Copy['body']): Copy {
  return { ...envelope, to, head: Buffer.concat(head), body };
}

/**
 * Rows of active members of an open list, and the others (RULES 17): whoever left gets nothing more, also if he came
 * back after the post was distributed.
 */
export function withoutLeavers(
  rows: readonly DeliveryRow[],
  members: ReadonlyMap<string, { state: string; since: number }>,
  list: ListContext,
): { staying: DeliveryRow[]; leaving: DeliveryRow[] } {
  const stays = (row: DeliveryRow) => {
    const member = members.get(row.member);
    return list.open && member?.state === 'active' && member.since <= row.createdAt;
  };
  return { staying: rows.filter(stays), leaving: rows.filter((row) => !stays(row)) };
}
