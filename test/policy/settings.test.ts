import { describe, expect, expectTypeOf, it } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import { readValue, type Setting } from '../../src/policy/setting.ts';
import {
  formatSetting,
  type ListPolicy,
  listSettings,
  parseSetting,
  parseSettings,
  type SettingName,
  settingNames,
} from '../../src/policy/settings.ts';
import { policyWith } from './policies.ts';

const day = 86_400_000;

function faultOf(name: string, text: string): Fault {
  try {
    parseSetting(name, text);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error(`${name}: ${text} was accepted`);
}

describe('the table of list settings', () => {
  // The safe defaults of DESIGN and RULES: changing one is a decision, not a slip.
  it('has the defaults of the design', () => {
    expect(policyWith()).toEqual({
      'accept.from': 'members',
      'accept.others': 'refuse',
      'accept.signature': 'optional',
      'accept.encryption': 'optional',
      'accept.encrypted-unsigned': 'moderate',
      'accept.max-age': 3 * day,
      'accept.max-size': null,
      'send.encrypt': 'as-received',
      'send.envelope': 'separate',
      'send.sign': 'notices',
      'send.cipher': 'aes-256-cbc',
      'send.subject-tag': '',
      'send.verp': 'no',
      'send.hide-subject': 'no',
      'send.reply-to': 'sender',
      'send.received': 'keep',
      'missing.action': 'hold',
      'missing.hold-days': 14,
      'missing.notice-every': day,
      'report.failures': 'daily',
      'report.weekly': 'yes',
      'report.author': 'no',
      'unopened.action': 'owners',
      'unopened.retry-days': 14,
      'held.days': 30,
      'bounce.action': 'tell',
      'bounce.days': 30,
      'bounce.threshold': 5,
      harvest: 'confirm-change',
      'harvest.first': 'verified',
      'minimum.rsa': 2048,
      'minimum.digest': 'sha256',
      'minimum.cipher': 128,
      'weak.action': 'refuse',
      'trust.cafile': null,
      'trust.capath': null,
      'trust.crlfile': null,
      'trust.crlpath': null,
      revocation: 'soft',
      'replay.days': 30,
      language: 'en',
    });
  });

  it('gives each value its own type', () => {
    expectTypeOf<ListPolicy['accept.signature']>().toEqualTypeOf<'optional' | 'required'>();
    expectTypeOf<ListPolicy['accept.max-age']>().toEqualTypeOf<number>();
    expectTypeOf<ListPolicy['accept.max-size']>().toEqualTypeOf<number | null>();
    expectTypeOf<ListPolicy['minimum.cipher']>().toEqualTypeOf<112 | 128 | 192 | 256>();
    expectTypeOf<ListPolicy['trust.cafile']>().toEqualTypeOf<string | null>();
  });

  it.each(settingNames)(
    '%s: default and example read back as themselves, the meaning is a sentence',
    (name) => {
      const row = listSettings[name] as Setting<unknown>;
      const example = readValue(row.kind, row.example);
      expect(example).toBeDefined();
      if (row.default === null) expect(row.absent).toMatch(/./);
      else expect(example).toEqual(row.default);
      expect(row.kind.format(example as never)).toBe(row.example);
      expect(row.meaning).toMatch(/^[A-Za-z].*[^.]\.$/);
    },
  );

  it('cannot be changed', () => {
    expect(Object.isFrozen(listSettings)).toBe(true);
    expect(Object.values(listSettings).every((row) => Object.isFrozen(row))).toBe(true);
  });
});

describe('parseSetting', () => {
  it.each<[SettingName, string, unknown]>([
    ['accept.signature', 'required', 'required'],
    ['accept.max-age', '12h', day / 2],
    ['accept.max-age', '90m', 5_400_000],
    ['accept.max-age', '7200s', 7_200_000],
    ['accept.max-size', '10MB', 10_485_760],
    ['accept.max-size', '500kB', 512_000],
    ['accept.max-size', '4096', 4096],
    ['minimum.rsa', '3072', 3072],
    ['minimum.cipher', '256', 256],
    ['send.subject-tag', '[team]', '[team]'],
    ['send.subject-tag', '', ''],
    ['language', 'pt-BR', 'pt-BR'],
    ['trust.cafile', 'etc/ca.pem', 'etc/ca.pem'],
  ])('%s: %s', (name, text, value) => expect(parseSetting(name, text)).toBe(value));

  it.each([
    ['accept.signature', 'Required'],
    ['accept.signature', ''],
    ['accept.signature', 'optional '],
    ['accept.max-age', '3'],
    ['accept.max-age', '3 d'],
    ['accept.max-age', '-3d'],
    ['accept.max-age', '0d'],
    ['accept.max-age', '1d12h'],
    ['accept.max-age', '999999999d'],
    ['accept.max-size', '10mb'],
    ['accept.max-size', '1.5MB'],
    ['accept.max-size', '0'],
    ['minimum.rsa', '512'],
    ['minimum.rsa', '2048.5'],
    ['minimum.rsa', '0x800'],
    ['minimum.rsa', '٢٠٤٨'],
    ['minimum.cipher', '129'],
    ['missing.hold-days', '1e2'],
    ['send.subject-tag', 'a\r\nBcc: x@lists.example'],
    ['send.subject-tag', 'x'.repeat(41)],
    ['trust.cafile', ''],
    ['trust.cafile', 'ca\0.pem'],
    ['language', 'english'],
    ['language', '../en'],
  ])('%s: %j is refused with what is expected', (name, text) => {
    const fault = faultOf(name, text);
    expect(fault.code).toBe('setting-value');
    expect(fault.message).toContain(`"${name}" cannot be`);
    expect(fault.message).toContain(`expected ${listSettings[name as SettingName].kind.expected}`);
  });

  it.each([
    ['accept.signatures', 'accept.signature'],
    ['accept.max_age', 'accept.max-age'],
    ['missing.hold_days', 'missing.hold-days'],
    ['Harvest', 'harvest'],
    ['harvest.frist', 'harvest.first'],
    ['colour', null],
    ['constructor', null],
    ['__proto__', null],
    ['', null],
  ])('there is no %j; nearest is %s', (name, near) => {
    const fault = faultOf(name, 'required');
    expect(fault.code).toBe('setting-unknown');
    expect(fault.data.nearest).toBe(near);
    if (near) expect(fault.message).toContain(`did you mean "${near}"?`);
  });
});

describe('the texts of a list', () => {
  it('become values', () => {
    expect(parseSettings({ 'accept.max-age': '1d', harvest: 'off' })).toEqual({
      'accept.max-age': day,
      harvest: 'off',
    });
  });

  it('are refused whole if one is wrong', () => {
    expect(() => parseSettings({ harvest: 'off', 'weak.action': 'ignore' })).toThrow(
      '"weak.action" cannot be "ignore"',
    );
  });

  it.each<[SettingName, never, string]>([
    ['accept.max-age', (3 * day) as never, '3d'],
    ['accept.max-age', (36 * 3_600_000) as never, '36h'],
    ['accept.max-size', 10_485_760 as never, '10MB'],
    ['accept.max-size', 10_000_000 as never, '10000000'],
    ['accept.max-size', null as never, "the site's `size`"],
    ['send.subject-tag', '' as never, ''],
  ])('%s %s is shown as %j', (name, value, text) => expect(formatSetting(name, value)).toBe(text));
});
