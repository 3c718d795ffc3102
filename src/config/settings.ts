import { z } from 'zod';
import { hostPattern } from '../fetch/hosts.ts';
import { canonicalAddress } from '../mime/address.ts';
import {
  choice,
  day,
  duration,
  integer,
  type Kind,
  listOf,
  matching,
  minute,
  octets,
  path,
  rate,
  second,
} from '../policy/kinds.ts';
import { optional, setting, type ValuesOf } from '../policy/setting.ts';
import { isNetwork } from '../smtp/client-counts.ts';

const hostName = matching(
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/,
  'a host name such as lists.example',
);
const hostOrAddress = matching(
  /^([A-Za-z0-9.-]{1,253}|[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,8})$/,
  'a host name or an IP address, without port',
);
const mailAddress: Kind<string> = {
  ...matching(/^/, 'one address such as postmaster@lists.example'),
  schema: z.string().transform((text, context) => {
    const address = canonicalAddress(text);
    if (address === null) context.addIssue('no address');
    return address ?? z.NEVER;
  }),
};
const network: Kind<string> = {
  ...matching(/^/, 'an IP address or a network such as 10.0.0.0/8'),
  schema: z.string().refine(isNetwork),
};
/** A recipient's domain, or `*.` and what all below it end with. */
const domainPattern =
  /^(?=.{1,255}$)(\*\.)?[\p{L}\p{N}]([\p{L}\p{N}-]{0,62})(\.[\p{L}\p{N}]([\p{L}\p{N}-]{0,62}))*$/u;
const port = integer(null, 0, 65_535);
const fileMode: Kind<string> = matching(/^0?[0-7]{3}$/, 'an octal file mode such as 0660');
const oneLine = matching(/^\P{Cc}{1,200}$/u, 'one line of text');

/** The settings of the site: name → kind, default, meaning. The only place where they are named. `listen.*` and `relay.*` may be given several times. */
export const siteSettings = Object.freeze({
  hostname: optional(
    hostName,
    "the machine's own name",
    'lists.example',
    'The name by which reseal greets other mail servers, and in its Received fields and Message-IDs.',
  ),
  'service.address': optional(
    mailAddress,
    'reseal@ and the `hostname`',
    'reseal@lists.example',
    'The address of reseal itself: it takes commands and sends what belongs to no list.',
  ),
  'service.keys': setting(
    path,
    'etc/service',
    'The folder with the key pair of the service address, in a folder per domain.',
  ),
  postmaster: optional(
    mailAddress,
    'postmaster@ and the `hostname`',
    'postmaster@lists.example',
    'Who is told when something is wrong with the site as a whole.',
  ),
  node: setting(
    matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'a short name of letters, digits, dots and hyphens'),
    'main',
    'The name of this node. It is written on every message, whose spool file only this node has: change it on an empty spool only.',
  ),
  'listen.protocol': setting(
    choice('lmtp', 'smtp'),
    'lmtp',
    'What the mail server in front of reseal speaks. LMTP gives an answer for each list.',
  ),
  'listen.host': setting(hostOrAddress, '127.0.0.1', 'The address to listen on.'),
  'listen.port': setting(port, 8024, 'The port to listen on; 0 takes a free one.'),
  'listen.path': optional(
    path,
    'host and port are used',
    '/run/reseal/lmtp.sock',
    'A Unix socket to listen on, instead of host and port; in a folder that the mail server may enter, as /run/reseal of the systemd unit, and with a group or `listen.mode` that lets it in.',
  ),
  'listen.mode': setting(fileMode, '0660', 'The file mode of the Unix socket.'),
  'listen.tls.cert': optional(
    path,
    'STARTTLS is not offered',
    'etc/tls/cert.pem',
    'The certificate (PEM), its chain after it, with which STARTTLS and REQUIRETLS are offered; with `listen.tls.key`. Read again on SIGHUP.',
  ),
  'listen.tls.key': optional(
    path,
    'STARTTLS is not offered',
    'etc/tls/key.pem',
    'The private key (PEM, without passphrase) that belongs to `listen.tls.cert`.',
  ),
  size: setting(
    octets(1024, 1024 ** 3),
    25 * 1024 ** 2,
    'The largest message that is accepted, as it is received.',
  ),
  'limits.clients': setting(integer(null, 1, 10_000), 50, 'How many clients may be connected at once.'),
  'limits.clients-per-address': setting(
    integer(null, 1, 10_000),
    25,
    'How many of them may come from one address (IPv6: one network of 64 bits), so that one host cannot keep the others out; the next is answered 421, which the log tells of once a minute (`clients-turned-away`). A Unix socket has no such limit.',
  ),
  'limits.exempt': setting(
    listOf(network),
    [],
    'Addresses and networks that `limits.clients-per-address` is not for, such as the mail server in front of reseal if it opens more connections at once.',
  ),
  'limits.recipients': setting(
    integer(null, 1, 10_000),
    100,
    'How many recipients one message may have when it arrives.',
  ),
  'relay.protocol': setting(
    choice('smtp', 'lmtp'),
    'smtp',
    'What the mail server that takes the copies speaks.',
  ),
  'relay.host': setting(hostOrAddress, '127.0.0.1', 'The mail server that takes the copies to the members.'),
  'relay.port': setting(integer(null, 1, 65_535), 25, 'Its port.'),
  'relay.path': optional(
    path,
    'host and port are used',
    '/var/run/relay.sock',
    'Its Unix socket, instead of host and port.',
  ),
  'relay.domains': setting(
    listOf(matching(domainPattern, 'a domain such as example.org or *.example.org (* in quotes)')),
    [],
    'The domains of members whose copies go this way; none: all that no other relay names. Of several relays for the same domains the first is used, and the next one while it is down. *.example.org is everything below example.org.',
  ),
  'relay.tls': setting(
    choice('opportunistic', 'required', 'none'),
    'opportunistic',
    'TLS to the relay: if it offers it, always and with a certificate that is valid for `relay.host`, or never. Posts that ask for REQUIRETLS leave by a relay with required only. DANE and MX look-ups are the business of the mail server that the relay is.',
  ),
  'relay.cafile': optional(
    path,
    "the machine's authorities",
    'etc/relay-ca.pem',
    "A file of the CA certificates (PEM) that may vouch for the relay with `relay.tls: required`, instead of the machine's.",
  ),
  'relay.user': optional(oneLine, 'no authentication', 'reseal', 'The user name for the relay.'),
  'relay.password-file': optional(
    path,
    'no authentication',
    'etc/relay.password',
    'A file (mode 0600) with the password for the relay. Passwords are read from files only.',
  ),
  'relay.password-credential': optional(
    matching(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$/, 'the name of a systemd credential'),
    'the file is used',
    'relay-password',
    "The systemd credential (LoadCredential) with the password for the relay, instead of a file; the unit's credentials are files too.",
  ),
  'relay.connections': setting(
    integer(null, 1, 100),
    20,
    'How many connections to the relay may be open at once.',
  ),
  'relay.rate': optional(
    rate,
    'no limit',
    '600/m',
    'How many copies the relay may be given in a second (s) or minute (m). What is more than that waits for its turn.',
  ),
  'relay.timeout': setting(
    duration(second, 60 * minute),
    5 * minute,
    'How long the relay may take for one answer.',
  ),
  spool: setting(path, 'spool', 'The folder of the messages that are on their way; always as received.'),
  database: optional(
    path,
    'reseal.db in the `spool`',
    'spool/reseal.db',
    'The database: lists, members, deliveries, ledger.',
  ),
  certificates: optional(
    path,
    'certificates in the `spool`',
    'spool/certificates',
    "The folder of the members' certificates, which people may edit.",
  ),
  lists: setting(path, 'etc/lists', "The folder of the lists' keys, in a folder per list address."),
  templates: setting(
    listOf(path),
    [],
    'Folders of your own mail templates, looked into before those that come with reseal.',
  ),
  'trust.cafile': optional(
    path,
    'no file; without any trust anchor nobody is trusted',
    '/etc/ssl/certs/mail-ca.pem',
    'A file of the CA certificates (PEM) that all lists trust, unless a list has its own.',
  ),
  'trust.capath': optional(
    path,
    'no folder',
    'etc/ca',
    'A folder of the CA certificates (PEM) that all lists trust, unless a list has its own.',
  ),
  'trust.crlfile': optional(
    path,
    'no file',
    '/etc/ssl/crl/mail-ca.crl',
    'A file of the revocation lists (PEM or DER) that all lists use, unless a list has its own. Read at start and on SIGHUP: whatever renews it ends with `systemctl reload reseal`.',
  ),
  'trust.crlpath': optional(
    path,
    'no folder',
    'etc/crl',
    'A folder of the revocation lists (PEM or DER) that all lists use, unless a list has its own.',
  ),
  'fetch.hosts': setting(
    listOf(
      matching(
        hostPattern,
        'a host such as pki.example.org, *.example.org or pki.example.org:8080 (* in quotes)',
      ),
    ),
    [],
    'Hosts from which revocation lists, OCSP answers and certificates of authorities may be fetched when a certificate names them. None: nothing is ever fetched. Loopback and private addresses are never asked.',
  ),
  'fetch.timeout': setting(duration(second, minute), 10 * second, 'How long one such fetch may take.'),
  'fetch.size': setting(
    octets(1024, 100 * 1024 ** 2),
    10 * 1024 ** 2,
    'The most that is fetched from one URL.',
  ),
  'keys.passphrase-file': optional(
    path,
    'the systemd credential passphrase-{list}, else passphrase, else RESEAL_PASSPHRASE_TEAM_LISTS_EXAMPLE (so for team@lists.example), else RESEAL_PASSPHRASE of the environment, else none',
    'etc/passphrases/{list}',
    'A file (mode 0600) with the passphrase of the private keys; {list} stands for the address of the list.',
  ),
  workers: setting(
    integer('threads', 2, 64),
    2,
    'How many threads open and seal messages. More than the processor has cores is no gain.',
  ),
  'open.timeout': setting(
    duration(second, 60 * minute),
    minute,
    'How long the opening of one message may take.',
  ),
  'open.size': setting(
    octets(1024, 2 * 1024 ** 3 - 1024 ** 2),
    100 * 1024 ** 2,
    'The most that one message may hold when it is opened.',
  ),
  'queue.lifetime': setting(
    duration(minute, 30 * day),
    5 * day,
    'How long a copy that the relay does not take is tried again.',
  ),
  retention: setting(
    duration(day),
    30 * day,
    'How long what is finished stays in the database, for `explain`; the ledger at least as long.',
  ),
  'quarantine.days': setting(
    integer('days', 1, 3650),
    30,
    'How long a message stays in quarantine for a person to look at before it is deleted.',
  ),
  'log.level': setting(
    choice('info', 'debug', 'warn', 'error'),
    'info',
    'What is logged. No level logs the content of a message.',
  ),
  'shutdown.grace': setting(
    duration(second, 10 * minute),
    30 * second,
    'How long work in progress may take to end when reseal is stopped. Keep it below TimeoutStopSec of the systemd unit.',
  ),
});

/** The name of a site setting. */
export type SiteSettingName = keyof typeof siteSettings;
/** The values of the site's table, before what is absent is filled in. */
export type SiteValues = ValuesOf<typeof siteSettings>;

/** Settings of one listening socket, and of one relay: the list forms of `listen:` and `relay:` give them several times. */
export const listenPrefix = 'listen.';
export const relayPrefix = 'relay.';
export const listPrefixes: readonly string[] = [listenPrefix, relayPrefix];
/** In the file, settings for all lists stand below this. */
export const defaultsPrefix = 'defaults.';
