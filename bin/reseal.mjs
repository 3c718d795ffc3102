#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';

// RSA, fsyncs and DNS share libuv's threads; the default of 4 makes them wait for each other. Nothing may have used them
// before: Node 20 reads this very file with them, so there the environment has to say it, as etc/reseal.service does.
process.env.UV_THREADPOOL_SIZE ??= '16';

// What a fan-out leaves behind is collected when the heap has grown by a third, not when it has doubled or more: 75 MB less at
// the peak of 10,000 copies for a tenth more of CPU time (npm run bench).
setFlagsFromString('--heap-growing-percent=30');

const main = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(main)) {
  console.error('reseal is not built: run `npm run setup` in its folder first');
  process.exit(69); // EX_UNAVAILABLE of sysexits.h
}
await import(main.href);
