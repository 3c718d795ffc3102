import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { wrapKey } from '../../src/cms/ecdh.ts';
import {
  type AgreementScheme,
  agreementSchemes,
  derAlgorithm,
  type KeyWrap,
  keyWrapOid,
} from '../../src/pki/algorithms.ts';
import { bytesOf, readBer } from '../../src/pki/ber.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import type { Identity } from '../kit/pki.ts';
import { nameOf } from './forge.ts';

/** KeyAgreeRecipientInfos with whatever scheme, key wrap and user keying material a test wants. */

export const schemeOf = (oid: string): AgreementScheme =>
  agreementSchemes.find((scheme) => scheme.oid === oid) as AgreementScheme;

/** The key wrap's AlgorithmIdentifier: 3DES alone has parameters (RFC 3370 4.3.1). */
export const wrapAlgorithm = (wrap: KeyWrap): Buffer =>
  derAlgorithm(keyWrapOid(wrap), ...(wrap === 'des3-wrap' ? [w.derNull()] : []));

function ephemeralFor(key: KeyObject): { publicKey: KeyObject; privateKey: KeyObject } {
  if (key.asymmetricKeyType === 'x25519') return generateKeyPairSync('x25519');
  if (key.asymmetricKeyType === 'x448') return generateKeyPairSync('x448');
  return generateKeyPairSync('ec', { namedCurve: key.asymmetricKeyDetails?.namedCurve ?? '' });
}

export interface AgreementForgery {
  readonly to: Pick<Identity, 'certDer' | 'key'>;
  /** Object identifier of the scheme. */
  readonly scheme: string;
  readonly contentKey: Buffer;
  readonly wrap?: KeyWrap;
  readonly ukm?: Buffer | null;
}

/** An honest KeyAgreeRecipientInfo, the recipient by issuer and serial number. */
export function agreeWith({
  to,
  scheme,
  contentKey,
  wrap = 'id-aes256-wrap',
  ukm = null,
}: AgreementForgery): Buffer {
  const ephemeral = ephemeralFor(to.key);
  const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: createPublicKey(to.key) });
  const wrapDer = wrapAlgorithm(wrap);
  const wrapped = wrapKey(shared, contentKey, { scheme: schemeOf(scheme), wrap, wrapDer, ukm });
  // OriginatorPublicKey is a SubjectPublicKeyInfo under another tag.
  const spki = readBer(ephemeral.publicKey.export({ type: 'spki', format: 'der' }));
  return w.derContext(
    1,
    w.derInteger(3),
    w.derContext(0, w.derContext(1, ...spki.children.map(bytesOf))),
    ...(ukm ? [w.derContext(1, w.derOctets(ukm))] : []),
    derAlgorithm(scheme, wrapDer),
    w.derSequence(w.derSequence(nameOf(parseCertificate(to.certDer)), w.derOctets(wrapped))),
  );
}
