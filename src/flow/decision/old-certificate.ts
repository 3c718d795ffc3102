import { parseCertificate } from '../../pki/certificate.ts';
import { validatePath } from '../../pki/path.ts';
import { chooseAlgorithms } from '../../smime/choose.ts';
import { capabilitiesOf, inUse } from '../../store/certificates.ts';
import { readCapabilities } from '../certificates/certificate-facts.ts';
import { sealKeyOf } from '../certificates/seal-keys.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { Notice } from '../mail/notify.ts';
import type { FlowParts } from './posting-work.ts';

/**
 * How to encrypt to the certificate that the address used so far, expired or not: its key is what counts. Null if there
 * is none, if nothing can be encrypted to it, or if it was revoked: then another may have the key.
 */
export async function oldCertificate(
  parts: FlowParts,
  list: ListContext,
  address: string,
): Promise<{ sha256: string; sealFor: NonNullable<Notice['sealFor']> } | null> {
  const { q } = parts.database;
  const row = await inUse(q, address, 'enc');
  if (!row?.mayEncrypt) return null;
  const certificate = parseCertificate(row.der);
  const anchors = await parts.keyring.anchorsOf(list);
  const revocation = await parts.revocation.policyOf(list, await parts.revocation.answersAbout([row.sha256]));
  // Of an expired one the path fails for that alone; what is said about its revocation is heard all the same.
  const at = Math.min(parts.clock.now(), row.notAfter);
  const path = validatePath(certificate, {
    anchors,
    intermediates: await parts.intermediates(certificate),
    at,
    purpose: 'encrypt',
    floor: list.floor,
    revocation,
  });
  if (path.reasons.includes('revoked')) return null;
  const signed = await capabilitiesOf(q, row.spkiSha256);
  const capabilities = readCapabilities(signed?.der ?? certificate.smimeCapabilities);
  const unknown = list.policy['send.cipher'];
  const choice = chooseAlgorithms(certificate, capabilities, {}, { unknown, receivedBits: 0 });
  if (!choice) return null;
  const { sha256 } = row;
  const recipient = { sha256, transport: choice.keyTransport };
  const key = sealKeyOf(row, certificate);
  return { sha256, sealFor: { recipient, key, cipher: choice.cipher } };
}
