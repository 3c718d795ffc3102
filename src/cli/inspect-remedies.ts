import type { Reason } from '../pki/reasons.ts';

/**
 * What a postmaster can do about each reason, as `inspect` and `cert verify` say it and docs/inspect.md lists it: a
 * clause without a full stop.
 */
export const remedies: Readonly<Record<Reason, string>> = {
  // Certificates and paths.
  expired:
    'its owner gets a new certificate; `--at INSTANT` judges at the time when the message was received',
  'not-yet-valid':
    'look at the clock of this machine and at `--at`; else wait until the certificate is valid',
  'no-path':
    'if you trust the authority that issued it, give its certificate with `--ca FILE` (a list: `trust.cafile`); an intermediate one that is missing goes into `--certs` or `--untrusted`',
  'not-a-ca': 'the authority issues proper certificates; nothing signed under this one can be trusted',
  'path-too-long': 'the authority mends its chain of certificates',
  'wrong-usage': 'its owner gets a certificate for this use (signing or encryption)',
  'wrong-extended-usage': 'its owner gets a certificate for e-mail: one for servers does not do',
  'unknown-critical': 'its owner gets a certificate without this extension, or one from another authority',
  'name-constraint': 'its owner gets a certificate from an authority that may issue for this name',
  policy: 'its owner gets a certificate that was issued under the policy',
  'bad-certificate-signature':
    'somebody made it up, or it was damaged: get the certificate again from its owner or the authority',
  'certificate-malformed': 'get the certificate again from its owner or the authority',
  'path-budget': 'give fewer certificates: only the intermediate authorities that are needed',
  revoked: 'its owner gets a new certificate; until then nothing that it signs is believed',
  'crl-missing': 'give the current revocation list of the authority that issued it with `--crl FILE`',
  'crl-expired':
    'fetch the revocation list of the authority again, or judge at an earlier instant with `--at`',
  'crl-invalid': "fetch the revocation list from the authority's own address",
  'not-checked': 'give revocation lists with `--crl FILE` to have it checked',
  // Strength.
  weak: 'see the other reasons; `--allow-weak` shows what the verdict would be without this one',
  'weak-digest': 'the author lets his mail program sign with SHA-256',
  'weak-key': 'its owner gets a certificate with a stronger key (RSA of 2048 bits or more, or P-256)',
  'weak-cipher': 'the author lets his mail program encrypt with AES',
  // One signature.
  'bad-signature':
    'look for what changed the message on its way (a gateway, a footer, an archive); else it is forged',
  'bad-digest':
    'look for what changed the message on its way (a gateway, a footer, an archive); else it is forged',
  'content-type-mismatch': 'the message was put together by hand or by a broken program: do not believe it',
  'missing-attribute': 'the author uses another mail program; until then do not believe it',
  'duplicate-attribute': 'the message was put together by hand or by a broken program: do not believe it',
  'certificate-binding': 'somebody exchanged the certificate: do not believe it',
  'signer-unknown': "give the signer's certificate with `--certs DIR`",
  'no-signers': 'the author sends it again, signed',
  'content-beside-detached': 'somebody tries to show another text than was signed: do not believe it',
  unsupported: 'the author chooses usual cryptography: AES, and RSA or an EC key',
  // Whose signature.
  'no-address': 'its owner gets a certificate that names his address',
  'no-address-match': 'the author uses the address that his certificate names, or gets one for this address',
  'signed-by-sender': 'who signs must be who stands in From',
  'two-from': 'the author sends it again with one address in From',
  'header-mismatch':
    'somebody changed the outer header, or sends what another person signed: do not believe it',
  stale: 'the author sends it again with a fresh signature',
  future: "the author sets his computer's clock and sends it again",
  // Opening.
  'outer-only': 'the author signs first and encrypts then, so that the signature is inside',
  'decrypt-failed':
    'the message was damaged, or was made for another key: compare the certificate that the author encrypts to',
  'no-recipient': 'give the key that it is encrypted to with `--key FILE --cert FILE`',
  malformed: 'get the message as it was sent: many programs damage what they save or forward',
  budget: 'nothing that people send is so: look at who sent it (the limits are in docs/inspect.md)',
};
