import { theMailbox } from '../../mime/address.ts';
import { type Entity, parseEntity } from '../../mime/entity.ts';
import { type Field, fieldsNamed, parseFields } from '../../mime/header.ts';
import type { HeaderFields } from '../../mime/protect.ts';
import { canBeSevenBit, isSevenBit } from '../../mime/seven-bit.ts';
import type { KeyPair } from '../../pki/keys.ts';
import { withoutEnvelopeFields } from '../../smime/content.ts';
import type { SignerData } from '../../smime/jobs.ts';
import type { Findings } from '../../smime/open.ts';
import type { Wrapper } from '../../smime/wrap.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { Prepared } from './prepare.ts';

/** What the list signs of a post's copies, decided with the post (RULES 18), and in words why it does not sign though it should. */
export interface ListSignature {
  readonly sign: Prepared['sign'];
  readonly problem: string | null;
}

/**
 * By `send.sign` (RULES 10): nothing; `around` the author's signature, whose entity stays as it is; or `as-list`, a post
 * of nobody who is verified, which the list signs with its own From and a word of warning. A copy that may leave in clear
 * must be 7 bit for that (RFC 8551 3.1.3). Without a key of the list the post leaves as it is; with one that cannot be
 * used now it is to be signed, and its copies wait.
 */
export async function listSignatureFor(
  keyring: Pick<Keyring, 'keysOf' | 'signingPair'>,
  list: ListContext,
  post: { readonly verdict: Findings['verdict']; readonly mode: Prepared['mode']; readonly message: Entity },
): Promise<ListSignature> {
  const wanted = list.policy['send.sign'];
  const verified = post.verdict === 'signed';
  if (
    post.mode === 'intact' ||
    wanted === 'notices' ||
    wanted === 'never' ||
    (wanted === 'unsigned' && verified)
  )
    return { sign: 'none', problem: null };
  if (!(await keyring.signingPair(list)) && (await keyring.keysOf(list)).problems.length === 0)
    return { sign: 'none', problem: 'it has no key to sign with' };
  if (post.mode !== 'sealed' && !mayTravelSigned(post.message, verified))
    return {
      sign: 'none',
      problem: 'the post is not 7 bit and cannot be made so without touching what is signed in it',
    };
  return { sign: verified ? 'around' : 'as-list', problem: null };
}

/** What the author signed must be 7 bit already; another entity may be made so. */
function mayTravelSigned(message: Entity, verified: boolean): boolean {
  const entity = withoutEnvelopeFields(message);
  return verified ? isSevenBit(entity) : canBeSevenBit(parseEntity(entity));
}

/** A list's pairs as the crypto workers take them; the encryption certificate goes along if it is another one (RFC 8551 2.5.3). */
export function signerOf(pair: KeyPair, encryption: KeyPair | null): SignerData {
  const other = encryption && encryption.certificate.sha256 !== pair.certificate.sha256 ? encryption : null;
  return {
    key: pair.key,
    certificate: pair.certificate.der,
    chain: pair.chain.map((one) => one.der),
    ...(other ? { encryption: other.certificate.der } : {}),
  };
}

/** Fields of the outer header that are repeated inside (RFC 9788 2.1); trace and list fields are not the author's or ours to claim. */
const repeated = [
  'From',
  'Reply-To',
  'To',
  'Cc',
  'Subject',
  'Date',
  'Message-ID',
  'In-Reply-To',
  'References',
];

/** What is put around a post whose author is not verified. `header` is the outer one of the clear copies. */
export function wrapperFor(
  list: ListContext,
  message: Entity,
  d: { readonly header: Buffer; readonly encrypted: boolean; readonly hidesSubject: boolean },
): Wrapper {
  const { encrypted, hidesSubject } = d;
  return { text: warningFor(list, message), headers: headersOf(d.header), encrypted, hidesSubject };
}

function headersOf(header: Buffer): HeaderFields {
  const { fields } = parseFields(header, 0, header.length);
  const first = (name: string): Field[] => fieldsNamed(fields, name).slice(0, 1);
  // NUL and a bare CR may have arrived in a raw value; `formatField` refuses them.
  return repeated
    .flatMap(first)
    .map(({ name, value }) => [name, value.replace(/[^\P{Cc}\t]+/gu, ' ')] as const);
}

/** Templates are for mails; this is one line in front of somebody's. */
const warnings: Readonly<Record<string, (list: string, from: string) => string>> = {
  en: (list, from) => `[${list}: nobody verified that this message is from ${from}.]`,
  de: (list, from) => `[${list}: Es ist nicht gepr\u00fcft, dass diese Nachricht von ${from} ist.]`,
  fr: (list, from) => `[${list}\u00a0: il n\u2019est pas v\u00e9rifi\u00e9 que ce message vient de ${from}.]`,
  es: (list, from) => `[${list}: no se ha verificado que este mensaje sea de ${from}.]`,
};

function warningFor(list: ListContext, message: Entity): string {
  const from = theMailbox(message.fields, 'From')?.address ?? '?';
  const [language = 'en'] = list.policy.language.split('-');
  const words = warnings[language] ?? warnings.en;
  return `${words?.(list.address, from) ?? ''}\n`;
}
