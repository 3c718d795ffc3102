import { StuffedBodies } from '../../smtp/dot-stuffing.ts';
import { openRelay, type RelayTarget } from '../../smtp/open-relay.ts';
import type { Outcome } from '../../smtp/outcome.ts';
import { Relay } from '../../smtp/relay.ts';
import { leastSealedSize } from '../post/sealed-size.ts';
import { type Finding, finding } from './check-files.ts';

/** Connects to a relay as the daemon does (TLS, login), and says what it cannot do. No mail is sent. */
export async function checkRelay(
  target: RelayTarget,
  d: { readonly name: string; readonly acceptedSize: number; readonly timeoutMs: number },
): Promise<Finding[]> {
  const about = `relay ${d.name}`;
  const timeoutMs = Math.min(target.timeoutMs, d.timeoutMs);
  const opened = await openRelay({ ...target, timeoutMs }, new StuffedBodies(), new AbortController().signal);
  if (!(opened instanceof Relay)) return [finding('problem', about, wordsOn(opened, target))];
  const { size, eightBitMime, requireTls, verifiedTls } = opened.capabilities;
  opened.quit();
  await opened.closed;
  const found: Finding[] = [];
  const largest = leastSealedSize({ entity: d.acceptedSize, signsList: false });
  if (size !== null && size < largest) {
    const text = `it takes messages up to ${size} octets, but a post of the largest \`size\` (${d.acceptedSize}) has ${largest} when it is encrypted: raise its limit (Postfix: message_size_limit), or lower \`size\``;
    found.push(finding('warning', about, text));
  }
  if (!eightBitMime) {
    const text = 'it does not offer 8BITMIME: posts with 8-bit text that leave in clear cannot be sent';
    found.push(finding('warning', about, text));
  }
  const tls = verifiedTls
    ? `with verified TLS${requireTls ? ', and REQUIRETLS' : ''}`
    : 'without verified TLS';
  return [...found, finding('good', about, `it can be reached, ${tls}`)];
}

/** What went wrong, and where to look. */
function wordsOn({ command, code, text }: Outcome, target: RelayTarget): string {
  const said = code === null ? text : `${code} ${text}`;
  const where = target.socketPath === undefined ? 'relay.port' : 'relay.path';
  switch (command) {
    case 'CONN':
      return code === null
        ? notReached(text, target)
        : `it turns us away (${said}): does it let this machine send?`;
    case 'STARTTLS':
      return code === null
        ? `no TLS (${said}): has its certificate the name that relay.host has, and does relay.cafile name its authority?`
        : `it does not do STARTTLS (${said}), which relay.tls: required asks for: set it up there, or is it offered on another relay.port?`;
    case 'AUTH':
      return `the login failed (${said}): are relay.user and its password right, and does it offer a login here?`;
    default:
      return `it does not speak as a mail server (${said}): are ${where} and relay.protocol right?`;
  }
}

/** No connection, or one on which nothing was said. */
function notReached(text: string, { socketPath, host, port }: RelayTarget): string {
  const [errno = null] = /\bE[A-Z]{4,}\b/.exec(text) ?? [];
  if (socketPath !== undefined) {
    const remedy =
      errno === 'EACCES'
        ? "may reseal's user write the socket, and enter the folders above it?"
        : 'does the mail server listen there, and is relay.path right?';
    return `no connection (${errno ?? text}): ${remedy}`;
  }
  if (errno === 'ENOTFOUND' || errno === 'EAI_AGAIN')
    return `there is no address of ${host} (${errno}): is relay.host right, and does DNS answer?`;
  if (errno !== null)
    return `no connection (${errno}): is the mail server running, and are relay.host and relay.port right?`;
  const hint = port === 465 ? ': on port 465 TLS comes first, which reseal does not do; take 587 or 25' : '';
  return `it does not answer (${text})${hint || ': is it a mail server that speaks first (not one with TLS from the beginning), and not too busy?'}`;
}
