import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { missingReasons } from '../../src/flow/certificates/member-certificate.ts';
import { renderMail } from '../../src/template/mail.ts';
import { openTemplates, type Variables } from '../../src/template/templates.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'reseal-mail-'));
});
afterEach(() => rm(root, { recursive: true }));

async function mail(source: string, variables: Variables = {}, more: Record<string, string> = {}) {
  for (const [name, content] of Object.entries({ 'm.tt2': source, ...more }))
    await writeFile(join(root, name), content);
  return renderMail(openTemplates([root]), 'm', variables);
}

describe('a mail template', () => {
  it('is header fields, an empty line, and the text', async () => {
    expect(
      await mail(
        '[%# comment -%]\nSubject: Hello [% name %]\nX-Kind: a\n  b\n\nDear [% name %],\r\n\r\nbye\n\n\n',
        { name: 'Ann' },
      ),
    ).toEqual({
      headers: [
        ['Subject', 'Hello Ann'],
        ['X-Kind', 'a b'],
      ],
      text: 'Dear Ann,\n\nbye\n',
    });
  });

  it.each([
    ['an IF around it', '[% IF x %]\nSubject: s\n\nt\n[% ELSE %]\nSubject: no\n\nno\n[% END %]'],
    ['PROCESS', '[% PROCESS head %][% x %]\n\nt'],
    ['TRY', '[% TRY %]Subject: s\n\nt[% CATCH %][% END %]'],
    ['empty lines on top', '\n\n\nSubject: s\n\nt'],
  ])('may come from %s', async (_, source) => {
    expect(await mail(source, { x: 's' }, { head: 'Subject: ' })).toEqual({
      headers: [['Subject', 's']],
      text: 't\n',
    });
  });

  it.each([
    ['no header', 'Just a text.\n\nMore.'],
    ['no Subject', 'X-Kind: a\n\ntext'],
    ['nothing', ''],
    ['a text line in the header', 'Subject: a\nDear member,\n\ntext'],
  ])('with %s is a Fault', async (_, source) => {
    await expect(mail(source)).rejects.toMatchObject({ code: 'template-error', data: { type: 'mail' } });
  });
});

describe('values in the header', () => {
  const hostile = 'x\r\nBcc: victim@example.org\r\n\r\nForged text';

  it.each([
    ['output', 'Subject: [% v %]\n\ntext'],
    ['a string', 'Subject: [% "re: $v" %]\n\ntext'],
    ['a filter', "Subject: [% 'about %1' | loc(v) | trim %]\n\ntext"],
    ['a block filter', 'Subject: [%|loc(v)%]about %1[%END%]\n\ntext'],
    ['a capture', 'Subject: [% c = BLOCK %]c [% v %][% END %][% c %]\n\ntext'],
    ['an include', 'Subject: [% INCLUDE part %]\n\ntext'],
    ['an insert', 'Subject: [% INSERT raw %]\n\ntext'],
  ])('by %s stay in their line', async (_, source) => {
    const { headers, text } = await mail(source, { v: hostile }, { part: '[% v %]', raw: hostile });
    expect(headers.map(([name]) => name)).toEqual(['Subject']);
    expect(headers[0]?.[1]).toContain('x Bcc: victim@example.org Forged text');
    expect(text).toBe('text\n');
  });

  it('keep their line ends in the text', async () => {
    expect((await mail('Subject: s\n\n[% v %]', { v: 'one\r\ntwo\rthree' })).text).toBe('one\ntwo\nthree\n');
  });

  it('may be long and full of blanks', async () => {
    const v = `${' '.repeat(300_000)}x`;
    const started = performance.now();
    expect((await mail(`${'\n'.repeat(100_000)}Subject: [% v %]\n\ntext`, { v })).headers).toEqual([
      ['Subject', 'x'],
    ]);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  it('never add a field or a control character, whatever they are', async () => {
    await writeFile(join(root, 'm.tt2'), 'Subject: [% v %]\nX-Second: [% v | trim %]\n\nThe text.\n');
    const templates = openTemplates([root]);
    const breaks = fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      '\n\n',
      ' ',
      '\t',
      ':',
      'A: b',
      '\u0000',
      '\u0085',
      '\u2028',
      '\u2029',
      '\v',
      '\f',
    );
    const value = fc.array(fc.oneof(breaks, fc.string({ unit: 'binary' }))).map((pieces) => pieces.join(''));
    await fc.assert(
      fc.asyncProperty(value, async (v) => {
        const { headers, text } = await renderMail(templates, 'm', { v });
        expect(headers.map(([name]) => name)).toEqual(['Subject', 'X-Second']);
        expect(headers.map(([, words]) => words).join('')).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
        expect(text).toBe('The text.\n');
      }),
      { numRuns: 300 },
    );
  });
});

describe('the shipped templates', () => {
  const shipped = openTemplates([fileURLToPath(new URL('../../mail_tt2', import.meta.url))]);

  it('refused says the same about every sender and reason', async () => {
    const variables = (more: Variables): Variables => ({
      list: { name: 'l', address: 'l@example.org' },
      mail: { date: 'today', sender: 'a@example.org', subject: 'SECRET' },
      ...more,
    });
    const stranger = await renderMail(
      shipped,
      'refused',
      variables({ reason: 'unsigned', reason_text: 'It is not signed.' }),
    );
    const member = await renderMail(
      shipped,
      'refused',
      variables({ reason: 'no-member', user: { email: 'a@example.org' }, id: '1' }),
    );
    expect(stranger).toEqual(member);
    expect(JSON.stringify(stranger)).not.toMatch(/SECRET|a@example\.org|not signed/);
  });

  it.each([
    'x509-user-cert-missing',
    'sendcert-done',
    'sendcert-failed',
    'refused',
    'unopened',
    'held-for-moderation',
    'help',
    'get-cert',
    'quarantine',
    'owner-alert',
    'cert-expiring',
    'owner-report',
    'author-summary',
  ])('%s holds its Subject in one line whatever the subject of the post is', async (name) => {
    const hostile = 'x\r\n\r\nBcc: victim@example.org';
    const variables = {
      list: { name: 'l', address: 'l@example.org' },
      mail: { sender: hostile, subject: hostile, date: hostile },
      event: hostile,
      user: { email: hostile },
    };
    const { headers, text } = await renderMail(shipped, name, variables);
    expect(headers.map(([field]) => field)).toEqual(['Subject']);
    expect(text.length).toBeGreaterThan(80);
  });

  const dates = { expires: '2026-01-19', days: 7 };
  const held = { waiting: 3, dropped: 0, signed: true, ...dates };
  const certificate = { subject: 'CN=Bob', issuer: 'CN=Some CA', from: '2026-05-01', until: '2025-12-31' };
  const missing = 'x509-user-cert-missing';
  const causes: [reason: string, words: RegExp][] = [
    ['no-certificate', /not known/],
    ['expired', /2025-12-31/],
    ['not-yet-valid', /2026-05-01/],
    ['revoked', /CN=Some CA/],
    ['wrong-usage', /CN=Bob/],
    ['weak-key', /CN=Bob/],
    ['not-trusted', /CN=Some CA/],
    ['not-checked', /./],
    ['unusable', /CN=Bob/],
    ['weak-cipher', /./],
  ];
  const variables = (more: Variables): Variables => ({
    list: { name: 'l', address: 'l@example.org', sendcert: 'l-sendcert@example.org', owner: 'o@example.org' },
    user: { email: 'bob@example.org' },
    mail: { sender: 'a@example.org', subject: 'Agenda' },
    conf: { email: 'reseal', wwsympa_url: '' },
    domain: 'example.org',
    reason_text: 'it is not known',
    ...more,
  });

  describe.each(['en', 'de', 'fr', 'es'])('in %s', (language) => {
    const render = (name: string, more: Variables) =>
      renderMail(shipped, name, variables(more), { language });

    it.each(causes)('the notice to a member says that the cause is %s', async (reason, words) => {
      const { text } = await render(missing, { ...held, reason, certificate });
      expect(text).toMatch(language !== 'en' && reason === 'no-certificate' ? /bob@example\.org/ : words);
      expect(text.includes('l-sendcert@example.org')).toBe(reason !== 'not-checked');
    });

    it('thanks for a certificate, says that it waits, or why none was taken, in this language alone', async () => {
      const certificates = [{ ...certificate, ...dates, signs: true, reads: true, fingerprint: 'ab cd' }];
      const done = await render('sendcert-done', {
        certificates,
        released: 2,
        attached: true,
        encrypts: true,
      });
      expect(done.text).toMatch(/CN=Bob[\s\S]*2026-01-19[\s\S]*ab cd[\s\S]*2 [\s\S]*l-sendcert@example\.org/);
      const failed = await render('sendcert-failed', { reason: 'not-signed' });
      expect(failed.text).toMatch(/\* .*S\/MIME.* l-sendcert@example\.org/s);
      for (const reason of ['changed-key', 'owner-decides']) {
        const waits = await render('sendcert-failed', { reason });
        expect(waits.text).not.toContain('l-sendcert@example.org');
        expect(waits.text).toContain('o@example.org');
        expect(waits.headers).not.toEqual(failed.headers);
      }
      const asked = await render('cert-confirm', { certificates, token: 'xyz', expires: '2026-02-01' });
      expect(asked.text).toMatch(/\n {4}confirm-xyz\n/);
      expect(asked.text).toMatch(/l-sendcert@example\.org[\s\S]*2026-02-01[\s\S]*o@example\.org/);
      const owners = await render('cert-confirm', { certificates });
      expect(owners.text).not.toMatch(/confirm-|l-sendcert/);
      if (language === 'en') return;
      for (const { text } of [done, asked, owners]) expect(text).not.toMatch(/\b(the|your|certificate)\b/);
    });

    it('says of one that can only sign that nothing is encrypted to it', async () => {
      const certificates = [{ ...certificate, ...dates, signs: true, reads: false, fingerprint: 'ab cd' }];
      const words = {
        en: ['will be encrypted with it', 'not in use yet', 'Nothing can be encrypted to you yet'],
        de: ['werden von nun an damit verschl', 'noch nicht benutzt', 'noch nichts verschl'],
        fr: ['désormais chiffrés avec lui', 'ne sert pas encore', 'Rien ne peut encore être chiffré'],
        es: ['se cifrarán con él', 'aún no se usa', 'Todavía no se puede cifrar nada'],
      }[language];
      const found = async (more: Variables) => {
        const { text } = await render('sendcert-done', { certificates, released: 0, ...more });
        const plain = text.replace(/\s+/g, ' ');
        return (words ?? []).map((one) => plain.includes(one));
      };
      expect(await found({ encrypts: true })).toEqual([true, false, false]);
      expect(await found({ waits: true })).toEqual([false, true, false]);
      expect(await found({ lacks: true })).toEqual([false, false, true]);
      // Another is in use for that already.
      expect(await found({})).toEqual([false, false, false]);
    });

    it('asks nobody to send again what waits for approval', async () => {
      for (const reason of ['pending', 'expired']) {
        const { text } = await render(missing, { ...held, reason, certificate, pending: '2026-01-02' });
        expect(text).not.toContain('l-sendcert@example.org');
        expect(text).toContain('o@example.org');
        expect(text).toContain('2026-01-02');
        expect(text).not.toMatch(/Thunderbird|not known/);
      }
    });

    it('has words of its own for every cause, and no code', async () => {
      for (const reason of missingReasons) {
        const { text } = await render(missing, { ...held, reason, certificate });
        if (reason.includes('-')) expect(text).not.toContain(reason);
        // What is wrong with a path has too many forms to be translated.
        if (language !== 'en')
          expect(text.replace(/\s+/g, ' ').includes('it is not known'), reason).toBe(
            reason === 'not-trusted',
          );
      }
    });

    it('counts what waits in the Subject, with the day of the oldest', async () => {
      const subjectOf = async (more: Variables) =>
        (await render(missing, { ...held, reason: 'expired', ...more })).headers[0]?.[1] ?? '';
      expect(await subjectOf({})).toMatch(/3.*2026-01-19/);
      expect(await subjectOf({ waiting: 1 })).not.toMatch(/[13]/);
      expect(await subjectOf({ waiting: 0, dropped: 4, expires: '' })).toMatch(/4/);
    });

    it('promises nothing that was dropped, and no signature that is not there', async () => {
      const whole = (await render(missing, { ...held, reason: 'expired' })).text;
      const dropped = (await render(missing, { ...held, reason: 'expired', waiting: 0, expires: '' })).text;
      expect([whole.includes('2026-01-19'), dropped.includes('2026-01-19')]).toEqual([true, false]);
      const unsigned = (await render(missing, { ...held, reason: 'expired', signed: false })).text;
      expect(whole.length - unsigned.length).toBeGreaterThan(100);
    });

    it('warns the member of the end, with the ways out, and the owners of all of them', async () => {
      const certificates = [{ ...certificate, ...dates, signs: true, reads: true }];
      const toMember = await render('cert-expiring', { ...dates, certificates });
      expect(toMember.headers[0]?.[1]).toContain('7');
      expect(toMember.text).toMatch(/2026-01-19[\s\S]*l-sendcert@example\.org/);
      const members = [{ email: 'bob@example.org', ...dates }];
      const toOwners = await render('cert-expiring', { ...dates, members });
      expect(toOwners.text).toMatch(/bob@example\.org ?: 2026-01-19[\s\S]*reseal cert approve/);
    });
  });

  it('have a text of their own in each language', async () => {
    const texts = ['en', 'de', 'fr', 'es'].map(async (language) => {
      const of = variables({ ...held, reason: 'expired', certificate });
      return (await renderMail(shipped, missing, of, { language })).headers[0]?.[1];
    });
    expect(new Set(await Promise.all(texts)).size).toBe(4);
  });
});
