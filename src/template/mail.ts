import { fault } from './faults.ts';
import type { RenderOptions } from './filters.ts';
import { MailOutput } from './output.ts';
import type { Templates } from './templates.ts';
import type { Variables } from './values.ts';

/** A mail's words: header fields in their order, not encoded; the text with LF line ends and one at its end. */
export interface RenderedMail {
  readonly headers: readonly (readonly [string, string])[];
  readonly text: string;
}

/**
 * Renders a mail template: header lines (`Subject:` at least), an empty line, the text. A line of the header that
 * begins with a blank continues the one before. What variables hold cannot add a header field, whatever it contains.
 * Fault 'template-error' if the template does not begin so; else as `Templates.render`.
 */
export async function renderMail(
  templates: Templates,
  name: string,
  variables: Variables,
  options: RenderOptions = {},
): Promise<RenderedMail> {
  const output = new MailOutput();
  await templates.renderTo(output, name, variables, options);
  const headers = headerFields(name, output.header);
  if (!headers.some(([field]) => field.toLowerCase() === 'subject')) {
    throw malformed(name, 'the template does not begin with a Subject line');
  }
  const body = output.body.replace(/\r\n?/g, '\n').replace(commanding, '?').trimEnd();
  return { headers, text: `${body.replace(/^\n+/, '')}\n` };
}

/** What a value could do to the terminal of its reader: control characters, and those that turn the order of others around. */
const commanding = /[^\P{Cc}\n\t]|[\u202a-\u202e\u2066-\u2069]/gu;

const malformed = (template: string, info: string) =>
  fault('template-error', { template, line: 1, type: 'mail', info });

function headerFields(template: string, header: string): [string, string][] {
  const unfolded = header.trim().replace(/\r?\n[ \t]+/g, ' ');
  return unfolded.split(/\r?\n/).map((line) => {
    // RFC 5322 2.2: a field name is printable ASCII without the colon
    const found = /^([!-9;-~]+):/.exec(line);
    if (found === null) throw malformed(template, 'a line before the first empty line is not a header field');
    return [found[1] ?? '', line.slice(found[0].length).trim()];
  });
}
