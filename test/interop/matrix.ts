import type { OperationName } from './operations.ts';
import type { PeerName } from './peers.ts';

/** What a cell of the matrix comes to. */
export type Outcome = 'works' | Cannot;

export interface Cannot {
  /** For people: why not. */
  readonly cannot: string;
  /** What the attempt must fail with, so that another failure is not taken for this one. */
  readonly said: RegExp;
  /** The program's version from which on it works. */
  readonly until?: string;
}

export const directions = ['peer to reseal', 'reseal to peer'] as const;
export type Direction = (typeof directions)[number];
export type Cell = Readonly<Record<Direction, Outcome>>;

const cannot = (reason: string, said: RegExp, until?: string): Cannot => ({
  cannot: reason,
  said,
  ...(until === undefined ? {} : { until }),
});
/** Both directions: what the program writes, what it reads. */
const cell = (writes: Outcome, reads: Outcome): Cell => ({
  'peer to reseal': writes,
  'reseal to peer': reads,
});
const works = 'works';
const both = cell(works, works);

const opensslEdDsa = cannot(
  'OpenSSL 3.0 has no Ed25519 in CMS',
  /eddsa_digest_signverify_init|invalid digest|add signer error/,
  '3.5',
);
const opensslXWrites = cannot('OpenSSL has no X25519 in CMS', /operation not supported for this keytype/);
const opensslXReads = cannot('OpenSSL has no X25519 in CMS', /no matching recipient/);

const nssPssWrites = cannot(
  'NSS writes RSASSA-PSS without its parameters (RFC 4056 3)',
  /reseal finds detached signature by 1\.2\.840\.113549\.1\.1\.10,/,
);
const nssPssReads = cannot('NSS does not verify RSASSA-PSS in CMS', /status=BadSignature/);
const nssEdWrites = cannot('NSS imports no Ed25519 key', /UNABLE_TO_IMPORT_KEY/);
const nssEdReads = cannot('NSS has no Ed25519 in CMS', /status=ProcessingError/);
const nssCipher = cannot(
  'cmsutil has no option for cipher and key transport: it takes AES-128-CBC and RSA v1.5',
  /not as asked: reseal finds aes-128-cbc by rsa,/,
);
const nssGcm = cannot('NSS has no AuthEnvelopedData', /SEC_ERROR_UNRECOGNIZED_OID/);
const nssOaep = cannot('NSS 3.87 reads no RSA-OAEP in CMS', /SEC_ERROR_UNSUPPORTED_KEYALG/, '3.110');
const nssEcWrites = cannot('NSS encrypts to no EC certificate', /SEC_ERROR_INVALID_ALGORITHM/);
const nssEcReads = cannot('NSS 3.87 reads no ECDH in CMS', /SEC_ERROR_BAD_DER/, '3.110');
const nssXWrites = cannot('NSS has no X25519 certificates', /SEC_ERROR_ADDING_CERT/);
const nssXReads = cannot('NSS has no X25519 certificates', /UNABLE_TO_IMPORT_KEY/);

const gpgsmImport = cannot('gpgsm 2.2 imports RSA keys only', /gpgsm does not import the key/);
const gpgsmCrash = cannot('gpgsm 2.2 crashes when an EC key is imported', /gpgsm crashes on the ec key/);
const gpgsmCrashReads: Cannot = { ...gpgsmCrash, until: '2.4.7' };
const gpgsmEdReads = cannot(
  'gpgsm does not verify Ed25519 in CMS',
  /BADSIG[\s\S]*invalid signature: Internal error/,
);
const gpgsmGcmWrites = cannot(
  'gpgsm has no AuthEnvelopedData: told to use GCM, it writes EnvelopedData, where GCM has no place (RFC 5084)',
  /not as asked: reseal finds aes-256-gcm by nothing,/,
);
const gpgsmGcmReads = cannot('gpgsm has no AuthEnvelopedData', /error getting IV: Buffer too short/);
const gpgsmOaepWrites = cannot(
  'gpgsm has no option for RSA-OAEP',
  /not as asked: reseal finds aes-256-cbc by rsa,/,
);
const gpgsmOaepReads = cannot('gpgsm reads no RSA-OAEP', /error getting encrypted session key/);
const gpgsmEcWrites = cannot(
  'gpgsm 2.2 takes no certificate whose usage is keyAgreement alone',
  /INV_RECP 3 [\s\S]*Wrong key usage/,
);

const javaGcmEcReads = cannot(
  'Bouncy Castle 1.72 has no AuthEnvelopedData for EC keys (no JceKeyAgreeAuthEnvelopedRecipient)',
  /ClassNotFoundException: org\.bouncycastle\.cms\.jcajce\.JceKeyAgreeAuthEnvelopedRecipient/,
);
const javaXWrites = cannot('Bouncy Castle 1.72 has no X25519 in CMS', /Unknown key agreement algorithm/);
const javaXReads = cannot(
  'Bouncy Castle 1.72 has no X25519 in CMS',
  /no such algorithm: 1\.2\.840\.113549\.1\.9\.16\.3\.19/,
);

const perlPss = cannot(
  'Crypt::SMIME signs with an RSA-PSS key but says rsaEncryption: the signature is broken',
  /not as asked: reseal finds detached signature by rsa-sha256,/,
);
const perlEd = cannot(
  'Crypt::SMIME is OpenSSL, which has no Ed25519 in CMS',
  /add signer error|invalid digest/,
);
const perlForm = cannot(
  'Crypt::SMIME writes detached signatures only',
  /not as asked: reseal finds detached signature by rsa-sha256,/,
);
const perlCipher = cannot(
  'Crypt::SMIME has no option for cipher and key transport: it takes AES-128-CBC and RSA v1.5 or ECDH',
  /not as asked: reseal finds aes-128-cbc by (rsa|ecdh),/,
);
const perlXWrites = cannot(
  'Crypt::SMIME is OpenSSL, which has no X25519 in CMS',
  /failed to encrypt the message/,
);
const perlXReads = cannot('Crypt::SMIME is OpenSSL, which has no X25519 in CMS', /no matching recipient/);

/** The matrix: each cell is run, also those that cannot work, which must fail as said. */
export const matrix: Readonly<Record<OperationName, Readonly<Record<PeerName, Cell>>>> = {
  'sign detached, RSA': {
    OpenSSL: both,
    NSS: both,
    gpgsm: both,
    'Bouncy Castle': both,
    'Crypt::SMIME': both,
  },
  'sign detached, RSA-PSS': {
    OpenSSL: both,
    NSS: cell(nssPssWrites, nssPssReads),
    gpgsm: cell(gpgsmImport, works),
    'Bouncy Castle': both,
    'Crypt::SMIME': cell(perlPss, works),
  },
  'sign detached, ECDSA P-256': {
    OpenSSL: both,
    NSS: both,
    gpgsm: cell(gpgsmCrash, works),
    'Bouncy Castle': both,
    'Crypt::SMIME': both,
  },
  'sign detached, Ed25519': {
    OpenSSL: cell(opensslEdDsa, opensslEdDsa),
    NSS: cell(nssEdWrites, nssEdReads),
    gpgsm: cell(gpgsmImport, gpgsmEdReads),
    'Bouncy Castle': both,
    'Crypt::SMIME': cell(perlEd, perlEd),
  },
  'sign opaque, RSA': {
    OpenSSL: both,
    NSS: both,
    gpgsm: both,
    'Bouncy Castle': both,
    'Crypt::SMIME': cell(perlForm, works),
  },
  'encrypt AES-128-CBC, RSA v1.5': {
    OpenSSL: both,
    NSS: both,
    gpgsm: both,
    'Bouncy Castle': both,
    'Crypt::SMIME': both,
  },
  'encrypt AES-256-CBC, RSA v1.5': {
    OpenSSL: both,
    NSS: cell(nssCipher, works),
    gpgsm: both,
    'Bouncy Castle': both,
    'Crypt::SMIME': cell(perlCipher, works),
  },
  'encrypt AES-256-GCM, RSA v1.5': {
    OpenSSL: both,
    NSS: cell(nssCipher, nssGcm),
    gpgsm: cell(gpgsmGcmWrites, gpgsmGcmReads),
    'Bouncy Castle': both,
    'Crypt::SMIME': cell(perlCipher, works),
  },
  'encrypt AES-256-CBC, RSA-OAEP': {
    OpenSSL: both,
    NSS: cell(nssCipher, nssOaep),
    gpgsm: cell(gpgsmOaepWrites, gpgsmOaepReads),
    'Bouncy Castle': both,
    'Crypt::SMIME': cell(perlCipher, works),
  },
  'encrypt AES-256-CBC, ECDH P-256': {
    OpenSSL: both,
    NSS: cell(nssEcWrites, nssEcReads),
    gpgsm: cell(gpgsmEcWrites, gpgsmCrashReads),
    'Bouncy Castle': both,
    'Crypt::SMIME': cell(perlCipher, works),
  },
  'encrypt AES-256-GCM, ECDH P-256': {
    OpenSSL: both,
    NSS: cell(nssEcWrites, nssGcm),
    gpgsm: cell(gpgsmEcWrites, gpgsmCrash),
    'Bouncy Castle': cell(works, javaGcmEcReads),
    'Crypt::SMIME': cell(perlCipher, works),
  },
  'encrypt AES-256-CBC, X25519': {
    OpenSSL: cell(opensslXWrites, opensslXReads),
    NSS: cell(nssXWrites, nssXReads),
    gpgsm: cell(gpgsmEcWrites, gpgsmImport),
    'Bouncy Castle': cell(javaXWrites, javaXReads),
    'Crypt::SMIME': cell(perlXWrites, perlXReads),
  },
  'sign, then encrypt': {
    OpenSSL: both,
    NSS: both,
    gpgsm: both,
    'Bouncy Castle': both,
    'Crypt::SMIME': both,
  },
  'triple wrap': {
    OpenSSL: both,
    NSS: both,
    gpgsm: both,
    'Bouncy Castle': both,
    'Crypt::SMIME': both,
  },
};

/** What a program says of a signature over other content. */
export const changedContent: Readonly<Record<PeerName, RegExp>> = {
  OpenSSL: /content verify error/,
  NSS: /status=DigestMismatch/,
  gpgsm: /\[GNUPG:\] BADSIG/,
  'Bouncy Castle': /message-digest attribute value does not match/,
  'Crypt::SMIME': /failed to check the signature/,
};

/** What it says of a good signature whose authority it does not know. */
export const unknownAuthority: Readonly<Record<PeerName, RegExp>> = {
  OpenSSL: /unable to get local issuer certificate/,
  NSS: /status=SigningCertNotTrusted/,
  gpgsm: /GOODSIG[\s\S]*TRUST_UNDEFINED/,
  'Bouncy Castle': /verify: true; path: .*No issuer certificate/,
  'Crypt::SMIME': /certificate verify error/,
};
