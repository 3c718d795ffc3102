// The programs that the demonstration starts.
const running = new Set();

// It comes first: they must be dead before their folder is removed, or some may make it anew.
process.prependListener('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Whatever happens to the demonstration, this program of it does not stay behind. */
export function dieWithUs(child) {
  running.add(child);
  child.once('exit', () => running.delete(child));
}
