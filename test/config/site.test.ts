import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import { loadSite, type Site } from '../../src/config/site.ts';
import { tempFolder } from '../kit/tmp.ts';

const project = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
const machine = 'machine.example';

let root: string;
beforeEach(async () => {
  root = tempFolder();
  await mkdir(join(root, 'etc'));
});

async function siteOf(yaml: string): Promise<Site> {
  await writeFile(join(root, 'etc/reseal.yaml'), yaml);
  return loadSite({ root, env: {}, machine });
}

async function faultOf(work: Promise<unknown>): Promise<Fault> {
  const error = await work.then(
    () => new Error('nothing was wrong'),
    (thrown: unknown) => thrown,
  );
  if (error instanceof Fault) return error;
  throw error;
}

/** The relay of a site that names none. */
const plainRelay = {
  name: '127.0.0.1:25',
  protocol: 'smtp',
  host: '127.0.0.1',
  port: 25,
  path: null,
  domains: [],
  tls: 'opportunistic',
  cafile: null,
  user: null,
  passwordFile: null,
  passwordCredential: null,
  connections: 20,
  perMinute: null,
  timeoutMs: 300_000,
};

describe('a site without a file', () => {
  it('has the defaults', async () => {
    expect(await loadSite({ root, env: {}, machine })).toEqual({
      hostname: 'machine.example',
      'service.address': 'reseal@machine.example',
      'service.keys': join(root, 'etc/service'),
      postmaster: 'postmaster@machine.example',
      node: 'main',
      listen: [{ protocol: 'lmtp', host: '127.0.0.1', port: 8024 }],
      size: 26_214_400,
      'limits.clients': 50,
      'limits.clients-per-address': 25,
      'limits.exempt': [],
      'limits.recipients': 100,
      relays: [plainRelay],
      spool: join(root, 'spool'),
      database: join(root, 'spool/reseal.db'),
      certificates: join(root, 'spool/certificates'),
      lists: join(root, 'etc/lists'),
      templates: [],
      'trust.cafile': null,
      'trust.capath': null,
      'trust.crlfile': null,
      'trust.crlpath': null,
      'fetch.hosts': [],
      'fetch.timeout': 10_000,
      'fetch.size': 10_485_760,
      'keys.passphrase-file': null,
      workers: 2,
      'open.timeout': 60_000,
      'open.size': 104_857_600,
      'quarantine.days': 30,
      'queue.lifetime': 432_000_000,
      retention: 2_592_000_000,
      'log.level': 'info',
      'shutdown.grace': 30_000,
      root,
      file: null,
      defaults: {},
      credentials: null,
    });
  });

  it('is frozen', async () => {
    const site = await loadSite({ root, env: {}, machine });
    for (const part of [
      site,
      site.listen,
      site.listen[0],
      site.relays,
      site.relays[0],
      site.defaults,
      site.templates,
    ]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });
});

describe('the root', () => {
  it('is the given one before RESEAL_ROOT', async () => {
    const other = tempFolder();
    expect((await loadSite({ root, env: { RESEAL_ROOT: other }, machine })).root).toBe(root);
  });

  it('is RESEAL_ROOT before the package', async () => {
    expect((await loadSite({ env: { RESEAL_ROOT: root }, machine })).root).toBe(root);
  });

  it.each([{}, { RESEAL_ROOT: '' }])('is the folder of the package with %j', async (env) => {
    // A file of its own, so that a developer's etc/reseal.yaml plays no part.
    const file = join(root, 'empty.yaml');
    await writeFile(file, '');
    const before = process.cwd();
    process.chdir(root);
    const site = await loadSite({ file, env, machine }).finally(() => process.chdir(before));
    expect(site.root).toBe(project);
  });

  it('must be there', async () => {
    const fault = await faultOf(loadSite({ root: join(root, 'nowhere'), env: {}, machine }));
    expect(fault.code).toBe('config-root');
    expect(fault.message).toContain(join(root, 'nowhere'));
  });
});

describe('the file', () => {
  it('may be named, and must then be there', async () => {
    const fault = await faultOf(loadSite({ root, file: join(root, 'my.yaml'), env: {}, machine }));
    expect(fault.code).toBe('config-missing');
  });

  it('must be readable', async () => {
    await mkdir(join(root, 'etc/reseal.yaml'));
    const fault = await faultOf(loadSite({ root, env: {}, machine }));
    expect([fault.code, fault.data.why]).toEqual(['config-unreadable', 'EISDIR']);
  });

  it.each(['', '# nothing but comments\n', 'relay:\n  # host: x\ndefaults:\nlisten:\n', '---\n{}\n'])(
    'may set nothing: %j',
    async (yaml) => {
      const site = await siteOf(yaml);
      expect(site.relays).toEqual([plainRelay]);
      expect(site.listen).toHaveLength(1);
      expect(site.file).toBe(join(root, 'etc/reseal.yaml'));
    },
  );

  it('gives the same for groups and for dotted names', async () => {
    const grouped = await siteOf(
      'relay:\n  host: a.example\n  port: 26\ndefaults:\n  accept:\n    signature: required\n',
    );
    const dotted = await siteOf(
      'relay.host: a.example\nrelay.port: 26\ndefaults.accept.signature: required\n',
    );
    expect(dotted).toEqual(grouped);
    expect(dotted).toMatchObject({
      relays: [{ ...plainRelay, name: 'a.example:26', host: 'a.example', port: 26 }],
      defaults: { 'accept.signature': 'required' },
    });
  });

  it('lets service address and postmaster follow the hostname, and the database the spool', async () => {
    expect(await siteOf('hostname: lists.example\nspool: /var/spool/reseal\n')).toMatchObject({
      'service.address': 'reseal@lists.example',
      postmaster: 'postmaster@lists.example',
      database: '/var/spool/reseal/reseal.db',
      certificates: '/var/spool/reseal/certificates',
    });
  });

  it('has paths below the root unless they are absolute', async () => {
    const yaml = `
spool: data/spool
lists: /keys
templates: [mail, /usr/share/mail]
trust.cafile: etc/ca.pem
keys.passphrase-file: etc/pass/{list}
defaults.trust.capath: etc/ca
listen.path: run/lmtp
relay.path: /run/relay`;
    expect(await siteOf(yaml)).toMatchObject({
      spool: join(root, 'data/spool'),
      lists: '/keys',
      templates: [join(root, 'mail'), '/usr/share/mail'],
      'trust.cafile': join(root, 'etc/ca.pem'),
      'keys.passphrase-file': join(root, 'etc/pass/{list}'),
      defaults: { 'trust.capath': join(root, 'etc/ca') },
      listen: [{ path: join(root, 'run/lmtp') }],
      relays: [{ path: '/run/relay', name: '/run/relay' }],
    });
  });

  it('may have one folder of templates without a list', async () => {
    expect((await siteOf('templates: mail\n')).templates).toEqual([join(root, 'mail')]);
  });

  it('may have addresses in any writing', async () => {
    expect((await siteOf('service.address: Reseal@Lists.Example\n'))['service.address']).toBe(
      'reseal@lists.example',
    );
  });

  it('may have several sockets, one, or none', async () => {
    const several = `
listen:
  - {protocol: smtp, host: "::1", port: 2525}
  - path: spool/lmtp.sock
    mode: 0600
  - port: 0
  - port: 0
`;
    expect((await siteOf(several)).listen).toEqual([
      { protocol: 'smtp', host: '::1', port: 2525 },
      { protocol: 'lmtp', path: join(root, 'spool/lmtp.sock'), mode: 0o600 },
      { protocol: 'lmtp', host: '127.0.0.1', port: 0 },
      { protocol: 'lmtp', host: '127.0.0.1', port: 0 },
    ]);
    expect((await siteOf('listen: {port: 24}\n')).listen).toEqual([
      { protocol: 'lmtp', host: '127.0.0.1', port: 24 },
    ]);
    expect((await siteOf('listen: []\n')).listen).toEqual([]);
  });

  it('may send a password to the machine itself without TLS', async () => {
    const yaml = 'relay: {host: localhost, tls: none, user: u, password-file: etc/p}\n';
    expect((await siteOf(yaml)).relays).toMatchObject([{ passwordFile: join(root, 'etc/p') }]);
  });

  it('may have several relays, in the order of their use, some for domains of their own', async () => {
    const yaml = `
relay:
  - {host: a.example, tls: required, user: u, password-credential: relay, rate: 10/s, cafile: etc/ca.pem}
  - path: run/lmtp
    protocol: lmtp
    domains: ["*.Partner.example", jürgen.example]
  - {domains: other.example, rate: 90/m, connections: 2}`;
    expect((await siteOf(yaml)).relays).toEqual([
      {
        ...plainRelay,
        name: 'a.example:25',
        host: 'a.example',
        tls: 'required',
        user: 'u',
        passwordCredential: 'relay',
        perMinute: 600,
        cafile: join(root, 'etc/ca.pem'),
      },
      {
        ...plainRelay,
        name: join(root, 'run/lmtp'),
        path: join(root, 'run/lmtp'),
        protocol: 'lmtp',
        domains: ['*.partner.example', expect.stringMatching(/^(jürgen|xn--jrgen-kva)\.example$/)],
      },
      { ...plainRelay, domains: ['other.example'], perMinute: 90, connections: 2 },
    ]);
  });
});

describe('mistakes', () => {
  it('alone are thrown with their own code', async () => {
    const fault = await faultOf(siteOf('size: big\n'));
    expect(fault.code).toBe('config-value');
    expect(fault.message).toContain(`${join(root, 'etc/reseal.yaml')}:1:7: "size" is "big"`);
  });

  it('together are thrown at once, in the order of the file', async () => {
    const fault = await faultOf(
      siteOf('listen: [{port: x}]\ndefaults.harvest: on\ncolour: red\nsize: big\n'),
    );
    expect(fault.code).toBe('config-mistakes');
    const lines = fault.message.split('\n');
    expect(lines[0]).toBe('The configuration has 4 mistakes:');
    expect(lines.slice(1).map((line) => /"[\w.]+"/.exec(line)?.[0])).toEqual([
      '"listen.port"',
      '"defaults.harvest"',
      '"colour"',
      '"size"',
    ]);
    expect(fault.data.mistakes).toHaveLength(4);
  });
});

describe('systemd credentials', () => {
  it('are where CREDENTIALS_DIRECTORY says', async () => {
    await chmod(root, 0o700);
    const env = { CREDENTIALS_DIRECTORY: '/run/credentials/reseal.service' };
    expect((await loadSite({ root, env, machine })).credentials).toBe('/run/credentials/reseal.service');
  });
});
