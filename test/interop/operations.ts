import type { Key } from './people.ts';

/** One wrapping. `key` is the kind of the signer's or the recipient's key. */
export type Step = SignStep | EncryptStep;

export interface SignStep {
  readonly kind: 'sign';
  readonly form: 'detached' | 'opaque';
  readonly key: Exclude<Key, 'x25519'>;
}

export interface EncryptStep {
  readonly kind: 'encrypt';
  readonly cipher: 'aes-128-cbc' | 'aes-256-cbc' | 'aes-256-gcm';
  readonly transport: 'rsa' | 'rsa-oaep-sha256' | 'ecdh';
  readonly key: Extract<Key, 'rsa' | 'p256' | 'x25519'>;
}

const sign = (form: SignStep['form'], key: SignStep['key']): SignStep => ({ kind: 'sign', form, key });
const encrypt = (
  cipher: EncryptStep['cipher'],
  transport: EncryptStep['transport'],
  key: EncryptStep['key'] = 'rsa',
): EncryptStep => ({ kind: 'encrypt', cipher, transport, key });

/** What is tried with every program in both directions: the wrappings from inside out. */
export const operations = {
  'sign detached, RSA': [sign('detached', 'rsa')],
  'sign detached, RSA-PSS': [sign('detached', 'rsa-pss')],
  'sign detached, ECDSA P-256': [sign('detached', 'p256')],
  'sign detached, Ed25519': [sign('detached', 'ed25519')],
  'sign opaque, RSA': [sign('opaque', 'rsa')],
  'encrypt AES-128-CBC, RSA v1.5': [encrypt('aes-128-cbc', 'rsa')],
  'encrypt AES-256-CBC, RSA v1.5': [encrypt('aes-256-cbc', 'rsa')],
  'encrypt AES-256-GCM, RSA v1.5': [encrypt('aes-256-gcm', 'rsa')],
  'encrypt AES-256-CBC, RSA-OAEP': [encrypt('aes-256-cbc', 'rsa-oaep-sha256')],
  'encrypt AES-256-CBC, ECDH P-256': [encrypt('aes-256-cbc', 'ecdh', 'p256')],
  'encrypt AES-256-GCM, ECDH P-256': [encrypt('aes-256-gcm', 'ecdh', 'p256')],
  'encrypt AES-256-CBC, X25519': [encrypt('aes-256-cbc', 'ecdh', 'x25519')],
  // AES-128-CBC, for some programs can write nothing else.
  'sign, then encrypt': [sign('detached', 'rsa'), encrypt('aes-128-cbc', 'rsa')],
  'triple wrap': [sign('detached', 'rsa'), encrypt('aes-128-cbc', 'rsa'), sign('detached', 'rsa')],
} as const satisfies Record<string, readonly Step[]>;

export type OperationName = keyof typeof operations;
export const operationNames = Object.keys(operations) as readonly OperationName[];
