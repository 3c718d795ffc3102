import { expect, it } from 'vitest';
import { anchorCache, readAnchors } from '../../src/smime/anchors.ts';
import { makeCa } from '../kit/pki.ts';

it('anchors that come again are not read again: in their order, whatever else comes with them', async () => {
  const [one, two, three] = (await Promise.all([makeCa('One'), makeCa('Two'), makeCa('Three')])).map((ca) =>
    Uint8Array.from(ca.certDer),
  );
  if (!one || !two || !three) throw new Error('three authorities');
  const read = anchorCache();
  const first = read([one, two]);
  expect(first.map((anchor) => anchor.der)).toEqual(readAnchors([one, two]).map((anchor) => anchor.der));
  // As a worker gets them: the same octets in memory of their own.
  const again = read([three, two, one].map((der) => Uint8Array.from(der)));
  expect(again.map((anchor) => anchor.der)).toEqual(
    readAnchors([three, two, one]).map((anchor) => anchor.der),
  );
  expect(again[1]).toBe(first[1]);
  expect(again[2]).toBe(first[0]);
});

it('one octet more or less is another anchor', async () => {
  const { certDer } = await makeCa();
  const read = anchorCache();
  read([certDer]);
  expect(() => read([Buffer.concat([certDer, Buffer.alloc(1)])])).toThrow('certificate');
});
