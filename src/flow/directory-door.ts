import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { wordsOf } from '../base/errors.ts';
import { readIfPresent } from '../base/files.ts';
import type { Log } from '../base/log.ts';
import { type Certificate, mayServe } from '../pki/certificate.ts';
import { certificatesFromPem } from '../pki/pem.ts';
import { bind, bindingsOf } from '../store/bindings.ts';
import { inUse, upsertCertificate } from '../store/certificates.ts';
import type { Database } from '../store/database.ts';
import { type DirectoryEntry, scanDirectory } from '../store/directory.ts';
import { record } from '../store/ledger.ts';
import type { Purpose } from '../store/schema.ts';
import { certificateRow } from './file-certificates.ts';
import { releaseCopies } from './release.ts';

export interface DoorParts {
  readonly database: Database;
  /** The certificate directory. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetimeMs: number;
  readonly wakeDelivery: () => void;
}

/** The certificate directory as a door for hands: files that people put there are taken over. */
export interface DirectoryDoor {
  /** Looks for new and changed files. `whole`: also where the folder's own time says that nothing changed. */
  look(whole?: boolean): Promise<void>;
  /** What is wrong with the file of an address, in words, or null. */
  problemOf(address: string): string | null;
}

/**
 * Opens the door. A file is looked at again when its name, time or size changed; one that holds a certificate which
 * is not in use for its address is imported as `by hand` and takes over at once: who may write here may decide. One
 * that was replaced after the file was written is our own mirror, which a crash kept from being renewed.
 * A file that is taken away changes nothing: use `cert remove`.
 */
export function openDirectoryDoor(parts: DoorParts): DirectoryDoor {
  const stamps = new Map<string, string>();
  const problems = new Map<string, string>();
  let folderTime = -1;
  let looking: Promise<void> | null = null;

  const lookAt = async (entry: DirectoryEntry): Promise<void> => {
    const stamp = `${entry.mtime} ${entry.size}`;
    if (stamps.get(entry.file) === stamp) return;
    stamps.set(entry.file, stamp);
    const bytes = await readIfPresent(join(parts.folder, entry.file));
    if (bytes === null) return;
    const { certificates, problems: words } = certificatesFromPem(bytes);
    const [certificate] = certificates;
    const address = addressOf(entry, certificate);
    const fault = certificate
      ? objection(entry, certificate)
      : `it holds no certificate (${words[0] ?? 'not PEM'})`;
    if (!certificate || fault !== null) {
      const detail = `the file ${entry.file} of the certificate directory is not used: ${fault}`;
      problems.set(address, detail);
      parts.log.warn('certificate-file-unusable', { file: entry.file, address, detail });
      return;
    }
    problems.delete(address);
    await takeOver(parts, entry, address, certificates);
  };

  const lookOnce = async (whole: boolean): Promise<void> => {
    const found = await stat(parts.folder).catch(() => null);
    if (!found || (!whole && found.mtimeMs === folderTime)) return;
    folderTime = found.mtimeMs;
    const unread = (file: string) =>
      parts.log.warn('certificate-file-unusable', { file, detail: 'its name is not an address' });
    for (const entry of await scanDirectory(parts.folder, unread)) {
      try {
        await lookAt(entry);
      } catch (error) {
        stamps.delete(entry.file);
        // One file that cannot be read keeps no other from being looked at.
        const detail = `the file ${entry.file} of the certificate directory cannot be used: ${wordsOf(error)}`;
        problems.set(entry.address, detail);
        parts.log.warn('certificate-file-unusable', { file: entry.file, address: entry.address, detail });
      }
    }
  };

  return {
    look(whole = false) {
      looking ??= lookOnce(whole)
        .catch((error: unknown) => parts.log.error('directory-failed', { detail: wordsOf(error) }))
        .finally(() => {
          looking = null;
        });
      return looking;
    },
    problemOf: (address) => problems.get(address) ?? null,
  };
}

/** A name may be read in two ways (both generations of Sympa's escaping): the certificate tells which is meant. */
function addressOf(entry: DirectoryEntry, certificate: Certificate | undefined): string {
  const { address, otherAddress } = entry;
  return otherAddress !== null && certificate?.addresses.includes(otherAddress) ? otherAddress : address;
}

function purposesOf(entry: DirectoryEntry): Purpose[] {
  if (entry.use === 'both') return ['sign', 'enc'];
  return [entry.use];
}

function objection(entry: DirectoryEntry, certificate: Certificate): string | null {
  const serves = purposesOf(entry).some((purpose) =>
    mayServe(certificate, purpose === 'sign' ? 'sign' : 'encrypt'),
  );
  return serves ? null : 'its key usage does not allow what the name of the file says';
}

async function takeOver(
  parts: DoorParts,
  entry: DirectoryEntry,
  address: string,
  [certificate, ...others]: readonly Certificate[],
): Promise<void> {
  if (!certificate) return;
  const at = parts.clock.now();
  const { sha256 } = certificate;
  const changed: Purpose[] = [];
  const bindings = await bindingsOf(parts.database.q, address);
  const replacedSince = (purpose: Purpose): boolean => {
    const used = bindings.find((one) => one.purpose === purpose && one.state === 'in-use');
    const known = bindings.some((one) => one.purpose === purpose && one.sha256 === sha256);
    return known && used !== undefined && used.since > entry.mtime;
  };
  for (const purpose of purposesOf(entry)) {
    if (!mayServe(certificate, purpose === 'sign' ? 'sign' : 'encrypt')) continue;
    const current = await inUse(parts.database.q, address, purpose);
    if (current?.sha256 !== sha256 && !replacedSince(purpose)) changed.push(purpose);
  }
  if (changed.length === 0) return;
  const released = await parts.database.write(async (tx) => {
    // Authorities that stand below it in the same file are needed for its path.
    for (const one of [certificate, ...others.filter((other) => other.isCa)])
      await upsertCertificate(tx, certificateRow(one, { source: 'by hand', at, signingTime: null }));
    for (const purpose of changed)
      await bind(tx, {
        address,
        purpose,
        sha256,
        state: 'in-use',
        since: at,
        source: 'by hand',
        signingTime: null,
      });
    const detail = `taken from the file ${entry.file} of the certificate directory`;
    await record(tx, {
      at,
      member: address,
      event: 'imported',
      reason: 'by-hand',
      detail,
      data: { sha256, purposes: changed },
    });
    if (!changed.includes('enc')) return 0;
    return releaseCopies(tx, address, { now: at, expiresAt: at + parts.lifetimeMs });
  });
  parts.log.event('imported', { address, file: entry.file, released });
  if (released > 0) parts.wakeDelivery();
}
