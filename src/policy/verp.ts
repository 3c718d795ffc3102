/** RFC 5321 4.5.3.1.1: a longer local part need not be taken. */
const longestLocalPart = 64;

/** What may stand in a local part without quotes (RFC 5322 3.2.3) and needs no extension. */
const dotAtom = /^[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*$/;

/**
 * The sender that tells by itself whose copy came back, as Mailman and Sympa write it: for `bob@example.org` on
 * `team@lists.example` that is `team-bounces+bob=example.org@lists.example`. `bounces` is LIST-bounces. Null if there is
 * none that every mail server takes: it would be too long, or needs SMTPUTF8.
 */
export function verpSender(bounces: string, member: string): string | null {
  const [local, domain] = partsOf(bounces);
  const [name, host] = partsOf(member);
  const tagged = `${local}+${name}=${host}`;
  return tagged.length <= longestLocalPart && dotAtom.test(tagged) ? `${tagged}@${domain}` : null;
}

/** The LIST-bounces address and the member that a VERP sender names; null if the address is none. */
export function readVerp(address: string): { readonly bounces: string; readonly member: string } | null {
  const [local, domain] = partsOf(address);
  const found = /^([^+]+-bounces)\+(.+)=([^=]+)$/.exec(local);
  if (found === null) return null;
  const [, bounces, name, host] = found;
  return { bounces: `${bounces}@${domain}`, member: `${name}@${host}` };
}

function partsOf(address: string): readonly [local: string, domain: string] {
  const at = address.lastIndexOf('@');
  return [address.slice(0, at), address.slice(at + 1)];
}
