import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const log = fileURLToPath(new URL('../../dist/base/log.js', import.meta.url));

/** What a program that logs, and then does the rest, has written to standard error. */
function said(program: string): string[] {
  const source = `import { openLog } from ${JSON.stringify(log)}; const log = openLog('info'); ${program}`;
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8' });
  return stderr
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).event);
}

describe('the log', () => {
  it('has all that was said when the program ends by itself, or is ended from inside', () => {
    const events = "log.event('one'); log.event('two');";
    expect(said(events)).toEqual(['one', 'two']);
    expect(said(`${events} process.exit(1);`)).toEqual(['one', 'two']);
  });

  it.each(['warn', 'error'])('has a %s, and what was said before it, when the process is killed', (level) => {
    const program = `log.event('one'); log.${level}('two', {}); process.kill(process.pid, 'SIGKILL');`;
    expect(said(program)).toEqual(['one', 'two']);
  });

  it('has what was said in an earlier turn of the event loop', () => {
    const kill = "setImmediate(() => process.kill(process.pid, 'SIGKILL'))";
    expect(said(`log.event('one'); setImmediate(() => { log.event('two'); ${kill}; });`)).toContain('one');
  });
});
