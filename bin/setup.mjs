// Makes a checkout ready: packages as package-lock.json says, then the compiled program in dist. Each step is skipped
// when nothing it depends on has changed. Node's built-in modules only, as nothing is installed yet.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const at = (...path) => join(root, ...path);

checkNode();
install();
build();

function checkNode() {
  const wanted = JSON.parse(readFileSync(at('package.json'), 'utf8')).engines.node;
  const [major, minor] = wanted.match(/\d+/g).map(Number);
  const [ourMajor, ourMinor] = process.versions.node.split('.').map(Number);
  if (ourMajor > major || (ourMajor === major && ourMinor >= (minor ?? 0))) return;
  fail(`this is Node ${process.versions.node}, and reseal needs ${wanted}: install a newer Node.js`);
}

function install() {
  const stamp = at('node_modules', '.reseal-setup');
  // Compiled modules fit one ABI of Node and one machine.
  const wanted = hashOf(
    ['package-lock.json'],
    `${process.versions.modules} ${process.platform} ${process.arch}`,
  );
  if (readOrNull(stamp) === wanted) return say('packages: as package-lock.json says');
  say('packages: installing (npm ci); where better-sqlite3 has to be compiled this takes some minutes');
  // --include=dev: the compiler is a development dependency, and NODE_ENV=production would leave it out.
  const npm = run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund']);
  if (npm.error?.code === 'ENOENT') fail('there is no npm: install it, it comes with Node.js');
  if (npm.status !== 0) fail(`npm ci failed: ${reasonOf(npm.said)}`, npm.said);
  const loads = run(process.execPath, ['-e', "new (require('better-sqlite3'))(':memory:').close()"]);
  if (loads.status !== 0)
    fail(`better-sqlite3 is installed but does not load: ${reasonOf(npm.said + loads.said)}`, loads.said);
  writeFileSync(stamp, wanted);
  say('packages: installed');
}

/** The missing thing, in words, from npm's output. */
function reasonOf(said) {
  if (/gyp ERR!|node-gyp|prebuild-install/.test(said)) {
    const tools = ['c++', 'make', 'python3'].filter((name) => run(name, ['--version']).error !== undefined);
    const lack = tools.length > 0 ? `there is no ${tools.join(', no ')}` : 'that failed for the reason above';
    return `better-sqlite3 has to be compiled, and ${lack} (Debian: apt-get install build-essential python3)`;
  }
  if (/ENOTFOUND|ETIMEDOUT|ECONNREFUSED|ECONNRESET|EAI_AGAIN|network/i.test(said))
    return 'the package registry was not reached: look at the network, the proxy and `npm config get registry`';
  if (/E40[134]/.test(said)) return 'the package registry refuses or lacks a package';
  if (/ENOSPC/.test(said)) return 'the disk is full';
  if (/EACCES|EPERM/.test(said))
    return 'files may not be written here: look at the owner of this folder and of ~/.npm';
  if (/can only install|in sync/.test(said))
    return 'package.json and package-lock.json do not fit together: what is missing is above';
  return 'its words are above';
}

function build() {
  const stamp = at('dist', '.reseal-build');
  const sources = filesUnder('src');
  const wanted = hashOf([...sources, 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json'], '');
  if (readOrNull(stamp) === wanted) return say('dist: up to date');
  say('dist: compiling (tsc)');
  const tsc = run(process.execPath, [
    at('node_modules/typescript/bin/tsc'),
    '-p',
    'tsconfig.build.json',
    '--noEmitOnError',
  ]);
  if (tsc.status !== 0)
    fail('the source does not compile: the errors are above; dist is as it was', tsc.said);
  const made = new Set(sources.map((path) => path.replace(/^src/, 'dist').replace(/\.ts$/, '.js')));
  for (const path of filesUnder('dist')) if (!made.has(path.replace(/\.map$/, ''))) rmSync(at(path));
  writeFileSync(stamp, wanted);
  say('dist: compiled');
}

function filesUnder(folder) {
  if (!existsSync(at(folder))) return [];
  return readdirSync(at(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length))
    .sort();
}

/** SHA-256 over names and contents of files (those that are there) and some words. */
function hashOf(paths, words) {
  const hash = createHash('sha256').update(words);
  for (const path of paths)
    if (existsSync(at(path))) hash.update(`\0${path}\0`).update(readFileSync(at(path)));
  return hash.digest('hex');
}

function run(program, args) {
  const result = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  return { ...result, said: `${result.stdout ?? ''}${result.stderr ?? ''}` };
}

function readOrNull(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

function say(words) {
  console.log(`setup: ${words}`);
}

function fail(words, said = '') {
  // No addresses: which registry a site uses is nobody's business who reads its logs.
  const lines = said
    .replace(/\b(?:https?|git\+\w+):\/\/\S+/g, '<address>')
    .trim()
    .split('\n');
  const tail = (lines.length > 60 ? [...lines.slice(0, 40), '…', ...lines.slice(-20)] : lines).join('\n');
  if (tail !== '') console.error(tail);
  console.error(`setup: ${words}`);
  process.exit(1);
}
