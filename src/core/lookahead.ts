// Takes frames out of a ring, as far as it looks ahead, for a reader to hand out one by one or many at once.

import { Code } from "../native/codes.ts";
import { Look, type RingReader } from "../native/ring.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import {
  ClosedError,
  CorruptBufferError,
  SequenceError,
  WriterDeadError,
  type ZeroBufferError,
} from "./errors.ts";
import { failure } from "./failures.ts";
import { Frame, FrameBatch, type Lender } from "./frame.ts";
import type { ReadQueue } from "./read-queue.ts";
import { SLICE_MS, type WriterWatch } from "./writer-watch.ts";

/** How often a reader without a writer looks for one; the first frame of one wakes it earlier. */
export const WRITER_LOOK_MS = 20;

/** The frames that are there, and those that are waited for with the thread blocked. */
export class Lookahead {
  readonly #buffer: SharedBuffer;
  readonly #ring: RingReader;
  readonly #lender: Lender;
  readonly #watch: WriterWatch;
  readonly #reads: ReadQueue;

  /** Frames of the last look at the ring, and how many of them have been handed out. */
  #available = 0;
  #handedOut = 0;

  #framesRead = 0;
  #bytesRead = 0;

  /** @param reads that wait for frames; they hear of those that other calls bring. */
  constructor(buffer: SharedBuffer, lender: Lender, watch: WriterWatch, reads: ReadQueue) {
    this.#buffer = buffer;
    this.#ring = lender.ring;
    this.#lender = lender;
    this.#watch = watch;
    this.#reads = reads;
  }

  /** Frames handed out so far. */
  get framesRead(): number {
    return this.#framesRead;
  }

  /** Bytes of those frames. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  // ---- whether there are frames ------------------------------------------------------------------------------------

  /** Whether there are frames, without waiting. Throws as {@link waitForFrames}. */
  hasFrames(): boolean {
    if (this.#handedOut < this.#available) return true;
    this.guard();
    this.#watch.acceptNextWriter();
    return this.#look(0) || (this.#watch.isLookDue && this.#lookWithoutToken());
  }

  /** Whether there are frames with tokens, spinning up to `spinUs` microseconds for one. */
  hasFramesSoon(spinUs: number): boolean {
    if (this.#handedOut < this.#available) return true;
    this.guard();
    this.#watch.acceptNextWriter();
    return this.#look(spinUs);
  }

  /**
   * Whether there are frames, blocking the thread for up to `timeoutMs` until there are some. False also if a signal
   * comes.
   *
   * @throws WriterDeadError once for each writer that is gone; SequenceError, CorruptBufferError, ClosedError.
   */
  waitForFrames(timeoutMs: number): boolean {
    if (this.#handedOut < this.#available) return true;
    this.guard();
    this.#watch.acceptNextWriter();
    const sliceMs = Math.min(timeoutMs, SLICE_MS);
    // Not through a function of its own: a call deeper, and the compiler does not inline the foreign call.
    const code = this.#ring.next(sliceMs * 1000, Look.FOR_TOKENS);
    if (this.#accept(code)) return true;
    // Most reads end here, and never look at the clock. A token without a frame has ended the slice early: then rather a
    // bit too long than too short.
    return this.#keepWaiting(code, timeoutMs - (this.#watch.hasNewSurplus ? 0 : sliceMs));
  }

  /** What follows the first slice, whose outcome was `code`. */
  #keepWaiting(code: number, timeoutMs: number): boolean {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (code === Code.INTERRUPTED) return false;
      if (this.#lookWithoutToken()) return true;
      const sliceMs = Math.min(SLICE_MS, deadline - performance.now());
      if (sliceMs <= 0) return false;
      code = this.#block(sliceMs);
      if (this.#accept(code)) return true;
    }
  }

  /** As {@link hasWriter}, blocking the thread for up to `timeoutMs` until it is known. False also if a signal comes. */
  waitForWriter(timeoutMs: number): boolean {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = this.hasWriter();
      if (found !== undefined) return found;
      const restMs = deadline - performance.now();
      if (restMs <= 0) return false;
      const code = this.#block(Math.min(WRITER_LOOK_MS, restMs));
      if (code === Code.INTERRUPTED) return false;
      this.#accept(code);
    }
  }

  /** True: there is a writer, or frames of one. False: one has come and gone without any. Undefined: not yet. */
  hasWriter(): boolean | undefined {
    this.guard();
    if (this.#handedOut < this.#available || this.#look(0)) return true;
    this.#watch.acceptNextWriter();
    this.#watch.judge();
    if (this.#watch.state === "connected" || this.#takeWithoutToken()) return true;
    if (this.#watch.state !== "awaited") return false;
    this.#checkName();
    return undefined;
  }

  /** Blocks the thread until there are frames, for up to `milliseconds`. The code of a look at the ring. */
  #block(milliseconds: number): number {
    return this.#ring.next(Math.ceil(milliseconds * 1000), Look.FOR_TOKENS);
  }

  #look(spinUs: number): boolean {
    return this.#accept(this.#ring.next(spinUs, Look.FOR_TOKENS));
  }

  /** If no token brings a frame: finds one whose post was lost, or that the writer is gone. */
  #lookWithoutToken(): boolean {
    this.#watch.look();
    if (this.#takeWithoutToken()) return true;
    const departure = this.#watch.reportDeparture();
    if (departure !== undefined) throw departed(this.#lender.name, departure);
    this.#checkName();
    return false;
  }

  #takeWithoutToken(): boolean {
    const flags = this.#watch.acceptsFirstFrame ? Look.NEW_WRITER : 0;
    return this.#accept(this.#ring.next(0, Look.WITHOUT_TOKEN | flags));
  }

  /** Whether `code`, the outcome of a look at the ring, means frames to hand out. Throws what it means otherwise. */
  #accept(code: number): boolean {
    if (code > 0) {
      this.#available = code;
      this.#handedOut = 0;
      this.#watch.noteFrames();
      // A call that does not wait may leave some of them to those that do.
      if (!this.#reads.isEmpty) this.#reads.wake();
      return true;
    }
    if (code === Code.AGAIN || code === Code.INTERRUPTED) return false;
    throw this.#refusal(code as Code);
  }

  // ---- handing out -------------------------------------------------------------------------------------------------

  /** The next frame, in a released one if that is given. Only while there are frames. */
  takeFrame(released?: Frame): Frame {
    const ring = this.#ring;
    const i = this.#handedOut++;
    const size = ring.size(i);
    const index = this.#framesRead++ >>> 0;
    this.#bytesRead += size;
    if (released === undefined) {
      return new Frame(this.#lender, index, ring.offset(i), size, ring.sequence(i));
    }
    return released.become(this.#lender, index, ring.offset(i), size, ring.sequence(i));
  }

  /** Up to `most` of the frames. */
  takeBatch(most: number): FrameBatch {
    const first = this.#handedOut;
    const count = Math.min(most, this.#available - first);
    const batch = new FrameBatch(this.#lender, this.#framesRead >>> 0, this.#ring.places(first, count));
    this.#handedOut += count;
    this.#framesRead += count;
    this.#bytesRead += batch.size;
    return batch;
  }

  // ---- what can be wrong -------------------------------------------------------------------------------------------

  /** Ends with the reader: what has not been handed out by now will not be. */
  close(): void {
    this.#available = 0;
    this.#handedOut = 0;
  }

  /** Throws ClosedError once the reader is closed. */
  guard(): void {
    if (this.#lender.isClosed) throw closed(this.#lender.name);
  }

  #checkName(): void {
    if (this.#buffer.memory.isNamed) return;
    const { name } = this.#lender;
    throw new CorruptBufferError(`Buffer "${name}" was removed or replaced while its reader lives.`, {
      buffer: name,
      hint: "No writer can find it any more: close the reader and start it again.",
    });
  }

  #refusal(code: Code): ZeroBufferError {
    const { name } = this.#lender;
    const { position, expected, found } = this.#ring.fault;
    const where = `Buffer "${name}" at position ${position}`;
    const details = { buffer: name, hint: "Close both sides and start the reader again." };
    switch (code) {
      case Code.BAD_SEQUENCE:
        return new SequenceError(
          `${where}: frame ${expected} had to follow, and there is frame ${found}.`,
          details,
        );
      case Code.BAD_FRAME:
        return new CorruptBufferError(`${where}: a frame cannot have ${found} bytes there.`, details);
      default:
        return failure(code, name, where);
    }
  }
}

/** The error for whatever is asked of a closed reader. */
export function closed(buffer: string): ClosedError {
  return new ClosedError(`The reader of buffer "${buffer}" is closed.`, { buffer });
}

function departed(buffer: string, reason: "left" | "died"): WriterDeadError {
  return new WriterDeadError(
    reason,
    `The writer of buffer "${buffer}" has ${reason}; all its frames are read.`,
    {
      buffer,
      hint:
        reason === "left" ? "Start another writer to go on." : "See why its process ended; start it again.",
    },
  );
}
