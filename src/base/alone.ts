/**
 * Does each piece of work in its turn. One that throws is told to `failed` and keeps no other from its turn. Gives what
 * each gave: how much it did; 0 of one that failed.
 */
export async function eachAlone<Name extends string>(
  work: Readonly<Record<Name, () => Promise<number>>>,
  failed: (name: string, error: unknown) => void,
): Promise<Readonly<Record<string, number>>> {
  const done: Record<string, number> = {};
  for (const [name, run] of Object.entries<() => Promise<number>>(work)) {
    done[name] = 0;
    try {
      done[name] = await run();
    } catch (error) {
      failed(name, error);
    }
  }
  return done;
}
