// The writing side of a buffer.

import { Code } from "../native/codes.ts";
import type { ForwardLimits } from "../native/ring.ts";
import { Passed } from "../native/target.ts";
import { connectAsync } from "./buffer/connect.ts";
import { checkTimeout } from "./config.ts";
import { ConnectedWriter } from "./connected-writer.ts";
import { failure } from "./failures.ts";
import type { Frame } from "./frame.ts";
import { type AcquiredFrame, BRIEFLY_US } from "./frame-writes.ts";
import type { ForwardedFrames } from "./lookahead.ts";
import type { Reader } from "./reader.ts";
import { asAttempt, type Forwarded } from "./sharing/forwarding.ts";
import type { Sharing } from "./sharing/target.ts";
import type { Attempt } from "./write-queue.ts";
import { frameAcquired, nothingAcquired, sizeOf, wrongFrameSize } from "./writer-errors.ts";
import {
  type ConnectOptions,
  type InternalWriterOptions,
  type ReconnectOptions,
  resolveOptions,
  type WriteOptions,
} from "./writer-options.ts";

/**
 * Connects to a buffer and writes its frames. A buffer has one writer and one reader at a time.
 *
 * Asynchronous writes keep their order. Blocking ones come before those that wait. While a frame is acquired, asynchronous
 * writes wait for its commit or cancellation; blocking ones throw ClosedError, because they would wait for their own thread.
 */
export class Writer extends ConnectedWriter {
  /** The constructor without blocking the event loop. Rejects with the signal's reason when it is aborted. */
  static connect(name: string, options?: ConnectOptions): Promise<Writer>;
  /** @internal */
  static connect(name: string, options: ConnectOptions & InternalWriterOptions): Promise<Writer>;
  static async connect(name: string, options: ConnectOptions & InternalWriterOptions = {}): Promise<Writer> {
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
    const { connectTimeoutMs = Number.POSITIVE_INFINITY, metadata = this.metadata, signal } = options;
    const { name, writeTimeout } = this;
    return Writer.connect(name, { ...this.options, connectTimeoutMs, metadata, signal, writeTimeout });
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
    if (!this.writes.tryFrame(data, BRIEFLY_US)) this.queue.block(this.writes.frame(data), this.writeTimeout);
  }

  /**
   * Writes one frame if there is room now, or within `timeoutMs`, for which it blocks the thread: false, and nothing was
   * written, if there is not, or early when a signal arrives. Throws as writeFrame.
   */
  tryWriteFrame(data: Uint8Array, timeoutMs = 0): boolean {
    this.#checkNow(sizeOf(data));
    checkTimeout("timeoutMs", timeoutMs);
    return (
      this.writes.tryFrame(data, timeoutMs > 0 ? BRIEFLY_US : 0) ||
      this.queue.blockFor(this.writes.frame(data), timeoutMs)
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
      if (this.queue.isFree && this.writes.tryFrame(data, 0)) return this.queue.written(data.length, 1);
      return this.queue.write(this.writes.frame(data), this.writeTimeout, signal);
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
    const done = this.writes.whileRoom(data, frameSize, BRIEFLY_US);
    if (done < data.length) this.queue.block(this.writes.frames(data, frameSize, done), this.writeTimeout);
  }

  /**
   * Writes as many of those frames as there is room for now, or within `timeoutMs` for all of them, as
   * {@link tryWriteFrame}; returns how many of the bytes.
   */
  tryWriteFrames(data: Uint8Array, frameSize: number, timeoutMs = 0): number {
    this.#checkFramesNow(data, frameSize);
    checkTimeout("timeoutMs", timeoutMs);
    const before = this.bytesWritten;
    const done = this.writes.whileRoom(data, frameSize, timeoutMs > 0 ? BRIEFLY_US : 0);
    if (done < data.length) this.queue.blockFor(this.writes.frames(data, frameSize, done), timeoutMs);
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
      const done = this.queue.isFree ? this.writes.tryFrames(data, frameSize, 0, 0) : 0;
      if (done === data.length) return this.queue.written(done, Math.ceil(done / frameSize));
      return this.queue.write(this.writes.frames(data, frameSize, done), this.writeTimeout, signal);
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
    if (this.ring.acquire(size, BRIEFLY_US) !== Code.OK)
      this.queue.block(this.writes.place(size), this.writeTimeout);
    return this.#handOut(size);
  }

  /** {@link acquireFrame} if there is room now, or within `timeoutMs`, as {@link tryWriteFrame}; otherwise undefined. */
  tryAcquireFrame(size: number, timeoutMs = 0): AcquiredFrame | undefined {
    this.#checkNow(size);
    checkTimeout("timeoutMs", timeoutMs);
    if (
      this.ring.acquire(size, timeoutMs > 0 ? BRIEFLY_US : 0) !== Code.OK &&
      !this.queue.blockFor(this.writes.place(size), timeoutMs)
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
      if (this.queue.isFree && this.ring.acquire(size, 0) === Code.OK) {
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
      const code = this.ring.acquire(size, waitUs);
      // At once: by the time that the promise settles, the frame may have been cancelled and another one acquired.
      if (code === Code.OK) slot = this.#handOut(size);
      return code;
    };
    await this.queue.write(attempt, this.writeTimeout, signal);
    return slot as AcquiredFrame;
  }

  #handOut(size: number): AcquiredFrame {
    const slot = { sequence: this.ring.sequence, data: this.buffer.memory.bytes(this.ring.offset, size) };
    this.queue.hold(size);
    return slot;
  }

  /** Publishes the acquired frame. Throws ClosedError if none is acquired. */
  commitFrame(): void {
    this.guard();
    const size = this.queue.acquiredSize;
    if (size === 0) throw nothingAcquired(this.name);
    const code = this.ring.commit();
    if (code !== Code.OK) throw failure(code, this.name, `The commit of a frame of buffer "${this.name}"`);
    this.writes.count(size, 1);
    this.queue.release();
  }

  /** Gives the acquired frame up: it uses no sequence number and leaves no trace. Does nothing if there is none. */
  cancelFrame(): void {
    this.guard();
    this.ring.cancel();
    this.queue.release();
  }

  // ---- frames of other buffers -------------------------------------------------------------------------------------

  /**
   * How this writer passes on frames that it forwards: `off` while it copies all, because it was not told to share, or the
   * reader of one of the buffers does not allow it; `requested` until the reader of this buffer has answered; `active`: frames
   * of 4096 bytes and more are shared; `refused`: that reader does not take them, and all are copied.
   */
  get sharing(): Sharing {
    return this.forwarding.sharing;
  }

  /** Frames that were forwarded without a copy. */
  get framesShared(): number {
    return this.forwarding.framesShared;
  }

  /** Frames that were forwarded as copies. */
  get framesCopied(): number {
    return this.forwarding.framesCopied;
  }

  /** Frames that were forwarded without a copy, and that the reader has not released yet. */
  get framesLent(): number {
    return this.forwarding.framesLent;
  }

  /**
   * Writes a frame that a reader of this process lends, as {@link writeFrame}: without a copy where that is possible (see
   * {@link sharing}). The caller releases its frame as always. If it was shared, it takes room in its buffer until the reader of
   * this one has released it, too; its bytes must not change any more.
   *
   * @returns what was done.
   * @throws as {@link writeFrame} and `Frame.data`.
   */
  forwardFrame(frame: Frame): Forwarded {
    this.#checkNow(frame.size);
    const shared = this.framesShared;
    if (frame.passOn(this.forwarding, BRIEFLY_US) <= 0)
      this.queue.block(this.forwarding.frame(frame), this.writeTimeout);
    return this.framesShared > shared ? "shared" : "copied";
  }

  /** {@link forwardFrame} if there is room now, or within `timeoutMs`, as {@link tryWriteFrame}; otherwise undefined. */
  tryForwardFrame(frame: Frame, timeoutMs = 0): Forwarded | undefined {
    this.#checkNow(frame.size);
    checkTimeout("timeoutMs", timeoutMs);
    const shared = this.framesShared;
    if (
      frame.passOn(this.forwarding, timeoutMs > 0 ? BRIEFLY_US : 0) <= 0 &&
      !this.queue.blockFor(this.forwarding.frame(frame), timeoutMs)
    ) {
      return undefined;
    }
    return this.framesShared > shared ? "shared" : "copied";
  }

  /**
   * {@link forwardFrame} without blocking the event loop, as {@link writeFrameAsync} is to {@link writeFrame}. The frame may
   * be released meanwhile: it is held until the promise settles. Its bytes must not change.
   */
  async forwardFrameAsync(frame: Frame, { signal }: WriteOptions = {}): Promise<Forwarded> {
    signal?.throwIfAborted();
    this.#check(frame.size);
    const shared = this.framesShared;
    if (this.queue.isFree && frame.passOn(this.forwarding, 0) > 0) {
      const outcome = this.framesShared > shared ? "shared" : "copied";
      await this.queue.written(frame.size, 1);
      return outcome;
    }
    return await this.#forwardInTurn(frame, signal);
  }

  /**
   * @internal Forwards the frames that `reader` has not handed out, as they come, without waiting for room. Leaves the first frame
   * of a writer to {@link forwardFrame}, which also tells what keeps frames from being forwarded. Undefined if it has forwarded
   * none.
   */
  forwardFrames(reader: Reader, limits: ForwardLimits): ForwardedFrames | undefined {
    this.#checkNow(1);
    return reader.forwardFrames(this.forwarding, limits);
  }

  async #forwardInTurn(frame: Frame, signal: AbortSignal | undefined): Promise<Forwarded> {
    const { attempt, done } = frame.passOnLater(this.forwarding);
    let code = 0;
    const noting: Attempt = (waitUs) => {
      code = attempt(waitUs);
      return asAttempt(code);
    };
    try {
      await this.queue.write(noting, this.writeTimeout, signal);
      return code === Passed.SHARED ? "shared" : "copied";
    } finally {
      done();
    }
  }

  // ---- checks ------------------------------------------------------------------------------------------------------

  /** Throws if no frame of this size can be written. */
  #check(size: number): void {
    // Also false for what is no number.
    if (!this.isClosed && size >= 1 && size <= this.maxFrameSize && Number.isInteger(size)) return;
    this.guard();
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
}
