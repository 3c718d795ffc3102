import type { Capabilities, Copy } from './capabilities.ts';

/** Whether no address can end its command or begin another one; `''` is the null sender. */
export function isCommandSafe({ from, to }: Pick<Copy, 'from' | 'to'>): boolean {
  return to.every((one) => one !== '') && !/[\s<>\p{C}]/u.test(from + to.join(''));
}

/** MAIL with the parameters that the copy needs and the relay knows (RFC 5321 4.1.1.2). */
export function mailCommand(copy: Copy, relay: Capabilities): string {
  const octets = copy.head.length + copy.body.length;
  const utf8 = relay.smtpUtf8 && (copy.smtpUtf8 || /[^\x20-\x7e]/.test(copy.from + copy.to.join('')));
  const parameters = [
    // RFC 6152 2
    copy.body8bit ? ' BODY=8BITMIME' : '',
    // RFC 1870 6
    relay.offersSize ? ` SIZE=${octets}` : '',
    // RFC 8689 3
    copy.requireTls ? ' REQUIRETLS' : '',
    // RFC 6531 3.4
    utf8 ? ' SMTPUTF8' : '',
  ];
  return `MAIL FROM:<${copy.from}>${parameters.join('')}\r\n`;
}

/** A RCPT for each recipient (RFC 5321 4.1.1.3). */
export function rcptCommands({ to }: Pick<Copy, 'to'>): string[] {
  return to.map((one) => `RCPT TO:<${one}>\r\n`);
}
