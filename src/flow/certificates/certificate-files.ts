import { isFault } from '../../base/errors.ts';
import { parseContentInfo } from '../../cms/content-info.ts';
import { type CmsLimits, cmsLimits } from '../../cms/limits.ts';
import { parseSignedData } from '../../cms/signed-data.ts';
import { bytesOf, readBer } from '../../pki/ber.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import {
  isLdif,
  isVcard,
  ldifCertificates,
  type TextValue,
  vcardKeys,
  wholeBase64,
} from '../../pki/certificate-text.ts';
import { pemBlocksIn } from '../../pki/pem.ts';

/** Why a block of a file gives no certificate. */
export type BlockReason = 'unreadable' | 'private-key' | 'not-here' | 'no-certificate' | 'too-large';

/** What one block of a file gives: certificates one by one, or why there is none. `where`: `block 3`, '' if it is alone. */
export type FoundBlock =
  | { readonly where: string; readonly certificate: Certificate }
  | {
      readonly where: string;
      readonly certificate: null;
      readonly reason: BlockReason;
      readonly why: string;
    };

/** Octets of one file that are read, and blocks in it: 20,000 certificates with room. */
export const mostFileOctets = 64 * 1024 ** 2;
const mostBlocks = 50_000;
/** A bundle of a site's certificates is larger than any message's. */
const limits: CmsLimits = {
  ...cmsLimits,
  ber: { ...cmsLimits.ber, elements: 400_000 },
  certificates: 3_000,
};

/**
 * The certificates in a file: PEM, DER, PKCS #7 (PEM, DER, or base64 alone; RFC 8551 3.8), vCard or LDIF, one by one: a
 * file may hold tens of thousands. Each block is read on its own: of one that is broken it is told why. Never throws for
 * what is in the file, and gives something for each.
 */
export function* certificatesInFile(bytes: Buffer): Generator<FoundBlock> {
  const problem = (reason: BlockReason, why: string, where = '') =>
    ({ where, certificate: null, reason, why }) as const;
  if (bytes.length > mostFileOctets)
    return yield problem('too-large', `it has more than ${mostFileOctets / 1024 ** 2} MB`);
  const blocks = blocksIn(bytes);
  if (blocks.length === 0)
    return yield problem('no-certificate', 'it holds no certificate in PEM or DER, PKCS #7, vCard or LDIF');
  if (blocks.length > mostBlocks)
    return yield problem('too-large', `it has more than ${mostBlocks} blocks: import it in parts`);
  for (const [index, block] of blocks.entries()) {
    const where = blocks.length === 1 ? '' : `block ${index + 1}`;
    const read = readBlock(block);
    if ('problem' in read) {
      yield problem(read.problem.reason, read.problem.why, where);
      continue;
    }
    for (const certificate of read.certificates) yield { where, certificate };
    if (read.bad > 0) yield problem('unreadable', `${read.bad} of its certificates cannot be read`, where);
  }
}

const certificateLabels = ['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE'];
const pkcs7Labels = ['PKCS7', 'CMS', 'PKCS #7 SIGNED DATA'];

/** The blocks of a file, a few more than `mostBlocks` at most. */
function blocksIn(file: Buffer): TextValue[] {
  const isMarked = file.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf]));
  const bytes = isMarked ? file.subarray(3) : file;
  if (bytes[0] === 0x30) return [{ der: bytes }];
  const text = bytes.toString('latin1');
  if (isVcard(text)) return first(vcardKeys(text));
  const armoured = first(armouredIn(bytes));
  if (armoured.length > 0) return armoured;
  if (isLdif(text)) return first(ldifCertificates(text));
  const packed = wholeBase64(text);
  return packed ? [{ der: packed }] : [];
}

function* armouredIn(bytes: Buffer): Generator<TextValue> {
  for (const { label, der } of pemBlocksIn(bytes))
    if (certificateLabels.includes(label) || pkcs7Labels.includes(label)) yield { der: trimmed(label, der) };
}

function first(blocks: Iterable<TextValue>): TextValue[] {
  const found: TextValue[] = [];
  for (const block of blocks) if (found.push(block) > mostBlocks) break;
  return found;
}

/** OpenSSL's TRUSTED CERTIFICATE has settings of its own after the certificate. */
function trimmed(label: string, der: Buffer): Buffer {
  if (!label.startsWith('TRUSTED')) return der;
  try {
    return bytesOf(readBer(der));
  } catch {
    return der;
  }
}

function readBlock(
  block: TextValue,
):
  | { readonly certificates: readonly Certificate[]; readonly bad: number }
  | { readonly problem: { readonly reason: BlockReason; readonly why: string } } {
  if ('why' in block) return { problem: { reason: 'not-here', why: block.why } };
  const { der } = block;
  try {
    const first = firstTagIn(der);
    if (first === 0x02)
      return {
        problem: { reason: 'private-key', why: 'it holds a private key (PKCS #12), not only certificates' },
      };
    if (first !== 0x06) return { certificates: [parseCertificate(der)], bad: 0 };
    const { kind, content } = parseContentInfo(der, limits);
    if (kind !== 'signed-data')
      return { problem: { reason: 'no-certificate', why: `it is ${kind} and holds no certificates` } };
    const { certificates, badCertificates } = parseSignedData(content, limits);
    if (certificates.length + badCertificates === 0)
      return { problem: { reason: 'no-certificate', why: 'it is signed data without certificates' } };
    return { certificates, bad: badCertificates };
  } catch (error) {
    if (!isFault(error)) throw error;
    return { problem: { reason: 'unreadable', why: error.message } };
  }
}

/** The tag of the first element inside a SEQUENCE: what tells a certificate, PKCS #7 and PKCS #12 apart. */
function firstTagIn(der: Buffer): number | undefined {
  const length = der[1] ?? 0;
  return der[length > 0x80 ? 2 + (length & 0x7f) : 2];
}
