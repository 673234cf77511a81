// Messages of core NATS, which come whether there is room for them or not: those that have to wait are kept in memory up to a
// limit, beyond which whole frames are dropped.

import type { Msg } from "@nats-io/transport-node";
import type { Broker } from "./broker.ts";
import { readArrival, readSign } from "./messages.ts";
import { type Arrival, CONTRADICTION, NO_HEADERS, type Receiver } from "./receiver.ts";
import type { Subjects } from "./subjects.ts";

/** How many bytes may wait, unless they are of one frame. */
const MOST_BYTES = 64 * 2 ** 20;

/** How many bytes more may wait of what is no frame. */
const SPARE_BYTES = 8 * 2 ** 20;

/** What a message costs besides its bytes. */
const MESSAGE_BYTES = 1024;

/** Listens to the subjects of a publisher. */
export class CoreSource {
  readonly #broker: Broker;
  readonly #subjects: Subjects;
  readonly #queueGroup: string | undefined;
  readonly #receiver: Receiver;
  readonly #waiting: Arrival[] = [];
  #bytes = 0;
  #isBusy = false;
  /** Where the bytes of the last message are, and those of the one that is being taken. */
  #last: ArrayBufferLike | undefined;
  #inUse: ArrayBufferLike | undefined;
  /** The frame whose parts are kept, and how many bytes of it may still come. */
  #open: { readonly run: string; readonly sequence: number; left: number } | undefined;
  /** The frame that is being dropped. */
  #dropping: { readonly run: string; readonly sequence: number } | undefined;

  constructor(broker: Broker, subjects: Subjects, queueGroup: string | undefined, receiver: Receiver) {
    this.#broker = broker;
    this.#subjects = subjects;
    this.#queueGroup = queueGroup;
    this.#receiver = receiver;
  }

  /** Whether nothing waits. */
  get isIdle(): boolean {
    return !this.#isBusy;
  }

  /** Starts to listen. */
  open(): void {
    const { frames, metadata, end } = this.#subjects;
    this.#broker.subscribe(frames, (message) => this.#arrive(message), this.#queueGroup);
    this.#broker.subscribe(metadata, (message) => this.#arrive(message));
    this.#broker.subscribe(end, (message) => this.#arrive(message));
    this.#broker.onBack.push(() => this.ask());
    // A publisher of which nothing but signs of life is heard may not have heard the question.
    this.openForSigns(() => {
      if (this.#receiver.runs.current === undefined) this.ask();
    });
    this.ask();
  }

  /** Starts to listen to the signs of life alone. */
  openForSigns(onSign = () => {}): void {
    this.#broker.subscribe(this.#subjects.alive, (message) => {
      const sign = readSign(message);
      if (sign !== undefined) this.#receiver.hear(sign.run);
      else this.#receiver.refuse(NO_HEADERS);
      onSign();
    });
  }

  /** Asks the publisher for its metadata. */
  ask(): void {
    this.#broker.publish(this.#subjects.request, new Uint8Array(0), {});
  }

  #arrive(message: Msg): void {
    this.#freeBefore(message.data.buffer);
    const arrival = readArrival(message, this.#subjects);
    if (arrival === undefined) {
      this.#receiver.refuse(NO_HEADERS);
      return;
    }
    this.#receiver.hear(arrival.mark.run);
    if (this.#isBusy) this.#keep(arrival);
    else this.#take(arrival);
  }

  /**
   * Frees the memory of the messages before, if this one is not in the same: the client puts a large message together in
   * memory of its own, and reads what it has received to the end before it goes on with what came later.
   */
  #freeBefore(buffer: ArrayBufferLike): void {
    const before = this.#last;
    if (before === buffer) return;
    this.#last = buffer;
    if (before instanceof ArrayBuffer && before !== this.#inUse) before.transfer(0);
  }

  #take(arrival: Arrival): void {
    const work = this.#receiver.take(arrival);
    if (work === undefined) return;
    this.#isBusy = true;
    this.#inUse = this.#last;
    this.#bytes += costOf(arrival);
    this.#goOn(arrival, work).catch((error) => this.#broker.fail(error));
  }

  /** Takes what waits, when `work` on the first one is done. */
  async #goOn(first: Arrival, work: Promise<void>): Promise<void> {
    await work;
    this.#inUse = undefined;
    this.#bytes -= costOf(first);
    while (this.#waiting.length > 0) {
      for (const next of this.#waiting.splice(0)) {
        const work = this.#receiver.take(next);
        if (work !== undefined) await work;
        this.#bytes -= costOf(next);
      }
    }
    this.#isBusy = false;
  }

  #keep(arrival: Arrival): void {
    const isWanted =
      arrival.kind === "part" ? this.#isWanted(arrival) : this.#bytes < MOST_BYTES + SPARE_BYTES;
    if (!isWanted) return;
    this.#waiting.push(kept(arrival));
    this.#bytes += costOf(arrival);
    this.#broker.garbage.note(costOf(arrival));
  }

  /** Whether to keep a part. If there is no memory for a frame, it is dropped as a whole. */
  #isWanted({ mark, data }: Arrival & { kind: "part" }): boolean {
    const { run, sequence, size, part } = mark;
    const isOf = (frame: { run: string; sequence: number } | undefined) =>
      frame?.run === run && frame.sequence === sequence;
    if (isOf(this.#dropping)) return false;
    if (part > 1) {
      const open = this.#open;
      if (open === undefined || !isOf(open)) return this.#bytes + data.length < MOST_BYTES;
      open.left -= data.length;
      if (open.left < 0) this.#receiver.refuse(CONTRADICTION);
      return open.left >= 0;
    }
    // Of a frame that does not fit anyway, the first part is enough to see that.
    const kept = size > this.#receiver.maxFrameSize ? data.length : size;
    this.#open = { run, sequence, left: kept - data.length };
    if (this.#bytes + kept + MESSAGE_BYTES <= MOST_BYTES) return true;
    this.#dropping = { run, sequence };
    const last = this.#waiting.at(-1);
    if (last?.kind === "dropped" && last.mark.run === run && last.last < sequence) {
      last.last = sequence;
      last.count++;
      return false;
    }
    if (this.#bytes > MOST_BYTES + SPARE_BYTES) return false;
    this.#waiting.push({ kind: "dropped", mark, first: sequence, last: sequence, count: 1 });
    this.#bytes += MESSAGE_BYTES;
    return false;
  }
}

/** A message to be kept: the client's bytes are part of something larger, which would be kept with them, or are freed. */
function kept(arrival: Arrival): Arrival {
  return arrival.kind === "part" ? { ...arrival, data: new Uint8Array(arrival.data) } : arrival;
}

function costOf(arrival: Arrival): number {
  return MESSAGE_BYTES + ("data" in arrival ? arrival.data.length : 0);
}
