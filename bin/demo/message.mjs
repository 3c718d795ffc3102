// Messages as text: an outer header and a MIME entity.
const list = 'council@lists.example';

/** What the story is about. The text is in nobody's hands but the members'. */
export const plot = {
  list,
  sendcert: list.replace('@', '-sendcert@'),
  subject: 'Where we meet',
  text: 'The old mill, Sunday at nine.',
};

let written = 0;

/** Header fields of a new message, with a Message-ID of its own; `more` comes instead or besides. */
export function headerFields(from, to, more = {}) {
  return {
    From: from.address,
    To: to,
    Subject: plot.subject,
    Date: new Date().toUTCString().replace('GMT', '+0000'),
    'Message-ID': `<${++written}.${Date.now()}@client.example>`,
    ...more,
  };
}

/** A message ready to be sent: header fields, then the entity; CRLF. */
export function messageOf(fields, entity) {
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
  return `${head.join('')}${entity}`.replace(/\r?\n/g, '\r\n');
}

/** The MIME entity of a message: the header fields that belong to it, and the body. */
export function entityOf(message) {
  const end = message.indexOf('\r\n\r\n');
  const fields = message.slice(0, end).match(/^\S[^\r]*(\r\n[ \t][^\r]*)*/gm) ?? [];
  const own = fields.filter((field) => /^(MIME-Version|Content-)/i.test(field));
  return `${own.join('\r\n')}${message.slice(end)}`;
}

/** A field of the outer header, unfolded, or null. */
export function headerOf(message, name) {
  const head = message.slice(0, message.indexOf('\r\n\r\n')).replace(/\r\n(?=[ \t])/g, '');
  return new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1] ?? null;
}
