/** How far a long command has come. */
export interface Progress {
  step(done: number): void;
  end(): void;
}

interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const width = 30;

/** A bar on a terminal (`[####----] 120/300 what`); nothing where the stream is none, so logs and pipes stay clean. */
export function progressOn(terminal: Terminal, what: string, total: number): Progress {
  if (terminal.isTTY !== true || total === 0) return { step: () => {}, end: () => {} };
  // A terminal whose size nobody set has 0 columns.
  const room = () => (terminal.columns || 80) - 1;
  let shown = '';
  return {
    step(done) {
      const filled = Math.floor((Math.min(done, total) / total) * width);
      const bar = `[${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${done}/${total} ${what}`;
      if (bar !== shown) terminal.write(`\r${bar.slice(0, room())}`);
      shown = bar;
    },
    end: () => void terminal.write(`\r${' '.repeat(Math.min(shown.length, room()))}\r`),
  };
}
