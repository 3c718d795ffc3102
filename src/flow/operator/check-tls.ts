import { dayMs, dayOf } from '../../base/day.ts';
import { certificatesFromPem } from '../../pki/pem.ts';
import { type Finding, finding } from './check-files.ts';

const remedy = 'renew it, then let the daemon read it (SIGHUP, `systemctl reload`)';

/**
 * Whether the certificate of a listening socket (PEM, its chain after it) is valid, and stays so: a warning 30 days before
 * its end, a problem 7 days before it. Of one that is renewed more often, in the last third and the last tenth of its time.
 */
export function checkTlsCertificate(
  pem: Buffer,
  { about, now }: { readonly about: string; readonly now: number },
): Finding {
  const [certificate] = certificatesFromPem(pem).certificates;
  if (!certificate) return finding('good', about, 'certificate and key for TLS can be used');
  const { notBefore, notAfter } = certificate;
  const until = dayOf(notAfter);
  if (now > notAfter)
    return finding('problem', about, `its certificate expired on ${until}, so clients refuse TLS: ${remedy}`);
  if (now < notBefore)
    return finding(
      'problem',
      about,
      `its certificate is valid from ${dayOf(notBefore)} on only, so clients refuse TLS: look at the clock, or ${remedy}`,
    );
  const [time, left] = [notAfter - notBefore, notAfter - now];
  const days = Math.ceil(left / dayMs);
  const text = `its certificate expires on ${until}, in ${days === 1 ? 'a day' : `${days} days`}: ${remedy}`;
  if (left <= Math.min(7 * dayMs, time / 10)) return finding('problem', about, text);
  if (left <= Math.min(30 * dayMs, time / 3)) return finding('warning', about, text);
  return finding('good', about, `certificate and key for TLS can be used, until ${until}`);
}
