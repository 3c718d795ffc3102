import { faultsOf } from '../base/errors.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import { choice, day, duration, hour, integer, matching, numberChoice, octets, path, text } from './kinds.ts';
import { nearest } from './nearest.ts';
import { optional, readValue, setting, type ValuesOf } from './setting.ts';

const sendCiphers = [
  'aes-256-cbc',
  'aes-192-cbc',
  'aes-128-cbc',
  'aes-256-gcm',
  'aes-192-gcm',
  'aes-128-gcm',
] as const satisfies readonly ContentCipher[];

const trustAbsent = "the site's, unless the list sets the other of `trust.cafile` and `trust.capath`";
const crlsAbsent = "the site's, unless the list sets the other of `trust.crlfile` and `trust.crlpath`";

/** The settings of a list: name → kind, default, meaning. The only place where they are named; the manual and the example are made from it. */
export const listSettings = Object.freeze({
  'accept.from': setting(
    choice('members', 'moderators', 'anyone'),
    'members',
    'Who may post. Owners and moderators always may; a suspended member may not.',
  ),
  'accept.others': setting(
    choice('refuse', 'moderate'),
    'refuse',
    'What happens to a post whose From `accept.from` does not cover: it is refused, or held for a moderator.',
  ),
  'accept.signature': setting(
    choice('optional', 'required'),
    'optional',
    'required: an unsigned or badly signed post is refused with the reason.',
  ),
  'accept.encryption': setting(
    choice('optional', 'required'),
    'optional',
    'required: a post that came in clear is refused.',
  ),
  'accept.encrypted-unsigned': setting(
    choice('moderate', 'refuse', 'allow'),
    'moderate',
    'What happens to an encrypted post without a valid signature inside: anyone could have made it. With `accept.signature: required` it is refused in any case.',
  ),
  'accept.max-age': setting(
    duration(hour, 365 * day),
    3 * day,
    'A signed post whose signature is older than this is not distributed by itself: it may be a replay.',
  ),
  'accept.max-size': optional(
    octets(1024, 1024 ** 3),
    "the site's `size`",
    '10MB',
    'The largest post, as it is received, that the list accepts.',
  ),
  'send.encrypt': setting(
    choice('as-received', 'always', 'when-possible'),
    'as-received',
    'Whether copies of a post that came in clear are encrypted: no, always, or for each member who has a certificate. A post that came encrypted leaves encrypted under every setting.',
  ),
  'send.sign': setting(
    choice('notices', 'unsigned', 'always', 'never'),
    'notices',
    "What the list signs with its own key: its notices; also posts that came without a valid signature of their author (they leave with the list in From and a warning); everything (around the author's signature, which some mail programs show badly); or nothing.",
  ),
  'send.cipher': setting(
    choice(...sendCiphers),
    'aes-256-cbc',
    'The content cipher for a member whose mail program has not told what it can read. The gcm ciphers are unreadable to some widely used programs.',
  ),
  'send.subject-tag': setting(
    text(40),
    '',
    'Put before the Subject of every post in brackets: `team` gives `[team]`; empty for none. It is not put inside what the author signed, nor beside a hidden Subject.',
  ),
  'send.hide-subject': setting(
    choice('no', 'yes'),
    'no',
    'yes: encrypted copies show `[...]` outside instead of the Subject if it is inside too (RFC 9788); of an author whose mail program does not put it there, it stays readable. What came with a hidden Subject always leaves so.',
  ),
  'send.verp': setting(
    choice('no', 'yes'),
    'no',
    'yes: each copy leaves from LIST-bounces+TAG=member=domain@… (LIST-bounces+TAG@… where that would be too long), so that mail which comes back tells by itself whose copy it was, and nobody can forge it; the mail server must pass such addresses on to reseal. no: all leave from LIST-bounces, and copies in clear go to up to a hundred members in one transaction.',
  ),
  'send.envelope': setting(
    choice('separate', 'grouped'),
    'separate',
    'grouped: up to a hundred members share one encrypted copy, which names the certificates of all of them: members see who else is on the list. It spares the mail server, not reseal. separate: a copy for each.',
  ),
  'send.reply-to': setting(choice('sender', 'list'), 'sender', 'Where an answer to a post goes by itself.'),
  'send.received': setting(
    choice('keep', 'drop'),
    'keep',
    "drop: the Received fields of the author's network, which show where he wrote from, do not reach the members.",
  ),
  'missing.action': setting(
    choice('hold', 'notify', 'drop'),
    'hold',
    'For a member without a usable certificate when a post must be encrypted: his copy waits and he is told; he is told and the copy is dropped; or it is dropped silently.',
  ),
  'missing.hold-days': setting(
    integer('days', 1, 365),
    14,
    'How long a copy waits for the certificate of its member.',
  ),
  'missing.notice-every': setting(
    duration(hour, 90 * day),
    day,
    'A member without a certificate is told at most once in this time; later posts are named together in the next notice.',
  ),
  'report.failures': setting(
    choice('daily', 'at-once', 'never'),
    'daily',
    'When the owners are told of copies that could not be delivered: in one mail a day, and at once of a post that reached nobody; at once of every post, when its last copy has ended; or never.',
  ),
  'report.weekly': setting(
    choice('yes', 'no'),
    'yes',
    'Whether the owners get a mail each week of copies that waited in vain for a certificate, of members without a usable one, and of certificates that end soon; none if there is nothing to say.',
  ),
  'report.author': setting(
    choice('no', 'yes'),
    'no',
    'yes: who signed a post is told, without names, how many members got it, when all copies have ended or after a day.',
  ),
  'bounce.action': setting(
    choice('tell', 'suspend', 'count'),
    'tell',
    "What happens when a member's mailbox refuses copies on `bounce.threshold` days: the owners are told; he is suspended and the owners are told; or it is only counted (`reseal member show`).",
  ),
  'bounce.threshold': setting(
    integer('days', 1, 100),
    5,
    'On how many days copies for a member must have been refused. What the relay refuses for all members alike counts for none.',
  ),
  'bounce.days': setting(integer('days', 1, 365), 30, 'How long a refused copy counts.'),
  'unopened.action': setting(
    choice('owners', 'members'),
    'owners',
    'What happens to an encrypted post that the list cannot open: the owners are told and it waits, or it goes to all members as it is (as Sympa does).',
  ),
  'unopened.retry-days': setting(
    integer('days', 1, 365),
    14,
    'How long a post that could not be opened is kept, to be tried again when a key or a trust anchor changes.',
  ),
  'held.days': setting(integer('days', 1, 365), 30, 'How long a post waits for a moderator.'),
  harvest: setting(
    choice('confirm-change', 'verified', 'off'),
    'confirm-change',
    "Whether members' certificates are taken from their signed mail: yes, but another key for a known address waits for confirmation; yes, at once, unless another list of the member asks for more; or never.",
  ),
  'harvest.first': setting(
    choice('verified', 'owner', 'off'),
    'verified',
    'The first certificate of an address: taken from mail with a valid signature unless another list of the member asks for more, only after the owner approves it, or never. With the last two, one that came by mail to another list is not used here either before the owner approves it.',
  ),
  'minimum.rsa': setting(
    integer('bits', 1024, 8192),
    2048,
    'Shorter RSA keys are weak: their signatures give no rights, and nothing is encrypted to them.',
  ),
  'minimum.digest': setting(
    choice('sha256', 'sha384', 'sha512', 'sha1'),
    'sha256',
    'Signatures that use a weaker digest are weak and give no rights.',
  ),
  'minimum.cipher': setting(
    numberChoice('bits', 112, 128, 192, 256),
    128,
    'Copies are never encrypted with less; a post that came with less is not distributed and the owner is told. 112 is triple DES.',
  ),
  'weak.action': setting(
    choice('refuse', 'mark'),
    'refuse',
    'A signed post whose signature is weak is refused, or goes on as if it were not signed, with the weakness on record. A weak signature never counts as one.',
  ),
  'trust.cafile': optional(
    path,
    trustAbsent,
    'etc/lists/team@lists.example/ca.pem',
    'A file of CA certificates (PEM) that this list trusts instead of those of the site.',
  ),
  'trust.capath': optional(
    path,
    trustAbsent,
    'etc/lists/team@lists.example/ca',
    'A folder of CA certificates (PEM) that this list trusts instead of those of the site.',
  ),
  'trust.crlfile': optional(
    path,
    crlsAbsent,
    'etc/lists/team@lists.example/crl.pem',
    'A file of revocation lists (PEM or DER) that this list uses instead of those of the site.',
  ),
  'trust.crlpath': optional(
    path,
    crlsAbsent,
    'etc/lists/team@lists.example/crl',
    'A folder of revocation lists (PEM or DER) that this list uses instead of those of the site.',
  ),
  revocation: setting(
    choice('soft', 'hard', 'off'),
    'soft',
    'Whether certificates are looked up in revocation lists and OCSP answers (from `trust.crlfile`, `trust.crlpath`, mail, and `fetch.hosts`). soft: a revoked one is not trusted; one of which nothing current is known counts as not revoked. hard: neither is trusted. off: nothing is looked up.',
  ),
  'replay.days': setting(
    integer('days', 1, 3650),
    30,
    'How long the signatures of posts are remembered, so that a post that is sent again is not distributed again.',
  ),
  language: setting(
    matching(/^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/, 'a language tag such as en, de or pt-BR'),
    'en',
    "The language of the list's notices, for members who have set none.",
  ),
});

/** The name of a list setting. */
export type SettingName = keyof typeof listSettings;
/** All settings of one list, with their values: `policy['accept.signature']`. Frozen. */
export type ListPolicy = ValuesOf<typeof listSettings>;

/** All names, in the order of the table. */
export const settingNames = Object.freeze(Object.keys(listSettings)) as readonly SettingName[];

const fault = faultsOf({
  'setting-unknown': (d: { setting: string; nearest: string | null }) =>
    `There is no list setting "${d.setting}"${d.nearest ? `; did you mean "${d.nearest}"?` : ': `reseal list show LIST` shows all; those of the site stand in etc/reseal.yaml'}`,
  'setting-value': (d: { setting: string; found: string; expected: string }) =>
    `"${d.setting}" cannot be "${d.found}": expected ${d.expected}`,
});

/** Whether a list setting of this name exists. */
export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(listSettings, name);
}

/**
 * The value of one setting from what an owner wrote. Throws Fault `setting-unknown` (with the nearest name) or
 * `setting-value` (with what is expected).
 */
export function parseSetting(name: string, written: string): ListPolicy[SettingName] {
  if (!isSettingName(name)) {
    throw fault('setting-unknown', { setting: name, nearest: nearest(name, settingNames) });
  }
  const { kind } = listSettings[name];
  const value = readValue<ListPolicy[SettingName]>(kind, written);
  if (value === undefined) {
    throw fault('setting-value', { setting: name, found: written.slice(0, 80), expected: kind.expected });
  }
  return value;
}

/**
 * The values of a list's own settings from their texts, as the database keeps them: text, not values, so that what
 * an owner wrote stays readable and is checked again by each version. Throws as `parseSetting`.
 */
export function parseSettings(written: Readonly<Record<string, string>>): Partial<ListPolicy> {
  return Object.fromEntries(
    Object.entries(written).map(([name, value]) => [name, parseSetting(name, value)]),
  ) as Partial<ListPolicy>;
}

/** A value as an owner would write it; for an absent one the words that say what holds then. */
export function formatSetting<N extends SettingName>(name: N, value: ListPolicy[N]): string {
  const row = listSettings[name];
  return value === null ? (row.absent ?? '') : (row.kind as { format(v: unknown): string }).format(value);
}
