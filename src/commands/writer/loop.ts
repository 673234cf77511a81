// The writer's loop: takes frames from a source and writes them to a buffer.

import { CommandError } from "../../cli/failure.ts";
import type { FrameRun, FrameSource } from "../../cli/frame-source.ts";
import { LoopClock, Pace, type PaceOptions, ShortWait } from "../../cli/timing.ts";
import type { Writer } from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE } from "../../frames/transforms.ts";

/** What to do with a frame that does not fit now. */
export const FULL_POLICIES = ["wait", "drop", "fail"] as const;
type FullPolicy = (typeof FULL_POLICIES)[number];

/** How often to check the reader while there is nothing to write. */
const READER_CHECK_MS = 250;

/** The most frames to write together. */
const RUN_FRAMES = 256;

const UNCHANGED = { transform: "none", xorKey: 0 } as const;

/** How fast to write, and what to do if the buffer is full. */
interface WriterLoopOptions extends PaceOptions {
  readonly onFull: FullPolicy;
}

/** Writes the frames of a source to a buffer. */
export class WriterLoop {
  readonly #writer: Writer;
  readonly #source: FrameSource;
  readonly #clock: LoopClock;
  readonly #pace: Pace | undefined;
  readonly #onFull: FullPolicy;
  readonly #signal: AbortSignal;
  /** The most frames to write together: 1 if each frame has its own time, or may be dropped. */
  readonly #runFrames: number;
  readonly #roomWait: ShortWait;
  #offered = 0;
  #dropped = 0;

  /** @param report is called every few milliseconds with the frames written or dropped so far. */
  constructor(
    writer: Writer,
    source: FrameSource,
    options: WriterLoopOptions,
    signal: AbortSignal,
    report: (frames: number) => void,
  ) {
    this.#writer = writer;
    this.#source = source;
    this.#clock = new LoopClock(signal, () => report(this.#offered));
    this.#pace = options.rate === undefined && options.delayMs === 0 ? undefined : new Pace(options);
    this.#onFull = options.onFull;
    this.#runFrames = this.#pace === undefined && options.onFull === "wait" ? RUN_FRAMES : 1;
    this.#roomWait = new ShortWait(options.onFull === "wait" ? undefined : 0);
    this.#signal = signal;
  }

  /** Frames dropped so far. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Time from the first frame to the last. */
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

  /** Waits for `work`, and checks the reader meanwhile: no write would notice that it left. */
  async #whileReaderLives<T>(work: Promise<T>): Promise<T> {
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const check = () => {
      try {
        this.#writer.checkReader();
      } catch (error) {
        reject(error);
      }
    };
    const timer = setInterval(check, READER_CHECK_MS);
    try {
      return await Promise.race([work, gone]);
    } finally {
      clearInterval(timer);
      // Nothing awaits it any more.
      work.catch(() => {});
    }
  }

  /** Writes the frames that fit now; returns a promise if others are left to write. */
  #write({ bytes, frameSize }: FrameRun): Promise<void> | undefined {
    if (bytes.length === frameSize && frameSize > PIECE_SIZE) return this.#writeInPieces(bytes);
    const written = this.#writer.tryWriteFrames(bytes, frameSize, this.#roomWait.milliseconds);
    this.#roomWait.note(written === bytes.length);
    if (written === bytes.length || !this.#waitsForRoom()) return undefined;
    return this.#writer.writeFramesAsync(bytes.subarray(written), frameSize, { signal: this.#signal });
  }

  /** Writes a large frame, taking turns with the event loop. */
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

  /** Applies the policy for a full buffer: true to wait for room, false if the frame is dropped. */
  #waitsForRoom(): boolean {
    switch (this.#onFull) {
      case "drop":
        this.#dropped++;
        return false;
      case "fail":
        throw new CommandError(
          "BUFFER_FULL",
          `Buffer "${this.#writer.name}" is full.`,
          "The reader is slower than the writer: raise its --buffer-size, or use --on-full wait or drop.",
        );
      case "wait":
        this.#clock.pause();
        return true;
    }
  }
}
