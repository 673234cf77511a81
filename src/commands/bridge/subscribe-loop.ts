// The subscriber's run: from the first message to the end of the publisher, or to its death.

import { CommandError } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import type { OutputBuffer } from "../../cli/output-buffer.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock } from "../../cli/timing.ts";
import { PeerTimeoutError } from "../../core/index.ts";
import type { PartMark } from "../../frames/wire.ts";
import type { Broker } from "./broker.ts";
import type { Receiver } from "./receiver.ts";

/** How often to look after the publisher and the local reader, in milliseconds. */
const TICK_MS = 250;

/** What ends a subscriber. */
interface SubscribeLoopOptions {
  /** Frames to write; 0: until the publisher leaves. */
  readonly frames: number;
  /** Whether to continue with the next publisher when one leaves. */
  readonly follow: boolean;
  readonly deadAfterMs: number;
  /** How long to wait for a publisher. */
  readonly connectTimeoutMs: number;
}

/** Waits for the end of a subscriber, and finds out when it comes. */
export class SubscribeLoop implements Disposable {
  readonly clock: LoopClock;
  readonly #output: OutputBuffer;
  readonly #broker: Broker;
  readonly #subject: string;
  readonly #options: SubscribeLoopOptions;
  readonly #session: Session;
  readonly #end = Promise.withResolvers<void>();
  readonly #startedAt = performance.now();
  #isOver = false;
  #receiver: Receiver | undefined;
  /** Whether nothing waits to be written. */
  #isIdle: () => boolean = () => true;
  #ticker: Timer | undefined;
  #tickedAt = performance.now();

  /** @param report is called every few milliseconds with the frames and bytes written so far. */
  constructor(
    output: OutputBuffer,
    broker: Broker,
    subject: string,
    options: SubscribeLoopOptions,
    session: Session,
    report: (frames: number, bytes: number) => void,
  ) {
    this.#output = output;
    this.#broker = broker;
    this.#subject = subject;
    this.#options = options;
    this.#session = session;
    this.clock = new LoopClock(session.signal, () => report(output.framesWritten, output.bytesWritten));
    this.#end.promise.catch(() => {});
  }

  /** Runs to the end. */
  async run(receiver: Receiver, isIdle: () => boolean): Promise<void> {
    this.#receiver = receiver;
    this.#isIdle = isIdle;
    this.#tickedAt = performance.now();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    try {
      await this.#broker.race(this.#end.promise);
    } finally {
      clearInterval(this.#ticker);
    }
  }

  /** A frame was written. */
  written(): void {
    const { frames } = this.#options;
    this.clock.mark();
    if (frames > 0 && this.#output.framesWritten >= frames) this.#finish();
  }

  /** A frame in parts has come to a group that shares messages. */
  refuseParts({ size, parts }: PartMark): never {
    const { maxPayload } = this.#broker;
    throw new CommandError(
      "FRAME_TOO_LARGE",
      `A frame of ${count(size, "bytes")} came in ${parts} messages, of which each may go to another subscriber of the group.`,
      `Raise max_payload of the NATS server (now ${maxPayload}) above the size of the frames, or leave out --queue.`,
    );
  }

  /** Whether nothing more is to be written. */
  get isOver(): boolean {
    return this.#isOver;
  }

  #finish(error?: unknown): void {
    this.#isOver = true;
    if (error === undefined) this.#end.resolve();
    else this.#end.reject(error);
  }

  /** The publisher has ended, or is dead. */
  ended(hasDied: boolean, why = "its writer has died, or it has failed"): void {
    const { follow } = this.#options;
    const { log } = this.#session;
    this.#receiver?.notePeer(hasDied ? "died" : "left");
    log?.info(`The publisher on ${this.#subject} has ${hasDied ? "died" : "left"}.`);
    if (!follow) this.#finish(this.#failureAfter(hasDied ? why : undefined));
  }

  /** Why the end of the publisher is a failure: it has died, or there are not enough frames; undefined if it is none. */
  #failureAfter(death: string | undefined): CommandError | undefined {
    const { frames } = this.#options;
    if (death !== undefined) {
      return new CommandError(
        "WRITER_DEAD",
        `The publisher on ${this.#subject} has died: ${death}.`,
        "Start it again; with --follow a subscriber waits for the next one.",
      );
    }
    if (frames === 0) return undefined;
    return new CommandError(
      "INCOMPLETE",
      `The publisher on ${this.#subject} left after ${this.#output.framesWritten} of ${count(frames, "frames")}.`,
      "Lower --frames, or let the publisher send more.",
    );
  }

  #tick(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    const now = performance.now();
    // If this process was stopped meanwhile, signs of life may wait: they are looked at first.
    const passedMs = Math.min(now - this.#tickedAt, 2 * TICK_MS);
    this.#tickedAt = now;
    this.clock.report();
    try {
      if (!receiver.isOpen) this.#output.check();
    } catch (error) {
      this.#finish(error);
    }
    if (!this.#broker.isConnected) {
      receiver.runs.forgive();
      return;
    }
    receiver.pass(passedMs);
    if (!this.#isIdle()) return;
    const { deadAfterMs, connectTimeoutMs } = this.#options;
    if (receiver.runs.isDead) {
      receiver.bury();
      this.ended(true, `nothing was heard of it for ${deadAfterMs} ms`);
    } else if (receiver.counts.publishers === 0 && now - this.#startedAt > connectTimeoutMs) {
      this.#finish(
        new PeerTimeoutError(`No publisher was heard on ${this.#subject} within ${connectTimeoutMs} ms.`, {
          hint: "Start zerobuffer bridge publish, or raise --connect-timeout-ms (0: wait forever).",
        }),
      );
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#ticker);
  }
}
