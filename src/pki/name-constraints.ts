import { type Ber, contentOf, expect, isContext, readBer, tag } from './ber.ts';
import type { Certificate } from './certificate.ts';
import { extensionOid, extensionValue, generalName, mailboxOf, subjectAltNamesIn } from './extensions.ts';
import { comparableName, readName } from './name.ts';

/** NameConstraints (RFC 5280 4.2.1.10) of one authority: GeneralNames as encoded. */
export interface NameConstraints {
  readonly permitted: readonly Ber[];
  readonly excluded: readonly Ber[];
}

/** The constraints that an authority puts on those below it, or null. `ber-malformed` if broken. */
export function nameConstraintsOf(authority: Certificate): NameConstraints | null {
  const node = extensionValue(authority.extensions, extensionOid.nameConstraints);
  if (!node) return null;
  const fields = expect(node, tag.sequence, 'the name constraints').children;
  const subtrees = (number: number) => (fields.find((f) => isContext(f, number))?.children ?? []).map(baseOf);
  return { permitted: subtrees(0), excluded: subtrees(1) };
}

function baseOf(subtree: Ber): Ber {
  const [base, ...bounds] = expect(subtree, tag.sequence, 'a name constraint').children;
  // RFC 5280 4.2.1.10: minimum is 0 (so left out in DER) and maximum absent in this profile.
  const unusual = bounds.some((b) => !isContext(b, 0) || !contentOf(b).equals(Buffer.from([0])));
  return !base || unusual ? expect(undefined, tag.sequence, 'a name constraint of the profile') : base;
}

/** One name of a certificate by form; `form` null where reseal cannot compare that form. */
type Name =
  | { readonly tag: number; readonly form: 'mailbox' | 'dns' | 'uri'; readonly text: string | null }
  | { readonly tag: number; readonly form: 'directory'; readonly parts: readonly string[] }
  | { readonly tag: number; readonly form: null };

/**
 * Whether all names of a certificate keep to the constraints of the authorities above it (RFC 5280 6.1.3 b, c). Every set
 * must be kept, which is the intersection of the permitted and the union of the excluded. A name of a form that cannot be
 * compared, under a constraint of that form, does not keep to it (RFC 5280 4.2.1.10: process or reject).
 */
export function keepsTo(certificate: Certificate, sets: readonly NameConstraints[]): boolean {
  if (sets.length === 0) return true;
  const names = namesOf(certificate);
  return sets.every(({ permitted, excluded }) =>
    names.every((name) => {
      const applying = permitted.filter((base) => isContext(base, name.tag));
      const forbidding = excluded.filter((base) => isContext(base, name.tag));
      if (applying.length + forbidding.length === 0) return true;
      if (name.form === null || (name.form !== 'directory' && name.text === null)) return false;
      return (
        (applying.length === 0 || applying.some((base) => within(name, base))) &&
        !forbidding.some((base) => within(name, base))
      );
    }),
  );
}

function namesOf(certificate: Certificate): Name[] {
  const subject = comparableName(readName(readBer(certificate.subjectDer)));
  const names: Name[] =
    subject.length > 0 ? [{ tag: generalName.directory, form: 'directory', parts: subject }] : [];
  // The subject's addresses give the same rights as the alternative ones, so they are bound alike.
  for (const text of certificate.addresses) names.push({ tag: generalName.rfc822, form: 'mailbox', text });
  for (const node of subjectAltNamesIn(certificate.extensions)) {
    if (isContext(node, generalName.rfc822))
      names.push({ tag: node.tag, form: 'mailbox', text: mailboxOf(node) });
    else if (isContext(node, generalName.dns))
      names.push({ tag: node.tag, form: 'dns', text: contentOf(node).toString('latin1').toLowerCase() });
    else if (isContext(node, generalName.directory))
      names.push({ tag: node.tag, form: 'directory', parts: comparableName(readName(node.children[0])) });
    else if (isContext(node, generalName.uri))
      names.push({ tag: node.tag, form: 'uri', text: uriHost(contentOf(node)) });
    else names.push({ tag: node.tag, form: null });
  }
  return names;
}

function within(name: Exclude<Name, { form: null }>, base: Ber): boolean {
  if (name.form === 'directory') {
    const parts = comparableName(readName(base.children[0]));
    return parts.every((part, i) => part === name.parts[i]);
  }
  const constraint = contentOf(base).toString('latin1').toLowerCase();
  const text = name.text ?? '';
  if (name.form === 'dns') return inDomain(text, constraint);
  // RFC 5280 4.2.1.10: one mailbox, one host, or with a leading dot all hosts of a domain but itself.
  if (name.form === 'mailbox' && constraint.includes('@')) return text === constraint;
  const host = text.slice(text.lastIndexOf('@') + 1);
  return constraint.startsWith('.') ? host.endsWith(constraint) : constraint === '' || host === constraint;
}

/** The host of a URI (RFC 3986 3.2), or null: a constraint cannot be applied to one without a host name. */
function uriHost(octets: Buffer): string | null {
  const match = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#:@[\]]+)(?::\d*)?(?:[/?#]|$)/i.exec(
    octets.toString('latin1'),
  );
  return match?.[1]?.toLowerCase() ?? null;
}

/** RFC 5280 4.2.1.10: labels may be added on the left; a leading dot (seen in the wild) asks for at least one. */
function inDomain(host: string, constraint: string): boolean {
  if (constraint === '' || constraint.startsWith('.')) return host.endsWith(constraint);
  return host === constraint || host.endsWith(`.${constraint}`);
}
