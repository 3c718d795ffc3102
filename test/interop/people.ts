import { type Identity, type KeyKind, makeCa, type TestCa } from '../kit/pki.ts';

/** Kinds of keys that the matrix signs with or encrypts to. */
export type Key = Extract<KeyKind, 'rsa' | 'rsa-pss' | 'p256' | 'ed25519' | 'x25519'>;

export const keys: readonly Key[] = ['rsa', 'rsa-pss', 'p256', 'ed25519', 'x25519'];

/**
 * Who takes part: for each kind of key one correspondent, who uses the other program, and one list, which is reseal's.
 * A stranger's certificate comes from an authority that nobody trusts.
 */
export interface People {
  readonly ca: TestCa;
  readonly correspondents: Readonly<Record<Key, Identity>>;
  readonly lists: Readonly<Record<Key, Identity>>;
  readonly stranger: Identity;
}

export async function makePeople(): Promise<People> {
  const ca = await makeCa('Interop Root');
  const each = async (role: string) =>
    Object.fromEntries(
      await Promise.all(
        keys.map(async (key) => [
          key,
          await ca.issue({ name: `${role}-${key}`, address: `${role}-${key}@interop.example`, key }),
        ]),
      ),
    ) as Record<Key, Identity>;
  const stranger = await (await makeCa('Other Root')).issue({
    name: 'stranger',
    address: 'stranger@interop.example',
  });
  return { ca, correspondents: await each('member'), lists: await each('list'), stranger };
}
