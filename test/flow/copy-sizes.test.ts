import { expect, it } from 'vitest';
import { brandSealed } from '../../src/base/bytes.ts';
import type { FindRecipients, MemberCertificate } from '../../src/flow/certificates/member-certificate.ts';
import { smallestCopies } from '../../src/flow/delivery/copy-sizes.ts';
import { sealedHead } from '../../src/flow/post/prepare.ts';
import type { Phase } from '../../src/smime/seal.ts';
import type { Addressed, CryptoWorkers } from '../../src/smime/workers.ts';
import { addMembers } from '../../src/store/members.ts';
import { t0 } from './parts.ts';
import { makeList, makeSite } from './site.ts';

const findRecipients: FindRecipients = async (_, members) =>
  new Map(
    members.map(({ address }): [string, MemberCertificate] => [
      address,
      {
        usable: true,
        recipient: { sha256: address, transport: 'rsa' },
        choice: { cipher: 'aes-256-cbc', keyTransport: 'rsa', weaker: false },
        sha256: address,
      },
    ]),
  );

it('a post is encoded once for each phase to learn how large its copies are, however many members there are', async () => {
  const site = await makeSite();
  const list = await makeList(site);
  const addresses = Array.from({ length: 350 }, (_, n) => `m${n}@example.org`);
  await addMembers(
    site.database.q,
    list.id,
    addresses.map((address) => ({ address, name: '', since: t0 })),
  );
  const phaseOf = (address: string): Phase => (address.length % 3) as Phase;
  const encodings: Phase[] = [];
  const seal: CryptoWorkers['seal'] = async () => ({
    contentType: 'sealed',
    address: async (recipients) =>
      recipients.map(
        ({ sha256 }, at): Addressed => ({
          at: [at],
          head: brandSealed(Buffer.from(sha256)),
          phase: phaseOf(sha256),
        }),
      ),
    lines: async (phase) => {
      encodings.push(phase);
      return brandSealed(Buffer.alloc(1000 + phase));
    },
    end: async () => {},
  });
  const parts = { database: site.database, workers: { count: 2, seal }, findRecipients };
  const sizes: number[] = [];
  const header = Buffer.from('Subject: x\r\n');
  for await (const octets of smallestCopies(parts, { list, header, entity: 10, receivedBits: 0 }))
    sizes.push(octets);
  expect(encodings.toSorted()).toEqual([...new Set(addresses.map(phaseOf))].sort());
  const own = (address: string): number => address.length + phaseOf(address);
  const smallest = Math.min(...addresses.map(own));
  expect(Math.min(...sizes)).toBe(sealedHead(header, 'sealed').length + 1000 + smallest);
  expect(sizes).toHaveLength(4);
});
