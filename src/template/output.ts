/** Where a rendering writes. It tells the template's own words from what variables hold. */
export interface Output {
  /** Words that stand in the template. */
  text(words: string): void;
  /** What a variable, a filter or an inserted file gave. */
  value(words: string): void;
}

/** Collects everything as one text. */
export class TextOutput implements Output {
  readonly #pieces: string[] = [];

  text(words: string): void {
    this.#pieces.push(words);
  }

  value(words: string): void {
    this.#pieces.push(words);
  }

  toString(): string {
    return this.#pieces.join('');
  }
}

/**
 * Collects a mail: header lines, an empty line, text. Until the template's own words have ended the header, a value
 * cannot end a line: its line breaks and other control characters become blanks, so it cannot add a header field.
 */
export class MailOutput implements Output {
  readonly #header: string[] = [];
  readonly #body: string[] = [];
  #line = '';
  #started = false;
  #inHeader = true;

  /** The header as written, without the empty lines on top and the one that ended it. */
  get header(): string {
    return this.#header.join('') + this.#line;
  }

  get body(): string {
    return this.#body.join('');
  }

  text(words: string): void {
    let rest = words;
    // Line by line, until an empty line that is not one of those on top.
    while (this.#inHeader && rest !== '') {
      const end = rest.indexOf('\n') + 1 || rest.length;
      this.#line += rest.slice(0, end);
      rest = rest.slice(end);
      if (this.#line.endsWith('\n')) this.#endLine();
    }
    if (rest !== '') this.#body.push(rest);
  }

  value(words: string): void {
    if (this.#inHeader) this.#line += words.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
    else this.#body.push(words);
  }

  #endLine(): void {
    if (this.#line.trim() !== '') {
      this.#header.push(this.#line);
      this.#started = true;
    } else if (this.#started) {
      this.#inHeader = false;
    }
    this.#line = '';
  }
}
