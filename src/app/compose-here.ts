import { randomBytes } from 'node:crypto';
import type { Compose } from '../flow/mail/notify.ts';
import { signAs } from '../smime/sign-job.ts';
import { openComposer } from './open-composer.ts';
import type { OpenSite } from './open-site.ts';

/** For commands that have a mail to send: composes and signs it in this process, without crypto workers. */
export function composeHere(base: OpenSite): Compose {
  return openComposer(base, {
    workers: {
      sign: async (entity, signer, d) => signAs(signer, Buffer.from(entity), d),
      seal: () => Promise.reject(new Error('no command sends encrypted mail')),
    },
    unique: () => randomBytes(12).toString('hex'),
  });
}
