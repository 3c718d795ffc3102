import { deflateSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { derContext, derInteger, derOctets, derOid, derSequence } from '../../src/pki/der.ts';
import { contentInfo, oid } from '../cms/forge.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { cmsEntity, mailOf } from '../kit/smime-mime.ts';
import { encrypted, from, makePeople, type People, plain, signed } from '../smime/messages.ts';
import { makeRoot, type Root } from './kit.ts';

// RULES 22: malformed > unopened > invalid > mismatch > untrusted > unsigned > signed. Each message is wrong in the two
// ways of its name; and the exit code of each verdict.

let root: Root;
let people: People;
let stranger: Identity;
beforeAll(async () => {
  root = makeRoot();
  people = await makePeople();
  stranger = await (await makeCa('Unknown Authority')).issue({ name: 'Zoe', address: 'zoe@example.org' });
});

let count = 0;
async function inspect(message: Buffer) {
  const file = root.file(`${++count}.eml`, message);
  const { ca, list } = people;
  const args = ['--ca', ca.certPath, '--key', list.keyPath, '--cert', list.certPath, '--json'];
  const { code, stdout } = await root.run('inspect', file, ...args);
  return { code, value: JSON.parse(stdout) as { verdict: string; layers: unknown[]; author: unknown } };
}

const changed = (entity: Buffer) =>
  Buffer.from(entity.toString('latin1').replace('friends', 'fiends!'), 'latin1');
const broken = () => cmsEntity(Buffer.from('308006092a864886f70d010702', 'hex'), 'signed-data');
const twoFrom = () => from('alice@example.org', [['From', 'bob@example.org']]);
const alice = () => from('alice@example.org');

describe('of two verdicts the more severe one', () => {
  const unreadable = () => encrypted(people.alice, plain);
  it.each<[string, string, () => Promise<Buffer>]>([
    [
      'malformed, unopened',
      'malformed',
      async () => Buffer.concat([Buffer.from('X: y\r\n'.repeat(1001)), mailOf(alice(), await unreadable())]),
    ],
    ['malformed, mismatch', 'malformed', async () => mailOf(twoFrom(), broken())],
    [
      'malformed inside, invalid outside',
      'malformed',
      async () => mailOf(alice(), await encrypted(people.list, broken())),
    ],
    [
      'unopened, invalid',
      'unopened',
      async () => {
        const outer = (await signed(people.alice, await unreadable())).toString('latin1');
        return mailOf(alice(), Buffer.from(outer.replace('smime.p7m', 'SMIME.p7m'), 'latin1'));
      },
    ],
    ['unopened, mismatch', 'unopened', async () => mailOf(twoFrom(), await unreadable())],
    [
      'unopened, untrusted',
      'unopened',
      async () => mailOf(alice(), await signed(stranger, await unreadable())),
    ],
    [
      'invalid, mismatch',
      'invalid',
      async () => mailOf(alice(), changed(await signed(people.mallory, plain))),
    ],
    [
      'invalid, two From',
      'invalid',
      async () => mailOf(twoFrom(), changed(await signed(people.alice, plain))),
    ],
    ['invalid, untrusted', 'invalid', async () => mailOf(alice(), changed(await signed(stranger, plain)))],
    ['mismatch, untrusted', 'mismatch', async () => mailOf(alice(), await signed(stranger, plain))],
    [
      'mismatch, weak',
      'mismatch',
      async () => mailOf(alice(), await signed(people.mallory, plain, { digest: 'sha1' })),
    ],
    ['two From, which nobody signed: no signer to match', 'unsigned', async () => mailOf(twoFrom(), plain)],
    ['untrusted', 'untrusted', async () => mailOf(from('zoe@example.org'), await signed(stranger, plain))],
    ['unsigned', 'unsigned', async () => mailOf(alice(), plain)],
    ['signed', 'signed', async () => mailOf(alice(), await signed(people.alice, plain))],
  ])('%s: %s', async (_, verdict, make) => {
    const { code, value } = await inspect(await make());
    expect(value.verdict).toBe(verdict);
    expect(code).toBe(verdict === 'signed' || verdict === 'unsigned' ? 0 : 1);
    if (verdict !== 'signed') expect(value.author).toBe(null);
  });
});

it('a compressed layer is a layer of its own', async () => {
  const zlib = derSequence(derOid('1.2.840.113549.1.9.16.3.8'));
  const content = derSequence(derOid(oid.data), derContext(0, derOctets(deflateSync(plain))));
  const data = contentInfo('1.2.840.113549.1.9.16.1.9', derSequence(derInteger(0), zlib, content));
  const { code, value } = await inspect(mailOf(alice(), cmsEntity(data, 'compressed-data')));
  expect(code).toBe(0);
  expect(value.layers).toEqual([{ kind: 'compressed', algorithm: 'zlib', opened: true, reason: null }]);
});
