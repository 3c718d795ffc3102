import type { Run } from './run.ts';

/**
 * Regular expressions written in templates (`x.match('\S')`). A list owner may write them, and JavaScript's matcher
 * backtracks, so the work of the worst case is reckoned before anything is matched: a text of n characters, u
 * quantifiers without an end and k other choices cost at most n^(u+1) * 2^k tries. Repeated groups, look-arounds and
 * back references have no such bound and are refused.
 */
const mostTries = 20_000_000;
const triesPerStep = 2_000;

/** The pattern in JavaScript's words, and the numbers for its bound. */
interface Reading {
  readonly source: string;
  readonly endless: number;
  readonly choices: number;
}

/** Compiles `pattern` (Perl's syntax, in part) to be used on `text`. A Fault if it is broken or may take too long. */
export function patternFor(pattern: string, text: string, flags: '' | 'g', run: Run): RegExp {
  const { source, endless, choices } = read(pattern, run);
  // `^` allows one start only, unless another alternative may start elsewhere.
  const starts = pattern.startsWith('^') && !pattern.includes('|') ? 0 : 1;
  const tries = (text.length + 1) ** (endless + starts) * 2 ** choices;
  if (tries > mostTries) {
    throw run.fail('undef', `the pattern may take too long for a text of ${text.length} characters`);
  }
  run.step(Math.ceil(tries / triesPerStep));
  run.spend(text.length);
  try {
    return new RegExp(source, flags);
  } catch {
    throw run.fail('undef', 'the pattern is not a regular expression');
  }
}

/** The parts of a pattern: escape, character class, group opening, quantifier, any other character. */
const part = /\\[\s\S]|\[\^?(?:\\[\s\S]|[^\]\\])*\]|\(\?[\s\S]?|[*+?]|\{\d{1,3}(?:,\d{0,3})?\}|[\s\S]/g;
const quantifier = /^(?:[*+?]|\{\d.*\})$/;
const plainEscape = /^\\(?:[dDsSwWbBnrtf]|[^A-Za-z0-9])$/;
/** Perl's `$` also matches before a line end that ends the text. */
const perlOnly = new Map([
  ['\\A', '^'],
  ['\\z', '$'],
  ['\\Z', '(?=\\n?$)'],
  ['$', '(?=\\n?$)'],
]);

function read(pattern: string, run: Run): Reading {
  if (pattern.length > 200) throw run.fail('undef', 'a pattern is longer than 200 characters');
  let source = '';
  let endless = 0;
  let choices = 0;
  let last = '';
  for (const [found] of pattern.matchAll(part)) {
    const lazy = found === '?' && quantifier.test(last);
    const repeats = quantifier.test(found) && !lazy;
    const refused =
      (repeats && (last === ')' || quantifier.test(last))) ||
      (found.startsWith('(?') && found !== '(?:') ||
      (found.startsWith('\\') && !plainEscape.test(found) && !perlOnly.has(found)) ||
      found.startsWith('[[:');
    if (refused) throw run.fail('undef', 'the pattern has a part that is not supported here');
    if (found === '|' || (repeats && found === '?')) choices++;
    else if (repeats) endless++;
    source += perlOnly.get(found) ?? found;
    last = lazy ? '' : found;
  }
  return { source, endless, choices };
}
