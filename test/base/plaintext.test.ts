import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Plaintext } from '../../src/base/bytes.ts';

const secret = 'the wedding is on Friday';
const made = () => new Plaintext(Buffer.from(secret));
const size = `<plaintext ${secret.length} octets>`;

describe('Plaintext shows its size only', () => {
  const ways: readonly (readonly [string, (plaintext: Plaintext) => unknown])[] = [
    ['in a template literal', (p) => `${p}`],
    ['by String()', (p) => String(p)],
    ['added to a text', (p) => 'and '.concat(p as unknown as string)],
    ['by toString', (p) => p.toString()],
    ['joined in an array', (p) => [p].join()],
    ['to console.log (%s, %o, %O, %j)', (p) => ['%s', '%o', '%O', '%j'].map((f) => inspect([f, p])).join()],
    ['inspected', (p) => inspect(p)],
    ['inspected deep inside', (p) => inspect({ report: { entity: p } }, { depth: null, showHidden: true })],
    ['inspected without its own way', (p) => inspect(p, { customInspect: false, showHidden: true })],
    ['as JSON', (p) => JSON.stringify(p)],
    ['as JSON inside something', (p) => JSON.stringify({ entity: p, list: [p] })],
    ['in the message of an error', (p) => new Error(`no: ${p}`).message],
    ['spread', (p) => inspect({ ...p })],
    ['by its own property names', (p) => inspect(Object.getOwnPropertyNames(p))],
    ['cloned to another thread', (p) => inspect(structuredClone(p), { customInspect: false })],
    ['taken for octets', (p) => Buffer.from(p as unknown as Uint8Array).toString('latin1')],
    ['taken for an array', (p) => Uint8Array.from(p as unknown as number[]).join()],
  ];

  it.each(ways)('%s', (_, show) => {
    const shown = String(show(made()));
    expect(shown).not.toContain(secret.slice(0, 5));
    expect(shown).not.toContain(Buffer.from(secret).toString('hex').slice(0, 10));
    expect(shown).not.toContain(Buffer.from(secret).toString('base64').slice(0, 8));
    expect(shown).not.toMatch(/116, ?104, ?101|116,104,101/);
  });

  it('as words', () => {
    expect([`${made()}`, JSON.stringify(made()), inspect(made())]).toEqual([size, `"${size}"`, size]);
  });

  it('and cannot be joined with octets', () => {
    expect(() => Buffer.concat([made() as unknown as Uint8Array])).toThrow(TypeError);
  });
});

describe('Plaintext', () => {
  it('gives its own octets, not a copy', () => {
    const octets = new Uint8Array(Buffer.from(`..${secret}..`).buffer.slice(0));
    const view = octets.subarray(2, 6);
    const plaintext = new Plaintext(view);
    expect(plaintext.length).toBe(4);
    expect(plaintext.expose().buffer).toBe(view.buffer);
    expect(plaintext.expose().byteOffset).toBe(view.byteOffset);
  });

  it('overwrites them when it is wiped, and gives nothing after that', () => {
    const octets = Buffer.from(secret);
    const plaintext = new Plaintext(octets);
    plaintext.wipe();
    expect(octets.every((octet) => octet === 0)).toBe(true);
    expect(() => plaintext.expose()).toThrow('wiped');
    expect(() => plaintext.wipe()).not.toThrow();
    expect(`${plaintext}`).toBe(size);
  });
});
