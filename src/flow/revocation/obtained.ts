import type { Certificate } from '../../pki/certificate.ts';
import type { Crl } from '../../pki/crl.ts';
import type { Fetched } from './fetch-wanted.ts';

/** What came for one judgement beside what was known; nothing of it is believed. */
export interface Obtained {
  /** `url` null: it came with mail. */
  readonly crls: readonly { readonly crl: Crl; readonly url: string | null }[];
  readonly answers: readonly {
    /** SHA-256 of the certificate that it speaks of. */
    readonly certificate: string;
    readonly der: Uint8Array;
    /** Null if it was kept already. */
    readonly url: string | null;
  }[];
  readonly issuers: readonly Certificate[];
}

/** What every judgement begins with. */
export const nothingObtained: Obtained = { crls: [], answers: [], issuers: [] };

/** What of it is not there yet. */
export function without(obtained: Obtained, before: Obtained): Obtained {
  return {
    crls: obtained.crls.filter(({ crl }) => !before.crls.some((one) => one.crl.sha256 === crl.sha256)),
    answers: obtained.answers.filter(({ url, certificate }) =>
      before.answers.every((one) => one.url !== url || one.certificate !== certificate),
    ),
    issuers: obtained.issuers.filter(({ sha256 }) => !before.issuers.some((one) => one.sha256 === sha256)),
  };
}

/** One fetched thing as what it adds. */
export function obtainedFrom(fetched: Fetched): Obtained {
  switch (fetched.kind) {
    case 'crl':
      return { ...nothingObtained, crls: [fetched] };
    case 'ocsp':
      return { ...nothingObtained, answers: [fetched] };
    case 'issuer':
      return { ...nothingObtained, issuers: fetched.certificates };
  }
}

/** Both together. */
export function merged(a: Obtained, b: Obtained): Obtained {
  return {
    crls: [...a.crls, ...b.crls],
    answers: [...a.answers, ...b.answers],
    issuers: [...a.issuers, ...b.issuers],
  };
}

/** Whether nothing came. */
export function isNothing({ crls, answers, issuers }: Obtained): boolean {
  return crls.length + answers.length + issuers.length === 0;
}
