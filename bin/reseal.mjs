#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(main)) {
  console.error('reseal is not built: run `npm run setup` in its folder first');
  process.exit(69); // EX_UNAVAILABLE of sysexits.h
}
await import(main.href);
