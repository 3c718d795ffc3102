import { describe, expect, it } from 'vitest';
import { logLines } from '../../src/cli/log-lines.ts';
import { outputTo } from '../../src/cli/output.ts';
import type { LedgerRow } from '../../src/store/ledger.ts';
import { sha256, t0 } from '../store/fixtures.ts';

const id = '06fhzx3e5jkq6t9y1v2w3x4y5z';
const list = 'team@lists.example';
const bob = 'bob.marley@department.example.org';
const day = 86_400_000;
let rowId = 0;
const row = (change: Partial<LedgerRow> & Pick<LedgerRow, 'event'>): LedgerRow => ({
  id: ++rowId,
  at: t0,
  messageId: id,
  postingId: null,
  list,
  member: null,
  reason: null,
  detail: null,
  data: null,
  ...change,
});
const rows = [
  row({ event: 'received', list: null, detail: 'received from mail.example [192.0.2.1], 10234 octets' }),
  row({ event: 'authorized', detail: 'signed by alice@example.org, a member' }),
  row({
    event: 'delivered',
    member: bob,
    data: {
      certificate: sha256('bob'),
      cipher: 'aes-256-cbc',
      keyTransport: 'rsa',
      relay: 'mx2.example:25',
      reply: '250 2.0.0 Ok: queued as 4gX2aa1bcz9',
    },
  }),
  row({
    event: 'member-added',
    at: t0 + day,
    messageId: null,
    member: bob,
    detail: 'added by \u001b[31molga',
  }),
];
const view = { width: 80, terminal: 80, ofMessage: false, ofMember: false, namesRelays: false };

describe('the lines of `log`', () => {
  it('are one line each, under a head of columns, for other programs', () => {
    const lines = logLines(rows, { ...view, terminal: null }, 'none');
    expect(lines).toHaveLength(rows.length + 1);
    expect(lines[3]).toMatch(
      /^\d{4}-\d\d-\d\d [\d:]{8} {2}delivered .*06fhzx.* bob\.marley@.* 250 2\.0\.0 Ok/,
    );
    // A terminal that is wide enough shows the same.
    expect(logLines(rows, { ...view, terminal: 200 }, 'none')).toEqual(lines);
  });

  it('are folded to a terminal that is narrower: day, list and message once, members before what is said of them', () => {
    const lines = logLines(rows, view, 'none');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.filter((line) => !line.startsWith(' '))).toEqual([
      `2026-01-05 (UTC)  ${id}`,
      `2026-01-05 (UTC)  ${list}  ${id}`,
      `2026-01-06 (UTC)  ${list}`,
    ]);
    const text = lines.join('\n').replace(/\n {10,}/g, ' ');
    expect(text).toContain(`delivered     ${bob}: encrypted to ${sha256('bob').slice(0, 8)} (aes-256-cbc`);
    expect(text).toContain(`member-added  ${bob}: added by ?[31molga`);
  });

  it('leave out what was asked for', () => {
    const lines = logLines(rows, { ...view, ofMessage: true, ofMember: true }, 'none').join('\n');
    expect(lines).not.toContain(id);
    expect(lines).not.toContain(bob);
  });

  it('name the relay where there are several', () => {
    const [line] = logLines(rows, { ...view, terminal: null, namesRelays: true }, 'none').slice(3);
    expect(line).toMatch(/ 250 2\.0\.0 Ok: queued as 4gX2aa1bcz9 \(relay mx2\.example:25\)$/);
    expect(logLines(rows, { ...view, terminal: null }, 'none').join('\n')).not.toContain('mx2');
  });

  it('know a terminal by its columns, and no other reader', () => {
    const stream = { write: () => true };
    expect(outputTo({ json: false, out: stream, err: stream, columns: 70 }).terminal).toBeNull();
    expect(outputTo({ json: false, out: { ...stream, columns: 70 }, err: stream }).terminal).toBe(70);
  });
});
