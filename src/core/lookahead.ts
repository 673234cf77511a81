// Takes frames from a ring, many at a time, and hands them out one by one or in batches.

import { Code } from "../native/codes.ts";
import {
  type ForwardLimits,
  Look,
  READ_ATTACHMENT,
  READ_SHARED,
  READER_LOOKAHEAD,
  type RingReader,
} from "../native/ring.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import {
  ClosedError,
  CorruptBufferError,
  SequenceError,
  WriterDeadError,
  type ZeroBufferError,
} from "./errors.ts";
import { failure } from "./failures.ts";
import { Frame, FrameBatch, type FrameTaker, type Lender } from "./frame.ts";
import type { ReadQueue } from "./read-queue.ts";
import type { Attachments } from "./sharing/attachments.ts";
import { SLICE_MS, type WriterWatch } from "./writer-watch.ts";

/** How often a wait for a writer looks for one. The first frame of a writer ends such a slice. */
export const WRITER_LOOK_MS = 20;

/** How many attachments, one behind the other, one look takes: a hostile writer may send them without end. */
const MOST_ATTACHMENTS = 64;

/** What {@link Lookahead.forward} has passed on. */
export interface ForwardedFrames {
  readonly frames: number;
  readonly bytes: number;
  /** Whether no further frame has come for some time, or a signal has. Otherwise there may be more at once. */
  readonly isPaused: boolean;
}

/** The frames that a reader has taken from the ring and not handed out yet. Waits for more with the thread blocked. */
export class Lookahead {
  readonly #buffer: SharedBuffer;
  readonly #ring: RingReader;
  /** Of the reader's own memory. */
  readonly #owner: Lender;
  readonly #watch: WriterWatch;
  readonly #reads: ReadQueue;
  readonly #attachments: Attachments | undefined;
  /** Of the frames of the last look. */
  #lender: Lender;
  /** Whether its frames are passed on to nobody and none lie in other buffers: the looks of most readers have less to do. */
  #isPlain: boolean;

  /** Number of frames of the last look at the ring, and how many of them are handed out. */
  #available = 0;
  #handedOut = 0;

  /** Frames handed out or skipped so far. */
  #framesTaken = 0;
  #framesSkipped = 0;
  #bytesRead = 0;

  /**
   * @param reads asynchronous reads that wait: woken when another call takes frames from the ring.
   * @param attachments for a reader that takes frames of other buffers.
   */
  constructor(
    buffer: SharedBuffer,
    ring: RingReader,
    lender: Lender,
    watch: WriterWatch,
    reads: ReadQueue,
    attachments?: Attachments,
  ) {
    this.#buffer = buffer;
    this.#ring = ring;
    this.#owner = lender;
    this.#lender = lender;
    this.#watch = watch;
    this.#reads = reads;
    this.#attachments = attachments;
    this.#isPlain = attachments === undefined;
  }

  /** From now on its frames are passed on. */
  noteTarget(): void {
    this.#isPlain = false;
  }

  /** Frames handed out so far. */
  get framesRead(): number {
    return this.#framesTaken - this.#framesSkipped;
  }

  /** Frames skipped so far by {@link takeLatest}. */
  get framesSkipped(): number {
    return this.#framesSkipped;
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
    return this.#look() || (this.#watch.isLookDue && this.#lookWithoutToken());
  }

  /** As {@link hasFrames}, but only for frames with tokens: spins up to `spinUs` microseconds for one. */
  hasFramesSoon(spinUs: number): boolean {
    if (this.#handedOut < this.#available) return true;
    this.guard();
    this.#watch.acceptNextWriter();
    return this.#accept(this.#ring.next(spinUs, Look.FOR_TOKENS));
  }

  /**
   * Whether there are frames. Blocks the thread for up to `timeoutMs` until there are some, or a signal comes.
   *
   * @throws WriterDeadError once for each writer that is gone; SequenceError, CorruptBufferError, ClosedError.
   */
  waitForFrames(timeoutMs: number): boolean {
    if (this.#handedOut < this.#available) return true;
    this.guard();
    this.#watch.acceptNextWriter();
    const sliceMs = Math.min(timeoutMs, SLICE_MS);
    // The token of a close may have come together with that of the last frame. Not through #block: a call deeper, and the
    // compiler does not inline the foreign call.
    const code = this.#ring.next(sliceMs * 1000, Look.UNLESS_SURPLUS);
    if (!this.#isPlain) this.#owner.source?.noteBlocked();
    if (this.#accept(code)) return true;
    // Most reads end here, without a look at the clock. A token without a frame ends the slice early: then the wait may
    // last up to a slice too long.
    const isEarly = code > 0 || this.#watch.hasNewSurplus;
    return this.#keepWaiting(code, timeoutMs - (isEarly ? 0 : sliceMs));
  }

  /** The slices after the first one, whose outcome was `code`. */
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

  /** {@link hasWriter}, blocking the thread for up to `timeoutMs` until that is known. False also if a signal comes. */
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

  /** True: there is a writer, or a frame. False: a writer has come and gone, and left no frame. Undefined: not known yet. */
  hasWriter(): boolean | undefined {
    this.guard();
    if (this.#handedOut < this.#available || this.#look()) return true;
    this.#watch.acceptNextWriter();
    this.#watch.judge();
    if (this.#watch.state === "connected" || this.#takeWithoutToken()) return true;
    if (this.#watch.state !== "awaited") return false;
    this.#checkName();
    return undefined;
  }

  /** Blocks the thread for up to `milliseconds` until there are frames. Returns what {@link RingReader.next} does. */
  #block(milliseconds: number): number {
    const code = this.#ring.next(Math.ceil(milliseconds * 1000), Look.FOR_TOKENS);
    this.#owner.source?.noteBlocked();
    return code;
  }

  #look(): boolean {
    return this.#accept(this.#ring.next(0, Look.FOR_TOKENS));
  }

  /** Finds frames whose tokens were lost. Without any, throws if the writer is gone or the buffer was removed. */
  #lookWithoutToken(): boolean {
    this.#watch.look();
    this.#owner.source?.look();
    if (this.#takeWithoutToken()) return true;
    const departure = this.#watch.reportDeparture();
    if (departure !== undefined) {
      this.#attachments?.detach();
      throw departed(this.#owner.name, departure);
    }
    this.#checkName();
    return false;
  }

  #takeWithoutToken(): boolean {
    for (let i = 0; ; i++) {
      const flags = this.#watch.acceptsFirstFrame ? Look.NEW_WRITER : 0;
      const code = this.#ring.next(0, Look.WITHOUT_TOKEN | flags);
      if (code !== READ_ATTACHMENT || i === MOST_ATTACHMENTS) {
        if (code > 0) this.#watch.noteMissingTokens(code > READ_SHARED ? code - READ_SHARED : code);
        return this.#accept(code);
      }
      this.#watch.noteMissingTokens(1);
      this.#attachments?.answer();
      // It may be the next writer's. To report the last one's departure now would detach it again.
      this.#watch.judge();
    }
  }

  /** Whether `code`, what {@link RingReader.next} has returned, means frames to hand out. Throws what else it means. */
  #accept(code: number): boolean {
    // Most codes of most readers are the number of frames. All that is rare is elsewhere: the compiler inlines what is small.
    const count = code > 0 && this.#isPlain ? code : this.#framesOf(code);
    if (count === 0) return false;
    this.#available = count;
    this.#handedOut = 0;
    this.#watch.noteFrames();
    // A call that does not wait may leave frames for reads that do.
    if (!this.#reads.isEmpty) this.#reads.wake();
    return true;
  }

  /** How many frames `code` means, and whose. Answers attachments. */
  #framesOf(code: number): number {
    let next = code;
    for (let i = 0; next === READ_ATTACHMENT; i++) {
      if (i === MOST_ATTACHMENTS) return 0;
      this.#attachments?.answer();
      next = this.#ring.next(0, Look.FOR_TOKENS);
    }
    if (next === Code.AGAIN || next === Code.INTERRUPTED) return 0;
    if (next < 0) throw this.#refusal(next as Code);
    const isShared = next > READ_SHARED;
    const count = isShared ? next - READ_SHARED : next;
    this.#lender = isShared ? (this.#attachments as Attachments).lend(count) : this.#owner;
    return count;
  }

  // ---- handing out -------------------------------------------------------------------------------------------------

  /** Hands out the next frame; there must be one. Uses the object `released` for it if given. */
  takeFrame(released?: Frame): Frame {
    const ring = this.#ring;
    const i = this.#handedOut++;
    const size = ring.size(i);
    const index = this.#framesTaken++ >>> 0;
    this.#bytesRead += size;
    if (released === undefined) {
      return new Frame(this.#lender, index, ring.offset(i), size, ring.sequence(i));
    }
    return released.become(this.#lender, index, ring.offset(i), size, ring.sequence(i));
  }

  /** Hands out up to `most` frames; there must be one. */
  takeBatch(most: number): FrameBatch {
    const first = this.#handedOut;
    const count = Math.min(most, this.#available - first);
    const batch = new FrameBatch(this.#lender, this.#framesTaken >>> 0, this.#ring.places(first, count));
    this.#handedOut += count;
    this.#framesTaken += count;
    this.#bytesRead += batch.size;
    return batch;
  }

  /** Hands out the newest frame that is there; there must be one. Those before it are released. */
  takeLatest(): Frame {
    // After a whole ring nothing is left of what was there at the start: a fast writer must not keep this from ending.
    let left = this.#buffer.sizes.payloadSize - this.#skip();
    let frame = this.takeFrame();
    while (left > 0) {
      const code = this.#ring.next(0, Look.FOR_TOKENS);
      // A frame that is refused is refused again by the next call.
      if (code <= 0 || !this.#accept(code)) break;
      frame.release();
      this.#bytesRead -= frame.size;
      this.#framesSkipped++;
      left -= frame.size + this.#skip();
      frame = this.takeFrame();
    }
    return frame;
  }

  /** Releases all frames of the last look at the ring but the last one. Returns how many bytes they have. */
  #skip(): number {
    const last = this.#available - 1;
    const count = last - this.#handedOut;
    if (count === 0) return 0;
    let size = 0;
    for (let i = this.#handedOut; i < last; i++) size += this.#ring.size(i);
    if (this.#lender.ring.release(this.#framesTaken >>> 0, count)) this.#watch.settle();
    this.#handedOut = last;
    this.#framesTaken += count;
    this.#framesSkipped += count;
    return size;
  }

  // ---- passing on --------------------------------------------------------------------------------------------------

  /**
   * Passes frames on to `taker`, those for which there is room at once, and releases them. All of this runs in the helper:
   * JavaScript, cold after each pause, would delay the frame, and on the same processor also the reader that the frame wakes. The
   * first frame of a writer is left.
   *
   * @returns undefined if it has passed on nothing. {@link hasFrames} says whether frames are left.
   * @throws As {@link waitForFrames}.
   */
  forward(taker: FrameTaker, limits: ForwardLimits): ForwardedFrames | undefined {
    this.guard();
    const deadline = performance.now() + limits.waitMs;
    for (let { waitMs } = limits; ; waitMs = Math.max(0, deadline - performance.now())) {
      const forwarded = this.#forwardOnce(taker, { ...limits, waitMs: Math.min(waitMs, SLICE_MS) });
      if (forwarded !== undefined && forwarded.frames > 0) return forwarded;
      const isOver = forwarded !== undefined || this.#handedOut < this.#available;
      if (isOver || performance.now() >= deadline) return undefined;
    }
  }

  /** Undefined if no frame has come, and no signal. */
  #forwardOnce(taker: FrameTaker, limits: ForwardLimits): ForwardedFrames | undefined {
    const wasAtHand = this.#handedOut < this.#available;
    // They may lie in another buffer.
    if (wasAtHand && this.#lender !== this.#owner) return undefined;
    if (!wasAtHand) this.#watch.acceptNextWriter();
    const ring = this.#ring;
    const code = ring.forward(taker.ring, this.#handedOut, this.#available, limits);
    if (!this.#isPlain) this.#owner.source?.noteBlocked();
    const { frames, bytes, shared, isSettleDue, leftFirst, leftEnd } = ring.forwarded;
    if (frames > 0) {
      this.#framesTaken += frames;
      this.#bytesRead += bytes;
      this.#watch.noteFrames();
      taker.noteForwarded(frames, bytes, shared);
      if (isSettleDue) this.#watch.settle();
    }
    const isLeft = leftFirst < leftEnd;
    if (isLeft) this.#accept(leftEnd);
    this.#available = leftEnd;
    this.#handedOut = leftFirst;
    // Codes that mean no frames come again.
    if (!isLeft && (frames === 0 || code > READER_LOOKAHEAD)) this.#acceptOrLook(code, limits.waitMs);
    if (frames === 0 && code !== Code.INTERRUPTED) return undefined;
    return { frames, bytes, isPaused: !isLeft && code < 0 };
  }

  #acceptOrLook(code: number, waitMs: number): void {
    if (this.#accept(code) || code === Code.INTERRUPTED) return;
    if (waitMs > 0 || this.#watch.isLookDue) this.#lookWithoutToken();
  }

  // ---- the end, and errors -----------------------------------------------------------------------------------------

  /** Drops what has not been handed out. */
  close(): void {
    this.#available = 0;
    this.#handedOut = 0;
  }

  /** Throws ClosedError once the reader is closed; CorruptBufferError once memory of its frames was truncated. */
  guard(): void {
    if (this.#owner.isClosed) throw closed(this.#owner.name);
    this.#attachments?.checkReplaced();
  }

  #checkName(): void {
    if (this.#buffer.memory.isNamed) return;
    const { name } = this.#owner;
    throw new CorruptBufferError(`Buffer "${name}" was removed or replaced while its reader lives.`, {
      buffer: name,
      hint: "No writer can find it any more: close the reader and start it again.",
    });
  }

  #refusal(code: Code): ZeroBufferError {
    const { name } = this.#owner;
    const { position, expected, found } = this.#ring.fault;
    const where = `Buffer "${name}" at position ${position}`;
    const details = { buffer: name, hint: "Close both sides and start the reader again." };
    switch (code) {
      case Code.BAD_SEQUENCE:
        return new SequenceError(`${where}: expected frame ${expected}, found frame ${found}.`, details);
      case Code.BAD_DESCRIPTOR:
        return new CorruptBufferError(
          `${where}: a frame that refers to another buffer is impossible here.`,
          details,
        );
      case Code.BROKEN:
        return this.#attachments?.brokenSource() ?? failure(code, name, where);
      case Code.BAD_FRAME:
        return new CorruptBufferError(`${where}: a frame of ${found} bytes is impossible here.`, details);
      default:
        return failure(code, name, where);
    }
  }
}

/** The error of every call of a closed reader. */
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
