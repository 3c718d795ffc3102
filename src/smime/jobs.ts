import type { KeyObject } from 'node:crypto';
import type { KeyTransport } from '../cms/encrypt.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import type { KeyType } from '../pki/certificate.ts';
import type { Findings, OpenRequest } from './open.ts';
import type { Phase } from './seal.ts';
import type { Wrapper } from './wrap.ts';

/** Whom a copy is for, by the SHA-256 of his certificate, and how the content key goes to him. */
export interface SealRecipient {
  readonly sha256: string;
  readonly transport: KeyTransport;
  /** What it takes is worth spreading over workers, see `isCostly`. */
  readonly costly?: boolean;
}

/** A member's certificate as far as sealing needs it: plain data, with the public key in its fast form. */
export interface SealKey {
  /** SHA-256 of the certificate. */
  readonly sha256: string;
  readonly issuerDer: Uint8Array;
  readonly serialDer: Uint8Array;
  /** Importing PKCS #1 takes 10 µs, SPKI 300 µs. */
  readonly publicKey: { readonly form: 'pkcs1' | 'spki'; readonly der: Uint8Array };
  readonly keyType: KeyType;
  readonly curve: string | null;
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
  | {
      readonly kind: 'address';
      readonly session: number;
      readonly recipients: readonly SealRecipient[];
      /** All of them get one copy. */
      readonly together: boolean;
      /** Keys that the worker asked for; null the first time. */
      readonly keys: readonly SealKey[] | null;
    }
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

/**
 * Heads in the recipients' order, or one head for all of them if they are to get one copy one after the other in one piece: a hundred objects that cross threads
 * one by one cost more than the key wraps in them. Or the certificates that the worker has not met yet.
 */
export type AddressAnswer =
  | { readonly needs: readonly string[] }
  | {
      readonly heads: Uint8Array;
      /** Where each head ends in `heads`. */
      readonly ends: Uint32Array;
      readonly phases: Uint8Array;
      /** By place: why a certificate could not be used. Its head is empty. */
      readonly unusable: ReadonlyMap<number, string>;
    };

/** What a worker answers, by kind of job. */
export interface Answers {
  readonly open: OpenAnswer;
  readonly seal: { readonly contentType: string };
  readonly address: AddressAnswer;
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
