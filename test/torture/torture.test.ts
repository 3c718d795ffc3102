import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '../kit/tmp.ts';
import { runTorture } from './campaign.ts';

// A dozen lives of the daemon; `npm run torture` goes on from there (README.md).

describe('a daemon that is killed again and again under load', () => {
  it('loses nothing, sends twice only what was in flight, and leaves nothing in clear', async () => {
    const said: string[] = [];
    const report = await runTorture({
      seed: 5,
      folder: tempFolder(),
      goesOn: (rounds) => rounds < 12,
      say: (words) => said.push(words),
    });
    expect(report.violations, said.join('\n')).toEqual([]);
    expect(report).toMatchObject({ rounds: 12, lost: 0, leaked: 0 });
    expect(report.messages.accepted).toBeGreaterThan(20);
    expect(report.pairs.delivered).toBeGreaterThan(100);
    const hits = Object.entries(report.points.hits);
    expect(hits.length).toBeGreaterThan(80);
    expect(hits.filter(([, count]) => count > 0).length).toBeGreaterThan(4);
    // Each transaction has a name, and is found among those that stand in the program.
    expect(hits.filter(([point]) => / of (nobody|unknown)/.test(point))).toEqual([]);
    expect(report.unmet.length).toBeLessThan(35);
    expect(report.unmet).not.toContain('commit of decidePost in flow/decision/post');
    expect(report.commands.died).toBeGreaterThan(0);
  }, 240_000);
});

describe('npm run torture', () => {
  it.each([[['--rounds', 'many']], [['--seed', '-1']], [['more']]])('refuses %j', (args) => {
    const { status, stderr } = spawnSync(process.execPath, ['bin/torture.mjs', ...args], {
      cwd: new URL('../..', import.meta.url),
      encoding: 'utf8',
    });
    expect([status, stderr.includes('usage: torture [--short]')]).toEqual([64, true]);
  });
});
