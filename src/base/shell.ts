/**
 * A word for a command that people copy into a shell: quoted unless it is plain. An address may hold `|`, `&`, `$` and
 * backticks (RFC 5322 3.2.3), and anybody chooses his own.
 */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9@%+=:,./_-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
