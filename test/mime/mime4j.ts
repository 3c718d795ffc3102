import { bodyBytes, type Entity, parseEntity, partsOf } from '../../src/mime/entity.ts';

/** What mime4j's expected .xml and our parser are both reduced to: the fields' names, and children or a body. */
export interface Tree {
  readonly fields: readonly string[];
  readonly children: readonly Tree[];
  /** Body of a leaf with bare LF line ends, Latin-1. */
  readonly body: string | null;
}

/** Reads one of mime4j's expectation files: a handful of tags and four character entities. */
export function expectedTree(xml: string): Tree {
  const tokens: readonly string[] = xml.replaceAll('\r\n', '\n').match(/<[^>]+>|[^<]+/g) ?? [];
  let at = 0;
  const textUntil = (tag: string): string => {
    let text = '';
    while (at < tokens.length && tokens[at] !== tag) text += tokens[at++];
    at++;
    return plainText(text);
  };
  const readNode = (close: string): Tree => {
    const fields: string[] = [];
    const children: Tree[] = [];
    let body: string | null = null;
    while (at < tokens.length) {
      const token = tokens[at++];
      if (token === close) break;
      if (token === '<field>') fields.push(nameOf(textUntil('</field>')));
      else if (token === '<preamble>') textUntil('</preamble>');
      else if (token === '<epilogue>') textUntil('</epilogue>');
      else if (token === '<body>') body = textUntil('</body>').replace(/^\n/, '');
      else if (token === '<body-part>') children.push(readNode('</body-part>'));
      else if (token === '<message>') children.push(readNode('</message>'));
    }
    return { fields, children, body: children.length > 0 ? null : body };
  };
  at = tokens.indexOf('<message>') + 1;
  return readNode('</message>');
}

const plainText = (text: string): string =>
  text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&');

const nameOf = (field: string): string => field.trimStart().split(':', 1)[0]?.trim() ?? '';

/** The same of a message that we parsed. */
export function parsedTree(entity: Entity): Tree {
  const fields = entity.fields.map(({ name }) => name);
  const children = partsOf(entity);
  if (children.length > 0) return { fields, children: children.map(parsedTree), body: null };
  if (
    entity.contentType.type === 'message/rfc822' &&
    !['base64', 'quoted-printable'].includes(entity.encoding)
  )
    return {
      fields,
      children: [parsedTree(parseEntity(entity.source, entity.bodyStart, entity.end))],
      body: null,
    };
  return { fields, children: [], body: bodyBytes(entity).toString('latin1').replaceAll('\r\n', '\n') };
}
