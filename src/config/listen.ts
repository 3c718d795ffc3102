import type { Entries, GroupEntries } from './entries.ts';
import { fault, type Mistake } from './faults.ts';
import { listenPrefix, type SiteValues, siteSettings } from './settings.ts';
import { absolute, readTable } from './values.ts';

/** Files with which a socket offers TLS. */
export interface ListenTls {
  readonly cert: string;
  readonly key: string;
}

/** A socket to receive mail on. */
export type Listen = { readonly protocol: 'smtp' | 'lmtp'; readonly tls?: ListenTls } & (
  | { readonly host: string; readonly port: number }
  | { readonly path: string; readonly mode: number }
);

/** The settings of one socket. */
type SocketValues = Pick<SiteValues, Extract<keyof SiteValues, `${typeof listenPrefix}${string}`>>;

const socketTable = Object.fromEntries(
  Object.entries(siteSettings).filter(([name]) => name.startsWith(listenPrefix)),
);

/** What is called this machine in every network, as an address to listen on or to connect to. */
const thisMachine = /^(127\.[0-9.]+|::1|localhost|0\.0\.0\.0|::)$/;

/** Whether a host or address is this machine by its name alone. */
export const isThisMachine = (host: string): boolean => thisMachine.test(host);

/** The sockets that the file sets, and what is wrong with them. */
export function readSockets(
  groups: readonly GroupEntries[],
  root: string,
): { readonly listen: readonly Listen[]; readonly mistakes: readonly Mistake[] } {
  const mistakes: Mistake[] = [];
  const listen: Listen[] = [];
  const taken = new Set<string>();
  for (const { entries, place } of groups) {
    const read = readTable(socketTable, entries, { root, prefix: '' });
    mistakes.push(...read.mistakes);
    const defaults = Object.entries(socketTable).map(([name, row]) => [name, row.default]);
    const socket = socketOf({ ...Object.fromEntries(defaults), ...read.values } as SocketValues, root);
    const objection =
      objectionTo(socket, entries) ?? (taken.has(nameOf(socket)) ? 'two sockets are the same' : null);
    if (objection !== null) {
      mistakes.push(fault('config-contradiction', { place, why: `${objection} (${nameOf(socket)})` }));
    }
    // Port 0 takes a free port each time.
    if (!('port' in socket) || socket.port !== 0) taken.add(nameOf(socket));
    listen.push(Object.freeze(socket));
  }
  return { listen: Object.freeze(listen), mistakes };
}

function socketOf(values: SocketValues, root: string): Listen {
  const protocol = values['listen.protocol'];
  const path = values['listen.path'];
  const cert = absolute(root, values['listen.tls.cert']) as string | null;
  const key = absolute(root, values['listen.tls.key']) as string | null;
  const spoken = { protocol, ...(cert === null || key === null ? {} : { tls: { cert, key } }) };
  if (path === null) return { ...spoken, host: values['listen.host'], port: values['listen.port'] };
  return { ...spoken, path: absolute(root, path) as string, mode: Number.parseInt(values['listen.mode'], 8) };
}

function objectionTo(socket: Listen, entries: Entries): string | null {
  if (entries.has('listen.tls.cert') !== entries.has('listen.tls.key'))
    return 'listen.tls.cert and listen.tls.key go together: set both, or neither';
  if ('path' in socket) {
    const other = ['listen.host', 'listen.port'].find((name) => entries.has(name));
    return other ? `listen.path and ${other} are both set: keep one` : null;
  }
  if (entries.has('listen.mode')) return 'listen.mode is for a Unix socket, but listen.path is not set';
  // RFC 2033 5
  if (socket.protocol === 'lmtp' && socket.port === 25) return 'LMTP must not be spoken on port 25';
  return null;
}

/** What a socket is called in messages: `127.0.0.1:8024` or its path. */
export function nameOf(socket: Listen): string {
  return 'path' in socket ? socket.path : `${socket.host}:${socket.port}`;
}
