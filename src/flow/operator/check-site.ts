import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dayOf } from '../../base/day.ts';
import { errnoOf, Fault, wordsOf } from '../../base/errors.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { loadTrustAnchors } from '../../pki/trust.ts';
import { remarksOn } from '../../policy/remarks.ts';
import { type TrustSource, trustOf } from '../../policy/trust.ts';
import { bindingPages } from '../../store/bindings.ts';
import { findCertificate } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { allLists, holdersOf, type ListRow } from '../../store/lists.ts';
import { compileTemplate } from '../../template/templates.ts';
import { longestWarningMs } from '../care/expiry-stages.ts';
import { type Keyring, keyProblem } from '../lists/keyring.ts';
import { contextOf, type ListContext, type SiteDefaults } from '../lists/list-context.ts';
import { renewal } from '../lists/renewal.ts';
import { type Finding, finding } from './check-files.ts';
import { checkRevocation } from './check-revocation.ts';

export interface ListCheckParts {
  readonly q: Queries;
  readonly keyring: Keyring;
  readonly defaults: SiteDefaults;
  readonly siteTrust: TrustSource;
  /** Whether `fetch.hosts` names any. */
  readonly mayFetch: boolean;
  readonly folderOf: (address: string) => string;
  /** What is said where a key needs a passphrase that only the daemon may be given; null if none is kept from us. */
  readonly unseenPassphrase: string | null;
  readonly now: number;
}

/** Each list: settings, owners, key pairs and certificate; then the authorities that lists and site name. */
export async function checkLists(parts: ListCheckParts): Promise<Finding[]> {
  const rows = await allLists(parts.q);
  if (rows.length === 0)
    return [finding('warning', 'lists', 'there is no list yet: `reseal list create` makes one')];
  const found: Finding[] = [];
  for (const row of rows) found.push(...(await checkList(parts, row)));
  return found;
}

async function checkList(parts: ListCheckParts, row: ListRow): Promise<Finding[]> {
  const { address } = row;
  let list: ListContext;
  try {
    list = contextOf(row, parts.defaults);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return [finding('problem', address, `${error.message}: \`reseal list set ${address} --unset NAME\``)];
  }
  const owners = await holdersOf(parts.q, row.id, 'owner');
  return [
    ...remarksOn(list.policy).map((remark) =>
      finding(remark.grave ? 'problem' : 'warning', address, remark.text),
    ),
    ...(owners.length > 0
      ? []
      : [finding('warning', address, `nobody owns it: \`reseal list set ${address} --add-owner ADDRESS\``)]),
    ...(await checkKeys(parts, address)),
    ...(await checkTrust(trustOf(list.policy, parts.siteTrust), address, parts.now)),
    ...(await checkRevocation(list.policy, {
      site: parts.siteTrust,
      mayFetch: parts.mayFetch,
      about: address,
      now: parts.now,
    })),
  ];
}

/** The key pairs of a list or of the service address. */
export async function checkKeys(
  parts: Pick<ListCheckParts, 'keyring' | 'folderOf' | 'unseenPassphrase' | 'now'>,
  address: string,
): Promise<Finding[]> {
  const { keyring, folderOf, unseenPassphrase, now } = parts;
  const { problems } = await keyring.keysOf({ address });
  const found = problems.map((problem) =>
    unseenPassphrase !== null && problem.code === 'key-passphrase'
      ? finding('warning', address, `${problem.message}; ${unseenPassphrase}`)
      : finding('problem', address, keyProblem(problem, address)),
  );
  const encryption = await keyring.encryptionPair({ address });
  const signing = await keyring.signingPair({ address });
  const folder = folderOf(address);
  if (!encryption && found.length === 0) {
    found.push(
      finding(
        'problem',
        address,
        `there is no key pair in ${folder}: mail to it cannot be opened; bring its keys back, or let \`reseal key generate ${address}\` make new ones`,
      ),
    );
  }
  const inUse = new Map(
    [encryption, signing].flatMap((pair) =>
      pair ? [[pair.certificate.sha256, pair.certificate] as const] : [],
    ),
  );
  for (const certificate of inUse.values()) found.push(checkCertificate(certificate, address, now));
  return found;
}

function checkCertificate(certificate: Certificate, address: string, now: number): Finding {
  const until = dayOf(certificate.notAfter);
  if (now > certificate.notAfter) {
    return finding(
      'problem',
      address,
      `its certificate expired on ${until}: ${renewal(certificate, address)}`,
    );
  }
  if (!certificate.addresses.includes(address)) {
    return finding(
      'problem',
      address,
      `its certificate does not name it, but ${certificate.addresses.join(', ') || 'no address'}: mail programs will warn; get another one`,
    );
  }
  if (now > certificate.notAfter - longestWarningMs) {
    return finding(
      'warning',
      address,
      `its certificate expires on ${until}: ${renewal(certificate, address)}`,
    );
  }
  return finding('good', address, `key pair and certificate are right, until ${until}`);
}

/** Whether the authorities can be read and are valid. */
export async function checkTrust(source: TrustSource, about: string, now: number): Promise<Finding[]> {
  try {
    const { anchors, problems } = await loadTrustAnchors({
      cafile: source.cafile ?? undefined,
      capath: source.capath ?? undefined,
    });
    const found = problems.map((problem) =>
      finding('warning', about, `an authority cannot be read: ${problem}`),
    );
    const { certificates } = anchors;
    if (certificates.length === 0) {
      const text =
        'no authority is trusted: every signature counts as untrusted and no certificate is taken; set trust.cafile or trust.capath';
      return [...found, finding('warning', about, text)];
    }
    const over = certificates.filter((one) => now > one.notAfter);
    for (const one of over)
      found.push(finding('warning', about, `the authority ${one.subject} expired on ${dayOf(one.notAfter)}`));
    return [...found, finding('good', about, `trusted authorities: ${certificates.length - over.length}`)];
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return [finding('problem', about, error.message)];
  }
}

/** Certificates in use that members soon cannot be reached with. */
export async function checkMemberCertificates(q: Queries, now: number): Promise<Finding[]> {
  const expired: string[] = [];
  const ending: string[] = [];
  let count = 0;
  for await (const page of bindingPages(q, { state: 'in-use', purpose: 'enc' }))
    for (const { address, sha256 } of page) {
      const certificate = await findCertificate(q, sha256);
      if (!certificate) continue;
      count++;
      if (now > certificate.notAfter) expired.push(address);
      else if (now > certificate.notAfter - longestWarningMs) ending.push(address);
    }
  const some = (all: string[]) =>
    `${all.slice(0, 5).join(', ')}${all.length > 5 ? ` and ${all.length - 5} more` : ''}`;
  return [
    ...(expired.length > 0
      ? [
          finding(
            'warning',
            'certificates',
            `expired, of members: ${some(expired)}; their copies wait for new ones`,
          ),
        ]
      : []),
    ...(ending.length > 0
      ? [finding('warning', 'certificates', `end within 30 days, of members: ${some(ending)}`)]
      : []),
    finding('good', 'certificates', `${count} in use to encrypt to members`),
  ];
}

/** Whether every template of the site's own folders can be read and has no mistake in its language. */
export async function checkTemplates(folder: string): Promise<Finding[]> {
  let names: string[];
  try {
    names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.tt2')).sort();
  } catch (error) {
    return [
      finding(
        'problem',
        folder,
        `the templates cannot be read (${errnoOf(error) ?? wordsOf(error)}): look at the setting templates`,
      ),
    ];
  }
  const found: Finding[] = [];
  for (const name of names) {
    try {
      compileTemplate(name, await readFile(join(folder, name), 'utf8'));
    } catch (error) {
      found.push(finding('problem', join(folder, name), wordsOf(error)));
    }
  }
  return found.length > 0 ? found : [finding('good', folder, `${names.length} templates are right`)];
}
