/** One entry of `fetch.hosts`: `pki.example.org`, `*.example.org`, `pki.example.org:8080`. */
export const hostPattern =
  /^(?=.{1,259}$)(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*(:[1-9][0-9]{0,4})?$/;

/** The usual ports: the others are for hosts that are listed with their port. */
const usualPorts: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/**
 * The parsed URL if reseal may go there: http or https, no user name, and a host that the entries of `fetch.hosts` name, with its
 * port unless it is 80 or 443. `*.example.org` covers every name below example.org, not itself. Null for anything else.
 */
export function allowedUrl(hosts: readonly string[], text: string): URL | null {
  const url = text.length <= 2000 && URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.username !== '' || url.password !== '') return null;
  const usual = usualPorts[url.protocol];
  if (usual === undefined) return null;
  const host = url.hostname.replace(/\.$/, '');
  const port = url.port === '' ? usual : url.port;
  return hosts.some((entry) => covers(entry.toLowerCase(), host, port, port === usual)) ? url : null;
}

function covers(entry: string, host: string, port: string, isUsual: boolean): boolean {
  const [name = '', entryPort] = entry.split(':');
  if (entryPort === undefined ? !isUsual : entryPort !== port) return false;
  return name.startsWith('*.')
    ? host.endsWith(name.slice(1)) && host.length > name.length - 1
    : host === name;
}
