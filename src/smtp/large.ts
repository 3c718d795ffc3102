const largeOctets = 256 * 1024;

/**
 * Whether a message is large: what its copies take is the time on the wire. Large ones get their own share of connections and
 * memory, so that one to a thousand members does not hold up the short posts of other lists.
 */
export const isLarge = (octets: number): boolean => octets > largeOctets;
