// The writer's loop: takes frames from a source and writes them to a buffer.

import type { FrameRun, FrameSource } from "../../cli/frame-source.ts";
import type { FULL_POLICIES, OutputBuffer } from "../../cli/output-buffer.ts";
import { LoopClock, Pace, type PaceOptions } from "../../cli/timing.ts";
import { copyInPieces, PIECE_SIZE } from "../../frames/transforms.ts";

/** The most frames to write together. */
const RUN_FRAMES = 256;

const UNCHANGED = { transform: "none", xorKey: 0 } as const;

/** How fast to write. */
interface WriterLoopOptions extends PaceOptions {
  readonly onFull: (typeof FULL_POLICIES)[number];
}

/** Writes the frames of a source to a buffer. */
export class WriterLoop {
  readonly #output: OutputBuffer;
  readonly #source: FrameSource;
  readonly #clock: LoopClock;
  readonly #pace: Pace | undefined;
  readonly #signal: AbortSignal;
  /** The most frames to write together: 1 if each frame has its own time, or may be dropped. */
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
    this.#runFrames = this.#pace === undefined && options.onFull === "wait" ? RUN_FRAMES : 1;
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
    if (bytes.length === frameSize && frameSize > PIECE_SIZE) return this.#writeInPieces(bytes);
    const written = this.#output.tryWrite(bytes, frameSize);
    if (written === bytes.length) return undefined;
    this.#clock.pause();
    return this.#output.write(bytes.subarray(written), frameSize);
  }

  /** Writes a large frame, taking turns with the event loop. */
  async #writeInPieces(bytes: Uint8Array): Promise<void> {
    let slot = this.#output.tryAcquire(bytes.length);
    if (slot === undefined) {
      this.#clock.pause();
      slot = await this.#output.acquire(bytes.length);
    }
    if (slot === undefined) return;
    await copyInPieces(bytes, slot.data, UNCHANGED, () => this.#clock.turn());
    this.#output.writer.commitFrame();
  }
}
