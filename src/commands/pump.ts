// The writer's loop: frames from a source into a buffer.

import type { Writer } from "../core/index.ts";
import { TurnKeeper } from "../core/turn.ts";
import { CommandError } from "./failure.ts";
import type { FrameSource } from "./frame-source.ts";
import { Pace, type PaceOptions, Stopwatch } from "./timing.ts";

/** What to do with a frame there is no room for. */
export const FULL_POLICIES = ["wait", "drop", "fail"] as const;
type FullPolicy = (typeof FULL_POLICIES)[number];

/** How often the reader is looked at while there is nothing to write. */
const READER_LOOK_MS = 250;

/** Frames that are written together at the most. */
const RUN_FRAMES = 256;

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
    this.#signal = signal;
    this.#tell = tell;
  }

  /** Frames there was no room for. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Moves up to `limit` frames, or all of them if it is 0. */
  async run(limit: number): Promise<void> {
    const turns = new TurnKeeper();
    while (limit === 0 || this.#offered < limit) {
      // A dropped frame uses no sequence number, and its pattern goes to the next one.
      const most = this.#isFree ? Math.min(RUN_FRAMES, limit === 0 ? RUN_FRAMES : limit - this.#offered) : 1;
      const run = this.#source.next(this.#offered - this.#dropped, most);
      if (run === undefined) {
        if (await this.#more()) continue;
        return;
      }
      if (this.#pace?.isDue(this.#offered) === false) await this.#wait(this.#pace);
      this.stopwatch.start();
      const { bytes, frameSize } = run;
      const written = this.#writer.tryWriteFrames(bytes, frameSize);
      if (written < bytes.length && !(await this.#insist(bytes.subarray(written), frameSize)))
        this.#dropped++;
      this.#pace?.done(this.#offered);
      const frames = Math.ceil(bytes.length / frameSize);
      this.#offered += frames;
      if (turns.isDue(bytes.length, frames)) await this.#turn(turns);
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

  async #turn(turns: TurnKeeper): Promise<void> {
    this.#pause();
    await turns.turn();
    this.#signal.throwIfAborted();
  }

  /** Deals with a full buffer: whether the frames were written after all. There is one only, unless it is to wait. */
  async #insist(bytes: Uint8Array, frameSize: number): Promise<boolean> {
    switch (this.#onFull) {
      case "drop":
        return false;
      case "fail":
        throw new CommandError(
          "BUFFER_FULL",
          `Buffer "${this.#writer.name}" is full.`,
          "Its reader is slower than the writer: give it a larger buffer, or use --on-full wait or drop.",
        );
      case "wait":
        this.#pause();
        await this.#writer.writeFramesAsync(bytes, frameSize, { signal: this.#signal });
        return true;
    }
  }
}
