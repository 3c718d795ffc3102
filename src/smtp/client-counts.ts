import { BlockList, isIP, isIPv4 } from 'node:net';

/** Whether a text is an IP address or a network in CIDR form (`10.0.0.0/8`, `2001:db8::/32`). */
export function isNetwork(text: string): boolean {
  const [address = '', length, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128));
}

/** How many clients of one address are connected, so that one host cannot take all places. */
export class ClientCounts {
  readonly #most: number;
  readonly #exempt = new BlockList();
  readonly #counts = new Map<string, number>();

  /** At most `most` of one address; any number from `exempt` (addresses and networks, see `isNetwork`). */
  constructor(most: number, exempt: readonly string[]) {
    this.#most = most;
    for (const network of exempt) {
      const [address = '', length] = network.split('/');
      const family = isIPv4(address) ? 'ipv4' : 'ipv6';
      if (length === undefined) this.#exempt.addAddress(address, family);
      else this.#exempt.addSubnet(address, Number(length), family);
    }
  }

  /** Counts a client in and tells whether it may stay; `leave` is owed in either case. Without an address it is local. */
  enter(address: string | undefined): boolean {
    if (address === undefined) return true;
    const host = hostOf(address);
    const count = (this.#counts.get(host) ?? 0) + 1;
    this.#counts.set(host, count);
    return count <= this.#most || this.#exempt.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
  }

  leave(address: string | undefined): void {
    if (address === undefined) return;
    const host = hostOf(address);
    const count = (this.#counts.get(host) ?? 0) - 1;
    if (count > 0) this.#counts.set(host, count);
    else this.#counts.delete(host);
  }
}

/** What counts as one host: an IPv4 address, or the 64 bits of an IPv6 address that are not the host's own to choose (RFC 4291 2.5.4). */
function hostOf(address: string): string {
  const mapped = address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (isIPv4(mapped)) return mapped;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail ? tail.split(':').length : 0;
  const zeros = tail === undefined ? 0 : 8 - groups.length - after;
  return [...groups, ...Array<string>(zeros).fill('0')].slice(0, 4).join(':');
}
