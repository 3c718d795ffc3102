import { shellWord } from '../../base/shell.ts';
import type { SignerFlaw } from '../../smime/layers.ts';
import type { PostingState, Purpose } from '../../store/schema.ts';

/** Of a post as a whole, and of one copy. */
const ofRelay: Readonly<Record<string, string>> = {
  'too-large-for-relay':
    "the mail server's limit is raised (Postfix: message_size_limit), or the author sends less; `reseal check` says what it takes",
  'needs-smtputf8': 'the mail server offers SMTPUTF8, or the address gets an ASCII form',
  'needs-8bitmime':
    'the mail server offers 8BITMIME; or the author lets his mail program send quoted-printable or base64, or encrypt',
  'needs-tls':
    'the mail server offers REQUIRETLS and has relay.tls: required with a valid certificate; or the author sends it without REQUIRETLS',
};

const bySender: Readonly<Record<string, string>> = {
  ...ofRelay,
  'may-not-post':
    'make the author a member, or widen accept.from or accept.others of the list; then he sends it again',
  'not-encrypted': "the author sends it again, encrypted to the list's certificate",
  'not-signed': 'the author sends it again, signed',
  'no-signers': 'the author sends it again, signed',
  'outer-only': 'the author sends it again, signed inside the encryption (sign first, then encrypt)',
  'encrypted-unsigned': 'the author sends it again, signed inside the encryption',
  'list-closed': 'open the list; then it is sent again',
  'from-not-one': 'the author sends it again with one address in From',
  'two-from': 'the author sends it again with one address in From',
  'no-path': "add the authority to the list's or the site's trust.cafile; then AGAIN",
  'signer-unknown':
    "`reseal cert import` brings the signer's certificate, or the author sends it along; then AGAIN",
  expired: 'the author gets a new certificate and sends it again',
  revoked: 'the author gets a new certificate and sends it again',
  'crl-missing':
    'a current revocation list of AUTHORITY comes (trust.crlfile, trust.crlpath, fetch.hosts), or the list sets revocation: soft; then AGAIN',
  'crl-expired':
    'the newest revocation list of AUTHORITY comes into trust.crlfile or trust.crlpath and `systemctl reload reseal` reads it (`reseal check` says which); then AGAIN',
  'crl-invalid':
    'the revocation list of AUTHORITY is fetched from its own address (`reseal check` says which); then AGAIN',
  'no-address': 'the author gets a certificate that names his address',
  'no-address-match': 'the author uses the address that his certificate names, or gets one for this address',
  'signed-by-sender': 'who signs must be who stands in From',
  stale: 'the author sends it again with a fresh signature; or accept.max-age of the list is raised',
  future: "the author sets his computer's clock and sends it again",
  'bad-digest':
    'something changed the message on its way: look for a gateway that adds a footer or a warning',
  'weak-digest': 'the author lets his mail program sign with SHA-256',
  'weak-key': 'the author gets a certificate with a stronger key',
  'weak-cipher': 'the author lets his mail program encrypt with AES',
  'no-recipient':
    'the author used another certificate than the list has: `reseal list show LIST --cert` is the present one',
  'decrypt-failed':
    'the author sends it again, encrypted to the present certificate (`reseal list show LIST --cert`)',
  malformed: 'the author sends it again; the owners have it as it came, in a mail from the list',
  'trust-unreadable':
    '`reseal check` says what is wrong with trust.cafile or trust.capath; it is judged when that is mended',
  'key-locked':
    '`reseal check` says what is wrong with the key of the list; it is opened when that is mended',
};

/** Where not the author's certificate is at fault, but that of an authority above it: he cannot mend it. */
const byAuthority: Readonly<Record<string, string>> = {
  expired:
    'a current certificate of SUBJECT comes into trust.cafile, or the author sends it along; then AGAIN',
  'not-yet-valid': 'the certificate of SUBJECT becomes valid; then the author sends it again',
  revoked:
    'ISSUER has revoked SUBJECT: the author gets a certificate of an authority that is not revoked and sends it again',
  'weak-key':
    'the author gets a certificate of an authority with a stronger key than SUBJECT and sends it again',
};

/** What would let a message that was refused for this reason pass the next time; null if nothing would. `list` is its address. */
export function remedyForReason(
  reason: string,
  list: string,
  d: { readonly flaws?: readonly SignerFlaw[]; readonly again?: string } = {},
): string | null {
  const flaw = d.flaws?.find((one) => one.reason === reason);
  const words = (flaw?.isOwn === false ? byAuthority[reason] : undefined) ?? bySender[reason];
  return (
    words
      ?.replaceAll('LIST', list)
      .replaceAll('AGAIN', d.again ?? 'it is sent again')
      .replaceAll('AUTHORITY', flaw?.issuer ?? 'the authority')
      .replaceAll('SUBJECT', flaw?.subject ?? '')
      .replaceAll('ISSUER', flaw?.issuer ?? '') ?? null
  );
}

/** What a person can do about a posting that was not distributed; null if nothing or nothing needs to be. */
export function remedyForPosting(d: {
  id: number;
  messageId: string;
  list: string;
  state: PostingState;
  reason: string | null;
  /** Why its signature gives no rights, as codes. */
  reasons: readonly string[];
  flaws: readonly SignerFlaw[];
  /** Whether it may still be judged again. */
  isJudgeable: boolean;
}): string | null {
  const again = d.isJudgeable ? `\`reseal retry ${d.messageId}\` judges it again` : 'it is sent again';
  const remedyOf = (reason: string) => remedyForReason(reason, d.list, { flaws: d.flaws, again });
  const cause = () => d.reasons.map(remedyOf).find((one) => one !== null) ?? null;
  if (d.state === 'held') {
    const decide = `a moderator decides: \`reseal queue release ${d.id}\` or \`reseal queue refuse ${d.id}\``;
    const other = cause();
    return other ? `${decide}; or ${other}` : decide;
  }
  if (d.state !== 'refused' || d.reason === null) return null;
  return (d.isJudgeable ? cause() : null) ?? remedyOf(d.reason);
}

/** The same for a message that could not be opened, parked or put into quarantine; `list` is the one it was for. */
export function remedyForMessage(d: {
  id: string;
  list: string;
  state: string;
  reason: string | null;
}): string | null {
  if (d.state === 'unopened') {
    const cause = d.reason === null ? null : remedyForReason(d.reason, d.list);
    return `${cause ? `${cause}; ` : ''}\`reseal queue retry ${d.id}\` tries it again at once`;
  }
  if (d.state !== 'quarantine' && d.state !== 'parked') return null;
  return `\`reseal queue retry ${d.id}\` tries it again, \`reseal queue drop ${d.id}\` gives it up`;
}

const byMember: Readonly<Record<string, string>> = {
  ...ofRelay,
  'no-certificate':
    'the member answers his notice with a signed mail, or `reseal cert import` brings his certificate',
  pending:
    '`reseal cert pending` shows what waits for MEMBER, `reseal cert approve MEMBER SHA256` takes it into use',
  expired: 'the member sends a signed mail with his new certificate, or `reseal cert import` brings it',
  'not-yet-valid': 'his certificate becomes valid, or `reseal cert import` brings another one',
  'wrong-usage': 'he needs a certificate that may be encrypted to',
  'weak-key': 'he needs a certificate with a stronger key',
  'not-trusted':
    'trust.cafile gets the authority that issued it, or `reseal cert import --pin` binds it all the same',
  revoked: 'the member sends a signed mail with another certificate, or `reseal cert import` brings it',
  'not-checked':
    'a current revocation list of the authority comes: into trust.crlfile or trust.crlpath, or by fetch.hosts; else the list sets revocation: soft',
  unusable: 'he needs another certificate, with an RSA or EC key that mail can be encrypted to',
  'weak-cipher':
    '`reseal member set LIST MEMBER --cipher` pins a stronger one, or the minimum.cipher of the list is lowered',
  'key-locked': '`reseal check` says what is wrong with the key of the list',
  'trust-unreadable': '`reseal check` says what is wrong with the files of trust.*',
  'relay-down': '`reseal check` tries the relay; it is tried again by itself',
  'not-a-member': 'he is no active member of the list any more',
  suspended:
    'he was suspended when it could have gone out: its author sends it again after `reseal member set LIST MEMBER --resume`',
  'list-closed':
    'the list was closed when it could have gone out: its author sends it again after `reseal list open LIST`',
};

const ofRefusal =
  "the relay's log says who refused it; `reseal member show LIST ADDRESS` shows how often that happened";

/** What would let a copy go that waits or failed; null for what is delivered or needs nothing. */
export function remedyForCopy(d: {
  messageId: string;
  list: string;
  member: string;
  state: string;
  reason: string | null;
}): string | null {
  if (d.reason === null || d.state === 'delivered') return null;
  const known = byMember[d.reason];
  const refused = d.state === 'failed' && /^(5\.\d+\.\d+|refused)$/.test(d.reason) ? ofRefusal : undefined;
  const words = known ?? refused;
  if (words !== undefined)
    return words.replaceAll('LIST', () => shellWord(d.list)).replaceAll('MEMBER', () => shellWord(d.member));
  return d.state === 'deferred'
    ? `it is tried again by itself; \`reseal queue retry ${d.messageId}\` tries it at once`
    : null;
}

const byCertificate: Readonly<Record<string, string>> = {
  ...byMember,
  ending:
    'the member gets a new certificate in time and sends a signed mail with it, or `reseal cert import` brings it',
  refused: 'the member sends a signed mail with another certificate, or `reseal cert import` brings it',
  pending:
    '`reseal cert approve ADDRESS SHA256` takes it into use, `reseal cert refuse ADDRESS SHA256` refuses it',
};

/** What a person can do about a certificate that an address uses, or that waits. */
export function remedyForCertificate(
  reason: string,
  d: { readonly address: string; readonly sha256: string; readonly purpose: Purpose },
): string {
  if (reason === 'wrong-usage' && d.purpose === 'sign') return 'he needs a certificate that may sign mail';
  const words = byCertificate[reason] ?? '`reseal cert import` brings another one';
  return words.replaceAll('ADDRESS', () => shellWord(d.address)).replaceAll('SHA256', d.sha256.slice(0, 8));
}
