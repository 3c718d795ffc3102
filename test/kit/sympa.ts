import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

// File names as Sympa writes them, from its own rules and not from ours: so that a directory which it made is tried.

/** `encode_filesystem_safe`, since 6.2.63b.1: every octet but `[-+.0-9@A-Za-z]` is `_` and two lower-case digits. */
export function sympaName(address: string): string {
  return Buffer.from(address, 'utf8')
    .toString('latin1')
    .replace(/[^-+.0-9@A-Za-z]/g, (one) => `_${two(one.charCodeAt(0))}`);
}

/** `escape_chars`, up to 6.2.62: one character after the other is replaced in the whole text, `%` first, `/` last. */
export function sympaOldName(address: string): string {
  let name = Buffer.from(address, 'utf8').toString('latin1');
  const replace = (code: number, by: string) => {
    name = name.split(String.fromCharCode(code)).join(by);
  };
  replace(0x25, '%25');
  const ranges = [
    [0x20, 0x24],
    [0x26, 0x2c],
    [0x3a, 0x3f],
    [0x5b, 0x5b],
    [0x5d, 0x5d],
    [0x80, 0x9f],
    [0xa0, 0xff],
  ] as const;
  for (const [first, last] of ranges)
    for (let code = first; code <= last; code++) replace(code, `%${two(code)}`);
  replace(0x2f, '%a5');
  return name;
}

const two = (code: number): string => code.toString(16).padStart(2, '0');

/** An `X509-user-certs` as a site of Sympa has it: files, an expiry marker, and what people leave behind. */
export function sympaDirectory(
  folder: string,
  d: {
    readonly naming: 'new' | 'old';
    readonly certificates: readonly {
      readonly address: string;
      readonly use: '' | '@sign' | '@enc';
      readonly pem: string;
    }[];
  },
): void {
  mkdirSync(folder, { recursive: true });
  const nameOf = d.naming === 'new' ? sympaName : sympaOldName;
  for (const { address, use, pem } of d.certificates) writeFileSync(join(folder, nameOf(address) + use), pem);
  writeFileSync(join(folder, `${nameOf('alice@example.org')}.soon_expired`), '');
  writeFileSync(join(folder, '.nfs0001'), 'left behind');
}
