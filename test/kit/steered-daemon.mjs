import { startApp } from '../../dist/app/start-app.js';
import { openLog } from '../../dist/base/log.js';
import { loadSite } from '../../dist/config/site.js';

// The daemon as `serve` runs it, but for a clock that its parent sets forward and an hour that is short.
// Arguments: --root DIR. Each message from the parent is so many milliseconds that pass; STEERED_AHEAD are those that have passed.

let passed = Number(process.env.STEERED_AHEAD ?? 0);
process.on('message', (ms) => {
  passed += ms;
});
process.umask(0o077);
const site = await loadSite({ root: process.argv[process.argv.indexOf('--root') + 1], env: {} });
const log = openLog('info');
const app = await startApp(site, {
  clock: { now: () => Date.now() + passed },
  log,
  script: new URL('../../dist/smime/worker.js', import.meta.url),
  housekeepingMs: 100,
});
process.once('SIGTERM', async () => {
  await app.stop();
  process.disconnect();
});
log.event('ready', { listen: app.listening, pid: process.pid });
