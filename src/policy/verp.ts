import { createHmac, timingSafeEqual } from 'node:crypto';

/** RFC 5321 4.5.3.1.1: a longer local part need not be taken. */
const longestLocalPart = 64;

/** What may stand in a local part without quotes (RFC 5322 3.2.3) and needs no extension. */
const dotAtom = /^[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*$/;

/** RFC 4648 6 in lower case: a mail system may change the case of a local part. */
const base32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** Whose copy of which message. */
interface Sent {
  /** LIST-bounces. */
  readonly bounces: string;
  readonly member: string;
  /** The spool id of the message. */
  readonly message: string;
}

/** What a VERP sender says. */
export interface VerpSender {
  readonly bounces: string;
  /** Null if the tag alone tells. */
  readonly member: string | null;
  readonly tag: string;
}

/**
 * The sender that tells by itself whose copy came back: for `bob@example.org` on `team@lists.example` that is
 * `team-bounces+k7d2q4wm=bob=example.org@lists.example`, the form of Mailman and Sympa with a tag before it as in BATV. The tag
 * can be made with `secret` only: who knows Bob's address cannot send reports about him. Where it would be too long for a mail
 * server, or need SMTPUTF8, his address is left out: the report says whose copy it was, and the tag whether that is true.
 * Null if that is too long too.
 */
export function verpSender(secret: Buffer, sent: Sent): string | null {
  const [local, domain] = partsOf(sent.bounces);
  const [name, host] = partsOf(sent.member);
  const short = `${local}+${tagFor(secret, sent)}`;
  const fitting = [`${short}=${name}=${host}`, short].find(
    (one) => one.length <= longestLocalPart && dotAtom.test(one),
  );
  return fitting === undefined ? null : `${fitting}@${domain}`;
}

/** What a VERP sender says, whoever made it; null if the address, which is canonical, is none. */
export function readVerp(address: string): VerpSender | null {
  const [local, domain] = partsOf(address);
  const found = /^([^+]+-bounces)\+([a-z2-7]{8})(?:=(.+)=([^=]+))?$/.exec(local);
  if (found === null) return null;
  const [, bounces, tag = '', name, host] = found;
  const member = name === undefined ? null : `${name}@${host}`;
  return { bounces: `${bounces}@${domain}`, member, tag };
}

/** Whether this sender was made here, for this member's copy of this message. */
export function isOwnSender(
  secret: Buffer,
  { bounces, tag }: Pick<VerpSender, 'bounces' | 'tag'>,
  { member, message }: Pick<Sent, 'member' | 'message'>,
): boolean {
  const own = tagFor(secret, { bounces, member, message });
  return own.length === tag.length && timingSafeEqual(Buffer.from(own), Buffer.from(tag));
}

/** 40 bits of HMAC-SHA256. */
function tagFor(secret: Buffer, { bounces, member, message }: Sent): string {
  const mac = createHmac('sha256', secret)
    .update(JSON.stringify([bounces, member, message]))
    .digest();
  return Array.from(mac.subarray(0, 8), (octet) => base32[octet & 31]).join('');
}

function partsOf(address: string): readonly [local: string, domain: string] {
  const at = address.lastIndexOf('@');
  return [address.slice(0, at), address.slice(at + 1)];
}
