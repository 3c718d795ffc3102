import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseDialogue, runDialogue } from '../kit/dialogue.ts';
import { makeCa } from '../kit/pki.ts';
import { startIntake, type TestIntake } from './intake.ts';

const folder = join(import.meta.dirname, '../fixtures/dialogues');
const files = readdirSync(folder).filter((name) => name.endsWith('.txt'));

const escaped = (bytes: Buffer | undefined): string | undefined =>
  bytes
    ?.toString('latin1')
    .replace(/[^\x20-\x7e]/g, (c) =>
      c === '\r' ? '\\r' : c === '\n' ? '\\n' : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );

/** What a line `= name value` of a dialogue looks at: the last envelope, the last stored message, the counts. */
const observed: Record<string, (intake: TestIntake) => unknown> = {
  stored: (i) => i.stored.length,
  committed: (i) => i.committed.length,
  discarded: (i) => i.discarded.length,
  aborted: (i) => i.aborted.length,
  refused: (i) => i.committed.at(-1)?.refused.join(','),
  troubles: (i) => i.troubles.join(' '),
  bytes: (i) => escaped(i.stored.at(-1)?.bytes),
  from: (i) => i.envelopes.at(-1)?.from,
  to: (i) => i.envelopes.at(-1)?.to.join(' '),
  protocol: (i) => i.envelopes.at(-1)?.protocol,
  helo: (i) => i.envelopes.at(-1)?.helo,
  body8bit: (i) => i.envelopes.at(-1)?.body8bit,
  utf8: (i) => i.envelopes.at(-1)?.smtpUtf8,
  requireTls: (i) => i.envelopes.at(-1)?.requireTls,
};

describe.concurrent('SMTP dialogues', () => {
  it.each(files)('%s', async (file) => {
    const dialogue = parseDialogue(readFileSync(join(folder, file), 'utf8'));
    const tls = dialogue.settings.has('tls') ? await serverCertificate() : undefined;
    const intake = await startIntake(dialogue.settings, tls === undefined ? {} : { tls });
    const port = intake.receiver.port ?? 0;
    await runDialogue({ port }, dialogue);
    await intake.receiver.close(1000);
    await intake.settled();
    for (const [name, value] of dialogue.expected) {
      const look = observed[name];
      if (look === undefined) throw new Error(`${file}: = ${name} is not known`);
      expect(String(look(intake)), `${dialogue.title}: ${name}`).toBe(value);
    }
  });
});

async function serverCertificate(): Promise<{ key: Buffer; cert: Buffer }> {
  const ca = await makeCa();
  const server = await ca.issue({ name: 'lists.example', eku: 'serverAuth' });
  return { key: readFileSync(server.keyPath), cert: readFileSync(server.certPath) };
}
