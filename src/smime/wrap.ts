import { multipart, textPart } from '../mime/compose.ts';
import { parseEntity } from '../mime/entity.ts';
import { fieldValue } from '../mime/header.ts';
import { type HeaderFields, hiddenSubject, isHidden, protectHeader } from '../mime/protect.ts';
import { sevenBit } from '../mime/seven-bit.ts';

/** What the list puts around an entity whose author nobody verified, before it signs it as its own (RULES 10). Plain data. */
export interface Wrapper {
  /** What the reader sees first. */
  readonly text: string;
  /** The fields that stand outside, but for a Subject that is to be hidden. */
  readonly headers: HeaderFields;
  /** The copy is encrypted (RFC 9788 `hp="cipher"`), or only signed. */
  readonly encrypted: boolean;
  /** `[...]` stands outside instead of the Subject. */
  readonly hidesSubject: boolean;
}

/**
 * multipart/mixed of the text and the entity, with the header protected. The entity becomes 7 bit where that is possible
 * without touching what somebody signed. A Subject that came hidden is taken from where the entity protects it.
 */
export function wrapEntity(entity: Buffer, wrapper: Wrapper, boundary: string): Buffer {
  const content = parseEntity(entity);
  const mixed = multipart('mixed', [textPart(wrapper.text), sevenBit(content) ?? entity], boundary);
  if (!wrapper.encrypted) return protectHeader(mixed, wrapper.headers, { hp: 'clear' });
  // It may differ from the one outside because it is secret; else the one outside has the list's tag.
  const takesOwn =
    wrapper.hidesSubject || wrapper.headers.some(([name, value]) => isSubject(name) && isHidden(value));
  const hasOwn = takesOwn && content.contentType.parameters.has('hp');
  const own = hasOwn ? fieldValue(content.fields, 'Subject') : null;
  const inside = wrapper.headers.map(
    ([name, value]) => [name, isSubject(name) && own !== null ? cleaned(own) : value] as const,
  );
  const outside = wrapper.headers.map(
    ([name, value]) => [name, isSubject(name) && wrapper.hidesSubject ? hiddenSubject : value] as const,
  );
  return protectHeader(mixed, inside, { hp: 'cipher', outside });
}

const isSubject = (name: string): boolean => name.toLowerCase() === 'subject';

/** NUL and a bare CR may have arrived in a raw value; `formatField` refuses them. */
function cleaned(value: string): string {
  return value.replace(/[^\P{Cc}\t]+/gu, ' ');
}
