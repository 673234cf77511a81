// The writing side of a buffer.

import { Code } from "../native/codes.ts";
import { OiebFlag, Role } from "../native/memory.ts";
import { RingWriter, Wait } from "../native/ring.ts";
import { Waiter } from "../native/waiter.ts";
import { raceAbort } from "../runtime/abort.ts";
import { TurnKeeper } from "../runtime/turn.ts";
import { type Connection, connect, connectAsync, describeAbsentReader } from "./buffer/connect.ts";
import { Peer } from "./buffer/presence.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import {
  type BufferConfig,
  type BufferSizes,
  checkTimeout,
  checkWaitMode,
  FRAME_HEADER_SIZE,
  maxFrameSize,
  type WaitMode,
} from "./config.ts";
import {
  BufferFullError,
  ClosedError,
  CorruptBufferError,
  FrameTooLargeError,
  InvalidFrameSizeError,
  MetadataAlreadyWrittenError,
  MetadataTooLargeError,
  ReaderDeadError,
  type ZeroBufferError,
} from "./errors.ts";
import { failure } from "./failures.ts";

/** How long a wait goes on before the reader is looked at (PROTOCOL.md, section 4). */
const SLICE_MS = 100;

/** The same for a wait in the helper's thread: each look wakes the event loop. */
const ASYNC_SLICE_MS = 250;

/** How often the writer of a buffer without a reader looks for one; the first frame that one releases wakes it earlier. */
const READER_LOOK_MS = 20;

/** Length of the prefix in front of the metadata, in bytes. */
const METADATA_PREFIX_SIZE = 8;

export interface WriterOptions {
  /** How long to wait for the buffer and its reader, in milliseconds; 0 looks once. Default 0. */
  connectTimeoutMs?: number;
  /** How long a write waits for room, in milliseconds; see {@link Writer.writeTimeout}. Default 5000. */
  writeTimeout?: number;
  /** Makes the buffer where there is none; a reader that comes later adopts it (PROTOCOL.md, section 5). */
  create?: BufferConfig | undefined;
  /** Default `adaptive`. */
  wait?: WaitMode | undefined;
}

/** The place of a frame that is being written. */
export interface AcquiredFrame {
  /** The sequence number it will carry. */
  readonly sequence: number;
  /** The frame's bytes in shared memory, to be filled. A lease until the commit or the cancellation. */
  readonly data: Uint8Array;
}

/** Connects to a buffer and writes its frames. One buffer has one writer and one reader at a time. */
export class Writer implements Disposable {
  readonly name: string;
  /** Size of the largest frame that the buffer takes, in bytes. */
  readonly maxFrameSize: number;
  readonly #buffer: SharedBuffer;
  readonly #ring: RingWriter;
  readonly #reader: Peer;
  readonly #turns = new TurnKeeper();
  #readerPid: bigint;
  #waiter: Waiter | undefined;
  #closed = false;

  #writeTimeout: number;
  #framesWritten = 0;
  #bytesWritten = 0;
  #metadataWritten = false;
  /** Size of the frame that is being filled in place; 0: none. */
  #acquiredSize = 0;
  /** The asynchronous write that the next one has to come after. */
  #lastWrite: Promise<void> | undefined;

  /**
   * Connects to the buffer, blocking the thread for up to `connectTimeoutMs`.
   *
   * @throws BufferNotFoundError if there is none, PeerTimeoutError if it has no live reader or is not ready for a
   *   writer, WriterAlreadyConnectedError, CorruptBufferError, PermissionDeniedError, InvalidNameError, RangeError.
   *   With `create` also what a reader's constructor throws.
   */
  constructor(name: string, options?: WriterOptions);
  /** @internal */
  constructor(name: string, options: WriterOptions, connection: Connection);
  constructor(name: string, options: WriterOptions = {}, connection?: Connection) {
    const { connectTimeoutMs, writeTimeout, create, wait } = resolveOptions(options);
    this.#writeTimeout = writeTimeout;
    const { buffer, readerPid } = connection ?? connect(name, connectTimeoutMs, create);
    const { memory, written, released } = buffer;
    const ring = RingWriter.open(memory, written, released, readerPid, Wait[wait]);
    if (typeof ring === "number") {
      buffer.memory.claim(Role.WRITER, process.pid, 0);
      buffer.close();
      throw failure(ring, name, `The ring of buffer "${name}"`);
    }
    this.name = name;
    this.#buffer = buffer;
    this.#ring = ring;
    this.#reader = new Peer(buffer.memory, Role.READER);
    this.maxFrameSize = maxFrameSize(buffer.sizes.payloadSize);
    this.#readerPid = readerPid;
  }

  /** The constructor without blocking the event loop. Rejects with the signal's reason when it is aborted. */
  static async connect(
    name: string,
    options?: WriterOptions & { signal?: AbortSignal | undefined },
  ): Promise<Writer>;
  /** @internal Only to this reader. */
  static async connect(
    name: string,
    options: WriterOptions & { signal?: AbortSignal; readerPid: bigint },
  ): Promise<Writer>;
  static async connect(
    name: string,
    options: WriterOptions & { signal?: AbortSignal | undefined; readerPid?: bigint } = {},
  ): Promise<Writer> {
    const { readerPid, signal } = options;
    const resolved = resolveOptions(options);
    const { connectTimeoutMs, create } = resolved;
    const connection = await connectAsync(name, connectTimeoutMs, { config: create, readerPid, signal });
    return new Writer(name, resolved, connection);
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
    return this.#framesWritten;
  }

  /** Bytes of those frames. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** How often a write found the ring full; refusals in a row count once. */
  get waits(): number {
    this.#guard();
    return this.#ring.waits;
  }

  /**
   * @internal Sequence number of the next frame. Only a reader that takes them in any order may be given another one
   * than follows.
   */
  get nextSequence(): number {
    return this.#ring.sequence;
  }

  set nextSequence(sequence: number) {
    this.#ring.sequence = sequence;
  }

  /** @internal Whether the reader takes sequence numbers in any order (PROTOCOL.md, section 9). */
  get takesAnySequence(): boolean {
    return (this.#buffer.loadOieb().flags & OiebFlag.ANY_SEQUENCE) !== 0n;
  }

  /** Whether the reader's process lives and has the buffer open. */
  isReaderConnected(): boolean {
    this.#guard();
    return this.#reader.isAlive(this.#buffer.loadOieb().readerPid);
  }

  /**
   * {@link isReaderConnected} for a buffer that this writer made: waits up to `timeoutMs` for the reader that adopts it,
   * without blocking the event loop. Ends early, with false, when one has come and gone.
   */
  async isReaderConnectedAsync(
    timeoutMs = 0,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<boolean> {
    checkTimeout("timeoutMs", timeoutMs);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      if (this.isReaderConnected()) return true;
      const restMs = deadline - performance.now();
      if (!this.#isAwaited(this.#buffer.loadOieb().readerPid) || restMs <= 0) return false;
      await this.#rest(Math.min(READER_LOOK_MS, restMs), signal);
    }
  }

  /** Throws ReaderDeadError if the reader is gone, as the next write would; a program that has none to do can ask. */
  checkReader(): void {
    this.#guard();
    this.#lookAtReader();
  }

  /**
   * Sends the metadata, once, before the first frame or at least before it is needed.
   *
   * @throws MetadataTooLargeError if it is empty or `8 + length > metadataSize`; MetadataAlreadyWrittenError.
   */
  setMetadata(data: Uint8Array): void {
    this.#guard();
    const { metadataSize } = this.config;
    if (sizeOf(data) === 0 || METADATA_PREFIX_SIZE + data.length > metadataSize) {
      const most = metadataSize - METADATA_PREFIX_SIZE;
      throw new MetadataTooLargeError(
        `Metadata of ${data.length} bytes does not fit buffer "${this.name}", which takes ` +
          `${most > 0 ? `1 to ${most}` : "none"}.`,
        { buffer: this.name, hint: "Give its reader a larger metadata size (`metadataSize`)." },
      );
    }
    if (this.#metadataWritten) {
      throw new MetadataAlreadyWrittenError(
        `This writer of buffer "${this.name}" has sent its metadata already.`,
        {
          buffer: this.name,
          hint: "Metadata is sent once by a writer; send what changes as frames.",
        },
      );
    }
    const written = this.#buffer.memory.writeMetadata(data);
    // It fitted when this writer came: somebody has changed the size since.
    const code = written === Code.TOO_LARGE ? Code.BAD_CONTROL : written;
    if (code !== Code.OK) throw failure(code, this.name, `The metadata of buffer "${this.name}"`);
    this.#metadataWritten = true;
  }

  // ---- writing -----------------------------------------------------------------------------------------------------

  /**
   * Writes one frame, blocking the thread for up to {@link writeTimeout} while the ring is full. When it returns, the
   * frame is delivered even if this process is killed.
   *
   * @throws BufferFullError after the timeout, or early when a signal arrives; ReaderDeadError; FrameTooLargeError,
   *   InvalidFrameSizeError; CorruptBufferError; ClosedError. The frame has not been written then.
   */
  writeFrame(data: Uint8Array): void {
    const size = this.#check(sizeOf(data));
    if (this.#ring.write(data, 0) !== Code.OK) this.#writeWaiting(data);
    this.#count(size);
  }

  // On its own: a closure makes each call of the function around it allocate what it captures.
  #writeWaiting(data: Uint8Array): void {
    this.#persist((waitUs) => this.#ring.write(data, waitUs));
  }

  /**
   * Writes one frame if there is room now, or within `timeoutMs`, for which it blocks the thread: false, and nothing was
   * written, if there is not, or early when a signal arrives. Throws as writeFrame.
   */
  tryWriteFrame(data: Uint8Array, timeoutMs = 0): boolean {
    const size = this.#check(sizeOf(data));
    checkTimeout("timeoutMs", timeoutMs);
    if (this.#ring.write(data, 0) !== Code.OK && !this.#writeIfRoom(data, timeoutMs)) return false;
    this.#count(size);
    return true;
  }

  /**
   * {@link writeFrame} without blocking the event loop; as fast while there is room. Writes keep their order. The
   * bytes must not change until the promise settles. Rejects with the signal's reason when it is aborted; the frame
   * has not been written then.
   */
  writeFrameAsync(data: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    try {
      signal?.throwIfAborted();
      if (this.#lastWrite === undefined && this.tryWriteFrame(data)) {
        return this.#turns.isDue(data.length) ? this.#turns.turn() : Promise.resolve();
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#writeInTurn(data, signal);
  }

  #writeInTurn(data: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    return this.#inTurn(() => this.tryWriteFrame(data), signal);
  }

  /**
   * Writes frames of `frameSize` bytes that lie end to end in `data`, the last one perhaps shorter, as
   * {@link writeFrame} each: small ones many at a time, which is faster. When it throws, {@link framesWritten} tells how
   * many were written.
   */
  writeFrames(data: Uint8Array, frameSize: number): void {
    this.#checkFrames(data, frameSize);
    for (let done = 0; done < data.length; ) {
      const frames = this.#ring.writeFrames(data, done, frameSize, 0);
      done += this.#countFrames(
        frames > 0 ? frames : this.#writeFramesWaiting(data, done, frameSize),
        data.length - done,
        frameSize,
      );
    }
  }

  /**
   * Writes as many of those frames as there is room for now, or within `timeoutMs` for all of them, as
   * {@link tryWriteFrame}; returns how many of the bytes.
   */
  tryWriteFrames(data: Uint8Array, frameSize: number, timeoutMs = 0): number {
    this.#checkFrames(data, frameSize);
    checkTimeout("timeoutMs", timeoutMs);
    return this.#writeFramesIfRoom(data, 0, frameSize, timeoutMs);
  }

  /**
   * {@link writeFrames} without blocking the event loop; as fast while there is room. Other asynchronous writes come
   * before or after, not in between. The bytes must not change until the promise settles.
   */
  writeFramesAsync(
    data: Uint8Array,
    frameSize: number,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    let done = 0;
    const attempt = () => {
      done += this.#writeFramesIfRoom(data, done, frameSize, 0);
      return done === data.length;
    };
    try {
      signal?.throwIfAborted();
      this.#checkFrames(data, frameSize);
      if (this.#lastWrite === undefined && attempt()) {
        const frames = Math.ceil(data.length / frameSize);
        return this.#turns.isDue(data.length, frames) ? this.#turns.turn() : Promise.resolve();
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#inTurn(attempt, signal);
  }

  #checkFrames(data: Uint8Array, frameSize: number): void {
    this.#check(frameSize);
    if (sizeOf(data) === 0) throw this.#invalidSize(0);
  }

  #writeFramesIfRoom(data: Uint8Array, first: number, frameSize: number, timeoutMs: number): number {
    let done = first;
    // From the first lack of room on: as long as there is room, nobody looks at the clock.
    let deadline: number | undefined;
    while (done < data.length) {
      let frames = this.#ring.writeFrames(data, done, frameSize, 0);
      if (frames <= 0) {
        deadline ??= performance.now() + timeoutMs;
        frames = this.#writeFramesWaiting(data, done, frameSize, Math.max(0, deadline - performance.now()));
        if (frames === 0) break;
      }
      done += this.#countFrames(frames, data.length - done, frameSize);
    }
    return done - first;
  }

  /** Returns how many were written: 0 where `timeoutMs` are given and over, and throws where they are not given. */
  #writeFramesWaiting(data: Uint8Array, offset: number, frameSize: number, timeoutMs?: number): number {
    let frames = 0;
    const attempt = (waitUs: number) => {
      frames = this.#ring.writeFrames(data, offset, frameSize, waitUs);
      return frames > 0 ? Code.OK : frames;
    };
    if (timeoutMs === undefined) this.#persist(attempt);
    else if (!this.#ifRoom(attempt, timeoutMs)) return 0;
    return frames;
  }

  /** Counts frames that were written of the `length` bytes that were left, and returns their bytes. */
  #countFrames(frames: number, length: number, frameSize: number): number {
    const size = Math.min(frames * frameSize, length);
    this.#framesWritten += frames;
    this.#bytesWritten += size;
    return size;
  }

  /** Repeats an attempt until it finds room, after the asynchronous writes that came before. */
  #inTurn(attempt: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    const previous = this.#lastWrite;
    const write = this.#persistAfter(previous, attempt, signal);
    // One that is given up while it waits for its turn does not let the next one pass those before it.
    const settled = Promise.allSettled([previous, write]).then(() => {});
    this.#lastWrite = settled;
    void settled.then(() => {
      if (this.#lastWrite === settled) this.#lastWrite = undefined;
    });
    return write;
  }

  async #persistAfter(
    previous: Promise<void> | undefined,
    attempt: () => boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (previous !== undefined) await raceAbort(previous, signal);
    let deadline = performance.now() + this.#writeTimeout;
    for (let written = this.#framesWritten; !attempt(); written = this.#framesWritten) {
      // One of several frames was written: the next one has its own time.
      if (this.#framesWritten !== written) deadline = performance.now() + this.#writeTimeout;
      const restMs = deadline - performance.now();
      if (restMs <= 0) throw this.#full("timeout");
      await this.#rest(Math.min(ASYNC_SLICE_MS, restMs), signal);
    }
  }

  /** @internal Waits until another attempt to write may succeed, for a slice at the most. */
  async waitForRoom(signal: AbortSignal | undefined): Promise<void> {
    this.#guard();
    await this.#rest(ASYNC_SLICE_MS, signal);
  }

  /** Waits for a released frame in the helper's thread, for an abort, or for the time to pass. */
  async #rest(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiter === undefined) {
      const waiter = Waiter.open(this.#buffer.released);
      if (typeof waiter === "number") throw failure(waiter, this.name, "A thread that waits for room");
      this.#waiter = waiter;
    }
    await raceAbort(this.#waiter.wait(milliseconds * 1000), signal);
  }

  /**
   * Acquires the place of a frame of `size` bytes, to be filled without a copy; then {@link commitFrame} publishes it
   * or {@link cancelFrame} gives it up. One frame can be acquired at a time. Waits and throws as {@link writeFrame}.
   */
  acquireFrame(size: number): AcquiredFrame {
    this.#check(size);
    if (this.#ring.acquire(size, 0) !== Code.OK) this.#acquireWaiting(size);
    return this.#handOut(size);
  }

  #acquireWaiting(size: number): void {
    this.#persist((waitUs) => this.#ring.acquire(size, waitUs));
  }

  /** {@link acquireFrame} if there is room now, or within `timeoutMs`, as {@link tryWriteFrame}; otherwise undefined. */
  tryAcquireFrame(size: number, timeoutMs = 0): AcquiredFrame | undefined {
    this.#check(size);
    checkTimeout("timeoutMs", timeoutMs);
    if (this.#ring.acquire(size, 0) !== Code.OK && !this.#acquireIfRoom(size, timeoutMs)) return undefined;
    return this.#handOut(size);
  }

  /**
   * {@link acquireFrame} without blocking the event loop; as fast while there is room. It keeps its order among
   * asynchronous writes. Rejects with the signal's reason when it is aborted; nothing is acquired then.
   */
  acquireFrameAsync(
    size: number,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<AcquiredFrame> {
    try {
      signal?.throwIfAborted();
      const slot = this.#lastWrite === undefined ? this.tryAcquireFrame(size) : undefined;
      if (slot !== undefined) {
        return this.#turns.isDue(size) ? this.#turns.turn().then(() => slot) : Promise.resolve(slot);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#acquireInTurn(size, signal);
  }

  async #acquireInTurn(size: number, signal: AbortSignal | undefined): Promise<AcquiredFrame> {
    let slot: AcquiredFrame | undefined;
    await this.#inTurn(() => {
      slot = this.tryAcquireFrame(size);
      return slot !== undefined;
    }, signal);
    return slot as AcquiredFrame;
  }

  #handOut(size: number): AcquiredFrame {
    this.#acquiredSize = size;
    return { sequence: this.#ring.sequence, data: this.#buffer.memory.bytes(this.#ring.offset, size) };
  }

  /** Publishes the acquired frame. Throws ClosedError if none is acquired. */
  commitFrame(): void {
    this.#guard();
    if (this.#acquiredSize === 0) {
      throw new ClosedError(`No frame of buffer "${this.name}" is acquired that could be committed.`, {
        buffer: this.name,
        hint: "Call acquireFrame(size) first.",
      });
    }
    this.#ring.commit();
    this.#count(this.#acquiredSize);
    this.#acquiredSize = 0;
  }

  /** Gives the acquired frame up: it uses no sequence number and leaves no trace. Does nothing if there is none. */
  cancelFrame(): void {
    this.#guard();
    this.#ring.cancel();
    this.#acquiredSize = 0;
  }

  #count(size: number): void {
    this.#framesWritten++;
    this.#bytesWritten += size;
  }

  /** Returns the size if a frame of it can be written now. */
  #check(size: number): number {
    // Also false for what is no number.
    if (
      !this.#closed &&
      this.#acquiredSize === 0 &&
      size >= 1 &&
      size <= this.maxFrameSize &&
      Number.isInteger(size)
    ) {
      return size;
    }
    this.#guard();
    if (this.#acquiredSize !== 0) {
      throw new ClosedError(`A frame of buffer "${this.name}" is acquired already.`, {
        buffer: this.name,
        hint: "Call commitFrame() or cancelFrame() first.",
      });
    }
    throw size > 1 && Number.isInteger(size) ? this.#tooLarge(size) : this.#invalidSize(size);
  }

  #tooLarge(size: number): FrameTooLargeError {
    return new FrameTooLargeError(
      `A frame of ${size} bytes can never fit buffer "${this.name}", which takes up to ${this.maxFrameSize}.`,
      {
        buffer: this.name,
        hint: `Give its reader a payload size of at least ${size + FRAME_HEADER_SIZE} bytes (\`payloadSize\`).`,
      },
    );
  }

  #invalidSize(size: number): InvalidFrameSizeError {
    return new InvalidFrameSizeError(`A frame of buffer "${this.name}" cannot have ${size} bytes.`, {
      buffer: this.name,
      hint: "A frame has a whole number of bytes, at least 1.",
    });
  }

  // ---- waiting for room --------------------------------------------------------------------------------------------

  #writeIfRoom(data: Uint8Array, timeoutMs: number): boolean {
    return this.#ifRoom((waitUs) => this.#ring.write(data, waitUs), timeoutMs);
  }

  #acquireIfRoom(size: number, timeoutMs: number): boolean {
    return this.#ifRoom((waitUs) => this.#ring.acquire(size, waitUs), timeoutMs);
  }

  #ifRoom(attempt: (waitUs: number) => number, timeoutMs: number): boolean {
    return this.#attempt(attempt, timeoutMs) === Code.OK;
  }

  /** Attempts until there is room; throws when the time is up, a signal came, or the reader is gone. */
  #persist(attempt: (waitUs: number) => number): void {
    const code = this.#attempt(attempt, this.#writeTimeout);
    if (code === Code.OK) return;
    if (code === Code.INTERRUPTED) throw this.#full("signal");
    this.#lookAtReader();
    throw this.#full("timeout");
  }

  /** Attempts in slices: OK once there is room, AGAIN when the time is up, INTERRUPTED. Throws when the reader is gone. */
  #attempt(attempt: (waitUs: number) => number, timeoutMs: number): Code {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const restMs = Math.max(0, Math.min(SLICE_MS, deadline - performance.now()));
      const code = attempt(Math.ceil(restMs * 1000));
      if (code === Code.OK || code === Code.INTERRUPTED) return code;
      if (code !== Code.AGAIN) this.#resolve(code as Code);
      else if (performance.now() >= deadline) return code;
      else this.#lookAtReader();
    }
  }

  /** Deals with a code that is neither success nor a full ring: returns if the attempt may be repeated. */
  #resolve(code: Code): void {
    if (code !== Code.PEER_CHECK) throw this.#refusal(code);
    this.#lookAtReader();
  }

  #refusal(code: Code): ZeroBufferError {
    return failure(code, this.name, `Buffer "${this.name}"`);
  }

  /** Throws if the reader has gone; otherwise writing goes on, for a reader that has adopted the buffer, too. */
  #lookAtReader(): void {
    const { readerPid } = this.#buffer.loadOieb();
    if (this.#reader.isAlive(readerPid) || this.#isAwaited(readerPid)) {
      this.#readerPid = readerPid;
      this.#ring.confirmPeer(readerPid);
      if (!this.#buffer.memory.isNamed) {
        throw new CorruptBufferError(`Buffer "${this.name}" was removed while its reader lives.`, {
          buffer: this.name,
          hint: "Somebody removed or replaced its shared memory: start its reader again.",
        });
      }
      return;
    }
    // It may have left, and its process ended, since the pid was loaded.
    const left = this.#buffer.loadOieb().readerPid === 0n;
    const what = left ? "its reader has left" : describeAbsentReader(this.name, readerPid);
    throw new ReaderDeadError(
      left ? "left" : "died",
      `Buffer "${this.name}" takes no frames any more: ${what}.`,
      {
        buffer: this.name,
        hint: "Start its reader again, then the writer.",
      },
    );
  }

  /** Whether nobody has adopted the buffer that this writer made: who has and left again has removed it. */
  #isAwaited(readerPid: bigint): boolean {
    return readerPid === 0n && this.#readerPid === 0n && this.#buffer.memory.isNamed;
  }

  #full(reason: "timeout" | "signal"): BufferFullError {
    const why =
      reason === "timeout" ? `no room within ${this.#writeTimeout} ms` : "a signal ended the wait for room";
    return new BufferFullError(reason, `Buffer "${this.name}" is full: ${why}.`, {
      buffer: this.name,
      hint: "Its reader is slower than the writer, or holds frames: wait longer, or give it a larger buffer.",
    });
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  #guard(): void {
    if (this.#closed)
      throw new ClosedError(`The writer of buffer "${this.name}" is closed.`, { buffer: this.name });
  }

  /**
   * Disconnects; what was written stays for the reader. A buffer that this writer made and no reader has adopted is
   * removed. Writes that wait reject with ClosedError.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiter?.close();
    this.#ring.close();
    const { memory, written } = this.#buffer;
    // Taking the reader's place keeps one from adopting the buffer while it is being removed.
    const abandoned = this.#isAwaited(0n) && memory.claim(Role.READER, 0, process.pid);
    memory.claim(Role.WRITER, process.pid, 0);
    written.post();
    if (abandoned) this.#buffer.abandon();
    this.#buffer.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Checks the options of a writer and fills in what is missing.
 *
 * @throws RangeError, before anything is connected to.
 */
function resolveOptions({
  connectTimeoutMs = 0,
  writeTimeout = 5000,
  create,
  wait = "adaptive",
}: WriterOptions) {
  checkTimeout("connectTimeoutMs", connectTimeoutMs);
  checkTimeout("writeTimeout", writeTimeout);
  checkWaitMode(wait);
  return { connectTimeoutMs, writeTimeout, create, wait };
}

/** Length of what is to be written. What is no Uint8Array must not reach the helper, which copies what it is pointed to. */
function sizeOf(data: Uint8Array): number {
  if (data instanceof Uint8Array) return data.length;
  throw new TypeError(`The bytes to write are a Uint8Array, not ${data === null ? "null" : typeof data}.`);
}
