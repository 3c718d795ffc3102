import { parseEntity } from './entity.ts';
import { mimeFault } from './faults.ts';
import { formatField } from './header.ts';

export type HeaderFields = readonly (readonly [name: string, value: string])[];

/** What stands outside in place of a hidden Subject (RFC 9788 3.2.1). */
export const hiddenSubject = '[...]';

/** Whether an outer Subject (the field's value) only says that the true one is inside. */
export function isHidden(subject: string): boolean {
  return subject.trim() === hiddenSubject;
}

/**
 * Header protection (RFC 9788 2.1, 5.2.1): the payload to sign, or to sign and encrypt, made of an entity of ours. It carries
 * `headers` itself and says by its `hp` parameter how: `clear`, when the message is only signed and the same fields
 * stand outside; `cipher`, when it is encrypted: then `outside`, the fields that will be seen outside, are repeated as
 * HP-Outer, so that the reader's program knows which of the others were hidden. Throws `header-injection`, also for
 * an entity whose first field is not its Content-Type.
 */
export function protectHeader(
  entity: Buffer,
  headers: HeaderFields,
  form: { readonly hp: 'clear' } | { readonly hp: 'cipher'; readonly outside: HeaderFields },
): Buffer {
  const [first] = parseEntity(entity).fields;
  if (first === undefined || first.start !== 0 || first.name.toLowerCase() !== 'content-type')
    throw mimeFault('header-injection', {
      field: 'Content-Type',
      what: 'it is not the first field of the payload',
    });
  const outer = form.hp === 'cipher' ? form.outside : [];
  const fields = [
    ...headers.map(([name, value]) => formatField(name, value)),
    // RFC 9788 2.2: one for each field outside, which is not a structural one.
    ...outer.map(([name, value]) => formatField('HP-Outer', `${name}: ${value}`)),
  ];
  const contentType = entity.toString('latin1', 0, first.end).replace(/\r?\n$/, '');
  const typed = Buffer.from(`${contentType};\r\n hp="${form.hp}"\r\n`, 'latin1');
  return Buffer.concat([...fields, typed, entity.subarray(first.end)]);
}
