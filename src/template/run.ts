import type { Fault } from '../base/errors.ts';
import { fault, type Place } from './faults.ts';

/** What one rendering may use. Templates may be written by list owners, so each limit ends hostile ones too. */
export const limits = {
  /** Statements, variables looked up, and list elements handled. */
  steps: 100_000,
  /** Characters read or made, all together; so nothing can be doubled until memory is full. */
  characters: 8_000_000,
  /** Files inside files. */
  includes: 16,
} as const;

/** The state of one rendering: what is spent, and where we are. */
export class Run {
  #place: Place;
  #steps = 0;
  #characters = 0;
  readonly #open: string[] = [];

  constructor(template: string) {
    this.#place = { template, line: 1 };
  }

  /** Tells which statement runs now, for the errors. */
  at(template: string, line: number): void {
    this.#place = { template, line };
  }

  /** Counts work. Fault 'template-budget' when there was too much. */
  step(count = 1): void {
    this.#steps += count;
    if (this.#steps > limits.steps) throw this.#exhausted(`more than ${limits.steps} steps`);
  }

  /** Counts characters, before they are made. Fault 'template-budget' when there were too many. */
  spend(characters: number): void {
    this.#characters += characters;
    if (this.#characters > limits.characters)
      throw this.#exhausted(`more than ${limits.characters} characters`);
  }

  /** Goes into a file. Fault 'template-error' of type `file` if it is being rendered already, as TT2 has it. */
  enter(name: string): void {
    if (this.#open.includes(name)) throw this.fail('file', `recursion into '${name}'`);
    if (this.#open.length >= limits.includes)
      throw this.#exhausted(`files more than ${limits.includes} deep`);
    this.#open.push(name);
  }

  leave(): void {
    this.#open.pop();
  }

  /** How many files deep we are. */
  get depth(): number {
    return this.#open.length;
  }

  /** Leaves the files that an error has ended. */
  leaveTo(depth: number): void {
    this.#open.length = depth;
  }

  /** An error that TRY … CATCH may catch: `type` and `info` are TT2's `error.type` and `error.info`. */
  fail(type: string, info: string): Fault {
    return fault('template-error', { ...this.#place, type, info });
  }

  #exhausted(limit: string): Fault {
    return fault('template-budget', { ...this.#place, limit });
  }
}
