import { faultsOf } from '../base/errors.ts';
import { readVerp } from './verp.ts';

/** The endings of a list's further addresses (RULES 19). */
export const listEndings = Object.freeze(['sendcert', 'request', 'owner', 'editor', 'bounces'] as const);

/** What an address of a list is for. */
export type AddressKind = 'post' | (typeof listEndings)[number];

/** Addresses that every domain keeps for people and machines (RFC 5321 4.5.1, RFC 2142). */
const reserved: readonly string[] = ['postmaster', 'abuse', 'mailer-daemon'];

/** So that the longest further address keeps within a local part of 64 octets (RFC 5321 4.5.3.1.1). */
const longestLocalPart = 64 - '-sendcert'.length;

const fault = faultsOf({
  'list-name': (d: { address: string; why: string }) =>
    `"${d.address}" cannot be the address of a list: ${d.why}`,
});

/**
 * Checks that a canonical address can be the address of a list. Returns it. Throws Fault `list-name` with the reason.
 * The address is also the name of the folder of the list's keys, so the rules are narrower than those of mail.
 */
export function checkListName(address: string): string {
  const why = objectionTo(address);
  if (why !== null) throw fault('list-name', { address: address.slice(0, 100), why });
  return address;
}

function objectionTo(address: string): string | null {
  const at = address.lastIndexOf('@');
  const local = address.slice(0, Math.max(0, at));
  const domain = address.slice(at + 1);
  if (at < 1 || domain === '') return 'give name and domain, as in team@lists.example';
  if (local.length > longestLocalPart) return `the name may have ${longestLocalPart} characters at most`;
  if (!/^[a-z0-9]+([._-][a-z0-9]+)*$/.test(local)) {
    return 'the name is made of lower-case letters and digits, with single dots, hyphens or underscores between them';
  }
  const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
  if (domain.length > 253 || !domain.split('.').every((part) => label.test(part))) {
    return 'the domain is not a valid host name in lower case';
  }
  if (reserved.includes(local)) return `every domain keeps ${local} for itself`;
  const ending = listEndings.find((one) => local.endsWith(`-${one}`));
  if (ending) return `names ending in -${ending} belong to the list before the ending`;
  return null;
}

/**
 * Which list a canonical address belongs to if such a list exists, and what it is for: `team-owner@lists.example` →
 * base `team@lists.example`, kind `owner`; a VERP sender is `bounces`. Whether the list exists is for the caller to look up.
 */
export function addressKind(
  address: string,
  endings: readonly (typeof listEndings)[number][] = listEndings,
): { readonly base: string; readonly kind: AddressKind } {
  const whole = readVerp(address)?.bounces ?? address;
  const at = whole.lastIndexOf('@');
  const local = whole.slice(0, at);
  const ending = endings.find((one) => local.endsWith(`-${one}`) && local.length > one.length + 1);
  if (at < 1 || ending === undefined) return { base: address, kind: 'post' };
  return { base: local.slice(0, -ending.length - 1) + whole.slice(at), kind: ending };
}

/** A further address of a list: `furtherAddress('team@lists.example', 'owner')` → `team-owner@lists.example`. */
export function furtherAddress(list: string, ending: (typeof listEndings)[number]): string {
  const at = list.lastIndexOf('@');
  return `${list.slice(0, at)}-${ending}${list.slice(at)}`;
}
