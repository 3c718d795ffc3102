import { faultsOf } from '../base/errors.ts';

/** The closed set of what the store refuses or fails with. */
export const storeFault = faultsOf({
  'database-newer': (d: { path: string; found: number; known: number }) =>
    `the database ${d.path} has schema ${d.found}, this program knows schemas up to ${d.known}: install the newer reseal again, or restore the backup made before the upgrade`,
  'database-corrupt': (d: { path: string; words: string }) =>
    `the database ${d.path} is damaged or no SQLite database (${d.words}): stop reseal, put it aside with its -wal file, then restore a backup or save what can be read (docs/delivery.md: A damaged database)`,
  'database-foreign': (d: { path: string }) =>
    `${d.path} is a database of another program: name the path of reseal's own database, or of a file that does not exist yet`,
  'database-unwritable': (d: { path: string; words: string }) =>
    `the database ${d.path} cannot be opened for writing (${d.words}): check that its folder exists, that both belong to reseal's user and that the file system is writable`,
  'database-busy': (d: { path: string; seconds: number }) =>
    `another process has kept the database ${d.path} locked for ${d.seconds} s: find it with "fuser ${d.path}" and end it`,
  'database-full': (d: { path: string }) =>
    `no space is left for the database ${d.path}: free space on its file system, nothing was changed`,
  'database-not-durable': (d: { path: string; words: string }) =>
    `the disk did not take what was written to the database ${d.path} (${d.words}): look at the disk, then start reseal again; until then nothing is accepted`,
  'database-closed': (d: { path: string }) => `the database ${d.path} is closed already`,
  'transaction-required': (d: { what: string }) =>
    `${d.what} changes several rows that belong together and must be called inside write()`,
  'transaction-nested': (d: { path: string }) =>
    `a query on ${d.path} waited too long for the transaction that is open: inside write() use the tx that it gives, or the two wait for each other`,
  'list-exists': (d: { address: string }) => `there is a list ${d.address} already`,
  'spool-full': (d: { path: string; words: string }) =>
    `no space is left in the spool ${d.path} (${d.words}): free space or raise the quota; senders try again by themselves`,
  'spool-unwritable': (d: { path: string; words: string }) =>
    `the spool ${d.path} cannot be used (${d.words}): it must be a folder of reseal's user on a file system that can be written`,
  'spool-missing': (d: { id: string }) =>
    `the spool has no message ${d.id}: it was delivered and removed, or the file was taken away by hand`,
  'spool-id': (d: { id: string }) => `"${d.id.slice(0, 40)}" is not the id of a message in the spool`,
  'spool-locked': (d: { path: string; pid: number | null }) =>
    `another reseal (process id ${d.pid ?? 'unknown'}) works on this spool (${d.path}): stop it first, or give this one a spool of its own`,
  'certificate-name': (d: { address: string }) =>
    `"${d.address.slice(0, 80)}" cannot be the name of a file in the certificate directory: too long, or not an address`,
});
