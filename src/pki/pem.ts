import { isFault } from '../base/errors.ts';
import { bytesOf, readBer } from './ber.ts';
import { type Certificate, parseCertificate } from './certificate.ts';

/** PEM (RFC 7468): what stands between BEGIN and END, decoded. */
export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
}

/** All blocks of a text in order; text between them is ignored (RFC 7468 5.2). Headers inside a block are skipped. */
export const pemBlocks = (text: Buffer): PemBlock[] => [...pemBlocksIn(text)];

/** The same one by one: a long text may hold more than anybody wants. */
export function* pemBlocksIn(text: Buffer): Generator<PemBlock> {
  const source = text.toString('latin1');
  const begin = /^-----BEGIN ([A-Z0-9 #]+)-----[ \t]*\r?$/gm;
  for (let match = begin.exec(source); match; match = begin.exec(source)) {
    const label = match[1] as string;
    const end = source.indexOf(`-----END ${label}-----`, begin.lastIndex);
    if (end < 0) break;
    const body = source.slice(begin.lastIndex, end).replace(/^[^\r\n:]+:.*$/gm, '');
    yield { label, der: Buffer.from(body.replace(/\s+/g, ''), 'base64') };
    begin.lastIndex = end;
  }
}

const certificateLabels = ['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE'];

/**
 * The certificates of a PEM bundle, or of one DER file, in order. Blocks of other kinds (keys) are left alone; those that
 * cannot be read are told in `problems`, one sentence each.
 */
export function certificatesFromPem(text: Buffer): { certificates: Certificate[]; problems: string[] } {
  const isDer = text[0] === 0x30;
  const blocks = isDer ? [{ label: 'CERTIFICATE', der: text }] : pemBlocks(text);
  const certificates: Certificate[] = [];
  const problems: string[] = [];
  for (const { label, der } of blocks.filter((block) => certificateLabels.includes(block.label))) {
    try {
      // OpenSSL's TRUSTED CERTIFICATE has settings of its own after the certificate.
      certificates.push(parseCertificate(label.startsWith('TRUSTED') ? bytesOf(readBer(der)) : der));
    } catch (error) {
      if (!isFault(error)) throw error;
      problems.push(`certificate ${certificates.length + problems.length + 1}: ${error.message}`);
    }
  }
  if (certificates.length + problems.length === 0) problems.push('it holds no certificate in PEM or DER');
  return { certificates, problems };
}

/** PEM of one DER structure (RFC 7468 2), lines of 64, with a final line feed. */
export function toPem(der: Uint8Array, label = 'CERTIFICATE'): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
