import type { DecryptionKey } from '../../src/cms/enveloped-data.ts';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { revocationOff } from '../../src/pki/revocation.ts';
import type { Layer } from '../../src/smime/layers.ts';
import { type OpenReport, type OpenRequest, openMessage } from '../../src/smime/open.ts';
import { decryptionKey } from '../cms/keys.ts';
import { cmsEncrypt, cmsSign, type EncryptOptions, type SignOptions } from '../kit/openssl.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { cmsEntity, type Headers, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';

// Messages in layers, made by openssl, and what our engine says of them in a few words.

export const text = 'Dear friends,\n\nthe wedding is on Friday.\n';
export const plain = textEntity(text);

export interface People {
  readonly ca: TestCa;
  readonly alice: Identity;
  readonly mallory: Identity;
  readonly list: Identity;
}

/** An authority, a member, another person whom the same authority knows, and a list. */
export async function makePeople(): Promise<People> {
  const ca = await makeCa();
  const [alice, mallory, list] = await Promise.all([
    ca.issue({ name: 'Alice', address: 'alice@example.org' }),
    ca.issue({ name: 'Mallory', address: 'mallory@evil.example' }),
    ca.issue({ name: 'Team', address: 'team@lists.example' }),
  ]);
  return { ca, alice, mallory, list };
}

export async function signed(who: Identity, entity: Buffer, o: SignOptions = {}): Promise<Buffer> {
  return signedEntity(entity, await cmsSign(who, entity, o));
}

export async function opaque(who: Identity, entity: Buffer, o: SignOptions = {}): Promise<Buffer> {
  return cmsEntity(await cmsSign(who, entity, { ...o, opaque: true }), 'signed-data');
}

export async function encrypted(to: Identity, entity: Buffer, o: EncryptOptions = {}): Promise<Buffer> {
  const type = o.cipher?.endsWith('gcm') ? 'authEnveloped-data' : 'enveloped-data';
  return cmsEntity(await cmsEncrypt([to], entity, o), type);
}

export const from = (address: string, more: Headers = []): Headers => [
  ['From', address],
  ['To', 'team@lists.example'],
  ['Subject', 'outer'],
  ...more,
];

export interface Opening extends Partial<Omit<OpenRequest, 'message' | 'keys'>> {
  readonly keys?: readonly DecryptionKey[];
}

/** A request that knows nobody and looks nowhere: every test says what it wants besides. */
export const requestOf = (
  message: Uint8Array,
  o: Partial<Omit<OpenRequest, 'message'>> = {},
): OpenRequest => ({
  message,
  keys: [],
  anchors: [],
  known: [],
  pins: [],
  at: Date.now(),
  floor: defaultFloor,
  openedSize: 1_000_000,
  revocation: revocationOff,
  ...o,
});

/** Opens with the list's key and the authority of `people`. */
export function open(people: People, message: Buffer, o: Opening = {}): OpenReport {
  const known = { keys: [decryptionKey(people.list)], anchors: [people.ca.certDer] };
  return openMessage(requestOf(message, { ...known, ...o }));
}

/** The same for an entity with From Alice around it. */
export const openEntity = (people: People, entity: Buffer, o: Opening = {}): OpenReport =>
  open(people, mailOf(from(people.alice.address), entity), o);

/** `encrypted`, `locked`, `signed`, `broken`: the layers from outside in. */
export const layersOf = ({ layers }: Pick<OpenReport, 'layers'>): string =>
  layers.map(wordOf).join(' ') || 'none';

function wordOf(layer: Layer): string {
  if (layer.kind === 'encrypted') return layer.opened ? 'encrypted' : 'locked';
  if (layer.kind === 'compressed') return layer.opened ? 'compressed' : 'squeezed';
  return layer.signers.length > 0 && layer.signers.every((signer) => signer.intact) ? layer.form : 'broken';
}

/** What the entity to pass on holds. */
export const shown = (report: OpenReport): string | null =>
  report.entity?.expose().toString('latin1') ?? null;
