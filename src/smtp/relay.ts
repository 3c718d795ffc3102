import type { Socket } from 'node:net';
import { type Capabilities, type Copy, misfit } from './capabilities.ts';
import type { StuffedBodies } from './dot-stuffing.ts';
import { dotStuffed } from './dot-stuffing.ts';
import { isCommandSafe, mailCommand, rcptCommands } from './mail-commands.ts';
import { deliveredBy, isTooMany, notSent, type Outcome, outcomeOf, type RelayError } from './outcome.ts';
import { type Answer, gone, Wire } from './wire.ts';

/** How one try to send a copy ended. */
export interface Attempt {
  /** For each recipient, in the order of the copy. */
  readonly outcomes: readonly Outcome[];
  /** The connection turned out to be gone before any of the message was sent: another one may serve. */
  readonly lost: boolean;
}

/** An attempt under way: null for a recipient for whom the relay waits for the content, or has not answered it yet. */
interface Progress {
  readonly outcomes: readonly (Outcome | null)[];
  readonly lost: boolean;
}

/** A copy to send, and who must know what became of it. */
export interface Errand {
  readonly copy: Copy;
  /** Told when its final dot leaves: from now on the relay may answer. */
  ending(): void;
  /** Told once. Resolves when it is written down: the next copy's final dot waits for that. Never rejects. */
  settle(attempt: Attempt): Promise<void>;
}

/** Octets of content that go out in one write with the final dot and what follows it. */
const small = 128 * 1024;
const finalDot = '.\r\n';

/**
 * One connection that has got as far as MAIL, made by `openRelay`. Commands of one copy go out together, and those of
 * the next one together with the final dot before them (RFC 2920), if the relay offers PIPELINING.
 */
export class Relay {
  readonly capabilities: Capabilities;
  readonly closed: Promise<void>;
  readonly #wire: Wire;
  readonly #bodies: StuffedBodies;
  readonly #lmtp: boolean;
  readonly #times: { readonly timeoutMs: number; readonly slowest: number };
  #needsReset = false;

  /** Takes over a connection whose handshake is done: `socket` is the outermost one (TLS if there is any). */
  constructor(
    socket: Socket,
    d: {
      readonly closed: Promise<void>;
      readonly capabilities: Capabilities;
      readonly bodies: StuffedBodies;
      readonly lmtp: boolean;
      readonly timeoutMs: number;
      /** Octets a second that it must take. */
      readonly slowest: number;
    },
  ) {
    this.#wire = new Wire(socket, d);
    this.#times = d;
    this.closed = d.closed;
    this.capabilities = d.capabilities;
    this.#bodies = d.bodies;
    this.#lmtp = d.lmtp;
  }

  /** Whether another copy may be sent here. */
  get usable(): boolean {
    return this.#wire.usable;
  }

  /**
   * Sends `first` and then what `next` gives, until it gives nothing or the connection ends. `next` is asked at the
   * last moment, so that a copy is not bound to a connection that is busy with a large one. Every errand that was taken
   * is settled. A copy's final dot is sent when the one before is settled: after a crash one copy per connection, at
   * most, is in doubt. Never rejects; one call at a time.
   */
  async serve(first: Errand, next: () => Errand | null): Promise<void> {
    this.#wire.busy = true;
    const aside: Promise<void>[] = [];
    const take = (): Errand | null => this.#fitting(next, aside);
    let errand: Errand | null = this.#fitting(once(first), aside) ?? take();
    let announced = false;
    let settling: Promise<void> | null = null;
    const settle = (one: Errand, attempt: Attempt): void => {
      const done: Promise<void> = one.settle(attempt).then(() => {
        if (settling === done) settling = null;
      });
      settling = done;
    };
    while (errand !== null) {
      const current: Errand = errand;
      errand = null;
      const progress = await this.#announce(current.copy, announced);
      announced = false;
      if (isOver(progress)) {
        await settling;
        settle(current, progress);
        if (this.usable) errand = take();
        continue;
      }
      const content = [...dotStuffed(current.copy.head), ...this.#bodies.of(current.copy.body)];
      const octets = current.copy.head.length + current.copy.body.length;
      // The dot must not overtake what is said of the copy before: a large copy leaves without it meanwhile, a small one
      // waits, and leaves in one piece.
      if (octets > small) {
        this.#wire.write(content.splice(0));
        await this.#wire.flushed(this.#times.timeoutMs + (octets / this.#times.slowest) * 1000);
      }
      await settling;
      if (this.#wire.hasReply) {
        settle(current, await this.#early(progress));
        break;
      }
      errand = this.usable ? take() : null;
      announced = errand !== null && this.capabilities.pipelining;
      const following = announced && errand ? this.#commands(errand.copy).join('') : '';
      current.ending();
      this.#wire.write([...content, finalDot + following]);
      settle(current, await this.#answers(progress));
      if (!this.usable && errand !== null) {
        await settling;
        settle(errand, lostBy(errand.copy, await this.#wire.answer()));
        errand = null;
      }
    }
    await settling;
    await Promise.all(aside);
    this.#wire.busy = false;
  }

  /** Ends an idle connection politely; a relay that does not answer has 2 s. */
  quit(): void {
    if (!this.usable) {
      this.destroy();
      return;
    }
    const timer = setTimeout(() => this.destroy(), 2000);
    timer.unref();
    void this.closed.then(() => clearTimeout(timer));
    this.#wire.busy = true;
    this.#wire.write(['QUIT\r\n']);
    void this.#wire.answer().then(() => this.destroy());
  }

  /** Cuts the connection. A copy under way ends deferred; the relay may still have got it. */
  destroy(): void {
    this.#wire.destroy();
  }

  /** The next errand that this relay may be offered; the others are refused at once. */
  #fitting(next: () => Errand | null, aside: Promise<void>[]): Errand | null {
    for (;;) {
      const errand = next();
      if (errand === null) return null;
      const refusal = isCommandSafe(errand.copy)
        ? misfit(errand.copy, this.capabilities)
        : notSent('refused', '5.1.3', 'the address would break the command line');
      if (refusal === null) return errand;
      aside.push(errand.settle({ outcomes: forAll(errand.copy, refusal), lost: false }));
    }
  }

  #commands(copy: Copy): string[] {
    return [mailCommand(copy, this.capabilities), ...rcptCommands(copy), 'DATA\r\n'];
  }

  /** MAIL, a RCPT for each recipient, and DATA. */
  async #announce(copy: Copy, announced: boolean): Promise<Progress> {
    if (this.#needsReset) {
      // RFC 5321 4.1.1.5: nothing must be left of a refused transaction.
      this.#needsReset = false;
      this.#wire.write(['RSET\r\n']);
      const answer = await this.#wire.answer();
      if (!isPositive(answer, '2')) return this.#broken(copy, answer, 'RSET');
    }
    const commands = this.#commands(copy);
    const { pipelining } = this.capabilities;
    if (!announced && pipelining) this.#wire.write([commands.join('')]);
    const outcomes: (Outcome | null)[] = copy.to.map(() => null);
    for (const [n, command] of commands.entries()) {
      const name = n === 0 ? 'MAIL' : n === commands.length - 1 ? 'DATA' : 'RCPT';
      if (!pipelining && !outcomes.includes(null)) break;
      if (!pipelining) this.#wire.write([command]);
      const answer = this.#wire.next() ?? (await this.#wire.answer());
      if (!isReply(answer) || codeOf(answer) === 421) return this.#broken(copy, answer, name);
      if (isPositive(answer, name === 'DATA' ? '3' : '2')) {
        if (name !== 'DATA' || outcomes.includes(null)) continue;
        // RFC 2920 3.1: a relay that wants content although nobody will get it is given none.
        this.#wire.write([finalDot]);
        await this.#wire.answer();
        continue;
      }
      const outcome = outcomeOf(errorOf(answer, name, 'EENVELOPE'), 'transaction');
      const isOne = name === 'RCPT';
      // RFC 5321 4.5.3.1.10: whom this transaction has no room for comes with the next.
      const isLater = isOne && isTooMany(outcome) && outcomes.slice(0, n - 1).includes(null);
      for (const at of isOne ? [n - 1] : outcomes.keys())
        outcomes[at] ??= isLater ? { ...outcome, afterMs: 0 } : outcome;
    }
    this.#needsReset = !outcomes.includes(null);
    return { outcomes, lost: false };
  }

  #broken(copy: Copy, answer: Answer, command: string): Attempt {
    const outcome = outcomeOf(errorOf(answer, command, 'EENVELOPE'), 'transaction');
    this.destroy();
    const isGone = 'error' in answer && answer.error.code !== 'ETIMEDOUT';
    return {
      outcomes: forAll(copy, outcome),
      lost: outcome.code === 421 || isGone || command === 'RSET',
    };
  }

  /** What the relay says to the content: once, or in LMTP once for each recipient whom it took (RFC 2033 4.2). */
  async #answers({ outcomes }: Progress): Promise<Attempt> {
    const ended: Outcome[] = [];
    let answer: Answer | null = null;
    for (const one of outcomes) {
      if (one === null && (answer === null || this.#lmtp)) answer = await this.#wire.answer();
      ended.push(one ?? this.#delivered(answer ?? { error: gone }));
    }
    return { outcomes: ended, lost: false };
  }

  #delivered(answer: Answer): Outcome {
    if (isPositive(answer, '2')) return deliveredBy(answer.reply);
    if (!isReply(answer) || codeOf(answer) === 421) this.destroy();
    return outcomeOf(errorOf(answer, '.', 'EMESSAGE'), 'transaction');
  }

  /** An answer before the end of the message: the rest of it would be taken for commands. */
  async #early({ outcomes }: Progress): Promise<Attempt> {
    const answer = await this.#wire.answer();
    this.destroy();
    const error = isPositive(answer, '2')
      ? { code: 'EPROTOCOL', message: 'the relay answered before the end of the message', command: 'DATA' }
      : errorOf(answer, '.', 'EMESSAGE');
    const outcome = outcomeOf(error, 'transaction');
    return { outcomes: outcomes.map((one) => one ?? outcome), lost: false };
  }
}

const forAll = (copy: Copy, outcome: Outcome): Outcome[] => copy.to.map(() => outcome);

/** Nobody waits for the content. */
const isOver = (progress: Progress): progress is Attempt => !progress.outcomes.includes(null);

function once(errand: Errand): () => Errand | null {
  let given: Errand | null = errand;
  return () => {
    const one = given;
    given = null;
    return one;
  };
}

const codeOf = (answer: Answer): number | null => ('reply' in answer ? answer.code : null);

/** A reply with a code, as SMTP has them. */
const isReply = (answer: Answer): boolean => codeOf(answer) !== null;

function isPositive(answer: Answer, digit: '2' | '3'): answer is Extract<Answer, { readonly reply: string }> {
  return 'reply' in answer && isReply(answer) && answer.reply.startsWith(digit);
}

/** As nodemailer says it: `EENVELOPE` and `EMESSAGE` for an answer to this very command. */
function errorOf(answer: Answer, command: string, code: 'EENVELOPE' | 'EMESSAGE'): RelayError {
  if ('error' in answer) return { ...answer.error, command };
  const message = 'the relay answered something else than SMTP';
  if (!isReply(answer)) return { code: 'EPROTOCOL', message, command, response: answer.reply };
  return { code, message: answer.reply, command: command === '.' ? 'DATA' : command, response: answer.reply };
}

function lostBy(copy: Copy, answer: Answer): Attempt {
  return {
    outcomes: forAll(copy, outcomeOf(errorOf(answer, 'MAIL', 'EENVELOPE'), 'transaction')),
    lost: true,
  };
}
