import { bodyBytes, type Entity, partsOf } from '../../src/mime/entity.ts';

/** A fixture: lines starting with "# " first (`# LF` keeps bare line ends), the message, `=== expect`, its outline. */
export function readFixture(text: string): { message: Buffer; expected: string } {
  const [before = '', expected = ''] = text.split('=== expect\n');
  const lines = before.split('\n');
  const notes = lines.filter((line) => line.startsWith('# '));
  const message = lines
    .slice(notes.length)
    .join(notes.includes('# LF') ? '\n' : '\r\n')
    .replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return { message: Buffer.from(message, 'latin1'), expected };
}

/** One line per entity, indented: type, body of a leaf as JSON, and what is ambiguous. */
export function outlineOf(entity: Entity, indent = ''): string {
  const parts = partsOf(entity);
  const body = parts.length > 0 ? '' : ` ${JSON.stringify(bodyBytes(entity).toString('latin1'))}`;
  const ambiguous = entity.ambiguous.length > 0 ? ` ambiguous ${entity.ambiguous.join(', ')}` : '';
  const line = `${indent}${entity.contentType.type}${body}${ambiguous}\n`;
  return line + parts.map((part) => outlineOf(part, `${indent}  `)).join('');
}
