// The reading side of a buffer.

import { OiebFlag, Role } from "../native/memory.ts";
import { type ForwardLimits, READER_LOOKAHEAD, RingReader, Wait } from "../native/ring.ts";
import { isSharingOffered } from "../native/target.ts";
import { Waiter } from "../native/waiter.ts";
import { raceAbort } from "../runtime/abort.ts";
import { takeAllSteps } from "../runtime/steps.ts";
import { TurnKeeper } from "../runtime/turn.ts";
import { Cancellations } from "./buffer/cancellations.ts";
import { createForReader, createForReaderAsync } from "./buffer/create.ts";
import { areRolesLocked, Peer } from "./buffer/presence.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import { type BufferConfig, type BufferSizes, checkCount, checkTimeout, checkWaitMode } from "./config.ts";
import { failure } from "./failures.ts";
import { Frame, FrameBatch, type FrameTaker, Lender } from "./frame.ts";
import { iterate } from "./frame-iterator.ts";
import { closed, type ForwardedFrames, Lookahead, WRITER_LOOK_MS } from "./lookahead.ts";
import { ReadQueue } from "./read-queue.ts";
import { ReceivedMetadata } from "./reader-metadata.ts";
import type { InternalReaderOptions, ReaderOptions, ReadOptions } from "./reader-options.ts";
import { Attachments } from "./sharing/attachments.ts";
import { SharingSource } from "./sharing/source.ts";
import { WriterWatch } from "./writer-watch.ts";

/** How long an asynchronous call spins for a frame before it leaves the waiting to the helper's thread. */
const ASYNC_SPIN_US = 15;

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
  readonly #watch: WriterWatch;
  readonly #frames: Lookahead;
  /** Asynchronous reads that wait. */
  readonly #reads: ReadQueue;
  readonly #turns = new TurnKeeper();
  /** @internal What of its frames is shared with others. */
  readonly sharing: SharingSource;
  readonly #attachments: Attachments | undefined;
  readonly #metadata: ReceivedMetadata;
  #waiter: Waiter | undefined;

  /**
   * Creates the buffer. Blocks the thread for up to two seconds while somebody else is about to release its name: {@link create}
   * does not.
   *
   * @throws InvalidNameError, RangeError for a bad configuration or option, ReaderAlreadyConnectedError, ResourceExhaustedError,
   *   PermissionDeniedError, CorruptBufferError if something else has the name. Nothing is left behind then.
   */
  constructor(name: string, config?: BufferConfig, options?: ReaderOptions);
  /** @internal */
  constructor(name: string, config: BufferConfig | undefined, options: InternalReaderOptions);
  constructor(
    name: string,
    config?: BufferConfig,
    {
      wait = "adaptive",
      flags = 0n,
      allowPayloadSharing = false,
      isSource,
      created,
    }: InternalReaderOptions = {},
  ) {
    checkWaitMode(wait);
    const mayShare = allowPayloadSharing && isSharingOffered();
    const buffer = created ?? createForReader(name, config, withSharing(flags, mayShare));
    const { memory, written, released } = buffer;
    const firstSequence = (flags & OiebFlag.ANY_SEQUENCE) === 0n ? 1 : 0;
    const ring = RingReader.open(memory, written, released, firstSequence, Wait[wait]);
    if (typeof ring === "number") {
      takeAllSteps(
        () => buffer.unlink(),
        () => buffer.close(),
      );
      throw failure(ring, name, `The ring of buffer "${name}"`);
    }
    this.name = name;
    this.#buffer = buffer;
    const writer = new Peer(memory, Role.WRITER, { isHolder: true });
    this.#watch = new WriterWatch(buffer, writer, ring);
    this.#ring = ring;
    this.#metadata = new ReceivedMetadata(buffer);
    this.#lender = new Lender(name, memory, ring, this.#watch);
    const isAllowed = mayShare || (isSource === true && isSharingOffered());
    this.sharing = new SharingSource(buffer, ring, writer, this.#watch, {
      isAllowed,
      onTarget: () => this.#frames.noteTarget(),
    });
    this.#lender.source = this.sharing;
    if (mayShare && areRolesLocked(buffer.loadOieb())) {
      this.#attachments = new Attachments(name, ring, this.#watch);
      ring.takeDescriptors();
      // Of a buffer that its writer has made: now that this reader has its role.
      memory.addFlags(OiebFlag.SHARING);
    }
    this.#reads = new ReadQueue({
      hasFrames: () => this.#frames.hasFrames(),
      sleep: (milliseconds) => this.#sleepUntilWoken(milliseconds),
    });
    this.#frames = new Lookahead(buffer, ring, this.#lender, this.#watch, this.#reads, this.#attachments);
  }

  /** The constructor without blocking the event loop. Rejects with the signal's reason when it is aborted. */
  static create(name: string, config?: BufferConfig, options?: ReaderOptions & ReadOptions): Promise<Reader>;
  /** @internal */
  static create(
    name: string,
    config: BufferConfig | undefined,
    options: InternalReaderOptions & ReadOptions,
  ): Promise<Reader>;
  static async create(
    name: string,
    config?: BufferConfig,
    { signal, ...options }: InternalReaderOptions & ReadOptions = {},
  ): Promise<Reader> {
    checkWaitMode(options.wait ?? "adaptive");
    const mayShare = options.allowPayloadSharing === true && isSharingOffered();
    const flags = withSharing(options.flags ?? 0n, mayShare);
    const created = await createForReaderAsync(name, config, flags, signal);
    return new Reader(name, config, { ...options, created });
  }

  /** Sizes of the buffer in bytes, multiples of 64. */
  get config(): BufferSizes {
    return this.#buffer.sizes;
  }

  /** Frames handed out so far, of all writers. */
  get framesRead(): number {
    return this.#frames.framesRead;
  }

  /**
   * Why the last writer that wanted to share frames of another buffer was refused, as half a sentence; its frames come as
   * copies. Undefined if none was.
   */
  get sharingRefusal(): string | undefined {
    return this.#attachments?.refusal;
  }

  /** Bytes of those frames. */
  get bytesRead(): number {
    return this.#frames.bytesRead;
  }

  /** Frames passed over so far by {@link readLatest} and its forms. */
  get framesSkipped(): number {
    return this.#frames.framesSkipped;
  }

  // ---- the writer --------------------------------------------------------------------------------------------------

  /**
   * Whether there is a writer, or frames that one has left. Waits up to `timeoutMs` for it; ends early, with false,
   * when a writer has come and gone without leaving any, or when a signal arrives.
   *
   * @throws RangeError for a bad timeout; CorruptBufferError, SequenceError, ClosedError.
   */
  isWriterConnected(timeoutMs = 0): boolean {
    checkTimeout("timeoutMs", timeoutMs);
    return this.#frames.waitForWriter(timeoutMs);
  }

  /** {@link isWriterConnected} without blocking the event loop. Rejects with the signal's reason when it is aborted. */
  async isWriterConnectedAsync(timeoutMs = 0, { signal }: ReadOptions = {}): Promise<boolean> {
    checkTimeout("timeoutMs", timeoutMs);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      const found = this.#frames.hasWriter();
      if (found !== undefined) return found;
      const restMs = deadline - performance.now();
      if (restMs <= 0) return false;
      await raceAbort(this.#sleepUntilWoken(Math.min(WRITER_LOOK_MS, restMs)), signal);
    }
  }

  /** @internal The table of cancelled requests, if the buffer has one. */
  get cancellations(): Cancellations | undefined {
    this.#frames.guard();
    return Cancellations.of(this.#buffer);
  }

  /** @internal Process id of the living writer; 0 if there is none. */
  get writerPid(): bigint {
    this.#frames.guard();
    return this.#watch.livingPid();
  }

  /**
   * The writer's metadata, copied; empty if it has sent none (yet). A writer that sends any does so before its first
   * frame.
   *
   * @throws CorruptBufferError if the metadata contradicts itself, and did so 100 ms ago or earlier. Until then it counts
   *   as not sent, because a writer may be replacing it. ClosedError.
   */
  getMetadata(): Uint8Array {
    this.#frames.guard();
    return this.#metadata.read();
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  /**
   * Takes the next frame, blocking the thread for up to `timeoutMs` (0: looks once; `Infinity`: for ever).
   *
   * A signal that the program listens to (`process.on`) ends the call, because the listeners run when it has returned. Each
   * signal ends one blocking call at the most. In a Worker signals end none: listeners run on the main thread.
   *
   * @returns an invalid frame after the timeout, or early when a signal arrives.
   * @throws WriterDeadError once everything of a writer that is gone has been handed out; the call after that goes on
   *   to the next writer. SequenceError, CorruptBufferError for good. RangeError for a bad timeout. ClosedError.
   */
  readFrame(timeoutMs = 5000): Frame {
    checkTimeout("timeoutMs", timeoutMs);
    return this.#frames.waitForFrames(timeoutMs) ? this.#frames.takeFrame() : Frame.invalid;
  }

  /**
   * {@link readFrame} for the newest whole frame: releases those that are there before it, and counts them as
   * {@link framesSkipped}. What is handed out is as old as one frame takes, however large the ring is.
   */
  readLatest(timeoutMs = 5000): Frame {
    checkTimeout("timeoutMs", timeoutMs);
    return this.#frames.waitForFrames(timeoutMs) ? this.#frames.takeLatest() : Frame.invalid;
  }

  /**
   * Takes the available frames, up to `most` and up to 64 at once, waiting as {@link readFrame} for the first: for small
   * frames faster than one by one.
   *
   * @returns an empty batch after the timeout, or early when a signal arrives.
   * @throws RangeError if `most` is not a whole number from 1 on; otherwise as {@link readFrame}.
   */
  readFrames(most = READER_LOOKAHEAD, timeoutMs = 5000): FrameBatch {
    checkCount("most", most);
    checkTimeout("timeoutMs", timeoutMs);
    return this.#frames.waitForFrames(timeoutMs) ? this.#frames.takeBatch(most) : FrameBatch.empty;
  }

  /** Takes the next frame if one is there; otherwise returns an invalid frame. Throws as {@link readFrame}. */
  tryReadFrame(): Frame {
    return this.#frames.hasFrames() ? this.#frames.takeFrame() : Frame.invalid;
  }

  /** Takes the available frames, up to `most`; returns an empty batch if there are none. Throws as {@link readFrames}. */
  tryReadFrames(most = READER_LOOKAHEAD): FrameBatch {
    checkCount("most", most);
    return this.#frames.hasFrames() ? this.#frames.takeBatch(most) : FrameBatch.empty;
  }

  /**
   * {@link readFrame} without blocking the event loop; as fast when frames are waiting, and without cost when idle.
   * Several calls are served in their order. Rejects with the signal's reason when it is aborted.
   */
  readFrameAsync(timeoutMs = 5000, { signal }: ReadOptions = {}): Promise<Frame> {
    try {
      checkTimeout("timeoutMs", timeoutMs);
      if (this.#areFramesAtHand(signal)) {
        const frame = this.#frames.takeFrame();
        return this.#inTurn(frame, frame.size, 1);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#waitForFrame(timeoutMs, signal);
  }

  /** {@link readLatest} without blocking the event loop, as {@link readFrameAsync} is to {@link readFrame}. */
  readLatestAsync(timeoutMs = 5000, { signal }: ReadOptions = {}): Promise<Frame> {
    try {
      checkTimeout("timeoutMs", timeoutMs);
      if (this.#areFramesAtHand(signal)) {
        const frame = this.#frames.takeLatest();
        return this.#inTurn(frame, frame.size, 1);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#waitForLatest(timeoutMs, signal);
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
        const batch = this.#frames.takeBatch(most);
        return this.#inTurn(batch, batch.size, batch.length);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#waitForBatch(most, timeoutMs, signal);
  }

  /**
   * The frames as they come. Ends when the writer has left, or when no frame has come for `timeoutMs` (default: waits
   * for ever); throws when the writer has died, and as {@link readFrame}. Rejects with the signal's reason when it is
   * aborted. Each frame is the consumer's to release: `for await (using frame of reader.frames())`.
   *
   * @param options `latest`: each time the newest frame, as {@link readLatest}.
   */
  frames({
    latest = false,
    timeoutMs = Number.POSITIVE_INFINITY,
    signal,
  }: { latest?: boolean; timeoutMs?: number } & ReadOptions = {}): AsyncIterableIterator<Frame, void, void> {
    checkTimeout("timeoutMs", timeoutMs);
    return iterate({
      isAtHand: () => this.#areFramesAtHand(signal),
      take: latest ? () => this.#frames.takeLatest() : () => this.#frames.takeFrame(),
      wait: latest
        ? () => this.#waitForLatest(timeoutMs, signal)
        : () => this.#waitForFrame(timeoutMs, signal),
      inTurn: (result, size) => this.#inTurn(result, size, 1),
    });
  }

  /** @internal Passes frames on without handing them out, as {@link Lookahead.forward}. */
  forwardFrames(taker: FrameTaker, limits: ForwardLimits): ForwardedFrames | undefined {
    return this.#frames.forward(taker, limits);
  }

  /** Releases a frame of this reader, as {@link Frame.release}. */
  releaseFrame(frame: Frame): void {
    frame.release();
  }

  // ---- handing out -------------------------------------------------------------------------------------------------

  /** @internal What an asynchronous read can return at once, in a released frame if there is one; it spins for an instant. */
  frameAtHand(signal: AbortSignal | undefined, released?: Frame): Frame | undefined {
    return this.#areFramesAtHand(signal) ? this.#frames.takeFrame(released) : undefined;
  }

  #areFramesAtHand(signal: AbortSignal | undefined): boolean {
    this.#frames.guard();
    if (signal?.aborted) throw signal.reason;
    // Reads that are waiting come first.
    return this.#reads.isEmpty && this.#frames.hasFramesSoon(ASYNC_SPIN_US);
  }

  /** What a call returns that did not have to wait: the event loop may be due. */
  #inTurn<T>(value: T, size: number, frames: number): Promise<T> {
    return this.#turns.isDue(size, frames) ? this.#afterTurn(value) : Promise.resolve(value);
  }

  async #afterTurn<T>(value: T): Promise<T> {
    await this.#turns.turn();
    this.#frames.guard();
    return value;
  }

  // On their own: a closure makes each call of the function around it allocate what it captures.
  #waitForFrame(timeoutMs: number, signal: AbortSignal | undefined): Promise<Frame> {
    return this.#reads.add(() => this.#frames.takeFrame(), Frame.invalid, timeoutMs, signal);
  }

  #waitForLatest(timeoutMs: number, signal: AbortSignal | undefined): Promise<Frame> {
    return this.#reads.add(() => this.#frames.takeLatest(), Frame.invalid, timeoutMs, signal);
  }

  #waitForBatch(most: number, timeoutMs: number, signal: AbortSignal | undefined): Promise<FrameBatch> {
    return this.#reads.add(() => this.#frames.takeBatch(most), FrameBatch.empty, timeoutMs, signal);
  }

  /** Waits for a token in the helper's thread, or for the time to pass. */
  async #sleepUntilWoken(milliseconds: number): Promise<void> {
    if (this.#waiter === undefined) {
      const waiter = Waiter.open(this.#buffer.written);
      if (typeof waiter === "number") throw failure(waiter, this.name, "A thread that waits for frames");
      this.#waiter = waiter;
    }
    await this.sharing.collectDuring(this.#waiter.wait(milliseconds * 1000));
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  /**
   * Removes the buffer. Whatever waits rejects with ClosedError. Views of its frames have length 0 afterwards, except those
   * that an asynchronous operation works on and those whose buffer the program has transferred.
   */
  close(): void {
    if (this.#lender.isClosed) return;
    this.#lender.isClosed = true;
    const { memory, released } = this.#buffer;
    let areUnmapped = true;
    takeAllSteps(
      () => this.sharing.close(),
      () => this.#frames.close(),
      () => this.#reads.rejectAll(closed(this.name)),
      () => this.#waiter?.close(),
      () => {
        areUnmapped = this.#attachments?.close() ?? true;
      },
      () => this.#ring.close(),
      // While a view of a source is in use, its writer must take this reader for one that still reads.
      () => areUnmapped && memory.claim(Role.READER, process.pid, 0),
      () => released.post(),
      () => this.#buffer.unlink(),
      () => (areUnmapped ? this.#buffer.close() : this.#buffer.closeExceptRole()),
    );
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function withSharing(flags: bigint, mayShare: boolean): bigint {
  return mayShare ? flags | OiebFlag.SHARING : flags;
}
