import { createHash } from 'node:crypto';
import { derDigest } from '../../src/pki/algorithms.ts';
import { bitsOf, readBer } from '../../src/pki/ber.ts';
import * as w from '../../src/pki/der.ts';
import { spkiOf } from '../kit/issue.ts';
import type { Identity } from '../kit/pki.ts';
import { signed } from './lists.ts';

/** One OCSPResponse with one answer, as odd as a test wants it. */
export interface AnswerOptions {
  /** Who signs. */
  readonly signer: Identity;
  readonly about: Identity;
  readonly issuer: Identity;
  readonly status?: 'good' | 'revoked' | 'unknown';
  readonly revokedAt?: Date;
  readonly thisUpdate: Date;
  readonly nextUpdate?: Date | null;
  /** Digest of the CertID. */
  readonly idDigest?: 'sha1' | 'sha256';
  readonly byKey?: boolean;
  readonly certificates?: readonly Identity[];
  /** Extensions of the whole and of the one answer. */
  readonly extensions?: readonly Buffer[];
  readonly answerExtensions?: readonly Buffer[];
  readonly digest?: 'sha1' | 'sha256';
}

const generalized = (at: Date): Buffer =>
  w.der(0x18, Buffer.from(`${at.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`));
const keyOctets = (identity: Identity): Buffer => bitsOf(readBer(spkiOf(identity.key)).children[1]).bytes;

/** An OCSPResponse (RFC 6960 4.2.1) with the status successful. */
export function makeAnswer(o: AnswerOptions): Buffer {
  const { idDigest = 'sha1', status = 'good' } = o;
  const hash = (digest: string, octets: Buffer) => w.derOctets(createHash(digest).update(octets).digest());
  const id = w.derSequence(
    derDigest(idDigest),
    hash(idDigest, o.issuer.subjectDer),
    hash(idDigest, keyOctets(o.issuer)),
    w.der(2, o.about.serial),
  );
  const state = {
    good: w.derContextPrimitive(0, Buffer.alloc(0)),
    revoked: w.derContext(1, generalized(o.revokedAt ?? o.thisUpdate)),
    unknown: w.derContextPrimitive(2, Buffer.alloc(0)),
  }[status];
  const next = o.nextUpdate === undefined ? new Date(o.thisUpdate.getTime() + 86_400_000) : o.nextUpdate;
  const answer = w.derSequence(
    id,
    state,
    generalized(o.thisUpdate),
    ...(next ? [w.derContext(0, generalized(next))] : []),
    ...(o.answerExtensions ? [w.derContext(1, w.derSequence(...o.answerExtensions))] : []),
  );
  const responder = o.byKey
    ? w.derContext(2, hash('sha1', keyOctets(o.signer)))
    : w.derContext(1, o.signer.subjectDer);
  const tbs = w.derSequence(
    responder,
    generalized(o.thisUpdate),
    w.derSequence(answer),
    ...(o.extensions ? [w.derContext(1, w.derSequence(...o.extensions))] : []),
  );
  const bag = (o.certificates ?? []).map((identity) => identity.certDer);
  const basic = w.derSequence(
    tbs,
    ...signed(tbs, o.signer.key, o.digest ?? 'sha256'),
    ...(bag.length > 0 ? [w.derContext(0, w.derSequence(...bag))] : []),
  );
  const kind = w.derOid('1.3.6.1.5.5.7.48.1.1');
  return w.derSequence(w.der(10, Buffer.from([0])), w.derContext(0, w.derSequence(kind, w.derOctets(basic))));
}
