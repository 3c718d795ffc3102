import { describe, expect, it } from 'vitest';
import { entityBytes, parseEntity, partsOf } from '../../src/mime/entity.ts';
import { fieldsNamed, fieldValue } from '../../src/mime/header.ts';
import { isSevenBit } from '../../src/mime/seven-bit.ts';
import { type Wrapper, wrapEntity } from '../../src/smime/wrap.ts';
import { textEntity } from '../kit/smime-mime.ts';

const wrapper: Wrapper = {
  text: '[nobody verified it]\n',
  headers: [
    ['From', 'Alice via team <team@lists.example>'],
    ['Subject', '[team] lunch'],
  ],
  encrypted: true,
  hidesSubject: false,
};
const wrapped = (entity: Buffer, change: Partial<Wrapper> = {}) =>
  parseEntity(wrapEntity(entity, { ...wrapper, ...change }, 'b'));
const outer = (entity: ReturnType<typeof wrapped>) =>
  fieldsNamed(entity.fields, 'HP-Outer').map(({ value }) => value);

describe('wrapEntity', () => {
  it('shows the warning first, then the entity in 7 bit', () => {
    const made = wrapped(textEntity('Grüße\n'));
    expect(made.contentType.type).toBe('multipart/mixed');
    const [first, second, more] = partsOf(made).map((part) => entityBytes(part).toString());
    expect(first).toContain('\r\n\r\n[nobody verified it]');
    expect(second).toContain('Gr=C3=BC=C3=9Fe');
    expect(more).toBeUndefined();
    expect(isSevenBit(made.source)).toBe(true);
  });

  it('leaves what somebody signed as it is, be it 7 bit or not', () => {
    const signed = Buffer.from(
      'Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\ngrün\r\n--s--\r\n',
    );
    expect(wrapped(signed).source.includes(signed)).toBe(true);
  });

  it('protects the header: clear without encryption, else with what stands outside', () => {
    const clear = wrapped(textEntity('x\n'), { encrypted: false, hidesSubject: true });
    expect([
      clear.contentType.parameters.get('hp'),
      fieldValue(clear.fields, 'Subject'),
      outer(clear),
    ]).toEqual(['clear', '[team] lunch', []]);
    const cipher = wrapped(textEntity('x\n'));
    expect([cipher.contentType.parameters.get('hp'), ...outer(cipher)]).toEqual([
      'cipher',
      'From: Alice via team <team@lists.example>',
      'Subject: [team] lunch',
    ]);
  });

  it('hides the Subject outside and has it inside', () => {
    const made = wrapped(textEntity('x\n'), { hidesSubject: true });
    expect(outer(made)).toContain('Subject: [...]');
    expect(fieldValue(made.fields, 'Subject')).toBe('[team] lunch');
  });

  it('takes a hidden Subject from the entity that protects it, and from no other', () => {
    const headers = [['Subject', '[...]']] as const;
    const inner = (type: string) =>
      Buffer.from(`Subject: the true one\r\nContent-Type: ${type}\r\n\r\nx\r\n`);
    const made = wrapped(inner('text/plain; hp="cipher"'), { headers });
    expect([fieldValue(made.fields, 'Subject'), outer(made)]).toEqual(['the true one', ['Subject: [...]']]);
    expect(fieldValue(wrapped(inner('text/plain'), { headers }).fields, 'Subject')).toBe('[...]');
    // One that is visible outside has the tag of the list.
    expect(fieldValue(wrapped(inner('text/plain; hp="cipher"')).fields, 'Subject')).toBe('[team] lunch');
  });
});
