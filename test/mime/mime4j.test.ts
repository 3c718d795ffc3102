import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseEntity } from '../../src/mime/entity.ts';
import { needs } from '../kit/needs.ts';
import { expectedTree, parsedTree } from './mime4j.ts';

const folder = join('../shared/corpora/james-mime4j/core/src/test/resources');
const present = needs('../shared/corpora/james-mime4j', existsSync(folder));

/** Where we read a message otherwise than mime4j, and why. */
const otherwise: Readonly<Record<string, string>> = {
  'bad-newlines-multiple-parts-base64': 'an encoded message/rfc822 is a leaf here',
  'base64encoded-rfc822message-nested': 'an encoded message/rfc822 is a leaf here',
  'base64encoded-rfc822message': 'an encoded message/rfc822 is a leaf here',
  'multi-2gifs-base64': 'an encoded message/rfc822 is a leaf here',
  'basic-plain-with-bad-header-separator': 'text after a header without blank line is the body',
  'hdr-fakeout': 'text after a header without blank line is the body',
  'malformedHeader-nocrlfcrlf': 'a line that is no field ends the header',
  'malformedHeader-noheader': 'a line that is no field ends the header',
  'malformedHeaderStartsBody-nocrlfcrlf': 'and is part of the body',
  'malformedHeaderStartsBody-noheader': 'and is part of the body',
  obsolete: 'the name of a field is ASCII',
  'ending-boundaries': 'text after a boundary makes it no delimiter',
  'weird-boundary': 'blanks at the end of a boundary do not count (RFC 2046 5.1.1 forbids them)',
  'very-long-boundary': 'a boundary has 200 characters at most',
  'very-very-long-boundary': 'a boundary has 200 characters at most',
  badbound: 'a multipart without any part is a leaf',
  'missing-boundary': 'a multipart without any part is a leaf',
  'missing-inner-boundary': 'a multipart without any part is a leaf',
  'missing-inner-start-boundary': 'a multipart without any part is a leaf',
  multipartnopart: 'a multipart without any part is a leaf',
};

const messages = (present ? ['testmsgs', 'mimetools-testmsgs'] : []).flatMap((sub) =>
  readdirSync(join(folder, sub))
    .filter((file) => file.endsWith('.msg'))
    .map((file) => [file.replace(/\.msg$/, ''), join(folder, sub, file)] as const),
);

describe.skipIf(!present)('the messages of Apache James mime4j', () => {
  it('are there', () => {
    expect(messages.length).toBeGreaterThan(75);
  });

  it.each(messages)('%s', (name, path) => {
    const expected = expectedTree(readFileSync(path.replace(/\.msg$/, '.xml'), 'latin1'));
    const parsed = parsedTree(parseEntity(readFileSync(path)));
    // Those of the table must really differ, so that it does not rot.
    if (otherwise[name] === undefined) expect(parsed).toEqual(expected);
    else expect(parsed).not.toEqual(expected);
  });
});
