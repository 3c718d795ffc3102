import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '../kit/tmp.ts';
import { caseLimits, startCampaign, type Tally } from './campaign.ts';
import { mutate } from './mutate.ts';
import { randomOf } from './random.ts';
import { makeSamples, samplesOfFiles } from './samples.ts';

// Ten thousand changed inputs of one seed; `npm run fuzz` goes on from there to a million (README.md).

const samples = makeSamples(Date.now());
const seed = 3;

describe('ten thousand mutations', () => {
  let tally: Tally;
  it('give an answer or a Fault each, and prove nothing that was not signed', () => {
    tally = startCampaign(samples, seed).run({ first: 0, step: 1, count: 10_000 });
    const told = tally.failures.map(({ index, sample, changes, problem }) => ({
      index,
      sample,
      changes,
      problem,
    }));
    expect(told).toEqual([]);
    expect(tally.cases).toBe(10_000);
  }, 120_000);

  it('reach every verdict and every reader, so that they test something', () => {
    for (const outcome of ['signed', 'unsigned', 'invalid', 'mismatch', 'untrusted', 'unopened', 'malformed'])
      expect(tally.outcomes.get(`message ${outcome}`) ?? 0, outcome).toBeGreaterThan(10);
    for (const target of ['certificate', 'crl', 'ocsp', 'entity', 'addresses', 'cms'])
      expect(tally.outcomes.get(`${target} read`) ?? 0, target).toBeGreaterThan(10);
  });

  it('cost less than their limit', () => {
    expect(tally.slowest.ms).toBeLessThan(caseLimits.milliseconds);
  });
});

describe('a case', () => {
  it('is the same again for its seed and number, alone or among others', () => {
    const bytes = Buffer.from(samples.samples[0]?.bytes ?? '', 'base64');
    const made = (of: number, index: number) => mutate(bytes, 'mime', bytes, randomOf(of, index));
    expect(made(1, 7)).toEqual(made(1, 7));
    expect(made(1, 7)).not.toEqual(made(1, 8));
    expect(made(1, 7)).not.toEqual(made(2, 7));
    const alone = startCampaign(samples, seed).run({ first: 41, step: 1, count: 1 });
    const again = startCampaign(samples, seed).run({ first: 41, step: 1, count: 1 });
    expect([...alone.outcomes]).toEqual([...again.outcomes]);
  });
});

describe('files of corpora', () => {
  it('are samples by their names; what is no input, or too large, is left out', () => {
    const octets = Buffer.from('x');
    const names = ['a.eml', 'b.bin', 'c.crt', 'd.crl', 'README.md', 'e.xml'];
    const large = { name: 'f.eml', octets: Buffer.alloc(100_000) };
    const found = samplesOfFiles([...names.map((name) => ({ name, octets })), large]);
    expect(found.map(({ name, target, form }) => `${name} ${target} ${form}`)).toEqual([
      'a.eml message whole',
      'b.bin message cms',
      'c.crt certificate whole',
      'd.crl crl whole',
    ]);
  });
});

describe('npm run fuzz', () => {
  const fuzz = (...args: string[]) =>
    spawnSync(process.execPath, ['bin/fuzz.mjs', ...args], {
      cwd: new URL('../..', import.meta.url),
      encoding: 'utf8',
      env: { ...process.env, TMPDIR: tempFolder() },
      timeout: 100_000,
    });

  it('counts what became of the mutations', () => {
    const { status, stdout } = fuzz('--runs', '300', '--seed', '1');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^fuzz: \d+ samples, seed 1, 300 mutations in 2 threads\n/);
    expect(stdout).toMatch(/^ +\d+ {2}message malformed$/m);
    expect(stdout).toMatch(/^fuzz: 300 mutations in \d+ s, \d+ a second$/m);
    expect(stdout).toMatch(/^fuzz: the slowest, case \d+, took \d+ ms; 0 failed$/m);
  }, 120_000);

  it('keeps what failed, and the command makes it again', () => {
    // Everything takes longer than nothing: each case fails.
    const { status, stdout } = fuzz('--runs', '3', '--seed', '1', '--slow', '0');
    expect(status).toBe(1);
    const [, command = '', path = ''] =
      /again: npm run fuzz -- (.*--only 2 --samples (\S+))/.exec(stdout) ?? [];
    const input = path.replace('samples.json', 'case-2.bin');
    const again = fuzz(...command.split(' '), '--slow', '0');
    expect(again.status).toBe(1);
    const [, made = ''] = /input: (\S+)\.json/.exec(again.stdout) ?? [];
    expect(readFileSync(`${made}.bin`).equals(readFileSync(input))).toBe(true);
    expect(fuzz(...command.split(' ')).status).toBe(0);
  }, 120_000);

  it.each([[['--runs', 'many']], [['--seed', '-1']], [['more']]])('refuses %j', (args) => {
    const { status, stderr } = fuzz(...args);
    expect([status, stderr.includes('usage: fuzz [--runs N]')]).toEqual([64, true]);
  });
});
