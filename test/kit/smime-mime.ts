/**
 * The MIME around S/MIME, made and taken apart in the plainest way and without src/mime, so that tests have a second
 * opinion. It knows well-formed messages with CRLF line ends only.
 */

export type Headers = readonly (readonly [name: string, value: string])[];

/** A text entity with CRLF line ends: what people sign and encrypt. */
export function textEntity(text: string, type = 'text/plain; charset=utf-8'): Buffer {
  const body = text.replace(/\r?\n/g, '\r\n');
  return Buffer.from(`Content-Type: ${type}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n${body}`, 'utf8');
}

/** A message: header fields, MIME-Version, then the entity with its own Content-* fields. */
export function mailOf(headers: Headers, entity: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${lines(headers)}MIME-Version: 1.0\r\n`), entity]);
}

/** The multipart/signed entity of RFC 8551 3.5.3 around `entity`, whose bytes stay as they are. */
export function signedEntity(
  entity: Buffer,
  signatureDer: Buffer,
  micalg = 'sha-256',
  boundary = '=_kit_signed',
): Buffer {
  return Buffer.concat([
    Buffer.from(
      `Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n micalg=${micalg}; boundary="${boundary}"\r\n\r\n--${boundary}\r\n`,
    ),
    entity,
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: application/pkcs7-signature; name="smime.p7s"\r\n` +
        'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="smime.p7s"\r\n\r\n' +
        `${base64(signatureDer)}--${boundary}--\r\n`,
    ),
  ]);
}

/** The application/pkcs7-mime entity around CMS: RFC 8551 3.2. */
export function cmsEntity(
  der: Buffer,
  smimeType: 'enveloped-data' | 'authEnveloped-data' | 'signed-data' | 'certs-only' | 'compressed-data',
): Buffer {
  return Buffer.from(
    `Content-Type: application/pkcs7-mime; smime-type=${smimeType}; name="smime.p7m"\r\n` +
      'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="smime.p7m"\r\n\r\n' +
      base64(der),
  );
}

/** Part one of a multipart/signed, exactly the octets that the signature is over, and the decoded signature. */
export function splitSigned(entity: Buffer): { content: Buffer; signatureDer: Buffer } {
  const text = entity.toString('latin1');
  const [head = ''] = text.split('\r\n\r\n', 1);
  const boundary =
    /^content-type:\s*multipart\/signed(?:.|\r\n[ \t])*?boundary=(?:"([^"]+)"|([^\s;]+))/im.exec(head);
  if (boundary === null) throw new Error('not a multipart/signed');
  const parts = text.slice(head.length).split(`\r\n--${boundary[1] ?? boundary[2]}`);
  const [, first, second, end] = parts;
  if (first === undefined || second === undefined || !end?.startsWith('--')) throw new Error('not two parts');
  return {
    content: Buffer.from(first.replace(/^[ \t]*\r\n/, ''), 'latin1'),
    signatureDer: decodedBody(second.replace(/^[ \t]*\r\n/, '')),
  };
}

/** The CMS inside an application/pkcs7-mime message or entity. */
export function cmsOf(entity: Buffer): Buffer {
  const text = entity.toString('latin1');
  if (!/^content-type:\s*application\/(x-)?pkcs7-mime/im.test(text))
    throw new Error('not an application/pkcs7-mime');
  return decodedBody(text);
}

/** The value of the first header field of this name, unfolded; null without one. */
export function headerOf(entity: Buffer, name: string): string | null {
  const [head = ''] = entity.toString('latin1').split('\r\n\r\n', 1);
  const field = head
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n')
    .find((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`));
  return field === undefined ? null : field.slice(name.length + 1).trim();
}

function decodedBody(part: string): Buffer {
  const at = part.indexOf('\r\n\r\n');
  const encoding = /^content-transfer-encoding:\s*(\S+)/im.exec(part.slice(0, at))?.[1]?.toLowerCase();
  const body = part.slice(at + 4);
  return encoding === 'base64' ? Buffer.from(body, 'base64') : Buffer.from(body, 'latin1');
}

const lines = (headers: Headers): string => headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
const base64 = (bytes: Buffer): string =>
  (bytes.toString('base64').match(/.{1,64}/g) ?? []).map((line) => `${line}\r\n`).join('');
