import { constants, sign } from 'node:crypto';
import { type Ber, bytesOf, readBer } from '../../src/pki/ber.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { nameOf } from '../cms/forge.ts';
import type { Identity } from '../kit/pki.ts';

/** Cuts CMS open and sews it up again, as anybody on the way can with what no signature covers. */

/** The SignedData again with other SignerInfos, each given and taken as its DER. */
export function withSigners(der: Buffer, change: (signers: Buffer[]) => Buffer[]): Buffer {
  const info = readBer(der);
  const data = info.children[1]?.children[0];
  const signers = data?.children.at(-1);
  if (!data || !signers) throw new Error('no SignedData');
  const fields = data.children.slice(0, -1).map(bytesOf);
  const set = w.der(0x31, ...change(signers.children.map(bytesOf)));
  return w.derSequence(bytesOf(info.children[0] as Ber), w.derContext(0, w.derSequence(...fields, set)));
}

/** A SignerInfo with another signature value (its last OCTET STRING) and what stands behind it. */
export function withSignature(signer: Buffer, change: (value: Buffer) => Buffer, ...after: Buffer[]): Buffer {
  const { children } = readBer(signer);
  const at = children.findLastIndex((child) => child.class === 'universal' && child.tag === 4);
  const value = children[at];
  if (!value) throw new Error('no signature');
  const changed = w.derOctets(change(signer.subarray(value.contentStart, value.contentEnd)));
  return w.derSequence(...children.slice(0, at).map(bytesOf), changed, ...after);
}

/** (r, s) → (r, n - s) on P-256: it verifies as well. */
export function otherHalf(signature: Buffer): Buffer {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const [r, s] = readBer(signature).children;
  if (!r || !s) throw new Error('no ECDSA signature');
  const value = BigInt(`0x${signature.subarray(s.contentStart, s.contentEnd).toString('hex')}`);
  const hex = (order - value).toString(16).padStart(64, '0');
  return w.derSequence(bytesOf(r), w.derInteger(Buffer.from(hex, 'hex')));
}

const pssWithSha256 = Buffer.from(
  '304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120',
  'hex',
);

/**
 * A SignerInfo with RSASSA-PSS over the signed attributes whose signature begins with a zero octet, as one in 256
 * does. `attributes` makes the attributes of the n-th try.
 */
export function pssSigner(signer: Identity, attributes: (n: number) => readonly Buffer[]): Buffer {
  for (let n = 0; n < 20_000; n++) {
    const set = w.derSetOf(...attributes(n));
    const options = { key: signer.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    const signature = sign('sha256', set, options);
    if (signature[0] !== 0) continue;
    const signed = Buffer.from(set);
    signed[0] = 0xa0;
    return w.derSequence(
      w.derInteger(1),
      nameOf(parseCertificate(signer.certDer)),
      w.derSequence(w.derOid('2.16.840.1.101.3.4.2.1'), w.derNull()),
      signed,
      pssWithSha256,
      w.derOctets(signature),
    );
  }
  throw new Error('no such signature');
}

/** The SignerInfos of SignedData. */
export function signersOf(der: Buffer): Buffer[] {
  let found: Buffer[] = [];
  withSigners(der, (signers) => {
    found = signers;
    return signers;
  });
  return found;
}

/** AuthEnvelopedData turned into EnvelopedData with the same key, AES-CBC and a chosen IV (Strenzke and Roth 2024). */
export function gcmAsCbc(der: Buffer): Buffer {
  const data = readBer(der).children[1]?.children[0];
  const [version, recipients, content] = data?.children ?? [];
  const [type, , ciphertext] = content?.children ?? [];
  if (!version || !recipients || !type || !ciphertext) throw new Error('no AuthEnvelopedData');
  const whole = ciphertext.source.subarray(ciphertext.contentStart, ciphertext.contentEnd);
  const cbc = w.derSequence(w.derOid('2.16.840.1.101.3.4.1.42'), w.derOctets(Buffer.alloc(16)));
  const blocks = w.derContextPrimitive(0, whole.subarray(0, whole.length & ~15));
  return w.derSequence(
    w.derOid('1.2.840.113549.1.7.3'),
    w.derContext(
      0,
      w.derSequence(w.derInteger(0), bytesOf(recipients), w.derSequence(bytesOf(type), cbc, blocks)),
    ),
  );
}
