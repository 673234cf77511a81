// The writing side of a buffer.

import { Code } from "../native/codes.ts";
import { Role } from "../native/memory.ts";
import { RingWriter, Wait } from "../native/ring.ts";
import { takeAllSteps } from "../runtime/steps.ts";
import { Cancellations } from "./buffer/cancellations.ts";
import { type Connection, connect, connectAsync } from "./buffer/connect.ts";
import type { Oieb } from "./buffer/oieb.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import { type BufferSizes, checkTimeout, maxFrameSize } from "./config.ts";
import { failure } from "./failures.ts";
import { type AcquiredFrame, BRIEFLY_US, FrameWrites } from "./frame-writes.ts";
import { ReaderWatch } from "./reader-watch.ts";
import { type Attempt, WriteQueue } from "./write-queue.ts";
import { frameAcquired, nothingAcquired, sizeOf, writerClosed, wrongFrameSize } from "./writer-errors.ts";
import { sendMetadata } from "./writer-metadata.ts";
import {
  type ConnectOptions,
  type ReconnectOptions,
  resolveOptions,
  type WriteOptions,
  type WriterOptions,
} from "./writer-options.ts";

/**
 * Connects to a buffer and writes its frames. A buffer has one writer and one reader at a time.
 *
 * Asynchronous writes keep their order. Blocking ones come before those that wait. While a frame is acquired, asynchronous
 * writes wait for its commit or cancellation; blocking ones throw ClosedError, because they would wait for their own thread.
 */
export class Writer implements Disposable {
  /** Name of the buffer. */
  readonly name: string;
  /** Size of the largest frame that the buffer takes, in bytes. */
  readonly maxFrameSize: number;
  /** @internal Where asynchronous writes wait. */
  readonly queue: WriteQueue;
  readonly #buffer: SharedBuffer;
  readonly #ring: RingWriter;
  readonly #reader: ReaderWatch;
  readonly #writes: FrameWrites;
  readonly #options: WriterOptions;
  #writeTimeout: number;
  #metadata: Uint8Array | undefined;
  #isClosed = false;
  #waits = 0;

  /**
   * Connects to the buffer, blocking the thread for up to `connectTimeoutMs`.
   *
   * @throws BufferNotFoundError if there is none, PeerTimeoutError if it has no live reader or is not ready for a
   *   writer, WriterAlreadyConnectedError, CorruptBufferError, PermissionDeniedError, InvalidNameError, RangeError.
   *   With `frameSize` FrameTooLargeError, with `metadata` what {@link setMetadata} throws, with `create` what a reader's
   *   constructor throws.
   */
  constructor(name: string, options?: WriterOptions);
  /** @internal */
  constructor(name: string, options: WriterOptions, connection: Connection);
  constructor(name: string, options: WriterOptions = {}, connection?: Connection) {
    const resolved = resolveOptions(options);
    const { connectTimeoutMs, metadata, wait, writeTimeout } = resolved;
    this.#options = resolved;
    this.#writeTimeout = writeTimeout;
    const { buffer, readerPid, sequence } = connection ?? connect(name, connectTimeoutMs, resolved);
    const { memory, written, released } = buffer;
    const ring = RingWriter.open(memory, written, released, { readerPid, sequence, wait: Wait[wait] });
    if (typeof ring === "number") {
      takeAllSteps(
        () => memory.claim(Role.WRITER, process.pid, 0),
        () => buffer.close(),
      );
      throw failure(ring, name, `The ring of buffer "${name}"`);
    }
    this.name = name;
    this.#buffer = buffer;
    this.#ring = ring;
    this.#reader = new ReaderWatch(buffer, ring, readerPid, () => this.close());
    this.#writes = new FrameWrites(ring);
    this.queue = new WriteQueue(name, released, this.#reader);
    this.maxFrameSize = maxFrameSize(buffer.sizes.payloadSize);
    try {
      if (metadata !== undefined) this.setMetadata(metadata);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The constructor without blocking the event loop. Rejects with the signal's reason when it is aborted. */
  static async connect(name: string, options: ConnectOptions = {}): Promise<Writer> {
    const { readerPid, signal } = options;
    const resolved = resolveOptions(options);
    const wishes = { ...resolved, readerPid };
    const connection = await connectAsync(name, resolved.connectTimeoutMs, wishes, signal);
    return new Writer(name, resolved, connection);
  }

  /**
   * Closes this writer, and connects another one with the same options to the buffer's next reader, to go on when this one's
   * has gone (ReaderDeadError). It sends the same metadata. What the last reader has not read is lost.
   *
   * @throws As the constructor; the signal's reason when it is aborted.
   */
  reconnect(options: ReconnectOptions = {}): Promise<Writer> {
    this.close();
    const { connectTimeoutMs = Number.POSITIVE_INFINITY, metadata = this.#metadata, signal } = options;
    const { name, writeTimeout } = this;
    return Writer.connect(name, { ...this.#options, connectTimeoutMs, metadata, signal, writeTimeout });
  }

  /** Sizes of the buffer in bytes. The largest frame is 16 bytes smaller than `payloadSize`. */
  get config(): BufferSizes {
    return this.#buffer.sizes;
  }

  /** How long a write waits for room, in milliseconds: 0 looks once, `Infinity` never ends. */
  get writeTimeout(): number {
    return this.#writeTimeout;
  }

  set writeTimeout(milliseconds: number) {
    checkTimeout("writeTimeout", milliseconds);
    this.#writeTimeout = milliseconds;
  }

  /** Frames written so far. */
  get framesWritten(): number {
    return this.#writes.framesWritten;
  }

  /** Bytes of those frames. */
  get bytesWritten(): number {
    return this.#writes.bytesWritten;
  }

  /** How often a write found the ring full; refusals in a row count once. */
  get waits(): number {
    return this.#isClosed ? this.#waits : this.#ring.waits;
  }

  /** @internal The control block. */
  loadOieb(): Oieb {
    this.#guard();
    return this.#buffer.loadOieb();
  }

  /** @internal The table of cancelled requests, if the buffer has one. */
  get cancellations(): Cancellations | undefined {
    this.#guard();
    return Cancellations.of(this.#buffer);
  }

  /**
   * @internal Sequence number of the next frame, or of the acquired one. Only a reader that takes them in any order may be
   * given another one than follows.
   */
  get nextSequence(): number {
    return this.#ring.sequence;
  }

  set nextSequence(sequence: number) {
    if (this.queue.acquiredSize > 0) throw frameAcquired(this.name);
    this.#ring.sequence = sequence;
  }

  /** Whether the reader's process lives and has the buffer open. */
  isReaderConnected(): boolean {
    this.#guard();
    return this.#reader.isConnected();
  }

  /**
   * {@link isReaderConnected} for a buffer that this writer made: waits up to `timeoutMs` for the reader that adopts it,
   * without blocking the event loop. Ends early when one has come and gone, with false, and when another program has removed
   * the buffer instead of adopting it, with CorruptBufferError.
   */
  async isReaderConnectedAsync(timeoutMs = 0, { signal }: WriteOptions = {}): Promise<boolean> {
    checkTimeout("timeoutMs", timeoutMs);
    signal?.throwIfAborted();
    this.#guard();
    return await this.#reader.awaitConnection(timeoutMs, (sliceMs) => this.waitForRoom(signal, sliceMs));
  }

  /** Throws ReaderDeadError if the reader is gone, as the next write would; a program that has none to do can ask. */
  checkReader(): void {
    this.#guard();
    this.#reader.check();
  }

  /**
   * Sends the metadata, once, before the first frame or at least before it is needed.
   *
   * @throws MetadataTooLargeError if it is empty or `8 + length > metadataSize`; MetadataAlreadyWrittenError.
   */
  setMetadata(data: Uint8Array): void {
    this.#guard();
    sendMetadata(this.#buffer, data, this.#metadata);
    this.#metadata = data.slice();
  }

  // ---- writing -----------------------------------------------------------------------------------------------------

  /**
   * Writes one frame, blocking the thread for up to {@link writeTimeout} while the ring is full. When it returns, the
   * frame is delivered even if this process is killed. A signal ends the call as it ends
   * `Reader.readFrame`.
   *
   * @throws BufferFullError after the timeout, or early when a signal arrives; ReaderDeadError; FrameTooLargeError,
   *   InvalidFrameSizeError; CorruptBufferError; ClosedError, also while a frame is acquired. The frame has not been
   *   written then.
   */
  writeFrame(data: Uint8Array): void {
    this.#checkNow(sizeOf(data));
    if (!this.#writes.tryFrame(data, BRIEFLY_US))
      this.queue.block(this.#writes.frame(data), this.#writeTimeout);
  }

  /**
   * Writes one frame if there is room now, or within `timeoutMs`, for which it blocks the thread: false, and nothing was
   * written, if there is not, or early when a signal arrives. Throws as writeFrame.
   */
  tryWriteFrame(data: Uint8Array, timeoutMs = 0): boolean {
    this.#checkNow(sizeOf(data));
    checkTimeout("timeoutMs", timeoutMs);
    return (
      this.#writes.tryFrame(data, timeoutMs > 0 ? BRIEFLY_US : 0) ||
      this.queue.blockFor(this.#writes.frame(data), timeoutMs)
    );
  }

  /**
   * {@link writeFrame} without blocking the event loop; as fast while there is room. Writes keep their order, and wait
   * while a frame is acquired. The bytes must not change until the promise settles. Rejects with the signal's reason when
   * it is aborted; the frame has not been written then.
   */
  writeFrameAsync(data: Uint8Array, { signal }: WriteOptions = {}): Promise<void> {
    try {
      signal?.throwIfAborted();
      this.#check(sizeOf(data));
      if (this.queue.isFree && this.#writes.tryFrame(data, 0)) return this.queue.written(data.length, 1);
      return this.queue.write(this.#writes.frame(data), this.#writeTimeout, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Writes frames of `frameSize` bytes that lie end to end in `data`, the last one perhaps shorter, as
   * {@link writeFrame} each: small ones many at a time, which is faster. When it throws, {@link framesWritten} tells how
   * many were written.
   */
  writeFrames(data: Uint8Array, frameSize: number): void {
    this.#checkFramesNow(data, frameSize);
    const done = this.#writes.whileRoom(data, frameSize, BRIEFLY_US);
    if (done < data.length) this.queue.block(this.#writes.frames(data, frameSize, done), this.#writeTimeout);
  }

  /**
   * Writes as many of those frames as there is room for now, or within `timeoutMs` for all of them, as
   * {@link tryWriteFrame}; returns how many of the bytes.
   */
  tryWriteFrames(data: Uint8Array, frameSize: number, timeoutMs = 0): number {
    this.#checkFramesNow(data, frameSize);
    checkTimeout("timeoutMs", timeoutMs);
    const before = this.bytesWritten;
    const done = this.#writes.whileRoom(data, frameSize, timeoutMs > 0 ? BRIEFLY_US : 0);
    if (done < data.length) this.queue.blockFor(this.#writes.frames(data, frameSize, done), timeoutMs);
    return this.bytesWritten - before;
  }

  /**
   * {@link writeFrames} without blocking the event loop; as fast while there is room. Other asynchronous writes come
   * before or after, not in between. The bytes must not change until the promise settles.
   */
  writeFramesAsync(data: Uint8Array, frameSize: number, { signal }: WriteOptions = {}): Promise<void> {
    try {
      signal?.throwIfAborted();
      this.#checkFrames(data, frameSize);
      const done = this.queue.isFree ? this.#writes.tryFrames(data, frameSize, 0, 0) : 0;
      if (done === data.length) return this.queue.written(done, Math.ceil(done / frameSize));
      return this.queue.write(this.#writes.frames(data, frameSize, done), this.#writeTimeout, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  // ---- in place ----------------------------------------------------------------------------------------------------

  /**
   * Acquires the place of a frame of `size` bytes, to be filled without a copy; then {@link commitFrame} publishes it
   * or {@link cancelFrame} gives it up. One frame can be acquired at a time. Waits and throws as {@link writeFrame}.
   */
  acquireFrame(size: number): AcquiredFrame {
    this.#checkNow(size);
    if (this.#ring.acquire(size, BRIEFLY_US) !== Code.OK)
      this.queue.block(this.#writes.place(size), this.#writeTimeout);
    return this.#handOut(size);
  }

  /** {@link acquireFrame} if there is room now, or within `timeoutMs`, as {@link tryWriteFrame}; otherwise undefined. */
  tryAcquireFrame(size: number, timeoutMs = 0): AcquiredFrame | undefined {
    this.#checkNow(size);
    checkTimeout("timeoutMs", timeoutMs);
    if (
      this.#ring.acquire(size, timeoutMs > 0 ? BRIEFLY_US : 0) !== Code.OK &&
      !this.queue.blockFor(this.#writes.place(size), timeoutMs)
    ) {
      return undefined;
    }
    return this.#handOut(size);
  }

  /**
   * {@link acquireFrame} without blocking the event loop; as fast while there is room. It keeps its order among
   * asynchronous writes, and waits while another frame is acquired. Rejects with the signal's reason when it is aborted;
   * nothing is acquired then.
   */
  acquireFrameAsync(size: number, { signal }: WriteOptions = {}): Promise<AcquiredFrame> {
    try {
      signal?.throwIfAborted();
      this.#check(size);
      if (this.queue.isFree && this.#ring.acquire(size, 0) === Code.OK) {
        const slot = this.#handOut(size);
        this.queue.noteAttempt(size);
        return Promise.resolve(slot);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#acquireInTurn(size, signal);
  }

  async #acquireInTurn(size: number, signal: AbortSignal | undefined): Promise<AcquiredFrame> {
    let slot: AcquiredFrame | undefined;
    const attempt: Attempt = (waitUs) => {
      const code = this.#ring.acquire(size, waitUs);
      // At once: by the time that the promise settles, the frame may have been cancelled and another one acquired.
      if (code === Code.OK) slot = this.#handOut(size);
      return code;
    };
    await this.queue.write(attempt, this.#writeTimeout, signal);
    return slot as AcquiredFrame;
  }

  #handOut(size: number): AcquiredFrame {
    const slot = { sequence: this.#ring.sequence, data: this.#buffer.memory.bytes(this.#ring.offset, size) };
    this.queue.hold(size);
    return slot;
  }

  /** Publishes the acquired frame. Throws ClosedError if none is acquired. */
  commitFrame(): void {
    this.#guard();
    const size = this.queue.acquiredSize;
    if (size === 0) throw nothingAcquired(this.name);
    const code = this.#ring.commit();
    if (code !== Code.OK) throw failure(code, this.name, `The commit of a frame of buffer "${this.name}"`);
    this.#writes.count(size, 1);
    this.queue.release();
  }

  /** Gives the acquired frame up: it uses no sequence number and leaves no trace. Does nothing if there is none. */
  cancelFrame(): void {
    this.#guard();
    this.#ring.cancel();
    this.queue.release();
  }

  // ---- checks ------------------------------------------------------------------------------------------------------

  /** Throws if no frame of this size can be written. */
  #check(size: number): void {
    // Also false for what is no number.
    if (!this.#isClosed && size >= 1 && size <= this.maxFrameSize && Number.isInteger(size)) return;
    this.#guard();
    throw wrongFrameSize(this.name, size, this.maxFrameSize);
  }

  /** Throws if no frame of this size can be written by a call that does not wait for its turn. */
  #checkNow(size: number): void {
    this.#check(size);
    if (this.queue.acquiredSize > 0) throw frameAcquired(this.name);
  }

  #checkFrames(data: Uint8Array, frameSize: number): void {
    this.#check(frameSize);
    if (sizeOf(data) === 0) throw wrongFrameSize(this.name, 0, this.maxFrameSize);
  }

  #checkFramesNow(data: Uint8Array, frameSize: number): void {
    this.#checkFrames(data, frameSize);
    this.#checkNow(frameSize);
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  /** @internal Waits until another attempt to write may succeed, for a slice at the most. */
  async waitForRoom(signal: AbortSignal | undefined, timeoutMs = Number.POSITIVE_INFINITY): Promise<void> {
    this.#guard();
    await this.queue.waitForRoom(timeoutMs, signal);
    this.#guard();
  }

  #guard(): void {
    if (this.#isClosed) throw writerClosed(this.name);
  }

  /**
   * Disconnects; what was written stays for the reader. A buffer that this writer made and no reader has adopted is
   * removed. Writes that wait reject with ClosedError, and an acquired frame is given up.
   */
  close(): void {
    this.#end(() => this.#buffer.leaveAsWriter());
  }

  /**
   * As {@link close}, but for a program that ends because of an error: what it has written is not all, and the reader is told
   * that the writer has died. Where a reader cannot see roles (docs/protocol.md, section 4), it is told when the process ends.
   */
  abort(): void {
    this.#end(() => {});
  }

  #end(leave: () => void): void {
    if (this.#isClosed) return;
    this.#waits = this.#ring.waits;
    this.#isClosed = true;
    const { memory } = this.#buffer;
    let isAbandoned = false;
    takeAllSteps(
      () => this.queue.close(writerClosed(this.name)),
      () => this.#ring.leave(),
      () => this.#ring.close(),
      () => {
        // Taking the reader's place keeps one from adopting the buffer while it is being removed.
        isAbandoned = this.#reader.isAwaited() && memory.claim(Role.READER, 0, process.pid);
      },
      leave,
      () => isAbandoned && this.#buffer.abandon(),
      () => this.#buffer.close(),
    );
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
