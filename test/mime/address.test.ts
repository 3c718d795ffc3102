import { describe, expect, it } from 'vitest';
import { canonicalAddress, formatMailbox, mailboxesOf, theMailbox } from '../../src/mime/address.ts';
import { formatField, parseFields } from '../../src/mime/header.ts';

const fieldsOf = (...lines: readonly string[]) => {
  const source = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'utf8');
  return parseFields(source, 0, source.length).fields;
};

describe('canonicalAddress', () => {
  it.each([
    ['alice@example.org', 'alice@example.org'],
    [' Alice.B+x@Example.ORG\r\n', 'alice.b+x@example.org'],
    ["o'brien/x=y%z{}|~`^_?!#$&*@e.org", "o'brien/x=y%z{}|~`^_?!#$&*@e.org"],
    ['root@localhost', 'root@localhost'],
    ['a@a_b.example', 'a@a_b.example'],
    ['"alice"@example.org', 'alice@example.org'],
    ['"Two..Dots."@example.org', '"two..dots."@example.org'],
    ['a@[192.0.2.1]', 'a@[192.0.2.1]'],
    ['a@[IPv6:2001:DB8::1]', 'a@[ipv6:2001:db8::1]'],
    ['a@bücher.example', 'a@xn--bcher-kva.example'],
    ['a@BÜCHER.example', 'a@xn--bcher-kva.example'],
    ['a@bu\u0308cher.example', 'a@xn--bcher-kva.example'],
    ['a@XN--BCHER-KVA.example', 'a@xn--bcher-kva.example'],
    ['a@straße.example', 'a@xn--strae-oqa.example'],
    ['jörg@example.org', 'jörg@example.org'],
    ['JÖRG@example.org', 'jÖrg@example.org'],
    ['jo\u0308rg@example.org', 'jörg@example.org'],
    ['用户@例子.example', '用户@xn--fsqu00a.example'],
    [`${'a'.repeat(64)}@example.org`, `${'a'.repeat(64)}@example.org`],
  ])('%j', (text, address) => {
    expect(canonicalAddress(text)).toBe(address);
    expect(canonicalAddress(address)).toBe(address);
  });

  it.each([
    ['nothing', ''],
    ['no domain', 'alice'],
    ['no domain after @', 'alice@'],
    ['no local part', '@example.org'],
    ['two @', 'a@b@example.org'],
    ['two addresses', 'a@example.org,b@example.org'],
    ['a blank', 'a b@example.org'],
    ['a blank beside the @', 'a @example.org'],
    ['NUL', 'a\0@example.org'],
    ['NUL in the domain', 'a@example.org\0.evil.example'],
    ['a line end', 'a@example.org\r\nx'],
    ['a control', 'a\u0007@example.org'],
    ['DEL', 'a\u007f@example.org'],
    ['a C1 control', 'a\u0085@example.org'],
    ['a comment', 'a(x)@example.org'],
    ['a comment after', 'a@example.org (x)'],
    ['angle brackets', '<a@example.org>'],
    ['a route', '@x,@y:a@example.org'],
    ['an encoded word', '=?utf-8?q?alice?=@example.org'],
    ['an encoded word in quotes', '"=?utf-8?q?alice?="@example.org'],
    ['an encoded word as domain', 'a@=?utf-8?q?example.org?='],
    ['a dot first', '.a@example.org'],
    ['a dot last', 'a.@example.org'],
    ['two dots', 'a..b@example.org'],
    ['a dot at the end of the domain', 'a@example.org.'],
    ['an empty label', 'a@example..org'],
    ['a hyphen first', 'a@-example.org'],
    ['a label of 64', `a@${'x'.repeat(64)}.org`],
    ['a local part of 65', `${'a'.repeat(65)}@example.org`],
    ['an international local part of 66 octets', `${'ü'.repeat(33)}@example.org`],
    ['a path over 254', `${'a'.repeat(60)}@${'x.'.repeat(100)}org`],
    ['quotes around a blank', '"a b"@example.org'],
    ['quotes around an @', '"a@b"@example.org'],
    ['quotes around a comma', '"a,b"@example.org'],
    ['quotes around an angle bracket', '"a<b"@example.org'],
    ['a backslash', '"a\\b"@example.org'],
    ['quotes in the middle', 'a"b"@example.org'],
    ['a percent escape in an international domain', 'a@ü%61.example'],
    ['a path in an international domain', 'a@ü/x.example'],
    ['a full-width letter', 'a@\uff45xample.org'],
    ['an ideographic full stop', 'a@bücher\u3002example'],
    ['a soft hyphen', 'a@exa\u00admple.org'],
    ['a zero-width joiner', 'a\u200d@example.org'],
    ['a right-to-left override', 'a\u202eb@example.org'],
    ['a no-break space', 'a\u00a0b@example.org'],
    ['a no-break space before', '\u00a0a@example.org'],
    ['a byte order mark', '\ufeffa@example.org'],
    ['half a surrogate pair', 'a\ud800@example.org'],
    ['a number that is no IP address', 'a@[300.0.2.1]'],
    ['an IPv6 address without its tag', 'a@[2001:db8::1]'],
  ])('refuses %s', (_, text) => {
    expect(canonicalAddress(text)).toBeNull();
  });

  it('never makes an ASCII address of one that is not', () => {
    const found: string[] = [];
    for (let code = 0x80; code <= 0xffff; code++) {
      const character = String.fromCodePoint(code);
      if (/^[!-~]/.test(canonicalAddress(`${character}@b.example`) ?? ''))
        found.push(`local ${code.toString(16)}`);
    }
    for (let code = 0x80; code <= 0xffff; code++) {
      const domain = canonicalAddress(`a@${String.fromCodePoint(code)}.example`)?.slice(2);
      if (domain !== undefined && !domain.startsWith('xn--')) found.push(`domain ${code.toString(16)}`);
    }
    expect(found).toEqual([]);
  });

  it('is quick on long text', () => {
    expect(canonicalAddress(`${'a.'.repeat(500_000)}@example.org`)).toBeNull();
    expect(canonicalAddress(`a@${'b'.repeat(500_000)}`)).toBeNull();
  });
});

describe('mailboxesOf', () => {
  it.each([
    ['a@x.org', [['', 'a@x.org']]],
    ['Alice <A@x.org>', [['Alice', 'a@x.org']]],
    ['<a@x.org>', [['', 'a@x.org']]],
    ['< a@x.org >', [['', 'a@x.org']]],
    ['"Smith, Alice \\"A\\"" <a@x.org>', [['Smith, Alice "A"', 'a@x.org']]],
    ['Alice Q. (the first) Public <a@x.org> (at home)', [['Alice Q. Public', 'a@x.org']]],
    ['a@x.org (Alice (A))', [['Alice (A)', 'a@x.org']]],
    ['(before) a@x.org', [['before', 'a@x.org']]],
    ['=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_M?= <j@x.org>', [['Jörg M', 'j@x.org']]],
    [
      'a@x.org, B <b@x.org>,, c@x.org',
      [
        ['', 'a@x.org'],
        ['B', 'b@x.org'],
        ['', 'c@x.org'],
      ],
    ],
    [
      'Team: a@x.org, B <b@x.org>;, c@x.org',
      [
        ['', 'a@x.org'],
        ['B', 'b@x.org'],
        ['', 'c@x.org'],
      ],
    ],
    ['undisclosed-recipients:;', []],
    ['', []],
    [
      'a@[IPv6:2001:db8::1], b@x.org',
      [
        ['', 'a@[ipv6:2001:db8::1]'],
        ['', 'b@x.org'],
      ],
    ],
    ['"victim@a.org" <attacker@b.org>', [['victim@a.org', 'attacker@b.org']]],
    ['<"a>b"@x.org>', 'address-malformed'],
    ['Alice', 'address-malformed'],
    ['Alice <>', 'address-malformed'],
    ['a@x.org b@x.org', 'address-malformed'],
    ['<a@x.org> <b@x.org>', 'address-malformed'],
    ['<a@x.org> b', 'address-malformed'],
    ['<<a@x.org>>', 'address-malformed'],
    ['<a@x.org', 'address-malformed'],
    ['a@x.org>', 'address-malformed'],
    ['"a <a@x.org>', 'address-malformed'],
    ['(a <a@x.org>', 'address-malformed'],
    ['a(c)@x.org', 'address-malformed'],
    ['<a(c)@x.org>', 'address-malformed'],
    ['<@r.org:a@x.org>', 'address-malformed'],
    ['<a@x.org:b@x.org>', 'address-malformed'],
    ['G: a@x.org', 'address-malformed'],
    ['G: H: a@x.org;;', 'address-malformed'],
    ['G: H: a@x.org;', 'address-malformed'],
    ['a@x.org;', 'address-malformed'],
    ['<a@x.org>: b@x.org;', 'address-malformed'],
    ['(only a comment)', 'address-malformed'],
    ['a\0@x.org', 'address-malformed'],
    ['Ali\0ce <a@x.org>', 'address-malformed'],
    ['Ali\rce <a@x.org>', 'address-malformed'],
  ] as const)('%j', (value, expected) => {
    const read = () =>
      mailboxesOf(fieldsOf(`To: ${value}`), 'To').map(({ name, address }) => [name, address]);
    if (typeof expected === 'string') expect(read).toThrowError(expect.objectContaining({ code: expected }));
    else expect(read()).toEqual(expected);
  });

  it('reads all fields of the name', () => {
    const fields = fieldsOf('To: a@x.org', 'Cc: c@x.org', 'TO: b@x.org');
    expect(mailboxesOf(fields, 'to').map(({ address }) => address)).toEqual(['a@x.org', 'b@x.org']);
    expect(mailboxesOf(fields, 'bcc')).toEqual([]);
  });

  it('is quick on hostile lists', () => {
    for (const piece of ['(', '"', '<', '@[', '\\', ',', ':', 'a@b ', '<a@b.c>'])
      expect(() => mailboxesOf(fieldsOf(`To: ${piece.repeat(20_000)}`), 'To')).not.toThrowError(RangeError);
  });
});

describe('theMailbox', () => {
  it.each([
    ['a bare address', 'alice@example.org', 'alice@example.org'],
    ['a name', 'Alice <Alice@Example.org>', 'alice@example.org'],
    ['another address as quoted name', '"victim@a.org" <attacker@b.org>', 'attacker@b.org'],
    ['another address in a comment', 'attacker@b.org (victim@a.org)', 'attacker@b.org'],
    ['the same address as name', 'a@x.org <A@x.org>', 'a@x.org'],
    ['the same address as encoded name', '=?utf-8?q?a@x.org?= <a@x.org>', 'a@x.org'],
    ['a folded field', 'Alice\r\n <alice@example.org>', 'alice@example.org'],
    ['a comma after it', 'alice@example.org,', 'alice@example.org'],
  ])('reads %s', (_, value, address) => {
    expect(theMailbox(fieldsOf(`From: ${value}`), 'From')?.address).toBe(address);
  });

  it.each([
    ['another address as bare name', 'victim@a.org <attacker@b.org>'],
    ['another address as encoded name', '=?utf-8?q?victim@a.org?= <attacker@b.org>'],
    ['an @ in the name', 'Alice @ work <alice@example.org>'],
    ['two mailboxes', 'a@x.org, b@x.org'],
    ['the same twice', 'a@x.org, a@x.org'],
    ['a group', 'Team: a@x.org;'],
    ['an empty group', 'Team:;'],
    ['a group and a mailbox', 'Team:;, a@x.org;'],
    ['nothing', ''],
    ['a name only', 'Alice'],
    ['two angle brackets', '<victim@a.org> <attacker@b.org>'],
    ['text after the angle bracket', '<victim@a.org> attacker@b.org'],
    ['an angle bracket inside', '<victim@a.org<attacker@b.org>'],
    ['a route', '<@victim.org,@x.org:attacker@b.org>'],
    ['a comment inside', 'victim(@b.org)@a.org'],
    ['a comment around the @', 'a (x) @ (y) x.org'],
    ['an encoded word inside', '=?utf-8?q?victim?=@a.org'],
    ['an encoded angle address', '=?utf-8?q?<victim=40a.org>?='],
    ['NUL', 'attacker@b.org\0@a.org'],
    ['NUL in the name', 'a\0 <a@x.org>'],
    ['an unfinished quote', '"x <victim@a.org>'],
  ])('is null for %s', (_, value) => {
    expect(theMailbox(fieldsOf(`From: ${value}`), 'From')).toBeNull();
  });

  it('is null for no field and for two, in whatever case', () => {
    expect(theMailbox(fieldsOf('To: a@x.org'), 'From')).toBeNull();
    expect(theMailbox(fieldsOf('From: a@x.org', 'From: a@x.org'), 'From')).toBeNull();
    expect(theMailbox(fieldsOf('From: a@x.org', 'FROM : b@x.org'), 'From')).toBeNull();
  });

  it('looks at Sender alone where that is asked', () => {
    const fields = fieldsOf('From: a@x.org', 'From: b@x.org', 'Sender: list@x.org');
    expect(theMailbox(fields, 'Sender')?.address).toBe('list@x.org');
  });
});

describe('formatMailbox', () => {
  it.each([
    ['', 'a@x.org'],
    ['Alice', 'Alice <a@x.org>'],
    ['Alice via LIST', 'Alice via LIST <a@x.org>'],
    ['Smith, Alice', '"Smith, Alice" <a@x.org>'],
    ['a "quoted" \\', '"a \\"quoted\\" \\\\" <a@x.org>'],
    ['victim@a.org', '"victim@a.org" <a@x.org>'],
    ['=?x', '"=?x" <a@x.org>'],
    ['a\r\nBcc: b', '"a Bcc: b" <a@x.org>'],
    ['Jörg, der "Große"', '=?utf-8?q?J=C3=B6rg=2C_der_=22Gro=C3=9Fe=22?= <a@x.org>'],
  ])('%j', (name, text) => {
    expect(formatMailbox({ name, address: 'a@x.org' })).toBe(text);
    const line = formatField('From', text).toString('utf8').trimEnd();
    const cleaned = name.replace(/[\r\n]+/g, ' ');
    expect(theMailbox(fieldsOf(line), 'From')).toEqual({ name: cleaned, address: 'a@x.org' });
  });
});
