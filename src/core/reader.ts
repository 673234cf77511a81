// The reading side of a buffer.

import { Code } from "../native/codes.ts";
import { OiebFlag, Role } from "../native/memory.ts";
import { Look, READER_LOOKAHEAD, RingReader, Wait } from "../native/ring.ts";
import { Waiter } from "../native/waiter.ts";
import { raceAbort } from "../runtime/abort.ts";
import { TurnKeeper } from "../runtime/turn.ts";
import { createForReader } from "./buffer/create.ts";
import type { Oieb } from "./buffer/oieb.ts";
import { Peer } from "./buffer/presence.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import {
  type BufferConfig,
  type BufferSizes,
  checkCount,
  checkTimeout,
  checkWaitMode,
  type WaitMode,
} from "./config.ts";
import {
  ClosedError,
  CorruptBufferError,
  SequenceError,
  WriterDeadError,
  type ZeroBufferError,
} from "./errors.ts";
import { failure } from "./failures.ts";
import { Frame, FrameBatch, Lender } from "./frame.ts";

/** How long a wait goes on before the writer is looked at (PROTOCOL.md, section 4). */
const SLICE_MS = 100;

/** The same for a wait in the helper's thread: each look wakes the event loop, and idling shall cost nothing. */
const ASYNC_SLICE_MS = 250;

/** How often a reader without a writer looks for one; the first frame of one wakes it earlier. */
const WRITER_LOOK_MS = 20;

/** How long an asynchronous call spins for a frame before it leaves the waiting to the helper's thread. */
const ASYNC_SPIN_US = 15;

/** Options of a reader. All optional. */
export interface ReaderOptions {
  /** How the reader waits for frames. Default `adaptive`. */
  wait?: WaitMode | undefined;
}

/** Options of asynchronous reads. All optional. */
export interface ReadOptions {
  /** Ends the wait: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** How it stands with the writer of the moment. */
type WriterState = "awaited" | "connected" | "left" | "died";

/**
 * Creates a buffer and reads its frames. It owns the buffer: shared memory, semaphores and lock files exist from the
 * constructor to {@link close}. One buffer has one reader and one writer at a time.
 */
export class Reader implements Disposable {
  /** Name of the buffer. */
  readonly name: string;
  readonly #buffer: SharedBuffer;
  readonly #ring: RingReader;
  readonly #lender: Lender;
  readonly #writer: Peer;
  readonly #turns = new TurnKeeper();
  #waiter: Waiter | undefined;

  /** Frames that the ring has looked ahead to, and how many of them have been handed out. */
  #available = 0;
  #handedOut = 0;

  #framesRead = 0;
  #bytesRead = 0;

  #state: WriterState = "awaited";
  /** The writer that was last seen alive, and whether that was after the last frame: its first one has number 1. */
  #lastPid = 0n;
  #isWriterNew = false;
  /** The departure has been reported: the next call goes on to the next writer. */
  #departureReported = false;
  /**
   * What was there when the last departure was reported, the token of that writer's close included; anything more shows
   * that another one has come.
   */
  #writtenCountBefore = 0;
  #surplusTokensBefore = 0;
  /** State of the last look behind the tokens. */
  #surplusTokensSeen = 0;
  #lookedAt = 0;

  /**
   * Creates the buffer.
   *
   * @throws InvalidNameError, RangeError for a bad configuration or option, ReaderAlreadyConnectedError, ResourceExhaustedError,
   *   PermissionDeniedError, CorruptBufferError if something else has the name. Nothing is left behind then.
   */
  constructor(name: string, config?: BufferConfig, options?: ReaderOptions);
  /** @internal With `anySequence` it takes frames with any sequence numbers (PROTOCOL.md, section 9). */
  constructor(name: string, config: BufferConfig | undefined, options: ReaderOptions & { anySequence: true });
  constructor(
    name: string,
    config?: BufferConfig,
    { wait = "adaptive", anySequence = false }: ReaderOptions & { anySequence?: boolean } = {},
  ) {
    checkWaitMode(wait);
    const buffer = createForReader(name, config, anySequence ? OiebFlag.ANY_SEQUENCE : 0n);
    const { memory, written, released } = buffer;
    const ring = RingReader.open(memory, written, released, anySequence ? 0 : 1, Wait[wait]);
    if (typeof ring === "number") {
      buffer.unlink();
      buffer.close();
      throw failure(ring, name, `The ring of buffer "${name}"`);
    }
    this.name = name;
    this.#buffer = buffer;
    this.#ring = ring;
    this.#writer = new Peer(buffer.memory, Role.WRITER);
    this.#lender = new Lender(name, buffer.memory, ring);
  }

  /** Sizes of the buffer in bytes, multiples of 64. */
  get config(): BufferSizes {
    return this.#buffer.sizes;
  }

  /** Frames handed out so far, of all writers. */
  get framesRead(): number {
    return this.#framesRead;
  }

  /** Bytes of those frames. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  // ---- the writer --------------------------------------------------------------------------------------------------

  /**
   * Whether there is a writer, or frames that one has left. Waits up to `timeoutMs` for it; ends early, with false,
   * when a writer has come and gone without leaving any, or when a signal arrives.
   */
  isWriterConnected(timeoutMs = 0): boolean {
    checkTimeout("timeoutMs", timeoutMs);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const connected = this.#lookForWriter();
      if (connected !== undefined) return connected;
      const restMs = deadline - performance.now();
      if (restMs <= 0) return false;
      const code = this.#ring.next(Math.min(WRITER_LOOK_MS, restMs) * 1000, Look.FOR_TOKENS);
      if (code === Code.INTERRUPTED) return false;
      this.#accept(code);
    }
  }

  /** {@link isWriterConnected} without blocking the event loop. */
  async isWriterConnectedAsync(timeoutMs = 0, { signal }: ReadOptions = {}): Promise<boolean> {
    checkTimeout("timeoutMs", timeoutMs);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      const connected = this.#lookForWriter();
      if (connected !== undefined) return connected;
      const restMs = deadline - performance.now();
      if (restMs <= 0) return false;
      await this.#rest(Math.min(WRITER_LOOK_MS, restMs), signal);
    }
  }

  /** @internal Process id of the living writer; 0 if there is none. */
  get writerPid(): bigint {
    this.#guard();
    const { writerPid } = this.#buffer.loadOieb();
    return this.#writer.isAlive(writerPid) ? writerPid : 0n;
  }

  /** True: there is one, or its frames. False: it came and went. Undefined: not yet. */
  #lookForWriter(): boolean | undefined {
    this.#guard();
    if (this.#handedOut < this.#available || this.#look(0)) return true;
    this.#goOn();
    this.#judgeWriter();
    if (this.#state === "connected") return true;
    if (this.#recover()) return true;
    return this.#state === "awaited" ? undefined : false;
  }

  /**
   * The writer's metadata, copied; empty if it has sent none (yet). A writer that sends any does so before its first
   * frame.
   *
   * @throws CorruptBufferError if it contradicts itself.
   */
  getMetadata(): Uint8Array {
    this.#guard();
    const target = new Uint8Array(this.config.metadataSize);
    const deadline = performance.now() + SLICE_MS;
    for (;;) {
      const length = this.#buffer.memory.readMetadata(target);
      if (length >= 0) return target.slice(0, length);
      if (length !== Code.AGAIN || performance.now() >= deadline) {
        throw new CorruptBufferError(`The metadata of buffer "${this.name}" contradicts its own length.`, {
          buffer: this.name,
          hint: "Close both sides and start the reader again.",
        });
      }
    }
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  /**
   * Takes the next frame, blocking the thread for up to `timeoutMs` (0: looks once; `Infinity`: for ever).
   *
   * @returns an invalid frame after the timeout, or early when a signal arrives.
   * @throws WriterDeadError once everything of a writer that is gone has been handed out; the call after that goes on
   *   to the next writer. SequenceError, CorruptBufferError for good. ClosedError.
   */
  readFrame(timeoutMs = 5000): Frame {
    this.#guard();
    const found = this.#handedOut < this.#available || this.#awaitFrames(timeoutMs);
    return found ? this.#handOut() : Frame.invalid;
  }

  #awaitFrames(timeoutMs: number): boolean {
    checkTimeout("timeoutMs", timeoutMs);
    if (this.#departureReported) this.#goOn();
    const firstMs = Math.min(timeoutMs, SLICE_MS);
    const code = this.#ring.next(firstMs * 1000, Look.FOR_TOKENS);
    if (this.#accept(code)) return true;
    // A token that stood for nothing has ended the slice early: rather a bit too long than too short.
    const isWhole = this.#ring.surplusTokens === this.#surplusTokensSeen;
    return this.#keepWaiting(code, performance.now() + timeoutMs - (isWhole ? firstMs : 0));
  }

  /** What follows the first slice of a blocking read, whose outcome was `code`. */
  #keepWaiting(code: number, deadline: number): boolean {
    for (;;) {
      if (code === Code.INTERRUPTED) return false;
      if (this.#lookBehind()) return true;
      const restMs = Math.min(SLICE_MS, deadline - performance.now());
      if (restMs <= 0) return false;
      code = this.#ring.next(Math.ceil(restMs * 1000), Look.FOR_TOKENS);
      if (this.#accept(code)) return true;
    }
  }

  /**
   * Takes the frames that are there, up to `most` and up to 64 at once, waiting as {@link readFrame} for the first:
   * for small frames faster than one by one.
   *
   * @returns an empty batch after the timeout, or early when a signal arrives.
   * @throws RangeError if `most` is not a whole number from 1 on; otherwise as {@link readFrame}.
   */
  readFrames(most = READER_LOOKAHEAD, timeoutMs = 5000): FrameBatch {
    this.#guard();
    checkCount("most", most);
    const found = this.#handedOut < this.#available || this.#awaitFrames(timeoutMs);
    return found ? this.#handOutBatch(most) : FrameBatch.empty;
  }

  /** Takes the frames that are there, up to `most`; otherwise returns an empty batch. Throws as {@link readFrames}. */
  tryReadFrames(most = READER_LOOKAHEAD): FrameBatch {
    this.#guard();
    checkCount("most", most);
    const found = this.#handedOut < this.#available || this.#lookForFrames();
    return found ? this.#handOutBatch(most) : FrameBatch.empty;
  }

  /** Takes the next frame if one is there; otherwise returns an invalid frame. Throws as {@link readFrame}. */
  tryReadFrame(): Frame {
    this.#guard();
    const found = this.#handedOut < this.#available || this.#lookForFrames();
    return found ? this.#handOut() : Frame.invalid;
  }

  #lookForFrames(): boolean {
    if (this.#departureReported) this.#goOn();
    return this.#look(0) || (this.#isLookBehindDue() && this.#lookBehind());
  }

  /**
   * {@link readFrame} without blocking the event loop; as fast when frames are waiting, and without cost when idle.
   * Rejects with the signal's reason when it is aborted.
   */
  readFrameAsync(timeoutMs = 5000, { signal }: ReadOptions = {}): Promise<Frame> {
    try {
      checkTimeout("timeoutMs", timeoutMs);
      const frame = this.frameAtHand(signal);
      if (frame !== undefined) {
        return this.#turns.isDue(frame.size) ? this.#turns.turn().then(() => frame) : Promise.resolve(frame);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#waitForFrame(timeoutMs, signal);
  }

  /** {@link readFrames} without blocking the event loop, as {@link readFrameAsync} is to {@link readFrame}. */
  readFramesAsync(
    most = READER_LOOKAHEAD,
    timeoutMs = 5000,
    { signal }: ReadOptions = {},
  ): Promise<FrameBatch> {
    try {
      checkCount("most", most);
      checkTimeout("timeoutMs", timeoutMs);
      if (this.#areFramesAtHand(signal)) {
        const batch = this.#handOutBatch(most);
        return this.#turns.isDue(batch.size, batch.length)
          ? this.#turns.turn().then(() => batch)
          : Promise.resolve(batch);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#waitForFrames(timeoutMs, signal, () => this.#handOutBatch(most), FrameBatch.empty);
  }

  /** @internal What an asynchronous read can return at once, in a released frame if there is one; it spins for an instant. */
  frameAtHand(signal: AbortSignal | undefined, released?: Frame): Frame | undefined {
    return this.#areFramesAtHand(signal) ? this.#handOut(released) : undefined;
  }

  #areFramesAtHand(signal: AbortSignal | undefined): boolean {
    this.#guard();
    if (signal?.aborted) throw signal.reason;
    if (this.#departureReported) this.#goOn();
    return this.#handedOut < this.#available || this.#look(ASYNC_SPIN_US);
  }

  #waitForFrame(timeoutMs: number, signal: AbortSignal | undefined): Promise<Frame> {
    return this.#waitForFrames(timeoutMs, signal, () => this.#handOut(), Frame.invalid);
  }

  /** `handOut` is called as soon as there are frames: a turn later, another call might have taken them. */
  async #waitForFrames<T>(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    handOut: () => T,
    none: T,
  ): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (this.#isLookBehindDue() && this.#lookBehind()) return handOut();
      const restMs = Math.min(ASYNC_SLICE_MS, deadline - performance.now());
      if (restMs <= 0) return none;
      await this.#rest(restMs, signal);
      this.#guard();
      if (this.#handedOut < this.#available || this.#look(0)) return handOut();
    }
  }

  /** Waits for a token in the helper's thread, for an abort, or for the time to pass. */
  async #rest(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiter === undefined) {
      const waiter = Waiter.open(this.#buffer.written);
      if (typeof waiter === "number") throw failure(waiter, this.name, "A thread that waits for frames");
      this.#waiter = waiter;
    }
    await raceAbort(this.#waiter.wait(milliseconds * 1000), signal);
  }

  /**
   * The frames as they come. Ends when the writer has left, or when no frame has come for `timeoutMs` (default: waits
   * for ever); throws when the writer has died, and as {@link readFrame}. Rejects with the signal's reason when it is
   * aborted. Each frame is the consumer's to release: `for await (using frame of reader.frames())`.
   */
  frames({
    timeoutMs = Number.POSITIVE_INFINITY,
    signal,
  }: { timeoutMs?: number } & ReadOptions = {}): AsyncIterableIterator<Frame, void, void> {
    checkTimeout("timeoutMs", timeoutMs);
    // By hand, because an asynchronous generator takes longer for a turn than a small frame for its way.
    const end = { done: true, value: undefined } as const;
    let ended = false;
    const wait = async (): Promise<IteratorResult<Frame, void>> => {
      try {
        const value = await this.#waitForFrame(timeoutMs, signal);
        if (value.isValid) return { done: false, value };
      } catch (error) {
        ended = true;
        if (!(error instanceof WriterDeadError && error.reason === "left")) throw error;
      }
      ended = true;
      return end;
    };
    return {
      next: (): Promise<IteratorResult<Frame, void>> => {
        if (ended) return Promise.resolve(end);
        try {
          const value = this.frameAtHand(signal);
          if (value === undefined) return wait();
          const result = { done: false, value } as const;
          return this.#turns.isDue(value.size)
            ? this.#turns.turn().then(() => result)
            : Promise.resolve(result);
        } catch (error) {
          ended = true;
          return Promise.reject(error);
        }
      },
      return: () => {
        ended = true;
        return Promise.resolve(end);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Releases a frame of this reader, as {@link Frame.release}. */
  releaseFrame(frame: Frame): void {
    frame.release();
  }

  #handOutBatch(most: number): FrameBatch {
    const first = this.#handedOut;
    const count = Math.min(most, this.#available - first);
    const batch = new FrameBatch(this.#lender, this.#framesRead >>> 0, this.#ring.places(first, count));
    this.#handedOut += count;
    this.#framesRead += count;
    this.#bytesRead += batch.size;
    return batch;
  }

  #handOut(released?: Frame): Frame {
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

  /** Looks for frames with tokens, spinning up to `spinUs` microseconds. */
  #look(spinUs: number): boolean {
    return this.#accept(this.#ring.next(spinUs, Look.FOR_TOKENS));
  }

  /** Whether `code`, the outcome of a look at the ring, means frames to hand out. Throws what it means otherwise. */
  #accept(code: number): boolean {
    if (code > 0) {
      this.#available = code;
      this.#handedOut = 0;
      this.#isWriterNew = false;
      return true;
    }
    if (code === Code.AGAIN || code === Code.INTERRUPTED) return false;
    throw this.#refusal(code as Code);
  }

  #refusal(code: Code): ZeroBufferError {
    const { position, expected, found } = this.#ring.fault;
    const where = `Buffer "${this.name}" at position ${position}`;
    const details = { buffer: this.name, hint: "Close both sides and start the reader again." };
    switch (code) {
      case Code.BAD_SEQUENCE:
        return new SequenceError(
          `${where}: frame ${expected} had to follow, and there is frame ${found}.`,
          details,
        );
      case Code.BAD_FRAME:
        return new CorruptBufferError(`${where}: a frame cannot have ${found} bytes there.`, details);
      default:
        return failure(code, this.name, where);
    }
  }

  // ---- the writer's state ------------------------------------------------------------------------------------------

  /** Whether a slice has passed without a look behind the tokens, or a token came that stood for no frame. */
  #isLookBehindDue(): boolean {
    return (
      this.#ring.surplusTokens !== this.#surplusTokensSeen || performance.now() - this.#lookedAt >= SLICE_MS
    );
  }

  /** When no token brings a frame: finds one whose post was lost, or that the writer is gone. */
  #lookBehind(): boolean {
    this.#lookedAt = performance.now();
    this.#surplusTokensSeen = this.#ring.surplusTokens;
    const oieb = this.#judgeWriter();
    if (this.#recover()) return true;
    if (this.#state !== "left" && this.#state !== "died") {
      if (this.#buffer.memory.isNamed) return false;
      throw new CorruptBufferError(`Buffer "${this.name}" was removed or replaced while its reader lives.`, {
        buffer: this.name,
        hint: "No writer can find it any more: close the reader and start it again.",
      });
    }
    this.#settle(oieb.writerPid);
    this.#departureReported = true;
    this.#writtenCountBefore = oieb.payloadWrittenCount;
    // A writer that leaves posts one token after it has given its place up: where none has come yet, it will.
    const owed = this.#state === "left" && this.#surplusTokensSeen <= this.#surplusTokensBefore ? 1 : 0;
    this.#surplusTokensBefore = this.#surplusTokensSeen + owed;
    const what = this.#state === "left" ? "has left" : "has died";
    throw new WriterDeadError(
      this.#state,
      `The writer of buffer "${this.name}" ${what}; all its frames are read.`,
      {
        buffer: this.name,
        hint:
          this.#state === "left"
            ? "Start another writer to go on."
            : "See why its process ended; start it again.",
      },
    );
  }

  /** Mends what a writer that is gone has left half done; in its place, so that no other one comes meanwhile. */
  #settle(writerPid: bigint): void {
    const { memory } = this.#buffer;
    if (!memory.claim(Role.WRITER, writerPid, process.pid)) return;
    this.#ring.settle();
    memory.claim(Role.WRITER, process.pid, 0);
  }

  /** Looks as if a token had come. Of a writer that is gone, or new, its first frame counts, too. */
  #recover(): boolean {
    const mayBeFirst = this.#state === "left" || this.#state === "died" || this.#isWriterNew;
    const flags = mayBeFirst ? Look.NEW_WRITER : 0;
    return this.#accept(this.#ring.next(0, Look.WITHOUT_TOKEN | flags));
  }

  /** Notes how it stands with the writer. Comes before {@link #recover}, or a last frame would be missed. */
  #judgeWriter(): Oieb {
    let oieb = this.#buffer.loadOieb();
    let isAlive = this.#writer.isAlive(oieb.writerPid);
    if (!isAlive && oieb.writerPid !== 0n) {
      // It may have left, and its process ended, since the pid was loaded. One more look: a hostile pid may never rest.
      oieb = this.#buffer.loadOieb();
      isAlive = this.#writer.isAlive(oieb.writerPid);
    }
    if (isAlive) {
      this.#state = "connected";
      // None of these was that of its close.
      this.#surplusTokensBefore = this.#ring.surplusTokens;
      if (oieb.writerPid !== this.#lastPid) {
        this.#lastPid = oieb.writerPid;
        this.#isWriterNew = true;
      }
    } else if (oieb.writerPid !== 0n) {
      this.#state = "died";
    } else if (this.#state !== "awaited" || this.#hasTraces(oieb)) {
      this.#state = this.#state === "died" ? "died" : "left";
    }
    return oieb;
  }

  /** A writer that came and went between two looks has left something (PROTOCOL.md, section 4). */
  #hasTraces(oieb: Oieb): boolean {
    return (
      oieb.payloadWrittenCount !== this.#writtenCountBefore ||
      oieb.metadataWrittenBytes > 0 ||
      this.#ring.surplusTokens > this.#surplusTokensBefore
    );
  }

  /** Goes on to the next writer, once the departure of the last one has been reported. */
  #goOn(): void {
    if (!this.#departureReported) return;
    this.#departureReported = false;
    this.#state = "awaited";
    const { memory } = this.#buffer;
    const { writerPid } = this.#buffer.loadOieb();
    if (this.#writer.isAlive(writerPid)) return;
    if (!memory.claim(Role.WRITER, writerPid, process.pid)) return;
    memory.clearMetadata();
    memory.claim(Role.WRITER, process.pid, 0);
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  #guard(): void {
    if (this.#lender.isClosed)
      throw new ClosedError(`The reader of buffer "${this.name}" is closed.`, { buffer: this.name });
  }

  /** Removes the buffer. Views of its frames have length 0 afterwards; reads that wait reject with ClosedError. */
  close(): void {
    if (this.#lender.isClosed) return;
    this.#lender.isClosed = true;
    this.#waiter?.close();
    this.#ring.close();
    const { memory, released } = this.#buffer;
    memory.claim(Role.READER, process.pid, 0);
    released.post();
    this.#buffer.unlink();
    this.#buffer.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
