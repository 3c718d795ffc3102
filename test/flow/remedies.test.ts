import { describe, expect, it } from 'vitest';
import { remedyForPosting } from '../../src/flow/operator/remedies.ts';

describe('what would change a posting', () => {
  const held = {
    id: 7,
    messageId: 'm',
    list: 'team@lists.example',
    state: 'held',
    reason: 'encrypted-unsigned',
    flaws: [],
    isJudgeable: true,
  } as const;
  it.each<[readonly string[], RegExp]>([
    [['crl-expired'], /refuse 7`; or the newest revocation list .* comes into trust\.crlfile/],
    [['crl-missing'], /; or a current revocation list .*, or the list sets revocation: soft/],
    [['revoked'], /; or the author gets a new certificate/],
    [[], /^a moderator decides: `reseal queue release 7` or `reseal queue refuse 7`$/],
  ])('held for %j', (reasons, text) => expect(remedyForPosting({ ...held, reasons })).toMatch(text));
});
