// What a subscriber does with the messages of a publisher: it puts them together to frames in the place where the local reader
// finds them.

import type { Ages } from "../../cli/ages.ts";
import type { OutputBuffer } from "../../cli/output-buffer.ts";
import type { Session } from "../../cli/session.ts";
import type { LoopClock } from "../../cli/timing.ts";
import { type AcquiredFrame, ageUs } from "../../core/index.ts";
import { Assembly, type Mark, type PartMark, type Runs } from "../../frames/wire.ts";

/** How long a subscriber ignores frames of a publisher that it knows nothing of, until its metadata comes, in milliseconds. */
const INTRODUCTION_MS = 1000;

/** Why a message is refused that no publisher sends. */
export const NO_HEADERS = "A message has no headers of a publisher.";

/** Why a part is refused that does not go with its frame. */
export const CONTRADICTION = "A message contradicts the one before it.";

/** A message that says what a correct one does. */
export type Arrival =
  | { readonly kind: "part"; readonly mark: PartMark; readonly data: Uint8Array }
  | { readonly kind: "metadata"; readonly mark: Mark; readonly data: Uint8Array }
  | { readonly kind: "end"; readonly mark: Mark; readonly hasDied: boolean }
  /** Frames that were dropped because there was no memory for them: `count` of those from number `first` to `last`. */
  | { readonly kind: "dropped"; readonly mark: Mark; readonly first: number; last: number; count: number };

/** How a source delivers. */
interface Manner {
  /** Whether this subscriber gets every message: then it puts parts together, and counts the frames that are missing. */
  readonly seesAll: boolean;
  /** Whether metadata comes by itself before the frames that it belongs to; otherwise it is asked for with `ask`. */
  readonly ask: (() => void) | undefined;
}

/** What a receiver tells of what has happened. */
interface Listener {
  /** Whether nothing more is to be written. */
  readonly isOver: boolean;
  /** A frame in parts has come where none can be put together. */
  refuseParts(mark: PartMark): never;
  /** A frame was written. */
  written(): void;
  /** The publisher has ended. */
  ended(hasDied: boolean): void;
}

/** Takes messages in order. */
export class Receiver {
  readonly runs: Runs;
  readonly #output: OutputBuffer;
  readonly #manner: Manner;
  readonly #listener: Listener;
  readonly #session: Session;
  readonly #clock: LoopClock;
  readonly #ages: Ages;
  #seesAll: boolean;
  #assembly = new Assembly(undefined);
  /** The place of the frame that is open. */
  #slot: AcquiredFrame | undefined;
  /** Metadata that the local reader has not got yet. */
  #metadata: Uint8Array | undefined;
  #metadataSize = 0;
  /** Of the runs before. */
  #lostBefore = 0;
  #tornBefore = 0;
  #duplicatesBefore = 0;
  #publishers = 0;
  #tooLarge = 0;
  #dropped = 0;
  #refusedFrames = 0;
  #refusedMessages = 0;
  #warnedOf = new Set<string>();
  /** The run that is not known yet, and since when. */
  #stranger: { readonly run: string; readonly since: number } | undefined;
  /** Resolves when it may be known which run is received. */
  #news: PromiseWithResolvers<void> | undefined;

  constructor(
    output: OutputBuffer,
    runs: Runs,
    manner: Manner,
    listener: Listener,
    session: Session,
    clock: LoopClock,
    ages: Ages,
  ) {
    this.runs = runs;
    this.#output = output;
    this.#manner = manner;
    this.#seesAll = manner.seesAll;
    this.#listener = listener;
    this.#session = session;
    this.#clock = clock;
    this.#ages = ages;
  }

  /** What has become of the frames. */
  get counts() {
    const { lost, torn, duplicates } = this.#assembly;
    return {
      frames_lost: this.#lostBefore + lost,
      frames_torn: this.#tornBefore + torn,
      frames_duplicate: this.#duplicatesBefore + duplicates,
      frames_dropped: this.#dropped + this.#output.dropped,
      frames_too_large: this.#tooLarge,
      frames_refused: this.#refusedFrames,
      messages_refused: this.#refusedMessages,
      metadata_size: this.#metadataSize,
      publishers: this.#publishers,
    };
  }

  /** Size of the largest frame that the buffer takes, in bytes. */
  get maxFrameSize(): number {
    return this.#output.writer.maxFrameSize;
  }

  /** Whether a frame is open: some of its parts are in their place. */
  get isOpen(): boolean {
    return this.#slot !== undefined;
  }

  /** Notes a sign of life of a run, however long its messages wait. */
  hear(run: string): void {
    this.runs.hear(run);
    this.#tellNews();
  }

  /** Notes that time has passed in which signs of life could have come. */
  pass(milliseconds: number): void {
    this.runs.pass(milliseconds);
    this.#tellNews();
  }

  /** A message that no correct publisher sends. */
  refuse(what: string): void {
    this.#refusedMessages++;
    this.#warn(what, `${what} Such messages are dropped.`);
  }

  /** Metadata that is older than the first message: it comes before the first frame. */
  prepare(metadata: Uint8Array): void {
    this.#metadata = metadata;
  }

  /** Another subscriber gets some of the messages: what is missing is not lost. */
  share(): void {
    this.#seesAll = false;
    this.#assembly.share();
  }

  /** Frames from here on are expected to follow this one of a run. */
  resume({ run, sequence }: Mark): void {
    this.#adopt(run, sequence);
  }

  /** Takes the next message. Returns a promise if that takes time. Its bytes must not change until then. */
  take(arrival: Arrival): Promise<void> | undefined {
    if (this.#listener.isOver) return undefined;
    switch (this.runs.standingOf(arrival.mark.run)) {
      case "current":
        return this.#takeCurrent(arrival);
      case "free":
        return this.#meet(arrival) ? this.#takeCurrent(arrival) : undefined;
      case "refused":
        return this.#refuseRun(arrival);
      case "undecided":
        return this.#decide(arrival);
    }
  }

  async #decide(arrival: Arrival): Promise<void> {
    const { run } = arrival.mark;
    while (this.runs.standingOf(run) === "undecided") {
      this.#news ??= Promise.withResolvers();
      await this.#news.promise;
    }
    await this.take(arrival);
  }

  #tellNews(): void {
    const news = this.#news;
    this.#news = undefined;
    news?.resolve();
  }

  #refuseRun({ kind, mark }: Arrival): undefined {
    if (kind === "part") this.#refusedFrames++;
    this.#warn(
      mark.run,
      "Another publisher sends to the same subject: its frames are refused while the first one lives.",
    );
  }

  /** A run that may be received. Returns false if it is not known well enough yet. */
  #meet({ kind, mark }: Arrival): boolean {
    const { ask } = this.#manner;
    if (kind === "end") return false;
    if (kind === "metadata") {
      this.#adopt(mark.run, mark.sequence);
      return true;
    }
    if (ask !== undefined && this.#seesAll) {
      const now = performance.now();
      if (this.#stranger?.run !== mark.run) {
        this.#stranger = { run: mark.run, since: now };
        ask();
      }
      if (now - this.#stranger.since < INTRODUCTION_MS) return false;
    }
    this.#adopt(mark.run, undefined);
    return true;
  }

  #adopt(run: string, last: number | undefined): void {
    const { events, log } = this.#session;
    const { current } = this.runs;
    if (current !== undefined) {
      this.bury();
      this.notePeer("died");
    }
    const { lost, torn, duplicates } = this.#assembly;
    this.#lostBefore += lost;
    this.#tornBefore += torn;
    this.#duplicatesBefore += duplicates;
    this.#assembly = new Assembly(last, { seesAll: this.#seesAll });
    this.#stranger = undefined;
    this.runs.adopt(run);
    this.#publishers++;
    events?.emit("peer", { buffer: this.#output.writer.name, role: "writer", change: "came" });
    log?.info(
      `Receiving from run ${run} of a publisher${last === undefined ? "" : `, after frame ${last}`}.`,
    );
  }

  /** The current run has died: its open frame does not become whole. */
  bury(): void {
    this.#assembly.abandon();
    this.closeFrame();
    this.runs.end();
  }

  /** Tells what has become of the publisher. */
  notePeer(change: "left" | "died"): void {
    this.#session.events?.emit("peer", { buffer: this.#output.writer.name, role: "writer", change });
  }

  #takeCurrent(arrival: Arrival): Promise<void> | undefined {
    switch (arrival.kind) {
      case "part":
        return this.#takePart(arrival.mark, arrival.data);
      case "metadata":
        this.#noteLast(arrival.mark.sequence);
        if (arrival.data.length === 0) return undefined;
        this.#metadata = arrival.data;
        this.#metadataSize = arrival.data.length;
        return this.#output.isConnected ? this.#sendMetadata() : undefined;
      case "dropped":
        this.#dropped += arrival.count;
        this.#assembly.pass(arrival.first, arrival.last, arrival.count);
        this.closeFrame();
        return undefined;
      case "end":
        this.#noteLast(arrival.mark.sequence);
        this.runs.end();
        this.#listener.ended(arrival.hasDied);
        return undefined;
    }
  }

  #noteLast(sequence: number): void {
    this.#assembly.noteLast(sequence);
    if (!this.#assembly.isOpen) this.closeFrame();
  }

  #takePart(mark: PartMark, data: Uint8Array): Promise<void> | undefined {
    const { size, parts } = mark;
    if (parts > 1 && !this.#manner.seesAll) this.#listener.refuseParts(mark);
    const verdict = this.#assembly.take(mark, data.length);
    if (verdict.kind !== "put") {
      if (!this.#assembly.isOpen) this.closeFrame();
      if (verdict.kind === "refuse") this.refuse(CONTRADICTION);
      return undefined;
    }
    if (!verdict.isFirst) return this.#put(mark, data, verdict.offset, verdict.isLast);
    this.closeFrame();
    if (size > this.maxFrameSize) {
      this.#tooLarge++;
      this.#assembly.giveUp();
      this.#warn(
        "size",
        `A frame of ${size} bytes does not fit the buffer, and is dropped. Raise --buffer-size of its reader.`,
      );
      return undefined;
    }
    if (this.#metadata === undefined || !this.#output.isConnected) {
      this.#slot = this.#output.tryAcquire(size);
      if (this.#slot !== undefined) return this.#put(mark, data, 0, verdict.isLast);
    }
    return this.#putLater(mark, data, verdict.isLast);
  }

  async #putLater(mark: PartMark, data: Uint8Array, isLast: boolean): Promise<void> {
    this.#clock.pause();
    if (this.#output.isConnected) await this.#sendMetadata();
    this.#slot = this.#output.tryAcquire(mark.size) ?? (await this.#output.acquire(mark.size));
    if (this.#slot === undefined) return this.#assembly.giveUp();
    this.#put(mark, data, 0, isLast);
  }

  #put(mark: PartMark, data: Uint8Array, offset: number, isLast: boolean): undefined {
    if (this.#slot === undefined) return;
    this.#clock.start();
    this.#slot.data.set(data, offset);
    if (!isLast) return;
    this.#slot = undefined;
    this.#output.writer.commitFrame();
    if (mark.timeUs > 0) this.#ages.noteAge(ageUs({ time: 0n }) - mark.timeUs);
    this.#listener.written();
  }

  async #sendMetadata(): Promise<void> {
    const metadata = this.#metadata;
    if (metadata === undefined) return;
    this.#metadata = undefined;
    this.#metadataSize = metadata.length;
    await this.#output.sendMetadata(metadata);
  }

  /** Gives the place of an open frame back. */
  closeFrame(): void {
    if (this.#slot === undefined) return;
    this.#slot = undefined;
    this.#output.writer.cancelFrame();
  }

  /** Warns once of each thing. */
  #warn(what: string, message: string): void {
    if (this.#warnedOf.has(what) || this.#warnedOf.size > 100) return;
    this.#warnedOf.add(what);
    this.#session.log?.warn(message);
  }
}
