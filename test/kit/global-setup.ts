import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Makes the folder of this test run, which all test files share (`runFolder`), and removes it at the end. */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'reseal-'));
  process.env.RESEAL_TEST_RUN = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}
