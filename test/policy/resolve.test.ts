import { describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { floorOf } from '../../src/policy/floor.ts';
import { profiles } from '../../src/policy/profiles.ts';
import { remarksOn } from '../../src/policy/remarks.ts';
import { resolvePolicy } from '../../src/policy/resolve.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import { trustOf } from '../../src/policy/trust.ts';
import { policyWith } from './policies.ts';

describe('resolvePolicy', () => {
  it.each<[string, Partial<ListPolicy>, string | null, Partial<ListPolicy>, string, string]>([
    ['default', {}, null, {}, 'optional', 'default'],
    ['site', { 'accept.signature': 'required' }, null, {}, 'required', 'site'],
    ['profile', {}, 'confidential', {}, 'required', 'profile'],
    ['profile over site', { 'accept.signature': 'optional' }, 'confidential', {}, 'required', 'profile'],
    [
      'site where the profile is silent',
      { 'accept.signature': 'required' },
      'discussion',
      {},
      'required',
      'site',
    ],
    [
      'list over all',
      { 'accept.signature': 'required' },
      'confidential',
      { 'accept.signature': 'optional' },
      'optional',
      'list',
    ],
    ['the same as the default, but set', {}, null, { 'accept.signature': 'optional' }, 'optional', 'list'],
  ])('%s', (_, site, profile, list, value, origin) => {
    const resolved = resolvePolicy({ site, profile, list });
    expect(resolved.policy['accept.signature']).toBe(value);
    expect(resolved.origin['accept.signature']).toBe(origin);
  });

  it('takes an absent value of the list for not set', () => {
    const { policy, origin } = resolvePolicy({
      site: { 'accept.max-size': 4096 },
      profile: null,
      list: { 'accept.max-size': null },
    });
    expect([policy['accept.max-size'], origin['accept.max-size']]).toEqual([4096, 'site']);
  });

  it('gives a frozen value', () => {
    const resolved = resolvePolicy({ site: {}, profile: null, list: {} });
    expect(Object.isFrozen(resolved.policy)).toBe(true);
    expect(Object.isFrozen(resolved.origin)).toBe(true);
  });

  it.each(['secret', '', 'constructor'])('refuses the unknown profile %j', (profile) => {
    expect(() => resolvePolicy({ site: {}, profile, list: {} })).toThrow(
      /no profile .* discussion, confidential, announce/,
    );
  });

  it.each(Object.entries(profiles))('the profile %s contradicts nothing', (name) => {
    expect(remarksOn(policyWith({}, name)).filter((remark) => remark.grave)).toEqual([]);
  });

  it('confidential asks for signature and encryption and sends encrypted only', () => {
    expect(policyWith({}, 'confidential')).toMatchObject({
      'accept.signature': 'required',
      'accept.encryption': 'required',
      'send.encrypt': 'always',
      'send.sign': 'notices',
      'harvest.first': 'owner',
    });
  });

  it('announce lets moderators post, who must sign, and signs everything', () => {
    expect(policyWith({}, 'announce')).toMatchObject({
      'accept.signature': 'required',
      'accept.from': 'moderators',
      'send.sign': 'always',
      'send.encrypt': 'when-possible',
    });
  });
});

describe('remarksOn', () => {
  const day = 86_400_000;
  it('has nothing against the defaults', () => expect(remarksOn(policyWith())).toEqual([]));

  it.each<[Partial<ListPolicy>, boolean, RegExp]>([
    [{ 'send.cipher': 'aes-128-gcm', 'minimum.cipher': 256 }, true, /weaker than minimum.cipher/],
    [
      { 'accept.signature': 'required', 'accept.encrypted-unsigned': 'allow' },
      true,
      /contradicts accept.signature/,
    ],
    [{ 'replay.days': 3, 'accept.max-age': 3 * day }, true, /forgotten while it is still accepted/],
    [{ 'send.sign': 'always' }, false, /show badly/],
    [{ 'send.sign': 'unsigned' }, false, /the list in From/],
    [{ 'send.sign': 'never' }, false, /unsigned/],
    [{ harvest: 'verified' }, false, /at once/],
    [{ 'accept.encrypted-unsigned': 'allow' }, false, /captured/],
    [{ 'minimum.rsa': 2047 }, false, /RFC 8551/],
    [{ 'minimum.digest': 'sha1' }, false, /RFC 8551/],
    [{ 'minimum.cipher': 112 }, false, /RFC 8551/],
    [{ revocation: 'off' }, false, /their authority has revoked/],
    [{ 'missing.action': 'drop' }, false, /unaware/],
    [{ 'bounce.action': 'suspend' }, false, /forge a member out/],
  ])('%j', (list, grave, text) => {
    const found = remarksOn(policyWith(list)).find((remark) => text.test(remark.text));
    expect(found?.grave).toBe(grave);
    for (const name of Object.keys(list)) if (grave) expect(found?.settings).toContain(name);
  });

  it('lets the memory of signatures be as long as they are accepted', () => {
    for (const maxAge of [day, 3 * day - 3_600_000]) {
      expect(remarksOn(policyWith({ 'replay.days': 3, 'accept.max-age': maxAge }))).toEqual([]);
    }
  });
});

describe('floorOf', () => {
  it('is the default floor of pki by default', () => expect(floorOf(policyWith())).toEqual(defaultFloor));

  it('follows minimum.*', () => {
    const list = { 'minimum.rsa': 3072, 'minimum.digest': 'sha384', 'minimum.cipher': 256 } as const;
    expect(floorOf(policyWith(list))).toMatchObject({ rsaBits: 3072, digest: 'sha384', cipherBits: 256 });
  });

  it('goes on calling weak things weak under weak.action: mark', () => {
    expect(floorOf(policyWith({ 'weak.action': 'mark' })).allowWeak).toBe(false);
  });
});

describe('trustOf', () => {
  const anchors = { cafile: '/site.pem', capath: '/site' };
  const crls = { crlfile: '/site.crl', crlpath: '/crls' };
  it.each<[Partial<ListPolicy>, object]>([
    [{}, { ...anchors, ...crls }],
    [{ 'trust.cafile': '/own.pem' }, { cafile: '/own.pem', capath: null, ...crls }],
    [{ 'trust.capath': '/own' }, { cafile: null, capath: '/own', ...crls }],
    [{ 'trust.crlfile': '/own.crl' }, { ...anchors, crlfile: '/own.crl', crlpath: null }],
    [{ 'trust.crlpath': '/own' }, { ...anchors, crlfile: null, crlpath: '/own' }],
  ])('%j never mixes the list and the site', (list, expected) => {
    expect(trustOf(policyWith(list), { ...anchors, ...crls })).toEqual(expected);
  });
});
