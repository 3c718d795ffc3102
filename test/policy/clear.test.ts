import { describe, expect, it } from 'vitest';
import { ClearPermit, mayLeaveClear } from '../../src/policy/clear.ts';
import { listSettings } from '../../src/policy/settings.ts';
import { policyWith } from './policies.ts';

describe('mayLeaveClear', () => {
  it.each([
    ['as-received', false, true],
    ['when-possible', false, true],
    ['always', false, false],
    ['as-received', true, false],
    ['when-possible', true, false],
    ['always', true, false],
  ] as const)(
    'send.encrypt: %s, received encrypted: %s → permit: %s',
    (encrypt, receivedEncrypted, expected) => {
      const permit = mayLeaveClear(policyWith({ 'send.encrypt': encrypt }), { receivedEncrypted });
      expect(permit instanceof ClearPermit).toBe(expected);
      if (!expected) expect(permit).toBeNull();
    },
  );

  it('was asked about every value of send.encrypt', () => {
    expect(listSettings['send.encrypt'].kind.expected).toBe('one of as-received, always, when-possible');
  });

  it('is not forged by an object of its shape', () => {
    const permit = mayLeaveClear(policyWith(), { receivedEncrypted: false });
    expect(ClearPermit.is(permit)).toBe(true);
    for (const other of [null, true, {}, Object.create(ClearPermit.prototype)])
      expect(ClearPermit.is(other)).toBe(false);
  });
});
