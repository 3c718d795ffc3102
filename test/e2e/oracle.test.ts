import { constants, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { cbcEncrypt, cbcEnvelope, contentKey, gcmEnvelope, transported } from '../attacks/scene.ts';
import { transportTo } from '../cms/forge.ts';
import { decryptionKey } from '../cms/keys.ts';
import { cmsEntity, mailOf, textEntity } from '../kit/smime-mime.ts';
import { makePeople, openEntity, type People } from '../smime/messages.ts';
import { postHeaders } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

// Bleichenbacher against a list (RULES 6): whoever posts a changed ciphertext again and again sees the answer in the
// session, what the relay carries and perhaps the log, the ledger or a notice. Bad padding, bad length and bad content
// must be one and the same in all of them.

let world: World;
let list: List;
let people: People;
beforeAll(async () => {
  world = await makeWorld();
  list = await world.list({ name: 'oracle' });
  people = await makePeople();
});
afterAll(() => world?.stop());

/** The block that publicEncrypt would make: 00 02, padding, 00, key; `octet` at `at` spoils it. */
function block(at?: number, octet = 0): Buffer {
  const whole = Buffer.alloc(256, 0x5a);
  whole.set([0, 2]);
  whole[223] = 0;
  contentKey.copy(whole, 224);
  if (at !== undefined) whole[at] = octet;
  return whole;
}
const raw = (whole: Buffer) => transported(list.identity, whole, constants.RSA_NO_PADDING);
const content = () => textEntity('nothing that matters\n'.repeat(10));

/** What is wrong with the encrypted key. */
const badKeys: readonly (readonly [string, () => Buffer])[] = [
  ['bad padding: first octet', () => raw(block(0, 1))],
  ['bad padding: block type', () => raw(block(1, 1))],
  ['bad padding: no separator', () => raw(block(223, 1))],
  ['bad padding: zero within the first eight', () => raw(block(4))],
  ['bad length: 31 octets', () => transported(list.identity, randomBytes(31))],
  ['bad length: 33 octets', () => transported(list.identity, randomBytes(33))],
  ['bad length: none', () => transported(list.identity, Buffer.alloc(0))],
  ['bad content: another key, well padded', () => transported(list.identity, randomBytes(32))],
  [
    'a number above the modulus',
    () => transportTo(parseCertificate(list.identity.certDer), Buffer.alloc(256, 0xff)),
  ],
];
/** CBC under the right key, so that only the padding at the end is wrong. */
const badPadding = (last: number) =>
  cbcEncrypt(Buffer.concat([content().subarray(0, 31), Buffer.from([last])]), false);

type Case = readonly [name: string, der: () => Buffer];
const gcm: readonly Case[] = [
  ...badKeys.map(
    ([name, key]): Case => [name, () => gcmEnvelope(list.identity, content(), { recipients: [key()] })],
  ),
  [
    'bad content: another tag',
    () => {
      const der = gcmEnvelope(list.identity, content(), { recipients: [raw(block())] });
      der[der.length - 1] = (der[der.length - 1] as number) ^ 1;
      return der;
    },
  ],
];
const cbc: readonly Case[] = [
  ...badKeys.map(
    ([name, key]): Case => [
      name,
      // Random: a bad key is always the same, and what it makes of the same octets too.
      () => cbcEnvelope(list.identity, cbcEncrypt(randomBytes(31)), [key()]),
    ],
  ),
  ['bad content: padding of 0', () => cbcEnvelope(list.identity, badPadding(0), [raw(block())])],
  ['bad content: padding of 17', () => cbcEnvelope(list.identity, badPadding(17), [raw(block())])],
  [
    'bad content: padding of 2, of which one is wrong',
    () => cbcEnvelope(list.identity, badPadding(2), [raw(block())]),
  ],
];

/** Under CBC one key in about 300 unpads: such a block is made again, as it shows nothing that another key does not. */
function failing(der: () => Buffer): Buffer {
  for (;;) {
    const made = der();
    const keys = [decryptionKey(list.identity)];
    if (openEntity(people, cmsEntity(made, 'enveloped-data'), { keys }).verdict === 'unopened') return made;
  }
}

let count = 100;

/**
 * Everything that a post leaves behind: the reply, log lines, rows of the ledger and of postings, the words of the
 * notice to the owners, mail to the sender. What is new in each post is named by what it is.
 */
async function seen(der: Buffer, type: Parameters<typeof cmsEntity>[1]): Promise<string> {
  const name = `sender${++count}`;
  // A sender of his own for each post: the owners are told of one a minute from each.
  const from = `${name}@example.org`;
  await world.join(list, from);
  const headers = postHeaders(from, list.address, [
    ['Message-ID', `<${name}@client.example>`],
    ['Date', 'Thu, 01 Jan 2026 12:00:00 +0000'],
  ]);
  const sent = await world.send(mailOf(headers, cmsEntity(der, type)), list.address);
  await world.fate(sent);
  const notices = () =>
    world.sink.messages.filter(({ to, bytes }) => to.includes(list.owner) && bytes.includes(sent.id));
  await world.sink.until(() => notices().length > 0);
  const [ledger, postings] = await world.onDatabase(async (q) => [
    await q.selectFrom('ledger').selectAll().where('messageId', '=', sent.id).orderBy('id').execute(),
    await q.selectFrom('postings').selectAll().where('messageId', '=', sent.id).orderBy('id').execute(),
  ]);
  const found = {
    reply: [sent.code, sent.text],
    log: world.daemon.log.filter((line) => JSON.stringify(line).includes(sent.id)),
    noise: world.daemon.noise,
    ledger,
    postings,
    deliveries: await world.deliveries(sent.id),
    answers: world.sink.messages.filter(({ to }) => to.includes(from)),
    // What is written above the attached message.
    notices: notices().map(({ bytes }) => bytes.toString('latin1').split('Content-Type: message/rfc822')[0]),
  };
  return JSON.stringify(found, null, 1)
    .replaceAll(sent.id, 'ID')
    .replaceAll(name, 'SENDER')
    .replace(/"(id|postingId|at)": \d+/g, '"$1": 0')
    .replace(/"time": "[^"]*"/g, '"time": 0')
    .replace(/Date: {1,4}\w{3}, [^\\]*/g, 'Date: NOW')
    .replace(/<\w+@lists\.example>/g, '<NEW@lists.example>')
    .replace(/=_\w+/g, '=_BOUNDARY');
}

describe('Bleichenbacher (1998; ROBOT 2017; Marvin 2023), at a list', () => {
  it.each([
    ['GCM', 'authEnveloped-data', gcm],
    ['CBC', 'enveloped-data', cbc],
  ] as const)(
    'reply, log lines, ledger, rows and notices are the same for bad padding, bad length and bad content, under %s',
    async (_, type, cases) => {
      const [, first] = cases[0] as Case;
      const expected = await seen(failing(first), type);
      expect(expected).toContain('"reason": "decrypt-failed"');
      expect(expected).toContain('"event": "unopened"');
      expect(expected).toContain('could not be opened');
      for (const [name, der] of cases.slice(1)) expect(await seen(failing(der), type), name).toBe(expected);
    },
    60_000,
  );

  it('and what they are changed from opens', async () => {
    const from = 'sender@example.org';
    await world.join(list, from);
    for (const der of [
      gcmEnvelope(list.identity, content(), { recipients: [raw(block())] }),
      cbcEnvelope(list.identity, cbcEncrypt(content()), [raw(block())]),
    ])
      expect(
        await world.post(
          mailOf(postHeaders(from, list.address), cmsEntity(der, 'enveloped-data')),
          list.address,
        ),
      ).toMatchObject({ event: 'held', reason: 'encrypted-unsigned' });
  });
});
