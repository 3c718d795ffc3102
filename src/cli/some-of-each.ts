/** Of a list that goes to thousands so many of each kind are named; of more there is the count. */
export const mostOfEach = 20;

/** The first `most` of each kind, or all, in their order, and how many more there are. */
export function ofEach<Item>(
  items: readonly Item[],
  kindOf: (item: Item) => string,
  most = Number.POSITIVE_INFINITY,
): { readonly shown: readonly Item[]; readonly more: number } {
  const counts = new Map<string, number>();
  const shown = items.filter((item) => {
    const kind = kindOf(item);
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    return count <= most;
  });
  return { shown, more: items.length - shown.length };
}
