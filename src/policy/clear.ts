import type { ListPolicy } from './settings.ts';

/**
 * The permission to let a post leave in clear. It can be had from `mayLeaveClear` only, and nothing but one makes
 * `flow/post/prepare` brand ClearBytes.
 */
export class ClearPermit {
  // A private member makes the class nominal: no other object fits.
  readonly #granted = true;

  private constructor() {
    Object.freeze(this);
  }

  /** For `mayLeaveClear`; ask that instead. */
  static decide(
    policy: Pick<ListPolicy, 'send.encrypt'>,
    post: { readonly receivedEncrypted: boolean },
  ): ClearPermit | null {
    if (post.receivedEncrypted) return null;
    if (policy['send.encrypt'] === 'always') return null;
    return new ClearPermit();
  }

  /** Whether a value is a permit, for code that got it as `unknown`. */
  static is(value: unknown): value is ClearPermit {
    return typeof value === 'object' && value !== null && #granted in value;
  }
}

/**
 * Whether copies of a post may leave in clear: never if any layer of it came encrypted, whatever the settings, and
 * never under `send.encrypt: always`. With a permit, `when-possible` still encrypts for each member who has a certificate.
 */
export const mayLeaveClear = ClearPermit.decide;
