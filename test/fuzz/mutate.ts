import { type Ber, bytesOf, readBer } from '../../src/pki/ber.ts';
import { der } from '../../src/pki/der.ts';
import type { Random } from './random.ts';

/** One change, and what it was in a few words: with the seed it can be made again, with the words it can be understood. */
export interface Mutated {
  readonly bytes: Buffer;
  readonly words: string;
}

/** More than this no change makes of a sample: copies of copies would only make the run slow. */
const mostOctets = 300_000;

/** What `bytes` are: it decides which changes are worth trying. */
export type Shape = 'der' | 'mime' | 'text';

/** `bytes` with one to four changes, some of them with pieces of `other`. */
export function mutate(bytes: Buffer, shape: Shape, other: Buffer, random: Random): Mutated {
  const words: string[] = [];
  let changed = bytes;
  for (let left = 1 + random.below(4); left > 0; left--) {
    const kind = random.pick(kindsOf[shape]);
    const next = changes[kind](changed, other, random);
    if (next === null || next.bytes.length > mostOctets) continue;
    changed = next.bytes;
    words.push(`${kind} ${next.words}`);
  }
  return { bytes: changed, words: words.join('; ') };
}

type Change = (bytes: Buffer, other: Buffer, random: Random) => Mutated | null;

const replaced = (bytes: Buffer, from: number, to: number, by: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, from), by, bytes.subarray(to)]);

/** Octets that parsers treat in a special way. */
const telling = [0x00, 0x80, 0xff, 0x7f, 0x1f, 0x30, 0x24, 0x0d, 0x0a, 0x22, 0x3d];

const changes = {
  flip(bytes, _, random) {
    if (bytes.length === 0) return null;
    const at = random.below(bytes.length);
    const bit = random.below(8);
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] as number) ^ (1 << bit);
    return { bytes: changed, words: `${at}.${bit}` };
  },
  set(bytes, _, random) {
    if (bytes.length === 0) return null;
    const at = random.below(bytes.length);
    const changed = Buffer.from(bytes);
    changed[at] = random.pick(telling);
    return { bytes: changed, words: `${at}=${changed[at]}` };
  },
  insert(bytes, _, random) {
    const at = random.below(bytes.length + 1);
    const more = random.once(2) ? random.bytes(1 + random.below(8)) : Buffer.from([random.pick(telling)]);
    return { bytes: replaced(bytes, at, at, more), words: `${more.toString('hex')} at ${at}` };
  },
  delete(bytes, _, random) {
    if (bytes.length === 0) return null;
    const at = random.below(bytes.length);
    const to = Math.min(bytes.length, at + 1 + random.below(random.once(4) ? 200 : 4));
    return { bytes: replaced(bytes, at, to, Buffer.alloc(0)), words: `${at} to ${to}` };
  },
  truncate(bytes, _, random) {
    const to = random.below(bytes.length + 1);
    return { bytes: bytes.subarray(0, to), words: `at ${to}` };
  },
  splice(bytes, other, random) {
    if (other.length === 0) return null;
    const at = random.below(bytes.length + 1);
    const from = random.below(other.length);
    const piece = other.subarray(from, from + 1 + random.below(400));
    const to = random.once(2) ? at : Math.min(bytes.length, at + piece.length);
    return { bytes: replaced(bytes, at, to, piece), words: `${from}+${piece.length} at ${at} to ${to}` };
  },
  'cross over'(bytes, other, random) {
    const at = random.below(bytes.length + 1);
    const from = random.below(other.length + 1);
    return { bytes: Buffer.concat([bytes.subarray(0, at), other.subarray(from)]), words: `${at} to ${from}` };
  },

  // Elements of ASN.1: the lengths around them are made right again, so that the change is seen by the reader behind.
  'drop element': (bytes, _, random) => onElement(bytes, random, () => Buffer.alloc(0)),
  'double element': (bytes, _, random) =>
    onElement(bytes, random, (node) => Buffer.concat([bytesOf(node), bytesOf(node)])),
  'many elements': (bytes, _, random) =>
    onElement(bytes, random, (node) =>
      Buffer.concat(Array<Buffer>(2 + random.below(60)).fill(bytesOf(node))),
    ),
  'other tag': (bytes, _, random) =>
    onElement(bytes, random, (node) => {
      const element = Buffer.from(bytesOf(node));
      element[0] = random.once(2)
        ? random.below(256)
        : (element[0] as number) ^ random.pick([0x20, 0x80, 0xa0, 1, 3]);
      return element;
    }),
  'empty element': (bytes, _, random) =>
    onElement(bytes, random, (node) => Buffer.from([node.source[node.start] as number, 0])),
  indefinite: (bytes, _, random) =>
    onElement(bytes, random, (node) =>
      node.constructed
        ? Buffer.concat([
            Buffer.from([node.source[node.start] as number, 0x80]),
            inside(node),
            Buffer.from([0, 0]),
          ])
        : segmented(node, random),
    ),
  'long length': (bytes, _, random) =>
    onElement(bytes, random, (node) => {
      const content = inside(node);
      const octets = random.pick([3, 4, 5, 6]);
      const length = Buffer.alloc(1 + octets);
      length[0] = 0x80 | octets;
      length.writeUIntBE(content.length, 1, octets);
      return Buffer.concat([Buffer.from([node.source[node.start] as number]), length, content]);
    }),
  'wrong length': (bytes, _, random) =>
    onElement(bytes, random, (node) => {
      const element = Buffer.from(bytesOf(node));
      element[1] = random.once(2)
        ? random.below(256)
        : ((element[1] as number) + random.pick([1, 255])) % 256;
      return element;
    }),
  'swap elements': (bytes, _, random) =>
    onElement(bytes, random, (node) => {
      if (node.children.length < 2) return bytesOf(node);
      const list = node.children.map(bytesOf);
      const [a, b] = [random.below(list.length), random.below(list.length)];
      [list[a], list[b]] = [list[b] as Buffer, list[a] as Buffer];
      return der(node.source[node.start] as number, ...list);
    }),
  'element of another': (bytes, other, random) => {
    const foreign = elementsOf(other);
    if (foreign.length === 0) return null;
    return onElement(bytes, random, (node) =>
      random.once(2)
        ? bytesOf(random.pick(foreign))
        : Buffer.concat([bytesOf(node), bytesOf(random.pick(foreign))]),
    );
  },
  number: (bytes, _, random) =>
    onElement(bytes, random, (node) =>
      node.tag === 2 && node.class === 'universal'
        ? der(
            2,
            random.pick([Buffer.alloc(0), Buffer.from([0x80]), random.bytes(7), Buffer.alloc(600, 0xff)]),
          )
        : bytesOf(node),
    ),

  // Lines of a message.
  'drop line': (bytes, _, random) => onLine(bytes, random, () => ''),
  'double line': (bytes, _, random) => onLine(bytes, random, (line) => line + line),
  'move line': (bytes, _, random) => {
    const lines = linesOf(bytes);
    const [line = ''] = lines.splice(random.below(lines.length), 1);
    lines.splice(random.below(lines.length + 1), 0, line);
    return { bytes: Buffer.from(lines.join(''), 'latin1'), words: JSON.stringify(line.slice(0, 30)) };
  },
  'other line end': (bytes, _, random) =>
    onLine(bytes, random, (line) =>
      line.replace(/\r?\n?$/, random.pick(['\n', '\r', '\r\n\r\n', '\r\n ', '', '\0'])),
    ),
  'new line': (bytes, _, random) => onLine(bytes, random, (line) => `${random.pick(fields)}\r\n${line}`),
  'other word': (bytes, _, random) =>
    onLine(bytes, random, (line) => {
      const found = [...line.matchAll(/[\w/-]+/g)];
      if (found.length === 0) return line;
      const word = random.pick(found);
      return line.slice(0, word.index) + random.pick(tokens) + line.slice(word.index + word[0].length);
    }),
} satisfies Record<string, Change>;

type Kind = keyof typeof changes;
const everywhere: readonly Kind[] = ['flip', 'set', 'insert', 'delete', 'truncate', 'splice', 'cross over'];
const lines: readonly Kind[] = [
  'drop line',
  'double line',
  'move line',
  'other line end',
  'new line',
  'other word',
];
const kindsOf: Record<Shape, readonly Kind[]> = {
  der: [
    ...everywhere,
    'drop element',
    'double element',
    'many elements',
    'other tag',
    'empty element',
    'indefinite',
    'long length',
    'wrong length',
    'swap elements',
    'element of another',
    'number',
  ],
  mime: [...everywhere, ...lines, ...lines],
  text: [...everywhere, 'other word'],
};

/** All elements, outermost first; none if it is no ASN.1. */
function elementsOf(bytes: Buffer): Ber[] {
  const found: Ber[] = [];
  const collect = (node: Ber) => {
    found.push(node);
    for (const child of node.children) collect(child);
  };
  try {
    collect(readBer(bytes));
  } catch {
    // A change before this one broke it.
  }
  return found;
}

/** Puts what `change` makes in the place of one element, in all that is around it. */
function onElement(bytes: Buffer, random: Random, change: (node: Ber) => Buffer): Mutated | null {
  const all = elementsOf(bytes);
  const [root] = all;
  if (root === undefined) return null;
  const target = random.pick(all);
  const made = change(target);
  const rebuild = (node: Ber): Buffer => {
    if (node === target) return made;
    if (target.start < node.start || target.end > node.end) return bytesOf(node);
    return der(node.source[node.start] as number, ...node.children.map(rebuild));
  };
  return {
    bytes: Buffer.concat([rebuild(root), bytes.subarray(root.end)]),
    words: `at ${target.start}`,
  };
}

const inside = (node: Ber): Buffer => node.source.subarray(node.contentStart, node.contentEnd);

/** An octet string in pieces, as streaming makes it; other elements stay. */
function segmented(node: Ber, random: Random): Buffer {
  if (node.class !== 'universal' || node.tag !== 4) return bytesOf(node);
  const at = random.below(node.contentEnd - node.contentStart + 1);
  const content = inside(node);
  return der(0x24, der(4, content.subarray(0, at)), der(4, content.subarray(at)));
}

const linesOf = (bytes: Buffer): string[] => bytes.toString('latin1').split(/(?<=\n)/);

function onLine(bytes: Buffer, random: Random, change: (line: string) => string): Mutated {
  const all = linesOf(bytes);
  // Headers are where the meaning is, and base64 has most of the lines.
  const telling = all.flatMap((line, n) => (/[:;=-]/.test(line.slice(0, 60)) ? [n] : []));
  const at = telling.length > 0 && !random.once(4) ? random.pick(telling) : random.below(all.length);
  const line = all[at] ?? '';
  all[at] = change(line);
  return { bytes: Buffer.from(all.join(''), 'latin1'), words: `${at} ${JSON.stringify(line.slice(0, 30))}` };
}

const fields = [
  'From: mallory@evil.example',
  'From: alice@example.org',
  'Sender: mallory@evil.example',
  'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=x',
  'Content-Type: application/pkcs7-mime; smime-type=signed-data',
  'Content-Type: text/plain; hp="clear"',
  'Content-Transfer-Encoding: quoted-printable',
  'Content-Transfer-Encoding: base64',
  'HP-Outer: From: mallory@evil.example',
  '--=_fuzz',
  '--=_fuzz--',
  '',
];
const tokens = [
  'multipart/signed',
  'multipart/mixed',
  'application/pkcs7-mime',
  'application/octet-stream',
  'message/rfc822',
  'boundary',
  'boundary*0*',
  'protocol',
  'base64',
  '=?utf-8?q?=0d=0a?=',
  'alice@example.org',
  '"',
  '(((((((',
  '',
];
