import { parseContentType } from './content-type.ts';
import { type Field, fieldsNamed, fieldValue } from './header.ts';

/**
 * Why a message counts as written by a machine, in words, or null (RFC 3834 2, RFC 5436 2.7.1 and what autoresponders
 * add in practice). Such a message gets no answer. The null sender of the envelope is a reason too, for the caller.
 */
export function isAutomatic(fields: readonly Field[]): string | null {
  for (const { name, marks } of markedFields) {
    const field = fieldsNamed(fields, name).find(({ value }) => marks(firstWord(value)));
    if (field) return `its header says ${name}: ${field.value.slice(0, 80)}`;
  }
  const { type } = parseContentType(fieldValue(fields, 'Content-Type'));
  return type === 'multipart/report' ? 'it is a report of a mail system (multipart/report)' : null;
}

const markedFields: readonly { name: string; marks: (word: string) => boolean }[] = [
  // RFC 3834 5: "no" is what a person's mail may say.
  { name: 'Auto-Submitted', marks: (word) => word !== 'no' },
  { name: 'Precedence', marks: (word) => ['bulk', 'junk', 'auto_reply'].includes(word) },
  { name: 'X-Autoreply', marks: (word) => word !== 'no' },
  { name: 'X-Autorespond', marks: (word) => word !== 'no' },
  { name: 'X-Auto-Response-Suppress', marks: (word) => word !== 'none' },
  { name: 'Content-Identifier', marks: (word) => /^auto-?repl/.test(word) },
];

/** RFC 3834 5: the keyword ends at a blank, comment or parameter. */
function firstWord(value: string): string {
  return /^[^\s;,(]*/.exec(value)?.[0].toLowerCase() ?? '';
}
