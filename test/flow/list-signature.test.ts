import { beforeAll, describe, expect, it } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import type { Keyring } from '../../src/flow/lists/keyring.ts';
import { listSignatureFor, signerOf, wrapperFor } from '../../src/flow/post/list-signature.ts';
import type { Prepared } from '../../src/flow/post/prepare.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import type { KeyPair } from '../../src/pki/keys.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import type { Findings } from '../../src/smime/open.ts';
import { makeCa } from '../kit/pki.ts';
import { listWith, messageOf } from './parts.ts';

let pair: KeyPair;
let other: KeyPair;
beforeAll(async () => {
  const ca = await makeCa();
  const pairOf = async (name: string): Promise<KeyPair> => {
    const { key, certDer } = await ca.issue({ name, address: 'team@lists.example', key: 'p256' });
    return { key, certificate: parseCertificate(certDer), chain: [], suffix: '' } as KeyPair;
  };
  pair = await pairOf('Team');
  other = await pairOf('Team, encryption');
});

type Signs = ListPolicy['send.sign'];
type Verdict = Findings['verdict'];

describe('listSignatureFor', () => {
  const usable = (): Pick<Keyring, 'keysOf' | 'signingPair'> => ({
    keysOf: async () => ({ pairs: [pair], problems: [] }),
    signingPair: async () => pair,
  });
  const decide = (
    sign: Signs,
    verdict: Verdict,
    mode: Prepared['mode'] = 'sealed',
    text = 'From: a@b.example\n\nplain\n',
    keyring = usable(),
  ) =>
    listSignatureFor(keyring, listWith({ 'send.sign': sign }), { verdict, mode, message: messageOf(text) });

  it.each<[Signs, Verdict, string]>([
    ['never', 'unsigned', 'none'],
    ['notices', 'unsigned', 'none'],
    ['unsigned', 'signed', 'none'],
    ['always', 'signed', 'around'],
    ['unsigned', 'unsigned', 'as-list'],
    ['always', 'unsigned', 'as-list'],
    ['always', 'untrusted', 'as-list'],
    ['unsigned', 'mismatch', 'as-list'],
    ['unsigned', 'invalid', 'as-list'],
  ])('%s, and the post is %s: %s', async (sign, verdict, expected) => {
    for (const mode of ['sealed', 'clear', 'when-possible'] as const)
      expect(await decide(sign, verdict, mode)).toEqual({ sign: expected, problem: null });
    expect(await decide(sign, verdict, 'intact')).toEqual({ sign: 'none', problem: null });
  });

  it('without a key: not, and it says so; with one that is locked: the copies are to wait for it', async () => {
    const none = { keysOf: async () => ({ pairs: [], problems: [] }), signingPair: async () => null };
    expect(await decide('always', 'signed', 'sealed', 'From: a@b.example\n\nx\n', none)).toEqual({
      sign: 'none',
      problem: 'it has no key to sign with',
    });
    const locked = {
      ...none,
      keysOf: async () => ({ pairs: [], problems: [new Fault('key-passphrase', '', {})] }),
    };
    expect(await decide('always', 'signed', 'sealed', 'From: a@b.example\n\nx\n', locked)).toMatchObject({
      sign: 'around',
    });
  });

  const eightBit =
    'From: a@b.example\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\ngrün\n';
  const forwarded = 'From: a@b.example\nContent-Type: message/rfc822\n\nSubject: x\n\ngrün\n';
  it.each<[string, Verdict, Prepared['mode'], string, string]>([
    ['the author signed', 'signed', 'clear', eightBit, 'none'],
    ['the author signed', 'signed', 'when-possible', eightBit, 'none'],
    ['the author signed, but encrypted it does not matter', 'signed', 'sealed', eightBit, 'around'],
    ['nobody signed', 'unsigned', 'clear', eightBit, 'as-list'],
    ['somebody forwards', 'unsigned', 'clear', forwarded, 'none'],
    ['somebody forwards, encrypted', 'unsigned', 'sealed', forwarded, 'as-list'],
  ])('8 bits that %s (%s, %s)', async (_, verdict, mode, text, expected) => {
    const { sign, problem } = await decide('always', verdict, mode, text);
    expect(sign).toBe(expected);
    expect(problem !== null).toBe(expected === 'none');
  });
});

it('signerOf names the encryption certificate only if it is another one', () => {
  expect(signerOf(pair, pair)).not.toHaveProperty('encryption');
  expect(signerOf(pair, null)).not.toHaveProperty('encryption');
  expect(signerOf(pair, other).encryption).toEqual(other.certificate.der);
});

describe('wrapperFor', () => {
  const message = messageOf('From: Alice <alice@example.org>\nSubject: x\n\nx');
  const header = Buffer.from(
    'Received: from x\r\nFrom: Alice via team <team@lists.example>\r\nsubject: caf\u00e9 \u0000\r\nSubject: second\r\nX-Own: x\r\nList-Id: <x>\r\n',
  );
  const made = (language: string) =>
    wrapperFor(listWith({ language }), message, { header, encrypted: true, hidesSubject: false });

  it('repeats what people read of the outer header, each once and without controls', () =>
    expect(made('en').headers).toEqual([
      ['From', 'Alice via team <team@lists.example>'],
      ['subject', 'caf\u00e9  '],
    ]));

  it.each([
    ['en', /nobody verified that this message is from alice@example\.org/],
    ['de-AT', /nicht gepr\u00fcft/],
    ['fr', /v\u00e9rifi\u00e9/],
    ['es', /verificado/],
    ['xx', /nobody verified/],
  ])('warns in the language of the list: %s', (language, expected) =>
    expect(made(language).text).toMatch(expected),
  );
});
