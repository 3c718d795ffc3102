import type { KeyPair } from '../../pki/keys.ts';
import { findCertificate, inUseMany } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { type MemberRow, memberPages } from '../../store/members.ts';
import type { Brought, FindRecipients, MemberCertificate } from '../certificates/member-certificate.ts';
import { problemsOf } from '../lists/key-import.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';

/** A member and what a copy would be sealed with at this moment. */
export interface MemberHealth {
  readonly member: Pick<MemberRow, 'address' | 'state'>;
  /** The certificate that would be encrypted to, else the one in use that cannot be; null if there is none. */
  readonly certificate: { readonly sha256: string; readonly notAfter: number } | null;
  readonly found: MemberCertificate;
}

/** A key pair of the list; `problems` are of those in use only. */
export interface KeyHealth {
  readonly suffix: string;
  readonly sha256: string;
  readonly notAfter: number;
  readonly uses: readonly ('sign' | 'encrypt' | 'decrypt')[];
  readonly problems: readonly string[];
}

export interface ListHealth {
  readonly members: readonly MemberHealth[];
  readonly keys: readonly KeyHealth[];
  /** What is wrong with the list's key files and authorities, in words. */
  readonly problems: readonly string[];
  readonly counts: {
    readonly active: number;
    readonly suspended: number;
    /** Active members whose copy could be sealed, and those whose could not. */
    readonly ready: number;
    readonly missing: number;
  };
}

export interface HealthParts {
  readonly q: Queries;
  readonly keyring: Keyring;
  readonly findRecipients: FindRecipients;
}

/** Who could receive an encrypted post now, with what, and the state of the list's keys. Changes nothing. */
export async function healthOf(parts: HealthParts, list: ListContext, now: number): Promise<ListHealth> {
  const members = await membersNow(parts, list, 0);
  const active = members.filter((one) => one.member.state === 'active');
  const ready = active.filter((one) => one.found.usable).length;
  const { problems } = await parts.keyring.keysOf(list);
  const trust = await parts.keyring.trustProblemOf(list);
  return {
    members,
    keys: await keysNow(parts.keyring, list, now),
    problems: [...problems, ...(trust ? [trust] : [])].map((problem) => problem.message),
    counts: {
      active: active.length,
      suspended: members.length - active.length,
      ready,
      missing: active.length - ready,
    },
  };
}

/** Every member in the order of addresses, suspended ones too. `receivedBits` and `brought` are as of `FindRecipients`. */
export async function membersNow(
  { q, findRecipients }: Pick<HealthParts, 'q' | 'findRecipients'>,
  list: ListContext,
  receivedBits: number,
  brought?: Brought,
): Promise<MemberHealth[]> {
  const all: MemberHealth[] = [];
  for await (const page of memberPages(q, list.id)) {
    const addresses = page.map((member) => member.address);
    const inUse = await inUseMany(q, addresses, 'enc');
    const found = await findRecipients(list, page, receivedBits, brought);
    for (const member of page) {
      const one = found.get(member.address);
      if (!one) continue;
      const row = inUse.get(member.address) ?? null;
      // An earlier one may stand in for the one in use.
      const other = one.usable && one.sha256 !== row?.sha256 ? await findCertificate(q, one.sha256) : row;
      const certificate = other && { sha256: other.sha256, notAfter: other.notAfter };
      all.push({ member, certificate, found: one });
    }
  }
  return all;
}

async function keysNow(keyring: Keyring, list: ListContext, now: number): Promise<KeyHealth[]> {
  const { pairs } = await keyring.keysOf(list);
  const signing = await keyring.signingPair(list);
  const encryption = await keyring.encryptionPair(list);
  return pairs.map((pair) => {
    const signs = pair === signing;
    const encrypts = pair === encryption;
    return {
      suffix: pair.suffix,
      sha256: pair.certificate.sha256,
      notAfter: pair.certificate.notAfter,
      uses: [...(signs ? ['sign' as const] : []), ...(encrypts ? ['encrypt' as const] : []), 'decrypt'],
      problems: signs || encrypts ? problemsWith(pair, { list, now, signs, encrypts }) : [],
    };
  });
}

function problemsWith(
  pair: KeyPair,
  d: { list: ListContext; now: number; signs: boolean; encrypts: boolean },
): string[] {
  const one = d.signs ? 'sign' : 'encrypt';
  const use = d.signs && d.encrypts ? 'both' : one;
  return problemsOf(pair.certificate, { address: d.list.address, now: d.now, use });
}
