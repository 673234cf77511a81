// The writer's loop: takes frames from a source and writes them to a buffer.

import type { FrameRun, FrameSource } from "../../cli/frame-source.ts";
import type { OutputBuffer } from "../../cli/output-buffer.ts";
import type { FULL_POLICIES } from "../../cli/shared-options.ts";
import { LoopClock, Pace, type PaceOptions } from "../../cli/timing.ts";
import { STAMP_SIZE, stampFrame } from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE } from "../../frames/transforms.ts";

/** The most frames to write together. */
const RUN_FRAMES = 256;

/** How fast to write, and what. */
interface WriterLoopOptions extends PaceOptions {
  /** Whether to put a stamp before each frame. */
  readonly stamp: boolean;
  readonly onFull: (typeof FULL_POLICIES)[number];
}

/** Writes the frames of a source to a buffer. */
export class WriterLoop {
  readonly #output: OutputBuffer;
  readonly #source: FrameSource;
  readonly #clock: LoopClock;
  readonly #pace: Pace | undefined;
  readonly #signal: AbortSignal;
  /** Bytes of the stamp before each frame. */
  readonly #stampSize: number;
  /** The most frames to write together: 1 if each frame has its own time or stamp, or may be dropped. */
  readonly #runFrames: number;
  #offered = 0;

  /** @param report is called every few milliseconds with the frames written or dropped so far. */
  constructor(
    output: OutputBuffer,
    source: FrameSource,
    options: WriterLoopOptions,
    signal: AbortSignal,
    report: (frames: number) => void,
  ) {
    this.#output = output;
    this.#source = source;
    this.#clock = new LoopClock(signal, () => report(this.#offered));
    this.#pace = options.rate === undefined && options.delayMs === 0 ? undefined : new Pace(options);
    this.#stampSize = options.stamp ? STAMP_SIZE : 0;
    const areAlike = this.#pace === undefined && options.onFull === "wait" && !options.stamp;
    this.#runFrames = areAlike ? RUN_FRAMES : 1;
    this.#signal = signal;
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
      const run = this.#source.next(this.#offered - this.#output.dropped, most);
      if (run === undefined) {
        if (await this.#waitForSource()) continue;
        return;
      }
      if (this.#pace?.isDue(this.#offered) === false) await this.#waitUntilDue(this.#pace);
      this.#clock.start();
      const { reconnects } = this.#output;
      const work = this.#write(run);
      if (work !== undefined) await work;
      // What waited for a reader is not to be caught up with.
      if (this.#output.reconnects > reconnects) this.#pace?.restart(this.#offered);
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
    const hasMore = await this.#output.watch(this.#source.more());
    if (hasMore) this.#signal.throwIfAborted();
    return hasMore;
  }

  #waitUntilDue(pace: Pace): Promise<void> {
    this.#clock.pause();
    return this.#output.watch(pace.wait(this.#offered, this.#signal));
  }

  /** Writes the frames that fit now; returns a promise if others are left to write. */
  #write({ bytes, frameSize }: FrameRun): Promise<void> | undefined {
    if (this.#stampSize > 0 || (bytes.length === frameSize && frameSize > PIECE_SIZE)) {
      return this.#writeInPlace(bytes);
    }
    const written = this.#output.tryWrite(bytes, frameSize);
    if (written === bytes.length) return undefined;
    this.#clock.pause();
    return this.#output.write(bytes.subarray(written), frameSize);
  }

  /** Writes a frame with its stamp, or a large one, which takes turns with the event loop. */
  #writeInPlace(bytes: Uint8Array): Promise<void> | undefined {
    const slot = this.#output.tryAcquire(this.#stampSize + bytes.length);
    if (slot !== undefined) return this.#fill(slot.data, bytes);
    this.#clock.pause();
    return this.#writeInPlaceLater(bytes);
  }

  async #writeInPlaceLater(bytes: Uint8Array): Promise<void> {
    const slot = await this.#output.acquire(this.#stampSize + bytes.length);
    if (slot !== undefined) await this.#fill(slot.data, bytes);
  }

  #fill(place: Uint8Array, bytes: Uint8Array): Promise<void> | undefined {
    // The number counts dropped frames, too: the reader can tell that they are missing.
    if (this.#stampSize > 0) stampFrame(place, { number: BigInt(this.#offered) });
    const rest = this.#stampSize > 0 ? place.subarray(this.#stampSize) : place;
    if (bytes.length > PIECE_SIZE) return this.#fillInPieces(rest, bytes);
    rest.set(bytes);
    this.#output.writer.commitFrame();
    return undefined;
  }

  async #fillInPieces(place: Uint8Array, bytes: Uint8Array): Promise<void> {
    await copyInPieces(bytes, place, () => this.#clock.turn());
    this.#output.writer.commitFrame();
  }
}
