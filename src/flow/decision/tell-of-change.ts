import { randomBytes } from 'node:crypto';
import { dayMs, dayOf } from '../../base/day.ts';
import { wordsOf } from '../../base/errors.ts';
import { shellWord } from '../../base/shell.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import type { AuthorSignature } from '../../smime/author-signature.ts';
import { findMember, listsOfAddress } from '../../store/members.ts';
import { noticeDue, wasNoticed } from '../../store/notices.ts';
import { addToken, hasToken } from '../../store/tokens.ts';
import type { Filing } from '../harvest/harvest.ts';
import { inGroups } from '../lists/fingerprint.ts';
import { languageOf } from '../lists/list-context.ts';
import { spoolLocalMail } from '../mail/local-mail.ts';
import type { Notice } from '../mail/notify.ts';
import { oldCertificate } from './old-certificate.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';
import { alertOwners } from './report-mails.ts';

// RULES 15: who can once read a mailbox can get a certificate for it. A certificate with another key waits for a proof
// that the old key's holder wants it: the answer to a token that only he can read.

/** How long a token may be answered. */
const tokenDays = 14;

interface Change {
  readonly address: string;
  readonly filings: readonly Filing[];
  readonly signature: AuthorSignature;
}

/**
 * Tells of certificates that wait: their owner, with a token encrypted to his old certificate where he has one that may
 * vouch for the change, and the list's owners. What fails here is logged: the mail that brought them goes on.
 */
export async function tellOfChange(parts: FlowParts, work: PostingWork, change: Change): Promise<void> {
  const pending = change.filings.filter((filing) => filing.action === 'pending');
  if (pending.length === 0) return;
  try {
    const wasAsked = await askMember(parts, work, { ...change, filings: pending });
    await tellOwners(parts, work, change.address, pending, wasAsked);
  } catch (error) {
    const detail = wordsOf(error);
    parts.log.error('change-not-told', { id: work.message.id, address: change.address, detail });
  }
  parts.wakeDelivery();
}

/** Whether he was sent a token, now or before. Each certificate is told of once. */
async function askMember(parts: FlowParts, work: PostingWork, change: Change): Promise<boolean> {
  const { list } = work;
  const { address, filings } = change;
  const { q } = parts.database;
  const now = parts.clock.now();
  const certificates = [
    ...new Map(filings.map(({ certificate }) => [certificate.sha256, certificate])).values(),
  ];
  const signerSpki = parseCertificate(Buffer.from(change.signature.certificate)).spkiSha256;
  const news: Certificate[] = [];
  // What another key brought is not this one's: who announces a certificate first keeps nobody from confirming it.
  for (const one of certificates)
    if (!(await hasToken(q, { address, newSha256: one.sha256, signerSpki, at: now }))) news.push(one);
  if (news.length === 0) return true;
  // Nobody answers a machine, nor does a machine answer us (RFC 3834 2).
  if (work.message.envelope.from === '' || work.outer?.automatic !== null) return false;
  // What nothing signed names (a candidate), and what an owner keeps for himself, is an owner's to decide.
  const mayAnswer = filings.every(({ reason }) => reason === 'changed-key');
  const old = mayAnswer ? await oldCertificate(parts, list, address) : null;
  const about = { listId: list.id, member: address, now, everyMs: Number.POSITIVE_INFINITY };
  const kind = `change ${news.map(({ sha256 }) => sha256.slice(0, 32)).join(' ')}`;
  if (old === null) {
    // Once for all lists: each that somebody writes to in his name would ask him again.
    if (await wasNoticed(q, { member: address, kind })) return false;
    if (!(await parts.database.write((tx) => noticeDue(tx, { ...about, kind })))) return false;
  }
  const token = old && newToken();
  const language = languageOf(list, await findMember(q, list.id, address));
  const notice: Notice = {
    template: 'cert-confirm',
    to: address,
    language,
    kind: 'auto-generated',
    replyTo: token === null ? 'owner' : 'sendcert',
    inReplyTo: null,
    variables: {
      user: { email: address, lang: language },
      first: filings.every(({ reason }) => reason === 'owner-decides'),
      token: token ?? '',
      expires: dayOf(now + tokenDays * dayMs),
      certificates: news.map(({ subject, issuer, sha256, notAfter }) => ({
        subject,
        issuer,
        fingerprint: inGroups(sha256),
        expires: dayOf(notAfter),
      })),
    },
    ...(old ? { sealFor: old.sealFor } : {}),
  };
  const mail = await spoolLocalMail(parts, list, await parts.compose(list, notice, now), now);
  await parts.database.write(async (tx) => {
    if (old && token !== null) {
      const base = { address, listId: list.id, signerSpki, oldSha256: old.sha256, createdAt: now };
      for (const { sha256: newSha256 } of news)
        await addToken(tx, token, { ...base, newSha256, expiresAt: now + tokenDays * dayMs });
    }
    await mail.queue(tx);
  });
  return token !== null;
}

async function tellOwners(
  parts: FlowParts,
  work: PostingWork,
  address: string,
  [pending]: readonly Filing[],
  wasAsked: boolean,
): Promise<void> {
  if (!pending) return;
  const { sha256, issuer } = pending.certificate;
  const how = `reseal cert approve ${shellWord(address)} ${sha256.slice(0, 16)}`;
  const ask = `Ask ${address} by another way than mail whether it is right, then: ${how}`;
  const reasonText = `${address} signed with a certificate that waits for your approval (issued by ${issuer}). ${
    wasAsked
      ? `A code was sent to him, encrypted to his old certificate: if he answers it, nothing is left to do. If he has lost the old key: ${ask.slice(0, 1).toLowerCase()}${ask.slice(1)}`
      : ask
  }`;
  const event = 'a certificate waits for your approval';
  // Strangers may be many: they are told of together, members each.
  const isMember = (await listsOfAddress(parts.database.q, address)).length > 0;
  const told = { event, reason: pending.reason, reasonText, everyMs: dayMs };
  const mails = await alertOwners(parts, work, { ...told, ...(isMember ? { member: address } : {}) });
  await parts.database.write(async (tx) => {
    for (const mail of mails) await mail.queue(tx);
  });
}

/** 32 characters of base 32, 160 bits: guessing is hopeless, and no mail program breaks the word. */
function newToken(): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567';
  return [...randomBytes(32)].map((octet) => letters[octet & 31]).join('');
}
