import type { Plaintext } from '../../base/bytes.ts';
import { dayOf } from '../../base/day.ts';
import { certsOnly } from '../../cms/sign.ts';
import type { Findings } from '../../smime/open.ts';
import { inUse } from '../../store/certificates.ts';
import type { LedgerEvent } from '../../store/ledger-events.ts';
import type { Variables } from '../../template/templates.ts';
import type { Filing } from '../harvest/harvest.ts';
import { whyNotTaken } from '../harvest/not-taken.ts';
import { inGroups } from '../lists/fingerprint.ts';
import { rolesOn } from '../lists/list-context.ts';
import type { SpooledMail } from '../mail/local-mail.ts';
import { tryNotice } from '../mail/notices-to.ts';
import type { Notice } from '../mail/notify.ts';
import { toJson, verdictRecord } from '../post/verdict-record.ts';
import { commandOf, commandSubject, tokenIn } from './command-text.ts';
import { confirmChange } from './confirm-change.ts';
import { conclude } from './decide.ts';
import { harvestFor, isTaken } from './harvest-post.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';
import { alertOwners, answerSender, mailVariables, mayAnswer } from './report-mails.ts';

type Answer = Omit<Notice, 'to' | 'kind' | 'inReplyTo' | 'language'>;

/**
 * Mail to -sendcert: the certificates of its verified signature are kept and the sender is told; it is never
 * distributed. A copy that waited for the certificate goes out. `token`: it answers the question about a change;
 * `isReplay`: its signature came before, and is answered no more.
 */
export async function takeCertificate(
  parts: FlowParts,
  work: PostingWork,
  report: Findings,
  { token, isReplay }: { readonly token: string | null; readonly isReplay: boolean },
): Promise<void> {
  const confirmed = token === null ? null : await confirmChange(parts, work, report, token);
  const harvested = await harvestFor(parts, work, report);
  const filed = { ...harvested, released: harvested.released + (confirmed?.released ?? 0) };
  const taken = filed.filings.filter(isTaken);
  const reason =
    report.author === null ? (report.reasons[0] ?? 'not-signed') : (filed.filings[0]?.reason ?? null);
  const first = taken[0]?.certificate ?? null;
  const mail = mailVariables(work);
  const own = await listCertificate(parts, work);
  const attached = own.attachments !== undefined;
  const answer: Answer = first
    ? {
        template: 'sendcert-done',
        replyTo: 'owner',
        variables: {
          mail,
          certificates: shown(taken),
          released: filed.released,
          attached,
          ...(await readingWords(parts, report.author, filed.filings)),
        },
        ...own,
      }
    : {
        template: 'sendcert-failed',
        replyTo: 'owner',
        ...own,
        variables: { mail, reason: reason ?? '', reason_text: whyNotTaken(reason, report) },
      };
  const event = first ? 'certificate-received' : 'certificate-not-taken';
  const detail = first
    ? `certificate of ${first.subject}, ${filed.released} waiting copies released`
    : whyNotTaken(reason, report);
  const member = report.author ?? report.claimed;
  // Its sender is rarely answered, for nothing proves who he is (RULES 20): the owners can help him.
  const isOurs = member !== null && (await rolesOn(parts.database.q, work.list, member)).member;
  const told = {
    event: 'a certificate was not taken',
    reason: reason ?? '',
    reasonText: `${member}: ${detail}`,
  };
  const alerts = first === null && isOurs ? await alertOwners(parts, work, told) : [];
  const outcome = { answer, isReplay, reason: first ? null : reason };
  await finish(parts, work, report, { ...outcome, event, detail, member, alerts });
}

/** Whether mail is encrypted to what came, or a certificate for that waits, or there is none at all. */
async function readingWords(
  { database }: FlowParts,
  author: string | null,
  filings: readonly Filing[],
): Promise<Variables> {
  const reading = filings.filter(({ purpose }) => purpose === 'enc');
  const encrypts = reading.some(isTaken);
  const waits = reading.some(({ action }) => action === 'pending');
  const lacks = !waits && author !== null && (await inUse(database.q, author, 'enc')) === null;
  return { encrypts, waits, lacks };
}

/** One entry per certificate, with what it is used for. */
function shown(taken: readonly Filing[]): Variables[] {
  const certificates = new Map(taken.map(({ certificate }) => [certificate.sha256, certificate]));
  return [...certificates.values()].map((certificate) => {
    const uses = taken.filter((filing) => filing.certificate.sha256 === certificate.sha256);
    return {
      subject: certificate.subject,
      purposes: uses
        .map(({ purpose }) => (purpose === 'sign' ? 'your signatures' : 'mail to you'))
        .join(', '),
      signs: uses.some(({ purpose }) => purpose === 'sign'),
      reads: uses.some(({ purpose }) => purpose === 'enc'),
      fingerprint: inGroups(certificate.sha256),
      expires: dayOf(certificate.notAfter),
    };
  });
}

/** The token of RULES 15 that a verified mail brings back, or null. `entity` is the opened content, if it was encrypted. */
export async function answeredToken(
  { outer, spooled }: PostingWork,
  report: Findings,
  entity: Plaintext | null,
): Promise<string | null> {
  if (report.author === null) return null;
  const text = entity && report.encrypted ? entity.expose() : spooled.bytes;
  return tokenIn(commandSubject(report, outer?.subject ?? null), text);
}

/**
 * Mail to -request and to the service address: HELP and GET CERT. `entity` is the opened content, if it was encrypted;
 * `isReplay`: its signature came before, and is answered no more.
 */
export async function answerCommand(
  parts: FlowParts,
  work: PostingWork,
  report: Findings,
  { entity, isReplay }: { readonly entity: Plaintext | null; readonly isReplay: boolean },
): Promise<void> {
  const { list, outer, spooled } = work;
  // RULES 2: encrypted without a valid signature inside, anyone can have written it.
  const unsafe = report.encrypted && report.author === null;
  const text = entity && report.encrypted ? entity.expose() : spooled.bytes;
  const command = unsafe ? null : await commandOf(commandSubject(report, outer?.subject ?? null), text);
  const pair = command === 'get-cert' ? await parts.keyring.encryptionPair(list) : null;
  const variables: Variables = { mail: mailVariables(work), commands: ['HELP', 'GET CERT'] };
  const help: Answer = { template: 'help', replyTo: 'owner', variables };
  const answer: Answer = pair
    ? {
        template: 'get-cert',
        replyTo: 'owner',
        variables: {
          ...variables,
          fingerprint: inGroups(pair.certificate.sha256),
          expires: dayOf(pair.certificate.notAfter),
        },
        ...(await listCertificate(parts, work)),
      }
    : help;
  const detail = unsafe
    ? 'an encrypted command without a valid signature inside is not followed'
    : `command ${command ?? 'unknown: help was sent'}`;
  await finish(parts, work, report, {
    answer: unsafe ? null : answer,
    isReplay,
    event: 'command',
    reason: unsafe ? 'encrypted-unsigned' : null,
    detail,
  });
}

/** The certificate that mail to the list is encrypted to, with its chain, as an attachment; nothing if it has none. */
async function listCertificate(
  { keyring }: FlowParts,
  { list }: PostingWork,
): Promise<Pick<Notice, 'attachments'>> {
  const pair = await keyring.encryptionPair(list);
  if (!pair) return {};
  return {
    attachments: [
      {
        fileName: `${list.name}.p7c`,
        contentType: 'application/pkcs7-mime; smime-type=certs-only; name="smime.p7c"',
        content: certsOnly([pair.certificate, ...pair.chain]),
      },
    ],
  };
}

async function finish(
  parts: FlowParts,
  work: PostingWork,
  report: Findings,
  d: {
    answer: Answer | null;
    isReplay: boolean;
    event: LedgerEvent;
    reason: string | null;
    detail: string;
    member?: string | null;
    alerts?: readonly SpooledMail[];
  },
): Promise<void> {
  // Whoever captured one mail could have its signer answered again and again (RULES 20).
  const answer = d.isReplay ? null : d.answer;
  const about = { id: work.message.id, list: work.list.address };
  // A template that is broken must not stop what the mail asked for.
  const mail = answer && (await tryNotice(parts, about, () => answerSender(parts, work, report, answer)));
  const at = parts.clock.now();
  const verdict = toJson(
    verdictRecord(report, {
      decision: 'command',
      rule: work.posting.kind,
      receivedAt: work.spooled.receivedAt,
    }),
  );
  const mails = [...(mail ? [mail] : []), ...(d.alerts ?? [])];
  const { event, reason, member = null } = d;
  const detail =
    mail || !d.answer
      ? d.detail
      : `${d.detail}; not answered: ${d.isReplay ? 'the same signature came before' : whyNotAnswered(work, report)}`;
  await parts.database.write((tx) =>
    conclude(tx, work, { state: 'done', event, reason, detail, member, verdict, mails }, at),
  );
  parts.log.event(event, { id: work.message.id, list: work.list.address, reason, answered: mail !== null });
  parts.wakeDelivery();
}

function whyNotAnswered(work: PostingWork, report: Findings): string {
  return mayAnswer(work, report) === null
    ? 'no valid signature shows that the sender wrote it'
    : 'the sender was answered within the hour';
}
