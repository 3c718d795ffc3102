import { hasBouncyCastle, makeBouncyCastle } from '../kit/bouncy-castle.ts';
import { type DecryptionVerdict, runProgram, type SignatureVerdict } from '../kit/client.ts';
import {
  hasCryptSmime,
  perlDecrypt,
  perlEncrypt,
  perlSign,
  perlVerify,
  perlVersion,
} from '../kit/crypt-smime.ts';
import { type Gpgsm, makeGpgsm } from '../kit/gpgsm.ts';
import { hasProgram } from '../kit/needs.ts';
import { makeNss, type Nss } from '../kit/nss.ts';
import { smimeDecrypt, smimeEncrypt, smimeSign, smimeVerify } from '../kit/openssl-smime.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, cmsOf, headerOf, signedEntity, splitSigned } from '../kit/smime-mime.ts';
import type { EncryptStep, SignStep } from './operations.ts';
import type { People } from './people.ts';

/**
 * Another S/MIME program, in terms of MIME entities: what it makes is an entity, what it reads is an entity with header
 * fields around it. A program that knows only CMS gets its MIME from the kit. What it cannot do throws with its words.
 */
export interface Peer {
  readonly version: string;
  sign(entity: Buffer, how: SignStep, signer: Identity): Promise<Buffer>;
  encrypt(entity: Buffer, how: EncryptStep, recipient: Identity): Promise<Buffer>;
  /** `content`: the entity that was signed. */
  verify(message: Buffer): Promise<SignatureVerdict>;
  decrypt(message: Buffer, recipient: Identity): Promise<DecryptionVerdict>;
  close?(): Promise<void>;
}

interface PeerMaker {
  /** The program, and how the Debian packages are called. */
  readonly what: string;
  readonly present: () => boolean;
  readonly make: (people: People) => Promise<Peer>;
}

/** The programs of the matrix, in the order of its columns. */
export const peers = {
  OpenSSL: {
    what: 'openssl',
    present: () => hasProgram('openssl'),
    make: makeOpenssl,
  },
  NSS: {
    what: 'cmsutil, certutil, pk12util and modutil (libnss3-tools)',
    present: () => ['cmsutil', 'certutil', 'pk12util', 'modutil'].every(hasProgram),
    make: makeNssPeer,
  },
  gpgsm: { what: 'gpgsm', present: () => hasProgram('gpgsm'), make: makeGpgsmPeer },
  'Bouncy Castle': {
    what: 'Bouncy Castle and a JDK (libbcmail-java, default-jdk-headless)',
    present: hasBouncyCastle,
    make: makeBouncyCastlePeer,
  },
  'Crypt::SMIME': {
    what: "Perl's Crypt::SMIME (libcrypt-smime-perl)",
    present: hasCryptSmime,
    make: makeCryptSmimePeer,
  },
} as const satisfies Record<string, PeerMaker>;

export type PeerName = keyof typeof peers;
export const peerNames = Object.keys(peers) as readonly PeerName[];

async function makeOpenssl({ ca }: People): Promise<Peer> {
  return {
    version: await versionOf('openssl', ['version'], /OpenSSL (\S+)/),
    sign: (entity, { form }, signer) => smimeSign(signer, entity, { opaque: form === 'opaque' }),
    encrypt: (entity, { cipher, transport }, recipient) =>
      smimeEncrypt(recipient, entity, {
        cipher,
        ...(transport === 'rsa-oaep-sha256' ? { oaep: 'sha256' } : {}),
      }),
    verify: (message) => smimeVerify(ca, message),
    decrypt: (message, recipient) => smimeDecrypt(recipient, message),
  };
}

async function makeNssPeer(people: People): Promise<Peer> {
  const { ca, correspondents, lists } = people;
  const client = await oneForEach(people, (who) => makeNss([ca], [who]));
  const reader = await makeNss([ca]);
  await reader.addRecipient(lists.rsa);
  return {
    version: await reader.version(),
    sign: async (entity, { form }, signer) => {
      const opaque = form === 'opaque';
      return asSigned(entity, await (await client(signer)).sign(signer, entity, { opaque }), opaque);
    },
    // It has no option for the cipher nor for OAEP.
    encrypt: async (entity, _how, recipient) => {
      const sender = await client(correspondents.rsa);
      await sender.addRecipient(recipient);
      return cmsEntity(await sender.encrypt([recipient.address], entity), 'enveloped-data');
    },
    verify: (message) => verifyCms(reader, message),
    decrypt: async (message, recipient) => (await client(recipient)).decrypt(cmsOf(message)),
  };
}

const gpgsmCiphers = {
  'aes-128-cbc': 'AES',
  'aes-256-cbc': 'AES256',
  'aes-256-gcm': '2.16.840.1.101.3.4.1.46',
} as const;

async function makeGpgsmPeer(people: People): Promise<Peer> {
  const { ca, lists } = people;
  const made: Gpgsm[] = [];
  const remember = async (making: Promise<Gpgsm>) => {
    const one = await making;
    made.push(one);
    return one;
  };
  const client = await oneForEach(people, (who) => remember(makeGpgsm([ca], [who])));
  const reader = await remember(makeGpgsm([ca]));
  await reader.addRecipient(lists.rsa);
  return {
    version: await versionOf('gpgsm', ['--version'], /GnuPG\) (\S+)/),
    sign: async (entity, { form }, signer) => {
      const opaque = form === 'opaque';
      return asSigned(entity, await (await client(signer)).sign(signer, entity, { opaque }), opaque);
    },
    encrypt: async (entity, { cipher }, recipient) => {
      await reader.addRecipient(recipient);
      const der = await reader.encrypt([recipient.address], entity, { cipher: gpgsmCiphers[cipher] });
      return cmsEntity(der, 'enveloped-data');
    },
    verify: (message) => verifyCms(reader, message),
    decrypt: async (message, recipient) => (await client(recipient)).decrypt(cmsOf(message)),
    close: async () => void (await Promise.all(made.map((one) => one.close()))),
  };
}

const jcaAlgorithms = {
  rsa: 'SHA256withRSA',
  'rsa-pss': 'SHA256withRSAandMGF1',
  p256: 'SHA256withECDSA',
  ed25519: 'Ed25519',
} as const;

async function makeBouncyCastlePeer({ ca }: People): Promise<Peer> {
  const java = await makeBouncyCastle();
  return {
    version: await java.version(),
    sign: (entity, { form, key }, signer) =>
      java.sign(signer, jcaAlgorithms[key], entity, { opaque: form === 'opaque' }),
    encrypt: async (entity, { cipher, transport }, recipient) =>
      cmsEntity(
        await java.encrypt(recipient, entity, { cipher, transport }),
        cipher.endsWith('gcm') ? 'authEnveloped-data' : 'enveloped-data',
      ),
    verify: (message) => java.verify(ca, message),
    decrypt: (message, recipient) => java.decrypt(recipient, cmsOf(message)),
    close: () => java.close(),
  };
}

async function makeCryptSmimePeer({ ca }: People): Promise<Peer> {
  return {
    version: await perlVersion(),
    // It has no choice of form, cipher or key transport.
    sign: (entity, _how, signer) => perlSign(signer, entity),
    encrypt: (entity, _how, recipient) => perlEncrypt(recipient, entity),
    verify: (message) => perlVerify(ca, message),
    decrypt: (message, recipient) => perlDecrypt(recipient, message),
  };
}

/**
 * A client for each correspondent, in a database of his own: some programs fail on some kinds of key. All are made here,
 * not within a test, for they live in temporary folders; one that could not be made rejects when it is asked for.
 */
async function oneForEach<Client>(
  { correspondents }: People,
  make: (who: Identity) => Promise<Client>,
): Promise<(who: Identity) => Promise<Client>> {
  const clients = new Map(Object.values(correspondents).map((who) => [who, make(who)]));
  await Promise.allSettled(clients.values());
  return (who) => clients.get(who) ?? Promise.reject(new Error(`${who.name} has no client`));
}

const asSigned = (entity: Buffer, der: Buffer, opaque: boolean): Buffer =>
  opaque ? cmsEntity(der, 'signed-data') : signedEntity(entity, der);

async function verifyCms(client: Nss | Gpgsm, message: Buffer): Promise<SignatureVerdict> {
  if (!headerOf(message, 'Content-Type')?.startsWith('multipart/signed'))
    return client.verify(cmsOf(message), null);
  const { content, signatureDer } = splitSigned(message);
  return { ...(await client.verify(signatureDer, content)), content };
}

async function versionOf(program: string, args: readonly string[], pattern: RegExp): Promise<string> {
  const { stdout, stderr } = await runProgram(program, args);
  const [, version] = pattern.exec(`${stdout}${stderr}`) ?? [];
  if (version === undefined) throw new Error(`${program} does not tell its version`);
  return version;
}
