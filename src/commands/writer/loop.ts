// The writer's loop: frames from a source into a buffer.

import { CommandError } from "../../cli/failure.ts";
import type { FrameRun, FrameSource } from "../../cli/frame-source.ts";
import { LoopClock, Pace, type PaceOptions, ShortWait } from "../../cli/timing.ts";
import type { Writer } from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE } from "../../frames/transforms.ts";

/** What to do with a frame there is no room for. */
export const FULL_POLICIES = ["wait", "drop", "fail"] as const;
type FullPolicy = (typeof FULL_POLICIES)[number];

/** How often the reader is looked at while there is nothing to write. */
const READER_LOOK_MS = 250;

/** Frames that are written together at the most. */
const RUN_FRAMES = 256;

/** A large frame's bytes are not changed on their way. */
const UNCHANGED = { transform: "none", xorKey: 0 } as const;

/** How fast to go, and what to do where the buffer is full. */
interface WriterLoopOptions extends PaceOptions {
  readonly onFull: FullPolicy;
}

/** Writes the frames of a source into a buffer, at the pace and with the patience asked for. */
export class WriterLoop {
  readonly #writer: Writer;
  readonly #source: FrameSource;
  readonly #clock: LoopClock;
  readonly #pace: Pace | undefined;
  readonly #onFull: FullPolicy;
  readonly #signal: AbortSignal;
  /** The most frames to write together: one, if something has to be decided for each. */
  readonly #runFrames: number;
  readonly #roomWait: ShortWait;
  #offered = 0;
  #dropped = 0;

  /** @param tell is told every few milliseconds how many frames are done. */
  constructor(
    writer: Writer,
    source: FrameSource,
    options: WriterLoopOptions,
    signal: AbortSignal,
    tell: (frames: number) => void,
  ) {
    this.#writer = writer;
    this.#source = source;
    this.#clock = new LoopClock(signal, () => tell(this.#offered));
    this.#pace = options.rate === undefined && options.delayMs === 0 ? undefined : new Pace(options);
    this.#onFull = options.onFull;
    this.#runFrames = this.#pace === undefined && options.onFull === "wait" ? RUN_FRAMES : 1;
    this.#roomWait = new ShortWait(options.onFull === "wait" ? undefined : 0);
    this.#signal = signal;
  }

  /** Frames there was no room for. */
  get dropped(): number {
    return this.#dropped;
  }

  /** How long it took from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** Writes up to `limit` frames, or all of them if it is 0. */
  async run(limit: number): Promise<void> {
    const runFrames = this.#runFrames;
    while (limit === 0 || this.#offered < limit) {
      const most = limit === 0 ? runFrames : Math.min(runFrames, limit - this.#offered);
      // A dropped frame uses no sequence number, and its pattern goes to the next one.
      const run = this.#source.next(this.#offered - this.#dropped, most);
      if (run === undefined) {
        if (await this.#waitForSource()) continue;
        return;
      }
      if (this.#pace?.isDue(this.#offered) === false) await this.#waitUntilDue(this.#pace);
      this.#clock.start();
      const work = this.#write(run);
      if (work !== undefined) await work;
      this.#pace?.done(this.#offered);
      const frames = Math.ceil(run.bytes.length / run.frameSize);
      this.#offered += frames;
      if (this.#clock.isDue(run.bytes.length, frames)) await this.#clock.turn();
    }
    this.#clock.pause();
  }

  /** Waits for more frames; false if there are none. */
  async #waitForSource(): Promise<boolean> {
    this.#clock.pause();
    const hasMore = await this.#whileReaderLives(this.#source.more());
    if (hasMore) this.#signal.throwIfAborted();
    return hasMore;
  }

  #waitUntilDue(pace: Pace): Promise<void> {
    this.#clock.pause();
    return this.#whileReaderLives(pace.wait(this.#offered, this.#signal));
  }

  /** Waits for something; a reader that goes meanwhile ends the wait, because no write would find out. */
  async #whileReaderLives<T>(work: Promise<T>): Promise<T> {
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const look = () => {
      try {
        this.#writer.checkReader();
      } catch (error) {
        reject(error);
      }
    };
    const timer = setInterval(look, READER_LOOK_MS);
    try {
      return await Promise.race([work, gone]);
    } finally {
      clearInterval(timer);
      // Nobody awaits it any more.
      work.catch(() => {});
    }
  }

  /** Writes what has room at once; a promise is returned if that is not everything. */
  #write({ bytes, frameSize }: FrameRun): Promise<void> | undefined {
    if (bytes.length === frameSize && frameSize > PIECE_SIZE) return this.#writeInPieces(bytes);
    const written = this.#writer.tryWriteFrames(bytes, frameSize, this.#roomWait.milliseconds);
    this.#roomWait.note(written === bytes.length);
    if (written === bytes.length || !this.#waitsForRoom()) return undefined;
    return this.#writer.writeFramesAsync(bytes.subarray(written), frameSize, { signal: this.#signal });
  }

  /** Writes a large frame, with turns of the event loop. */
  async #writeInPieces(bytes: Uint8Array): Promise<void> {
    const { length } = bytes;
    let slot = this.#writer.tryAcquireFrame(length, this.#roomWait.milliseconds);
    this.#roomWait.note(slot !== undefined);
    if (slot === undefined && this.#waitsForRoom()) {
      slot = await this.#writer.acquireFrameAsync(length, { signal: this.#signal });
    }
    if (slot === undefined) return;
    await copyInPieces(bytes, slot.data, UNCHANGED, () => this.#clock.turn());
    this.#writer.commitFrame();
  }

  /** Whether room for a frame is to be waited for; otherwise it is dropped. */
  #waitsForRoom(): boolean {
    switch (this.#onFull) {
      case "drop":
        this.#dropped++;
        return false;
      case "fail":
        throw new CommandError(
          "BUFFER_FULL",
          `Buffer "${this.#writer.name}" is full.`,
          "Its reader is slower than the writer: give it a larger buffer, or use --on-full wait or drop.",
        );
      case "wait":
        this.#clock.pause();
        return true;
    }
  }
}
