import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Known } from './plan.ts';
import type { Notes } from './victim.ts';

/** What a campaign can say of the points at which processes may die. */
export interface PointReport {
  /** How often a process died at each that was met; of SQLite's own calls too. */
  readonly hits: Readonly<Record<string, number>>;
  /** Points that nobody died at, and why. */
  readonly never: readonly string[];
}

/** Which points were met, in what rounds, and who died there. */
export interface Points {
  known(): Known;
  /** Something died where kill-points.mjs does not look. */
  noteKill(point: string): void;
  /** Notes in what kind of round the last process met its points. */
  noteRound(kind: string): void;
  /** Whether somebody carried out an order since this was asked last. */
  hasFired(): boolean;
  report(): PointReport;
}

/** Reads what processes with these notes wrote. */
export function pointsOf(notes: Notes): Points {
  const metIn = new Map<string, Set<string>>();
  const others: string[] = [];
  let seen = 0;
  let fired = 0;
  const kills = (): string[] => [
    ...lines(notes.fired).flatMap((line) => /^kill (.*)$/.exec(line)?.[1] ?? []),
    ...others,
  ];
  const known = (): Known => ({ seen: [...new Set(lines(notes.seen))], killedAt: [...new Set(kills())] });
  return {
    known,
    noteKill: (point) => void others.push(point),
    noteRound(kind) {
      const all = readFileSync(notes.seen, 'utf8');
      for (const point of all.slice(seen).split('\n').filter(Boolean))
        metIn.set(point, (metIn.get(point) ?? new Set()).add(kind));
      seen = all.length;
    },
    hasFired() {
      const { length } = readFileSync(notes.fired, 'utf8');
      const has = length > fired;
      fired = length;
      return has;
    },
    report() {
      const hits: Record<string, number> = {};
      for (const point of known().seen) hits[point] = 0;
      for (const point of kills()) hits[point] = (hits[point] ?? 0) + 1;
      const missed = Object.keys(hits).filter((point) => hits[point] === 0);
      const never = missed.map((point) => {
        const kinds = [...(metIn.get(point) ?? [])];
        return `${point}: met in ${kinds.length === 1 ? `rounds with ${kinds[0]}` : 'several kinds of rounds'}, and nobody was to die there yet`;
      });
      return { hits, never };
    },
  };
}

/** Transactions that stand in the program, and none of these points is one: nothing brought them about. */
export function unmet(notes: Notes, met: readonly string[]): string[] {
  const file = join(dirname(notes.seen), 'sites');
  const sites = existsSync(file) ? lines(file) : [];
  return sites.filter((site) => !met.some((point) => point.endsWith(` ${site}`)));
}

function lines(file: string): string[] {
  return readFileSync(file, 'utf8').split('\n').filter(Boolean);
}
