import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { bytesOf, readBer } from '../../src/pki/ber.ts';
import * as w from '../../src/pki/der.ts';
import { mustRun, withFiles } from './client.ts';
import type { Extension } from './issue.ts';
import type { Identity } from './pki.ts';

/** What revocation takes: places named in certificates, OpenSSL as OCSP responder, lists within a signature. */

const uri = (text: string): Buffer => w.derContextPrimitive(6, Buffer.from(text));
const access = (method: number, url: string): Buffer =>
  w.derSequence(w.derOid(`1.3.6.1.5.5.7.48.${method}`), uri(url));

/** The extensions that say where a certificate's CRL, OCSP responder and issuer are (RFC 5280 4.2.1.13, 4.2.2.1). */
export function placesOf(d: { crl?: string; ocsp?: string; issuer?: string }): Extension[] {
  const methods = [
    ...(d.ocsp === undefined ? [] : [access(1, d.ocsp)]),
    ...(d.issuer === undefined ? [] : [access(2, d.issuer)]),
  ];
  const point = d.crl === undefined ? null : w.derSequence(w.derContext(0, w.derContext(0, uri(d.crl))));
  return [
    ...(point ? [{ oid: '2.5.29.31', valueDer: w.derSequence(point) }] : []),
    ...(methods.length > 0 ? [{ oid: '1.3.6.1.5.5.7.1.1', valueDer: w.derSequence(...methods) }] : []),
  ];
}

/** OpenSSL's answer to an OCSP request; the authority itself signs it. */
export async function ocspAnswer(
  ca: Identity,
  request: Buffer,
  d: { known: readonly Identity[]; revoked?: readonly Identity[]; days?: number },
): Promise<Buffer> {
  const line = (one: Identity): string => {
    const serial = one.serial.toString('hex').toUpperCase();
    return d.revoked?.includes(one)
      ? `R\t401231235959Z\t250101000000Z\t${serial}\tunknown\t/CN=x\n`
      : `V\t401231235959Z\t\t${serial}\tunknown\t/CN=x\n`;
  };
  const files = { request, index: d.known.map(line).join('') };
  return withFiles(files, async (paths) => {
    const of = ['-CA', ca.certPath, '-rsigner', ca.certPath, '-rkey', ca.keyPath];
    const io = ['-reqin', paths.request, '-respout', `${paths.request}.out`];
    await mustRun('openssl', ['ocsp', '-index', paths.index, ...of, ...io, '-ndays', `${d.days ?? 3}`]);
    return readFile(`${paths.request}.out`);
  });
}

/** A SignedData with revocation lists beside its certificates (RFC 5652 5.1). */
export function withCrls(signedData: Buffer, ...crls: readonly Buffer[]): Buffer {
  const [type, wrapper] = readBer(signedData).children;
  const fields = (wrapper?.children[0]?.children ?? []).map(bytesOf);
  const signers = fields.pop() ?? Buffer.alloc(0);
  const content = w.derSequence(...fields, w.derContext(1, ...crls), signers);
  return w.derSequence(type ? bytesOf(type) : Buffer.alloc(0), w.derContext(0, content));
}

/** The DER in one PEM block. */
export const derOf = (pem: string): Buffer =>
  Buffer.from(pem.replace(/-----[^-]+-----/g, '').replace(/\s/g, ''), 'base64');

/** An authority's web server on this machine. `files` may change; what it was asked is counted. */
export async function servePki(
  files: Record<string, Buffer | ((body: Buffer) => Promise<Buffer>) | undefined>,
) {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const file = files[path];
    if (file === undefined) response.writeHead(404).end();
    else response.end(typeof file === 'function' ? await file(Buffer.concat(pieces)) : file);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, asked, url: (path: string) => `http://pki.example:${port}${path}` };
}
