import type { Fault } from '../base/errors.ts';
import { fault } from './faults.ts';
import type { Token } from './lexer.ts';

/** Brackets and blocks inside each other: the parser recurses, so a hostile template must not choose how deep. */
const deepest = 100;

/** A place in a template's tokens, with the few moves that the parsers make. */
export class Cursor {
  readonly template: string;
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  /** `tokens` must end with a token of the kind `end`. */
  constructor(template: string, tokens: readonly Token[]) {
    this.template = template;
    this.#tokens = tokens;
  }

  /** The token here, or `ahead` further on. */
  peek(ahead = 0): Token {
    const token = this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)];
    return token ?? { kind: 'end', text: 'end of template', line: 1 };
  }

  next(): Token {
    const token = this.peek();
    this.#at++;
    return token;
  }

  /** Whether the token here is this sign or keyword. */
  sees(text: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return (token.kind === 'symbol' || token.kind === 'keyword') && token.text === text;
  }

  /** Steps over this sign or keyword, if it is here. */
  accept(text: string): boolean {
    if (!this.sees(text)) return false;
    this.#at++;
    return true;
  }

  /** Steps over this sign or keyword, which must be here. */
  expect(text: string): void {
    if (!this.accept(text)) throw this.unexpected(`${text} is missing`);
  }

  /** Runs `read` one level deeper. */
  within<T>(read: () => T): T {
    if (++this.#depth > deepest)
      throw this.problem(`more than ${deepest} brackets or blocks inside each other`);
    const result = read();
    this.#depth--;
    return result;
  }

  unexpected(why?: string): Fault {
    const { kind, text } = this.peek();
    const what = kind === 'symbol' && text === ';' ? 'end of a directive' : kind === 'text' ? 'text' : text;
    return this.problem(`unexpected ${what}${why === undefined ? '' : `, ${why}`}`);
  }

  problem(problem: string): Fault {
    return fault('template-syntax', { template: this.template, line: this.peek().line, problem });
  }
}
