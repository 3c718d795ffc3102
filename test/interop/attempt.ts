import { createHash } from 'node:crypto';
import { formatCapabilities, ownCapabilities } from '../../src/cms/capabilities.ts';
import { recipientOf } from '../../src/cms/encrypt.ts';
import { signOpaque } from '../../src/cms/sign.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import type { Layer } from '../../src/smime/layers.ts';
import { type OpenReport, openMessage } from '../../src/smime/open.ts';
import { startSealing } from '../../src/smime/seal.ts';
import { signEntity } from '../../src/smime/sign.ts';
import { readSigned } from '../cms/forge.ts';
import { decryptionKey } from '../cms/keys.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, cmsOf, headerOf, mailOf, splitSigned, textEntity } from '../kit/smime-mime.ts';
import { requestOf } from '../smime/messages.ts';
import type { EncryptStep, SignStep, Step } from './operations.ts';
import type { Peer } from './peers.ts';
import type { People } from './people.ts';

/** What became of a cell: it worked, or why it did not, in the words of who refused. */
export type Result = 'works' | { readonly because: string };

/** What is signed and encrypted. No blank at a line's end and no dot alone: those are SMTP's matter. */
export const entity = textEntity(
  'Dear friends,\n\nthe wedding is on Friday, at 10 o\u2019clock.\n\n-- \nAlice\n',
);

const mail = (from: string, to: string, inside: Buffer): Buffer =>
  mailOf(
    [
      ['From', from],
      ['To', to],
      ['Subject', 'interop'],
    ],
    inside,
  );

/** The other program wraps, reseal opens. */
export async function peerToReseal(peer: Peer, steps: readonly Step[], people: People): Promise<Result> {
  const { correspondents, lists } = people;
  return outcome(async () => {
    let inside = entity;
    for (const step of steps)
      inside =
        step.kind === 'sign'
          ? await peer.sign(inside, step, correspondents[step.key])
          : await peer.encrypt(inside, step, lists[step.key]);
    return opened(steps, people, inside);
  });
}

/** reseal wraps with what it signs and seals for its lists with, the other program opens. */
export async function resealToPeer(peer: Peer, steps: readonly Step[], people: People): Promise<Result> {
  const { correspondents, lists } = people;
  return outcome(async () => {
    const wrapped: Buffer[] = [entity];
    for (const step of steps) {
      const inside = wrapped.at(-1) ?? entity;
      wrapped.push(
        step.kind === 'sign'
          ? resealSigns(inside, step, lists[step.key])
          : resealSeals(inside, step, correspondents[step.key]),
      );
    }
    let inside = wrapped.pop() ?? entity;
    for (const step of [...steps].reverse()) {
      const to = correspondents[step.kind === 'encrypt' ? step.key : 'rsa'];
      const message = mail(lists[step.kind === 'sign' ? step.key : 'rsa'].address, to.address, inside);
      const content = await unwrapped(peer, step, message, to);
      const expected = wrapped.pop();
      if (expected === undefined || !content.equals(expected)) return { because: 'other octets came out' };
      inside = content;
    }
    return 'works';
  });
}

/** The other program's view of one wrapping: the content, or an Error with its words. */
async function unwrapped(peer: Peer, step: Step, message: Buffer, to: Identity): Promise<Buffer> {
  if (step.kind === 'encrypt') {
    const { ok, content, said } = await peer.decrypt(message, to);
    if (!ok) throw new Error(said);
    return content;
  }
  const { trusted, content, said } = await peer.verify(message);
  if (!trusted || content === null) throw new Error(said);
  return content;
}

/** multipart/signed as the list writes it; or opaque, as it signs what has bare line ends. */
export function resealSigns(inside: Buffer, step: SignStep, list: Identity): Buffer {
  const certificate = parseCertificate(list.certDer);
  const capabilities = formatCapabilities(ownCapabilities(certificate.keyType));
  const signer = { key: list.key, certificate, chain: [] };
  const at = Date.now();
  return step.form === 'opaque'
    ? cmsEntity(signOpaque(inside, { ...signer, at, capabilities }), 'signed-data')
    : signEntity(inside, signer, { at, boundary: '=_list', capabilities });
}

/** A member's copy: the fields that describe it, his own lines, then those that all copies share. */
export function resealSeals(inside: Buffer, step: EncryptStep, member: Identity): Buffer {
  const sealing = startSealing(inside, step.cipher);
  const { head, phase } = sealing.address(recipientOf(parseCertificate(member.certDer), step.transport));
  const lines = sealing.sharedLines(phase);
  sealing.dispose();
  const fields = [`Content-Type: ${sealing.contentType}`, 'Content-Transfer-Encoding: base64'];
  return Buffer.concat([Buffer.from(`${fields.join('\r\n')}\r\n\r\n`), head, lines]);
}

/** What reseal finds in a message of the correspondent's that holds `inside`. */
export function resealOpens(people: People, from: Identity, to: Identity, inside: Buffer): OpenReport {
  const keys = Object.values(people.lists).map(decryptionKey);
  const message = mail(from.address, to.address, inside);
  return openMessage(requestOf(message, { keys, anchors: [people.ca.certDer] }));
}

function opened(steps: readonly Step[], people: People, inside: Buffer): Result {
  const author = people.correspondents[authorKey(steps)];
  const report = resealOpens(people, author, people.lists.rsa, inside);
  const layers = report.layers.map(wordsOf).join(' in ');
  const expected = [...steps].reverse().map(expectedWords).join(' in ');
  if (layers !== expected) return { because: `not as asked: reseal finds ${layers}, not ${expected}` };
  const isSigned = steps.some((step) => step.kind === 'sign');
  const verdict = isSigned ? 'signed' : 'unsigned';
  if (report.verdict !== verdict || report.author !== (isSigned ? author.address : null))
    return { because: `reseal says ${report.verdict} by ${report.author}: ${report.reasons.join(' ')}` };
  if (report.contentSha256 !== createHash('sha256').update(entity).digest('hex'))
    return { because: 'other octets came out' };
  const passedOn = report.entity?.expose();
  const content = passedOn && steps[0]?.kind === 'sign' ? signedIn(passedOn) : passedOn;
  return content?.equals(entity) ? 'works' : { because: 'other octets came out' };
}

/** What is signed in the entity that reseal passes on, which keeps the author's signature around it. */
function signedIn(passedOn: Buffer): Buffer {
  if (headerOf(passedOn, 'Content-Type')?.startsWith('multipart/signed'))
    return splitSigned(passedOn).content;
  return Buffer.concat(readSigned(cmsOf(passedOn)).content ?? []);
}

const authorKey = (steps: readonly Step[]) => steps.find((step) => step.kind === 'sign')?.key ?? 'rsa';

const algorithms = {
  rsa: 'rsa-sha256',
  'rsa-pss': 'rsa-pss-sha256',
  p256: 'ecdsa-sha256',
  ed25519: 'ed25519',
} as const;

function expectedWords(step: Step): string {
  return step.kind === 'encrypt'
    ? `${step.cipher} by ${step.transport.replace('-sha256', '')}`
    : `${step.form} signature by ${algorithms[step.key]}`;
}

function wordsOf(layer: Layer): string {
  if (layer.kind === 'encrypted')
    return `${layer.cipher} by ${layer.keyTransport ?? (layer.keyAgreement ? 'ecdh' : 'nothing')}`;
  if (layer.kind === 'compressed') return 'compression';
  const [signer] = layer.signers;
  return `${layer.form} signature by ${signer?.algorithm}`;
}

async function outcome(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (problem) {
    return { because: problem instanceof Error ? problem.message : String(problem) };
  }
}
