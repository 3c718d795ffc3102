import type { KeyObject } from 'node:crypto';
import type { KeyTransport } from '../cms/encrypt.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import type { KeyType } from '../pki/certificate.ts';
import type { Findings, OpenRequest } from './open.ts';
import type { Phase } from './seal.ts';
import type { Wrapper } from './wrap.ts';

/** A member's certificate as far as sealing needs it: plain data, with the public key in its fast form. */
export interface SealRecipient {
  /** SHA-256 of the certificate; the key cache's key. */
  readonly sha256: string;
  readonly issuerDer: Uint8Array;
  readonly serialDer: Uint8Array;
  /** Importing PKCS #1 takes 10 µs, SPKI 300 µs. */
  readonly publicKey: { readonly form: 'pkcs1' | 'spki'; readonly der: Uint8Array };
  readonly keyType: KeyType;
  readonly curve: string | null;
  readonly transport: KeyTransport;
}

/** What a crypto worker is asked. Everything crosses threads: bytes, codes, KeyObjects. */
export type Job =
  | { readonly kind: 'open'; readonly request: OpenRequest }
  | {
      readonly kind: 'seal';
      readonly session: number;
      readonly entity: Uint8Array;
      readonly cipher: ContentCipher;
    }
  | { readonly kind: 'address'; readonly session: number; readonly recipients: readonly SealRecipient[] }
  | { readonly kind: 'lines'; readonly session: number; readonly phase: Phase }
  | { readonly kind: 'end'; readonly session: number }
  | {
      readonly kind: 'sign';
      readonly entity: Uint8Array;
      readonly signer: SignerData;
      readonly boundary: string;
      readonly at: number;
      readonly wrapper: Wrapper | null;
    };

export interface SignerData {
  readonly key: KeyObject;
  readonly certificate: Uint8Array;
  readonly chain: readonly Uint8Array[];
  /** The certificate to encrypt answers to, if it is another one. */
  readonly encryption?: Uint8Array;
}

/** An OpenReport whose entity crosses as bytes and becomes Plaintext again on the other side. */
export type OpenAnswer = Findings & { readonly entity: Uint8Array | null };

/** One address's result: the member's own head, or why his certificate could not be used. */
export type Addressed = { readonly head: Uint8Array; readonly phase: Phase } | { readonly unusable: string };

/** What a worker answers, by kind of job. */
export interface Answers {
  readonly open: OpenAnswer;
  readonly seal: { readonly contentType: string };
  readonly address: readonly Addressed[];
  readonly lines: Uint8Array;
  readonly end: null;
  readonly sign: Uint8Array;
}

export interface Question {
  readonly id: number;
  readonly job: Job;
}

export type Reply =
  | { readonly id: number; readonly answer: Answers[keyof Answers] }
  | { readonly id: number; readonly fault: { readonly code: string; readonly message: string } };
