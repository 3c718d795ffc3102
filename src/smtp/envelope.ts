import { isIPv6 } from 'node:net';
import type { SMTPServerAddress, SMTPServerSession } from 'smtp-server';
import { canonicalAddress } from '../mime/address.ts';
import type { Envelope } from '../mime/envelope.ts';
import { type Answer, answers } from './replies.ts';

/** The MAIL parameters of the extensions that we announce: RFC 1870, 6152, 6531, 8689. */
const mailParameters = new Set(['SIZE', 'BODY', 'SMTPUTF8', 'REQUIRETLS']);

/** RFC 5321 4.1.1.11: a parameter we did not announce is refused, or the client relies on what we do not do. */
function onlyKnown(given: SMTPServerAddress, known: ReadonlySet<string>): boolean {
  return Object.keys(given.args === false ? {} : given.args).every((name) => known.has(name));
}

/** The name of the flag in MAIL, e.g. SMTPUTF8; read from the parameters, as smtp-server keeps flags of a refused MAIL. */
const flag = (given: SMTPServerAddress, name: string): boolean =>
  given.args !== false && given.args[name] === true;

const asciiLocalPart = (address: string): boolean =>
  /^[\x20-\x7e]*$/.test(address.slice(0, address.lastIndexOf('@')));

/** A command line that was not UTF-8 arrives with replacement characters. */
const readable = (address: string): boolean => !address.includes('\uFFFD');

/**
 * The sender as it is kept: RFC 5321 2.4 lets the local part keep its case, or tagged return addresses break, and it
 * may be longer than 64 octets, as forwarders make it; the domain is canonical. Null if it is no address.
 */
function senderAddress(given: string): string | null {
  const at = given.lastIndexOf('@');
  const plain = /^[^\s\p{C}\p{Z}()<>@,;:\\"[\]]+$/u.test(given.slice(0, at));
  const canonical = canonicalAddress(plain ? `x${given.slice(at)}` : given);
  if (!readable(given) || canonical === null) return null;
  return given.slice(0, at) + canonical.slice(canonical.lastIndexOf('@'));
}

/** What is wrong with a MAIL command, or null. The null sender `<>` is right. */
export function objectionToSender(given: SMTPServerAddress): Answer | null {
  if (!onlyKnown(given, mailParameters)) return answers.unknownParameter;
  if (given.address === '') return null;
  if (senderAddress(given.address) === null) return answers.badSender;
  if (!asciiLocalPart(given.address) && !flag(given, 'SMTPUTF8')) return answers.needsSmtpUtf8;
  return null;
}

/**
 * The canonical address that a RCPT command names, or what is wrong with it. `<postmaster>` without a domain is
 * the postmaster of `hostname` (RFC 5321 4.1.1.3).
 */
export function recipientOf(
  given: SMTPServerAddress,
  sender: SMTPServerAddress,
  hostname: string,
): string | Answer {
  if (!onlyKnown(given, new Set())) return answers.unknownParameter;
  const full = given.address.toLowerCase() === 'postmaster' ? `postmaster@${hostname}` : given.address;
  const address = readable(full) ? canonicalAddress(full) : null;
  if (address === null) return answers.badRecipient;
  if (!asciiLocalPart(address) && !flag(sender, 'SMTPUTF8')) return answers.needsSmtpUtf8;
  return address;
}

function protocolOf(session: SMTPServerSession, lmtp: boolean): Envelope['protocol'] {
  if (lmtp) return 'LMTP';
  if (session.openingCommand !== 'EHLO') return 'SMTP';
  return session.secure ? 'ESMTPS' : 'ESMTP';
}

/** The client as RFC 5321 4.4 wants it in a Received field; `local` on a unix socket. No name is looked up. */
function clientOf(session: SMTPServerSession): string {
  const ip = session.remoteAddress;
  if (ip === '') return 'local';
  return `unknown [${isIPv6(ip) ? 'IPv6:' : ''}${ip}]`;
}

/** The envelope of the open transaction; `to` are the accepted recipients, canonical, which may repeat. */
export function envelopeOf(session: SMTPServerSession, to: readonly string[], lmtp: boolean): Envelope {
  const sender: SMTPServerAddress = session.envelope.mailFrom || { address: '', args: false };
  const body = sender.args === false ? undefined : sender.args.BODY;
  return {
    from: senderAddress(sender.address) ?? '',
    to: [...new Set(to)],
    smtpUtf8: flag(sender, 'SMTPUTF8'),
    body8bit: typeof body === 'string' && body.toUpperCase() === '8BITMIME',
    requireTls: flag(sender, 'REQUIRETLS'),
    client: clientOf(session),
    helo: session.hostNameAppearsAs,
    protocol: protocolOf(session, lmtp),
  };
}
