import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** The folder that all test files of one run share; `global-setup.ts` makes and removes it. */
export function runFolder(): string {
  const known = process.env.RESEAL_TEST_RUN;
  if (known !== undefined) return known;
  const folder = mkdtempSync(join(tmpdir(), 'reseal-'));
  process.env.RESEAL_TEST_RUN = folder;
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * A new empty folder (mode 0700, its path short enough for a socket). Called inside a test it goes when the test
 * is over, elsewhere (`beforeAll`, top of a file) with the run.
 */
export function tempFolder(): string {
  const folder = mkdtempSync(join(runFolder(), 't-'));
  try {
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  } catch {
    // Not inside a test: the run folder takes it along.
  }
  return folder;
}
