import { dayOf } from '../../base/day.ts';
import { isFault } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { certsOnly } from '../../cms/sign.ts';
import { mayServe } from '../../pki/certificate.ts';
import type { KeyPair } from '../../pki/keys.ts';
import type { Database, Queries } from '../../store/database.ts';
import { holdersOf } from '../../store/lists.ts';
import { memberPages } from '../../store/members.ts';
import { forgetMeta, metaBelow, writeMeta } from '../../store/meta.ts';
import { noticeDue, noticeIsDue } from '../../store/notices.ts';
import { inGroups } from '../lists/fingerprint.ts';
import type { Keyring } from '../lists/keyring.ts';
import { type ListContext, listAt, type SiteDefaults } from '../lists/list-context.ts';
import { type LocalMailParts, queueIf, spoolLocalMail } from '../mail/local-mail.ts';
import type { Compose } from '../mail/notify.ts';

export interface AnnouncementParts extends LocalMailParts {
  readonly database: Database;
  readonly keyring: Pick<Keyring, 'keysOf' | 'signingPair' | 'encryptionPair'>;
  readonly compose: Compose;
  readonly defaults: SiteDefaults;
  readonly clock: { now(): number };
  readonly log: Log;
}

const prefix = 'announce-key ';

/** A new key of a list whose members are still to be told. */
interface Announcement {
  /** SHA-256 of the new certificate to encrypt to. */
  readonly certificate: string;
  /** SHA-256 of the certificate that signed until then: its signature is the one that members can check. */
  readonly signedBy: string | null;
}

/**
 * Notes that the members are to be told of a new key: in the transaction that records it. `signedBy` is null where the
 * old key must not be believed any more; then the new one signs.
 */
export async function planAnnouncement(tx: Queries, list: string, d: Announcement): Promise<void> {
  await writeMeta(tx, prefix + list, JSON.stringify(d));
}

/**
 * Tells the members and owners of every list with a new key: one mail to each, once, with the new certificate attached,
 * signed by the key that was known until now (a mail signed by a key that nobody knows proves nothing), else by the new
 * one. Begun again after a crash it goes on where it was. A list whose key cannot be used now is left for later.
 * Gives how many mails were queued.
 */
export async function announceKeys(parts: AnnouncementParts): Promise<number> {
  let count = 0;
  for (const { key, value } of await metaBelow(parts.database.q, prefix)) {
    const address = key.slice(prefix.length);
    try {
      const list = await listAt(parts.database.q, address, parts.defaults);
      const told = list ? await announce(parts, list, JSON.parse(value) as Announcement) : 0;
      if (told === null) continue;
      count += told;
      await forgetMeta(parts.database.q, key);
    } catch (error) {
      if (!isFault(error)) throw error;
      parts.log.error('announcement-failed', { list: address, code: error.code, detail: error.message });
    }
  }
  return count;
}

/** Null if the keys for it cannot be used now. */
async function announce(
  parts: AnnouncementParts,
  list: ListContext,
  d: Announcement,
): Promise<number | null> {
  // Unsigned it would be an invitation to forge one.
  if (list.policy['send.sign'] === 'never') return 0;
  const { pairs } = await parts.keyring.keysOf(list);
  const added = pairs.find((pair) => pair.certificate.sha256 === d.certificate);
  const signing = await parts.keyring.signingPair(list);
  if (!added || !signing) return null;
  const known = pairs.find((pair) => pair.certificate.sha256 === d.signedBy) ?? null;
  const now = parts.clock.now();
  const signer =
    known && now <= known.certificate.notAfter && mayServe(known.certificate, 'sign') ? known : signing;
  let count = 0;
  for await (const to of readersOf(parts.database.q, list))
    if (await tell(parts, list, { to, added, signing, signer, known })) count++;
  return count;
}

/** Owners, then members who get mail; nobody twice is for the notices to see. */
async function* readersOf(q: Queries, list: ListContext): AsyncGenerator<string> {
  for (const owner of await holdersOf(q, list.id, 'owner')) yield owner.address;
  for await (const members of memberPages(q, list.id))
    for (const member of members) if (member.state === 'active') yield member.address;
}

async function tell(
  parts: AnnouncementParts,
  list: ListContext,
  d: {
    readonly to: string;
    readonly added: KeyPair;
    readonly signing: KeyPair;
    readonly signer: KeyPair;
    readonly known: KeyPair | null;
  },
): Promise<boolean> {
  const { to, added, signing, signer, known } = d;
  const now = parts.clock.now();
  const kind = `new-key ${added.certificate.sha256}`;
  const about = { listId: list.id, member: to, kind, now, everyMs: Number.POSITIVE_INFINITY };
  if (to === list.address || !(await noticeIsDue(parts.database.q, about))) return false;
  const certificates = new Map(
    [added, signing].flatMap((pair) =>
      [pair.certificate, ...pair.chain].map((one) => [one.sha256, one] as const),
    ),
  );
  const language = list.policy.language;
  const mail = await parts.compose(
    list,
    {
      template: 'list-key-rotated',
      to,
      language,
      kind: 'auto-generated',
      replyTo: 'owner',
      inReplyTo: null,
      signWith: signer,
      variables: {
        user: { email: to, lang: language },
        fingerprint: inGroups(added.certificate.sha256),
        expires: dayOf(added.certificate.notAfter),
        // As much as people compare at a glance.
        old_fingerprint: known ? inGroups(known.certificate.sha256.slice(0, 16)) : '',
        signed_by_old: signer === known ? 1 : 0,
      },
      attachments: [
        {
          fileName: `${list.name}.p7c`,
          contentType: 'application/pkcs7-mime; smime-type=certs-only; name="smime.p7c"',
          content: certsOnly([...certificates.values()]),
        },
      ],
    },
    now,
  );
  const spooled = await spoolLocalMail(parts, list, mail, now);
  return queueIf(parts, [spooled], (tx) => noticeDue(tx, about));
}
