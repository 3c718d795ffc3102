import { join } from 'node:path';
import { Fault } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { DecryptionKey } from '../../cms/enveloped-data.ts';
import { type KeyPair, loadKeyPairs, pairFor } from '../../pki/keys.ts';
import type { TrustAnchors } from '../../pki/path.ts';
import { loadTrustAnchors } from '../../pki/trust.ts';
import { type TrustSource, trustOf } from '../../policy/trust.ts';
import type { Database } from '../../store/database.ts';
import { type CrlFiles, readCrlFiles } from './crl-files.ts';
import { everyList, type ListContext, type SiteDefaults } from './list-context.ts';

/** A list's key pairs that can be used, and what is wrong with the others. */
export interface ListKeys {
  readonly pairs: readonly KeyPair[];
  readonly problems: readonly Fault[];
}

/** The private keys, trust anchors and revocation lists of all lists, read once and kept until `reload`. */
export interface Keyring {
  keysOf(list: Pick<ListContext, 'address'>): Promise<ListKeys>;
  /** The pair the list signs with, or null. */
  signingPair(list: Pick<ListContext, 'address'>): Promise<KeyPair | null>;
  /** The pair that mail to the list is encrypted to, or null. */
  encryptionPair(list: Pick<ListContext, 'address'>): Promise<KeyPair | null>;
  /** The authorities of the list: its own, else the site's (`trust.*`). An unreadable file trusts nobody, aloud. */
  anchorsOf(list: Pick<ListContext, 'address' | 'policy'>): Promise<TrustAnchors>;
  /** The revocation lists in the files of the list, else of the site (`trust.*`). */
  crlsOf(list: Pick<ListContext, 'policy'>): Promise<CrlFiles>;
  /**
   * Why the authorities of the list, or its revocation lists unless it looks none up, cannot be read, or null: without
   * them nothing can be said about a signature.
   */
  trustProblemOf(list: Pick<ListContext, 'address' | 'policy'>): Promise<Fault | null>;
  /** Forgets what was read: keys or authorities changed. */
  reload(): void;
}

export interface KeyringParts {
  /** Folder of the keys of a list or of the service address. */
  readonly folderOf: (address: string) => string;
  /** The passphrase of a list's keys, or null. Throws a Fault when its file cannot be used. */
  readonly passphraseOf: (address: string) => Promise<Buffer | null>;
  readonly siteTrust: TrustSource;
  readonly log: Log;
}

interface Authorities {
  readonly anchors: TrustAnchors;
  readonly problem: Fault | null;
}

/** What to do about a key file that cannot be used, where its sentence does not say so itself; else null. */
export function keyRemedy(code: string, list: string): string | null {
  if (code === 'key-passphrase')
    return 'the passphrase comes from keys.passphrase-file, a systemd credential or the environment';
  if (code === 'key-waits')
    return `\`reseal key csr ${list}\` prints the request for an authority, \`reseal key import ${list} FILE\` takes what it makes of it; keep the key`;
  if (['key-mismatch', 'key-pair-incomplete', 'key-certificate'].includes(code))
    return 'bring the right file back, or move both away';
  return null;
}

/** A problem of a key file as a person reads it: what is wrong, and what to do. */
export function keyProblem({ code, message }: Fault, list: string): string {
  const remedy = keyRemedy(code, list);
  return remedy === null ? message : `${message}; ${remedy}`;
}

/** Makes the keyring. Problems are logged once per reading, each with its remedy; one list's never stop another's. */
export function openKeyring(parts: KeyringParts): Keyring {
  const keys = new Map<string, Promise<ListKeys>>();
  const authorities = new Map<string, Promise<Authorities>>();

  const warn = (list: string, { code, message: detail }: Fault) => {
    const remedy = keyRemedy(code, list);
    parts.log.warn('key-unusable', { list, code, detail, ...(remedy ? { remedy } : {}) });
  };
  const read = async (address: string): Promise<ListKeys> => {
    const folder = parts.folderOf(address);
    try {
      const found = await loadKeyPairs(folder, await parts.passphraseOf(address));
      for (const problem of found.problems) warn(address, problem);
      return found;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      warn(address, error);
      return { pairs: [], problems: [error] };
    }
  };

  const readAuthorities = async (source: TrustSource): Promise<Authorities> => {
    try {
      const found = await loadTrustAnchors({
        cafile: source.cafile ?? undefined,
        capath: source.capath ?? undefined,
      });
      for (const detail of found.problems) parts.log.warn('trust-problem', { detail });
      return { anchors: found.anchors, problem: null };
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      parts.log.warn('trust-unreadable', { code: error.code, detail: error.message });
      return { anchors: { certificates: [] }, problem: error };
    }
  };

  const crls = new Map<string, Promise<CrlFiles>>();
  const readCrls = async (source: TrustSource): Promise<CrlFiles> => {
    const found = await readCrlFiles(source);
    const { fault, problems } = found;
    for (const detail of problems) parts.log.warn('crl-problem', { detail });
    if (fault) parts.log.warn('crl-unreadable', { code: fault.code, detail: fault.message });
    return found;
  };
  const crlsOf: Keyring['crlsOf'] = ({ policy }) => {
    const source = trustOf(policy, parts.siteTrust);
    const key = `${source.crlfile ?? ''}\n${source.crlpath ?? ''}`;
    return remembered(crls, key, () => readCrls(source));
  };

  const authoritiesOf = (list: Pick<ListContext, 'policy'>): Promise<Authorities> => {
    const source = trustOf(list.policy, parts.siteTrust);
    const key = `${source.cafile ?? ''}\n${source.capath ?? ''}`;
    return remembered(authorities, key, () => readAuthorities(source));
  };

  const keysOf: Keyring['keysOf'] = ({ address }) => remembered(keys, address, () => read(address));
  const pick = (use: 'sign' | 'encrypt') => async (list: Pick<ListContext, 'address'>) =>
    pairFor((await keysOf(list)).pairs, use);
  return {
    keysOf,
    signingPair: pick('sign'),
    encryptionPair: pick('encrypt'),
    anchorsOf: async (list) => (await authoritiesOf(list)).anchors,
    crlsOf,
    trustProblemOf: async (list) => {
      const { problem } = await authoritiesOf(list);
      return problem ?? (list.policy.revocation === 'off' ? null : (await crlsOf(list)).fault);
    },
    reload: () => {
      keys.clear();
      authorities.clear();
      crls.clear();
    },
  };
}

function remembered<T>(cache: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = cache.get(key);
  if (known) return known;
  const made = make();
  cache.set(key, made);
  made.catch(() => cache.delete(key));
  return made;
}

/** The pairs as the crypto workers take them. All generations decrypt (Sympa's rule). */
export function decryptionKeys(pairs: readonly KeyPair[]): DecryptionKey[] {
  return pairs.map(({ key, certificate }) => {
    const { issuerDer, serialDer, subjectKeyId, spkiDer, sha256 } = certificate;
    return { key, certificate: { issuerDer, serialDer, subjectKeyId, spkiDer, sha256 } };
  });
}

/** The usual place of a list's keys: `etc/lists/<address>`. Addresses of lists are safe names (`checkListName`). */
export function keyFolder(listsFolder: string, address: string): string {
  return join(listsFolder, address);
}

/** Reads the keys and authorities of every list, so that what is wrong with them stands in the log before it matters. */
export async function readKeys(d: {
  database: Database;
  defaults: SiteDefaults;
  keyring: Keyring;
  log: Log;
}): Promise<void> {
  const unreadable = (list: string, detail: string) => d.log.warn('list-unreadable', { list, detail });
  for (const list of await everyList(d.database.q, d.defaults, unreadable)) {
    await d.keyring.keysOf(list);
    await d.keyring.anchorsOf(list);
    if (list.policy.revocation !== 'off') await d.keyring.crlsOf(list);
  }
}
