import { faultsOf, isFault } from '../base/errors.ts';

/** What the command line itself refuses. Codes that begin with `usage-` are mistakes in the command as written. */
export const cliFault = faultsOf({
  'usage-address': (d: { found: string }) =>
    `"${d.found.slice(0, 100)}" is not a mail address: give one like alice@example.org`,
  'usage-value': (d: { what: string; found: string; expected: string }) =>
    `${d.what} cannot be "${d.found.slice(0, 100)}": expected ${d.expected}`,
  'usage-missing': (d: { what: string }) => `nothing to do: give ${d.what}`,
  'usage-service': (d: { address: string }) =>
    `${d.address} is the address of reseal itself (service.address) and cannot be a list`,
  'usage-policy': (d: { remarks: readonly string[] }) =>
    `these settings contradict each other: ${d.remarks.join('; ')}`,
  'file-missing': (d: { path: string }) => `${d.path} does not exist`,
  'file-unreadable': (d: { path: string; why: string }) =>
    `${d.path} cannot be read (${d.why}); a command run as root reads it as the owner of the spool, so give it on standard input (-) if only root may read it`,
  'list-unknown': (d: { list: string; hint: string }) => `there is no list ${d.list}; ${d.hint}`,
  'list-ambiguous': (d: { list: string; lists: readonly string[] }) =>
    `several lists are called ${d.list}: ${d.lists.join(', ')}; give the whole address`,
  'list-no-certificate': (d: { list: string; folder: string }) =>
    `${d.list} has no key pair for encryption that can be used: look with \`reseal check\` at ${d.folder}`,
  'role-unknown': (d: { list: string; address: string; role: string }) =>
    `${d.address} is no ${d.role} of ${d.list}; nothing was changed`,
  'member-unknown': (d: { list: string; address: string }) => `${d.address} is not a member of ${d.list}`,
  'certificate-none': (d: { address: string; purpose?: string | null }) =>
    `no certificate is in use for ${d.address}${d.purpose === 'enc' ? ' to encrypt to' : d.purpose === 'sign' ? ' to sign with' : ''}: see \`reseal cert list --address ${d.address}\``,
  'certificate-unknown': (d: { name: string }) =>
    `no certificate is known by ${d.name}: see \`reseal cert list\``,
  'certificate-not-waiting': (d: {
    name: string;
    address: string;
    several: boolean;
    state: string | null;
  }) => {
    const words =
      d.state === null ? `none that begins with ${d.name}` : `${d.name} does not: it is ${d.state}`;
    const what = d.several ? `several begin with ${d.name}, give more digits` : words;
    return `of the certificates of ${d.address} that wait, ${what}; see \`reseal cert list --address ${d.address}\``;
  },
  'id-unknown': (d: { id: string; what: string }) => `${d.id} is no ${d.what}: see \`reseal queue list\``,
  'message-unknown': (d: { id: string }) =>
    `nothing is known of the message ${d.id}: give its Message-ID, its id in the spool or the number of a posting; what is older than \`retention\` is forgotten`,
  'not-confirmed': (d: { what: string; hint: string }) => `${d.what}: nothing was changed${d.hint}`,
  'usage-passphrase': (d: { why: string }) => `the passphrase cannot be taken: ${d.why}`,
  'key-unknown': (d: { list: string; name: string; known: readonly string[] }) =>
    `${d.list} has no key pair ${d.known.length > 0 ? `"${d.name.slice(0, 100)}" ` : ''}that can be used${d.known.length > 0 ? `: give one of ${d.known.join(', ')}, or the first digits of its fingerprint` : ''} (\`reseal key list ${d.list}\`)`,
  'key-in-use': (d: { list: string; path: string }) =>
    `${d.path} is in use: \`reseal key rotate ${d.list}\` puts a new pair in its place, \`reseal key retire\` leaves it to open mail with`,
  'key-needed': (d: { path: string; count: number; needs: readonly string[]; list: string }) =>
    `${d.path} cannot be removed, ${d.count} ${d.count === 1 ? 'message needs' : 'messages need'} it: ${d.needs.join('; ')}; settle them first (\`reseal queue list\`)`,
  'file-exists': (d: { path: string }) => `${d.path} is there already, and is not overwritten`,
  'file-unwritable': (d: { path: string; why: string }) =>
    `${d.path} cannot be written (${d.why}); a command run as root writes as the owner of the spool`,
  'owner-unusable': (d: { path: string; why: string }) =>
    `reseal cannot act as the owner of ${d.path} (${d.why}): run the command as that user`,
});

/** Faults of other folders that are a mistake in the command or the configuration, not a failure. */
const mistakes =
  /^(usage-|config-|setting-|profile-|secret-|relay-cafile|credentials-missing|listen-tls|issue-name|list-name|trust-unreadable|inspector-refused)/;

/** The exit code for something thrown: 2 for wrong usage or configuration, 1 for every other failure. */
export function exitCodeOf(error: unknown): 1 | 2 {
  return isFault(error) && mistakes.test(error.code) ? 2 : 1;
}
