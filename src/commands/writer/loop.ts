// The writer's loop: frames from a source into a buffer.

import { CommandError } from "../../cli/failure.ts";
import type { FrameSource } from "../../cli/frame-source.ts";
import { Pace, type PaceOptions, ShortWait, Stopwatch } from "../../cli/timing.ts";
import type { Writer } from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE } from "../../frames/transforms.ts";
import { TurnKeeper } from "../../runtime/turn.ts";

/** What to do with a frame there is no room for. */
export const FULL_POLICIES = ["wait", "drop", "fail"] as const;
type FullPolicy = (typeof FULL_POLICIES)[number];

/** How often the reader is looked at while there is nothing to write. */
const READER_LOOK_MS = 250;

/** Frames that are written together at the most. */
const RUN_FRAMES = 256;

/** What becomes of a large frame's bytes on their way. */
const AS_IT_IS = { transform: "none", xorKey: 0 } as const;

/** How fast to go, and what to do where the buffer is full. */
interface PumpOptions extends PaceOptions {
  readonly onFull: FullPolicy;
}

/** Moves frames from a source into a buffer, at the pace and with the patience asked for. */
export class Pump {
  readonly stopwatch = new Stopwatch();
  readonly #writer: Writer;
  readonly #source: FrameSource;
  readonly #pace: Pace | undefined;
  readonly #onFull: FullPolicy;
  readonly #signal: AbortSignal;
  readonly #tell: (frames: number) => void;
  /** Nothing has to be decided for single frames: they can be written many at a time. */
  readonly #isFree: boolean;
  readonly #turns = new TurnKeeper();
  readonly #roomWait: ShortWait;
  #offered = 0;
  #dropped = 0;

  /** @param tell is told every few milliseconds how many frames are done. */
  constructor(
    writer: Writer,
    source: FrameSource,
    options: PumpOptions,
    signal: AbortSignal,
    tell: (frames: number) => void,
  ) {
    this.#writer = writer;
    this.#source = source;
    this.#pace = options.rate === undefined && options.delayMs === 0 ? undefined : new Pace(options);
    this.#onFull = options.onFull;
    this.#isFree = this.#pace === undefined && options.onFull === "wait";
    this.#roomWait = new ShortWait(options.onFull === "wait" ? undefined : 0);
    this.#signal = signal;
    this.#tell = tell;
  }

  /** Frames there was no room for. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Moves up to `limit` frames, or all of them if it is 0. */
  async run(limit: number): Promise<void> {
    while (limit === 0 || this.#offered < limit) {
      // A dropped frame uses no sequence number, and its pattern goes to the next one.
      const most = this.#isFree ? Math.min(RUN_FRAMES, limit === 0 ? RUN_FRAMES : limit - this.#offered) : 1;
      const run = this.#source.next(this.#offered - this.#dropped, most);
      if (run === undefined) {
        if (!(await this.#more())) return;
        this.#signal.throwIfAborted();
        continue;
      }
      if (this.#pace?.isDue(this.#offered) === false) await this.#wait(this.#pace);
      this.stopwatch.start();
      const { bytes, frameSize } = run;
      if (bytes.length === frameSize && frameSize > PIECE_SIZE) {
        await this.#writeInPieces(bytes);
      } else {
        const written = this.#writer.tryWriteFrames(bytes, frameSize, this.#roomWait.milliseconds);
        this.#roomWait.note(written === bytes.length);
        if (written < bytes.length) await this.#insist(bytes.subarray(written), frameSize);
      }
      this.#pace?.done(this.#offered);
      const frames = Math.ceil(bytes.length / frameSize);
      this.#offered += frames;
      if (this.#turns.isDue(bytes.length, frames)) await this.#turn();
    }
    this.#pause();
  }

  /** Before each wait: what it takes is not counted, and there is time to tell. */
  #pause(): void {
    this.stopwatch.mark();
    this.#tell(this.#offered);
  }

  #more(): Promise<boolean> {
    this.#pause();
    return this.#whileReaderLives(this.#source.more());
  }

  #wait(pace: Pace): Promise<void> {
    this.#pause();
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

  async #turn(): Promise<void> {
    this.#pause();
    await this.#turns.turn();
    this.#signal.throwIfAborted();
  }

  /** Writes a large frame. */
  async #writeInPieces(bytes: Uint8Array): Promise<void> {
    const { length } = bytes;
    let slot = this.#writer.tryAcquireFrame(length, this.#roomWait.milliseconds);
    this.#roomWait.note(slot !== undefined);
    if (slot === undefined && this.#waitsForRoom()) {
      slot = await this.#writer.acquireFrameAsync(length, { signal: this.#signal });
    }
    if (slot === undefined) return;
    await copyInPieces(bytes, slot.data, AS_IT_IS, () => this.#turn());
    this.#writer.commitFrame();
  }

  /** Writes frames there was no room for, if that is to be waited for. There is one only, if it is not. */
  async #insist(bytes: Uint8Array, frameSize: number): Promise<void> {
    if (!this.#waitsForRoom()) return;
    await this.#writer.writeFramesAsync(bytes, frameSize, { signal: this.#signal });
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
        this.#pause();
        return true;
    }
  }
}
