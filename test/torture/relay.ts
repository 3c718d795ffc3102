import { finderOf } from '../e2e/traces.ts';
import { secret } from '../e2e/world.ts';
import type { Random } from '../fuzz/random.ts';
import {
  drop,
  hang,
  type Sink,
  type SinkMessage,
  type Stage,
  type StageInfo,
  startSink,
} from '../kit/sink.ts';
import { headerOf } from '../kit/smime-mime.ts';

/** How the relay behaves: well, or badly at one stage in some of the cases. */
export interface Mood {
  readonly stage: Stage;
  /** What it does there. */
  readonly answer: string;
  /** Once in so many times. */
  readonly onceIn: number;
}

/** As an answer: one octet a second of one that is never whole. */
const drip = '\0drip';

/** What misbehaviour there is, by name. */
export const moods: Readonly<Record<string, Mood>> = {
  'drops amid the content': { stage: 'BODY', answer: drop, onceIn: 6 },
  'drops at the final dot': { stage: '.', answer: drop, onceIn: 6 },
  'drops at MAIL': { stage: 'MAIL', answer: drop, onceIn: 8 },
  'refuses connections': { stage: 'CONN', answer: '421 4.3.2 not now', onceIn: 2 },
  'puts members off': { stage: 'RCPT', answer: '450 4.2.1 come again', onceIn: 3 },
  'puts messages off': { stage: '.', answer: '451 4.3.0 not now', onceIn: 3 },
  'refuses members': { stage: 'RCPT', answer: '550 5.1.1 nobody', onceIn: 20 },
  'answers DATA with garbage': { stage: 'DATA', answer: 'yes, please', onceIn: 8 },
  'answers the dot with garbage': { stage: '.', answer: '\u0007 well', onceIn: 8 },
  'falls silent at the dot': { stage: '.', answer: hang, onceIn: 10 },
  'falls silent at EHLO': { stage: 'EHLO', answer: hang, onceIn: 3 },
  'greets an octet a second': { stage: 'CONN', answer: drip, onceIn: 2 },
  'answers the dot an octet a second': { stage: '.', answer: drip, onceIn: 10 },
};

/** A relay that counts what it took. */
export interface TortureRelay {
  readonly sink: Sink;
  mood: Mood | null;
  /** How often it took a message (by Message-ID) for somebody. */
  count(messageId: string, member: string): number;
  /** Everything that was taken: `<id> member` and how often. */
  readonly taken: ReadonlyMap<string, number>;
  /** The transaction in which it took a message for somebody last: copies in clear go to many in one. */
  transactionOf(messageId: string, member: string): number;
  /** Reads what came since the last call; gives the copies themselves. */
  read(): SinkMessage[];
  /** The last encrypted mail to each of those who are asked about their new key (`special.ts`). */
  readonly asked: Map<string, Buffer>;
  /** Copies in which the secret could be read. */
  leaks: number;
}

/** How copies are told apart. */
export const copyName = (messageId: string, member: string): string => `${messageId} ${member}`;

/** Starts the relay; `random` decides when a bad mood shows. */
export async function startTortureRelay(random: Random): Promise<TortureRelay> {
  const taken = new Map<string, number>();
  const last = new Map<string, number>();
  let transactions = 0;
  const isLeak = finderOf(secret);
  const answer = (stage: Stage, info: StageInfo): string | null => {
    if (stage === 'RCPT' && info.to.startsWith('refused')) return '550 5.1.1 nobody of that name';
    const { mood } = relay;
    if (mood === null || mood.stage !== stage || !random.once(mood.onceIn)) return null;
    if (mood.answer !== drip) return mood.answer;
    const timer = setInterval(() => info.socket.write('2'), 1000);
    info.socket.once('close', () => clearInterval(timer));
    return hang;
  };
  const sink = await startSink({ answer });
  const relay: TortureRelay = {
    sink,
    mood: null,
    taken,
    count: (messageId, member) => taken.get(copyName(messageId, member)) ?? 0,
    transactionOf: (messageId, member) => last.get(copyName(messageId, member)) ?? 0,
    asked: new Map(),
    leaks: 0,
    read() {
      const fresh = sink.messages.splice(0);
      sink.commands.splice(0);
      for (const { bytes, to } of fresh) {
        if (isLeak(bytes)) relay.leaks++;
        const [first = ''] = to;
        if (first.startsWith('switcher') && headerOf(bytes, 'Subject') === '[...]')
          relay.asked.set(first, bytes);
        const id = headerOf(bytes, 'Message-ID') ?? 'none';
        transactions++;
        for (const member of to) {
          taken.set(copyName(id, member), (taken.get(copyName(id, member)) ?? 0) + 1);
          last.set(copyName(id, member), transactions);
        }
      }
      return fresh;
    },
  };
  return relay;
}
