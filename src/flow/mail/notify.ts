import { brandComposed, type ComposedBytes, Plaintext } from '../../base/bytes.ts';
import { faultsOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { type Composition, composeEntity, composeMessage } from '../../mime/compose.ts';
import { formatDate } from '../../mime/date.ts';
import { hiddenSubject, protectHeader } from '../../mime/protect.ts';
import { decodeWords } from '../../mime/words.ts';
import type { ContentCipher } from '../../pki/algorithms.ts';
import type { KeyPair } from '../../pki/keys.ts';
import { furtherAddress } from '../../policy/list-name.ts';
import type { SealKey, SealRecipient } from '../../smime/jobs.ts';
import type { CryptoWorkers } from '../../smime/workers.ts';
import { renderMail } from '../../template/mail.ts';
import type { Templates, Variables } from '../../template/templates.ts';
import type { ListContext } from '../lists/list-context.ts';
import { signerOf } from '../post/list-signature.ts';
import { listIdOf } from '../post/outer.ts';
import { sealedFields } from '../post/prepare.ts';

const noticeFault = faultsOf({
  'notice-unsealed': (d: { why: string }) => `a notice could not be encrypted to its reader: ${d.why}`,
});

/** A mail that reseal writes itself: which template, to whom, with what. No text of an encrypted post enters it. */
export interface Notice {
  readonly template: string;
  readonly to: string;
  readonly language: string;
  readonly variables: Variables;
  /** `auto-replied` answers a mail, `auto-generated` does not (RFC 3834 5). */
  readonly kind: 'auto-replied' | 'auto-generated';
  /** Where answers go: the list's address with this ending. */
  readonly replyTo: 'sendcert' | 'owner' | 'request';
  readonly inReplyTo: string | null;
  readonly attachments?: Composition['attachments'];
  /** It carries mail that came with REQUIRETLS (RFC 8689 5): by a relay that offers no such thing it does not leave. */
  readonly requireTls?: boolean;
  /** The pair that signs, if it is not the one in use: who announces a new key signs with the one that is known. */
  readonly signWith?: KeyPair;
  /** Encrypted to this certificate, what it says of itself too: outside stands a Subject that says nothing. */
  readonly sealFor?: {
    readonly recipient: SealRecipient;
    readonly key: SealKey;
    readonly cipher: ContentCipher;
  };
}

/** A composed mail, ready to be queued as a message of origin `local`. */
export interface ComposedMail {
  readonly bytes: ComposedBytes;
  readonly to: string;
  /** RFC 3834 3.3: an answer has the null sender; other notices of a list come from LIST-bounces. */
  readonly envelopeFrom: string;
  readonly requireTls: boolean;
  readonly subject: string;
  readonly messageId: string;
  /** SHA-256 of the certificate that it is signed with; null for a mail without signature. */
  readonly signedWith: string | null;
  /** SHA-256 of the certificate that it is encrypted to, and the cipher; null for a mail in clear. */
  readonly sealedFor: { readonly certificate: string; readonly cipher: string } | null;
}

/** Writes a list's mail: template, then the list's signature with its certificate, then the outer header. */
export type Compose = (list: ListContext, notice: Notice, at: number) => Promise<ComposedMail>;

export interface ComposeParts {
  readonly templates: Templates;
  readonly workers: Pick<CryptoWorkers, 'sign' | 'seal'>;
  /** The list's signing pair, or null if it has none or it cannot be used now. */
  readonly signingPair: (list: ListContext) => Promise<KeyPair | null>;
  /** The pair that answers are to be encrypted to. */
  readonly encryptionPair: (list: ListContext) => Promise<KeyPair | null>;
  readonly serviceAddress: string;
  /** Who looks after the service address: it has no -owner and no -bounces. */
  readonly postmaster: string;
  /** A string that never repeats, for Message-ID and boundaries. */
  readonly unique: () => string;
  readonly log: Log;
}

/** Makes the `Compose` function of one site. Faults of templates and workers pass through. */
export function composeWith(parts: ComposeParts): Compose {
  return async (list, notice, at) => {
    const sendcert = furtherAddress(list.address, 'sendcert');
    const request = furtherAddress(list.address, 'request');
    const isService = list.address === parts.serviceAddress;
    const owner = isService ? parts.postmaster : furtherAddress(list.address, 'owner');
    const pair =
      list.policy['send.sign'] === 'never' ? null : (notice.signWith ?? (await parts.signingPair(list)));
    const variables: Variables = {
      fromlist: list.address,
      domain: list.domain,
      lang: notice.language,
      signed: pair !== null,
      conf: { email: parts.serviceAddress.split('@')[0] ?? '', wwsympa_url: '' },
      ...notice.variables,
      list: {
        name: list.name,
        host: list.domain,
        domain: list.domain,
        address: list.address,
        sendcert,
        request,
        owner,
      },
    };
    const mail = await renderMail(parts.templates, notice.template, variables, { language: notice.language });
    const subject =
      mail.headers.find(([name]) => name.toLowerCase() === 'subject')?.[1] ?? `About ${list.address}`;
    const entity = composeEntity({
      text: mail.text,
      boundary: `=_reseal_${parts.unique()}`,
      ...(notice.attachments ? { attachments: notice.attachments } : {}),
    });
    const messageId = `<${parts.unique()}@${list.domain}>`;
    const replyTo = { sendcert, owner, request }[notice.replyTo];
    const headers: (readonly [string, string])[] = [
      ['Date', formatDate(at)],
      ['From', list.address],
      ['To', notice.to],
      ['Reply-To', replyTo],
      ['Subject', subject],
      ['Message-ID', messageId],
      ...(isMessageId(notice.inReplyTo) ? ([['In-Reply-To', notice.inReplyTo]] as const) : []),
      // RFC 3834 5: so that no automatic answer comes back.
      ['Auto-Submitted', notice.kind],
      ['Precedence', 'bulk'],
      ['List-Id', `<${listIdOf(list.address)}>`],
      ['X-Loop', list.address],
    ];
    const { sealFor } = notice;
    const outside = sealFor ? headers.map(hideSubject) : headers;
    // RFC 9788 5.2: a forged Subject or To outside is seen by whose program knows of it.
    const protectedEntity = () =>
      protectHeader(entity, headers, sealFor ? { hp: 'cipher', outside } : { hp: 'clear' });
    const signed = pair ? await sign(parts, list, pair, protectedEntity(), at) : null;
    const content = sealFor ? await seal(parts, signed ?? protectedEntity(), sealFor) : (signed ?? entity);
    if (pair)
      parts.log.event('notice-signed', {
        list: list.address,
        to: notice.to,
        template: notice.template,
        certificate: pair.certificate.sha256,
        messageId,
      });
    return {
      bytes: brandComposed(composeMessage(outside, content)),
      to: notice.to,
      envelopeFrom:
        notice.kind === 'auto-replied' || isService ? '' : furtherAddress(list.address, 'bounces'),
      requireTls: notice.requireTls ?? false,
      subject: sealFor ? hiddenSubject : decodeWords(subject),
      messageId,
      signedWith: pair?.certificate.sha256 ?? null,
      sealedFor: sealFor ? { certificate: sealFor.recipient.sha256, cipher: sealFor.cipher } : null,
    };
  };
}

const hideSubject = ([name, value]: readonly [string, string]): readonly [string, string] => [
  name,
  name === 'Subject' ? hiddenSubject : value,
];

/** The entity encrypted to one certificate. Fault: 'notice-unsealed', and those of workers. */
async function seal(
  parts: ComposeParts,
  entity: Buffer,
  { recipient, key, cipher }: NonNullable<Notice['sealFor']>,
): Promise<Buffer> {
  const plaintext = new Plaintext(entity);
  const session = await parts.workers.seal(plaintext, cipher).finally(() => plaintext.wipe());
  try {
    const [addressed] = await session.address([recipient], async () => [key]);
    if (!addressed || 'unusable' in addressed)
      throw noticeFault('notice-unsealed', { why: addressed?.unusable ?? 'there is no recipient' });
    const head = Buffer.from(addressed.head);
    return Buffer.concat([sealedFields(session.contentType), head, await session.lines(addressed.phase)]);
  } finally {
    await session.end();
  }
}

async function sign(
  parts: ComposeParts,
  list: ListContext,
  pair: KeyPair,
  entity: Buffer,
  at: number,
): Promise<Buffer> {
  const signer = signerOf(pair, await parts.encryptionPair(list));
  return parts.workers.sign(entity, signer, { boundary: `=_signed_${parts.unique()}`, at });
}

/** RFC 5322 3.6.4, as far as it may stand in our header: what a stranger wrote there can be anything. */
function isMessageId(value: string | null): value is string {
  return value !== null && /^<[!-~]{1,900}>$/.test(value);
}
