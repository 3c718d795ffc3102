import type { Clock } from '../../base/clock.ts';
import { dayMs } from '../../base/day.ts';
import type { Certificate } from '../../pki/certificate.ts';
import type { Crl } from '../../pki/crl.ts';
import { type RevocationPolicy, revocationOff } from '../../pki/revocation.ts';
import { type Wanted, wantedKey } from '../../pki/wanted.ts';
import { certificateRow } from '../../store/certificate-row.ts';
import { certificatesNamed, upsertCertificate } from '../../store/certificates.ts';
import type { Database } from '../../store/database.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import { type Authorities, type ProvenCrl, proveCrl } from './crl-proof.ts';
import type { FetchWanted } from './fetch-wanted.ts';
import { authoritiesIn } from './intermediates.ts';
import { merged, nothingObtained, type Obtained, obtainedFrom, without } from './obtained.ts';
import type { RevocationStore } from './revocation-store.ts';

/** By what it is known which of what was obtained is right. */
export interface Proof {
  readonly authorities: Authorities;
  /** Certificates (SHA-256) whose status stayed open: answers about them did not help. */
  readonly open: ReadonlySet<string>;
  /** A valid path, or none: authorities' certificates on it are right. */
  readonly path: readonly Certificate[];
}

/** What is known about revocation: lists in files, and what was fetched or came with mail. */
export interface RevocationBook {
  /** How this list wants certificates looked up, and all that is known for it now. */
  policyOf(list: Pick<ListContext, 'policy'>, obtained?: Obtained): Promise<RevocationPolicy>;
  /**
   * Gets what a judgement lacked: kept OCSP answers, else from the network where `fetch.hosts` allows. Never throws;
   * what does not come in time is left out.
   */
  obtain(wanted: readonly Wanted[], before: Obtained): Promise<Obtained>;
  /** The OCSP answers that are kept about certificates (SHA-256). */
  answersAbout(certificates: readonly string[]): Promise<Obtained>;
  /** Keeps of what was obtained what proved right. */
  keep(obtained: Obtained, d: Proof): Promise<void>;
  /** Fetches the lists again that were fetched and end soon, or are a week old, and forgets what is over. */
  refresh(lists: readonly Authorities[]): Promise<void>;
  /** Grows when something new is kept: what was judged before is to be judged again. */
  version(): number;
}

/** What was fetched is not fetched again so soon, though it proved useless. */
const recentMs = 300_000;
const mostRecent = 1_000;
/** A list is fetched again in time: `refresh` is called each hour. */
const refreshMs = 7 * dayMs;
const soonMs = 2 * 3_600_000;
/** An answer that is older is asked for again, whatever it says. */
const answerMs = 7 * dayMs;
const mostOfMessage = 5;

export interface BookParts {
  readonly database: Database;
  readonly keyring: Pick<Keyring, 'crlsOf'>;
  readonly store: RevocationStore;
  readonly fetch: FetchWanted;
  /** How long one judgement waits for the network, ms. */
  readonly patienceMs: number;
  readonly clock: Clock;
}

/** Makes the book of one site. */
export function openRevocationBook(parts: BookParts): RevocationBook {
  const { database, store, clock } = parts;
  const recent = new Map<string, { readonly until: number; readonly obtained: Obtained }>();
  const note = (key: string, obtained: Obtained): void => {
    const now = clock.now();
    for (const [old, { until }] of recent) if (until <= now || recent.size >= mostRecent) recent.delete(old);
    recent.set(key, { until: now + recentMs, obtained });
  };

  const keptAnswer = async (certificate: string, before: Obtained): Promise<Buffer | null> => {
    if (before.answers.some((one) => one.certificate === certificate)) return null;
    const row = await store.answer(certificate);
    return row && row.storedAt + answerMs > clock.now() ? row.der : null;
  };

  const getOne = async (wanted: Wanted, before: Obtained): Promise<Obtained> => {
    if (wanted.kind === 'ocsp') {
      const { certificate } = wanted;
      const der = await keptAnswer(certificate, before);
      if (der) return { ...nothingObtained, answers: [{ certificate, der, url: null }] };
    }
    const key = wantedKey(wanted);
    const known = recent.get(key);
    if (known && known.until > clock.now()) return without(known.obtained, before);
    const fetched = await parts.fetch(wanted);
    const obtained = fetched ? obtainedFrom(fetched) : nothingObtained;
    note(key, obtained);
    return obtained;
  };

  const prove = async (crl: Crl, authorities: Authorities): Promise<ProvenCrl | null> => {
    const stored = authoritiesIn(await certificatesNamed(database.q, crl.issuer));
    return proveCrl(crl, { ...authorities, others: [...authorities.others, ...stored] });
  };

  const keepCrls = async (crls: Obtained['crls'], authorities: Authorities): Promise<void> => {
    const kept = new Set((await store.crls()).map((one) => one.crl.sha256));
    const own = crls.filter(({ crl, url }) => url === null && !kept.has(crl.sha256)).slice(0, mostOfMessage);
    for (const { crl, url } of [...own, ...crls.filter((one) => one.url !== null)]) {
      const proven = await prove(crl, authorities);
      if (proven) await store.keepCrl(proven, url);
      // Now it is known by itself, or it is of no use.
      if (url !== null) note(wantedKey({ kind: 'crl', url }), nothingObtained);
    }
  };

  return {
    async policyOf({ policy }, obtained = nothingObtained) {
      const mode = policy.revocation;
      if (mode === 'off') return revocationOff;
      const files = await parts.keyring.crlsOf({ policy });
      const kept = (await store.crls()).map((one) => one.crl);
      const crls = new Map<string, Uint8Array>();
      for (const crl of [...files.crls, ...kept, ...obtained.crls.map((one) => one.crl)])
        crls.set(crl.sha256, crl.der);
      const evidence = { crls: [...crls.values()], ocsp: obtained.answers.map((one) => one.der) };
      // A list that should be here cannot be read: what it would say is not known, so nothing passes without another.
      return { mode: files.fault ? 'hard' : mode, evidence };
    },
    async obtain(wanted, before) {
      const here: Obtained[] = [];
      const all = wanted.map(async (one) => void here.push(await getOne(one, before)));
      await within(parts.patienceMs, Promise.all(all));
      return here.reduce(merged, nothingObtained);
    },
    async answersAbout(certificates) {
      const answers: Obtained['answers'][number][] = [];
      for (const certificate of certificates) {
        const der = await keptAnswer(certificate, nothingObtained);
        if (der) answers.push({ certificate, der, url: null });
      }
      return { ...nothingObtained, answers };
    },
    async keep(obtained, { authorities, open, path }) {
      await keepCrls(obtained.crls, authorities);
      for (const { certificate, der, url } of obtained.answers) {
        if (url === null) continue;
        if (!open.has(certificate)) await store.keepAnswer(Buffer.from(der), { certificate, url });
        note(wantedKey({ kind: 'ocsp', url, certificate }), nothingObtained);
      }
      const proven = path.filter((one) => obtained.issuers.some((issuer) => issuer.sha256 === one.sha256));
      if (proven.length === 0) return;
      const row = { source: 'harvested', at: clock.now(), signingTime: null } as const;
      await database.write(async (tx) => {
        for (const one of proven) await upsertCertificate(tx, certificateRow(one, row));
      });
    },
    async refresh(lists) {
      const now = clock.now();
      for (const { url, storedAt, crl } of await store.crls()) {
        if (url === null) continue;
        if (now < Math.min(storedAt + refreshMs, (crl.nextUpdate ?? 0) - soonMs)) continue;
        const fetched = await parts.fetch({ kind: 'crl', url });
        if (fetched === null) continue;
        for (const one of lists) await keepCrls(obtainedFrom(fetched).crls, one);
      }
      await store.clean();
    },
    version: store.version,
  };
}

/** Waits for work, but not longer than `ms`; it goes on by itself. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
