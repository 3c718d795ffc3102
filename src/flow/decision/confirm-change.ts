import { randomBytes } from 'node:crypto';
import { dayMs, dayOf } from '../../base/day.ts';
import { wordsOf } from '../../base/errors.ts';
import { shellWord } from '../../base/shell.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import { validatePath } from '../../pki/path.ts';
import type { AuthorSignature } from '../../smime/author-signature.ts';
import { chooseAlgorithms } from '../../smime/choose.ts';
import type { Findings } from '../../smime/open.ts';
import { bindingsOf } from '../../store/bindings.ts';
import { type BoundCertificate, capabilitiesOf, findCertificate, inUse } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { findMember, listsOfAddress } from '../../store/members.ts';
import { noticeDue, wasNoticed } from '../../store/notices.ts';
import type { Purpose } from '../../store/schema.ts';
import { addToken, hasToken, useToken } from '../../store/tokens.ts';
import { readCapabilities } from '../certificates/certificate-facts.ts';
import { mirrorAddress } from '../certificates/mirror.ts';
import { releaseCopies } from '../certificates/release.ts';
import { sealKeyOf } from '../certificates/seal-keys.ts';
import { useFor } from '../certificates/use-certificate.ts';
import type { Filing } from '../harvest/harvest.ts';
import { inGroups } from '../lists/fingerprint.ts';
import { type ListContext, languageOf } from '../lists/list-context.ts';
import { spoolLocalMail } from '../mail/local-mail.ts';
import type { Notice } from '../mail/notify.ts';
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

/**
 * How to encrypt to the certificate that the address used so far, expired or not: its key is what counts. Null if there
 * is none, if nothing can be encrypted to it, or if it was revoked: then another may have the key.
 */
async function oldCertificate(
  parts: FlowParts,
  list: ListContext,
  address: string,
): Promise<{ sha256: string; sealFor: NonNullable<Notice['sealFor']> } | null> {
  const { q } = parts.database;
  const row = await inUse(q, address, 'enc');
  if (!row?.mayEncrypt) return null;
  const certificate = parseCertificate(row.der);
  const anchors = await parts.keyring.anchorsOf(list);
  const revocation = await parts.revocation.policyOf(list, await parts.revocation.answersAbout([row.sha256]));
  // Of an expired one the path fails for that alone; what is said about its revocation is heard all the same.
  const at = Math.min(parts.clock.now(), row.notAfter);
  const path = validatePath(certificate, {
    anchors,
    intermediates: await parts.intermediates(certificate),
    at,
    purpose: 'encrypt',
    floor: list.floor,
    revocation,
  });
  if (path.reasons.includes('revoked')) return null;
  const signed = await capabilitiesOf(q, row.spkiSha256);
  const capabilities = readCapabilities(signed?.der ?? certificate.smimeCapabilities);
  const unknown = list.policy['send.cipher'];
  const choice = chooseAlgorithms(certificate, capabilities, {}, { unknown, receivedBits: 0 });
  if (!choice) return null;
  const { sha256 } = row;
  const recipient = { sha256, transport: choice.keyTransport };
  const key = sealKeyOf(row, certificate);
  return { sha256, sealFor: { recipient, key, cipher: choice.cipher } };
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

/** What an answer confirmed. */
export interface Confirmed {
  readonly sha256s: readonly string[];
  readonly released: number;
}

/**
 * Follows an answer to a token: the certificates that wait come into use. It counts once, in time, from the address it
 * was sent to, signed by the key that brought the change, and while the certificate that the token was encrypted to is
 * still the one in use: so the holder of the new key has the old one as well. Null if it does not count.
 */
export async function confirmChange(
  parts: FlowParts,
  work: PostingWork,
  report: Pick<Findings, 'author' | 'signature'>,
  token: string,
): Promise<Confirmed | null> {
  const { author: address, signature } = report;
  if (address === null || signature === null) return null;
  // Revoked since it was asked, it vouches for nothing any more: another may have read the token.
  const asked = await oldCertificate(parts, work.list, address);
  if (asked === null) return null;
  const at = parts.clock.now();
  // The old key may have signed the answer too.
  const signers = [signature, ...signature.others.filter((one) => one.trusted)];
  const keys = signers.map((one) => parseCertificate(Buffer.from(one.certificate)).spkiSha256);
  const confirmed = await parts.database.write(async (tx) => {
    const old = await inUse(tx, address, 'enc');
    const sha256s: string[] = [];
    const purposes = new Set<Purpose>();
    for (const signerSpki of keys) {
      for (const row of await useToken(tx, token, { address, signerSpki, at })) {
        if (old === null || row.oldSha256 !== old.sha256 || row.oldSha256 !== asked.sha256) continue;
        for (const purpose of await takeWaiting(tx, work, { address, sha256: row.newSha256, old, at }))
          purposes.add(purpose);
        sha256s.push(row.newSha256);
      }
    }
    if (purposes.size === 0) return null;
    const expiresAt = at + parts.lifetimeMs;
    const released = purposes.has('enc') ? await releaseCopies(tx, address, { now: at, expiresAt }) : 0;
    return { sha256s, released };
  });
  if (!confirmed) return null;
  await mirrorAddress(parts.database.q, parts.certificates, address);
  parts.log.event('certificate-confirmed', { id: work.message.id, address, released: confirmed.released });
  if (confirmed.released > 0) parts.wakeDelivery();
  return confirmed;
}

async function takeWaiting(
  tx: Queries,
  work: PostingWork,
  d: {
    readonly address: string;
    readonly sha256: string;
    readonly old: Pick<BoundCertificate, 'boundBy'>;
    readonly at: number;
  },
): Promise<Purpose[]> {
  const { address, sha256, at: now } = d;
  const certificate = await findCertificate(tx, sha256);
  if (certificate === null) return [];
  const rows = (await bindingsOf(tx, address)).filter(
    (row) => row.sha256 === sha256 && row.state === 'pending',
  );
  const by = 'confirmed by the answer to a token that was encrypted to the certificate before';
  // Whoever vouched for the old key's holder vouches for him still.
  const source = d.old.boundBy === 'harvested' ? 'harvested' : 'approved';
  for (const { purpose } of rows)
    await useFor(tx, { address, purpose, certificate, source, now, by, messageId: work.message.id });
  return rows.map((row) => row.purpose);
}
