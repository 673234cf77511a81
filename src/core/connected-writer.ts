// A writer's connection to its buffer: everything but the writing of frames.

import { OiebFlag, Role } from "../native/memory.ts";
import { RingWriter, Wait } from "../native/ring.ts";
import { takeAllSteps } from "../runtime/steps.ts";
import { Cancellations } from "./buffer/cancellations.ts";
import { type Connection, connect } from "./buffer/connect.ts";
import type { Oieb } from "./buffer/oieb.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import { type BufferSizes, checkTimeout, maxFrameSize } from "./config.ts";
import { failure } from "./failures.ts";
import { FrameWrites } from "./frame-writes.ts";
import { ReaderWatch } from "./reader-watch.ts";
import { Forwarding } from "./sharing/forwarding.ts";
import type { SharingSource } from "./sharing/source.ts";
import { WriteQueue } from "./write-queue.ts";
import { frameAcquired, writerClosed } from "./writer-errors.ts";
import { sendMetadata } from "./writer-metadata.ts";
import {
  type InternalWriterOptions,
  resolveOptions,
  type WriteOptions,
  type WriterOptions,
} from "./writer-options.ts";

/** The writer's place in a buffer, and what it knows of the reader. */
export abstract class ConnectedWriter implements Disposable {
  /** Name of the buffer. */
  readonly name: string;
  /** Size of the largest frame that the buffer takes, in bytes. */
  readonly maxFrameSize: number;
  /** @internal Where asynchronous writes wait. */
  readonly queue: WriteQueue;
  /** @internal */
  protected readonly buffer: SharedBuffer;
  /** @internal */
  protected readonly ring: RingWriter;
  /** @internal */
  protected readonly writes: FrameWrites;
  /** @internal */
  protected readonly forwarding: Forwarding;
  /** @internal As they were given, with what was missing. */
  protected readonly options: ReturnType<typeof resolveOptions>;
  /** @internal What it has sent. */
  protected metadata: Uint8Array | undefined;
  /** @internal */
  protected isClosed = false;
  readonly #reader: ReaderWatch;
  #writeTimeout: number;
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
  constructor(name: string, options: InternalWriterOptions, connection?: Connection);
  constructor(name: string, options: InternalWriterOptions = {}, connection?: Connection) {
    const resolved = resolveOptions(options);
    const { connectTimeoutMs, metadata, wait, writeTimeout } = resolved;
    this.options = resolved;
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
    this.buffer = buffer;
    this.ring = ring;
    this.#reader = new ReaderWatch(buffer, ring, readerPid, () => this.close());
    this.writes = new FrameWrites(ring);
    this.queue = new WriteQueue(name, released, this.#reader);
    this.forwarding = new Forwarding({
      buffer,
      ring,
      writes: this.writes,
      queue: this.queue,
      isRequested: resolved.requestPayloadSharing,
      maxFramesLent: resolved.maxFramesLent,
      closeWithSource: resolved.source === undefined ? undefined : () => this.close(),
    });
    this.#reader.onLook = () => this.forwarding.look();
    this.maxFrameSize = maxFrameSize(buffer.sizes.payloadSize);
    try {
      if (metadata !== undefined) this.setMetadata(metadata);
      if (resolved.source !== undefined) this.forwarding.attach(resolved.source);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Sizes of the buffer in bytes. The largest frame is 16 bytes smaller than `payloadSize`. */
  get config(): BufferSizes {
    return this.buffer.sizes;
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
    return this.writes.framesWritten;
  }

  /** Bytes of those frames. */
  get bytesWritten(): number {
    return this.writes.bytesWritten;
  }

  /** How often a write found the ring full; refusals in a row count once. */
  get waits(): number {
    return this.isClosed ? this.#waits : this.ring.waits;
  }

  /** @internal The control block. */
  loadOieb(): Oieb {
    this.guard();
    return this.buffer.loadOieb();
  }

  /** @internal Shares frames of this source from now on, if the reader takes any: whether it does. */
  shareFrom(source: SharingSource): boolean {
    if ((this.loadOieb().flags & OiebFlag.SHARING) === 0n) return false;
    this.forwarding.attach(source);
    return true;
  }

  /** @internal The table of cancelled requests, if the buffer has one. */
  get cancellations(): Cancellations | undefined {
    this.guard();
    return Cancellations.of(this.buffer);
  }

  /**
   * @internal Sequence number of the next frame, or of the acquired one. Only a reader that takes them in any order may be
   * given another one than follows.
   */
  get nextSequence(): number {
    return this.ring.sequence;
  }

  /** @internal */
  set nextSequence(sequence: number) {
    if (this.queue.acquiredSize > 0) throw frameAcquired(this.name);
    this.ring.sequence = sequence;
  }

  /** Whether the reader's process lives and has the buffer open. */
  isReaderConnected(): boolean {
    this.guard();
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
    this.guard();
    return await this.#reader.awaitConnection(timeoutMs, (sliceMs) => this.waitForRoom(signal, sliceMs));
  }

  /** Throws ReaderDeadError if the reader is gone, as the next write would; a program that has none to do can ask. */
  checkReader(): void {
    this.guard();
    this.#reader.check();
  }

  /**
   * Sends the metadata, once, before the first frame or at least before it is needed.
   *
   * @throws MetadataTooLargeError if it is empty or `8 + length > metadataSize`; MetadataAlreadyWrittenError.
   */
  setMetadata(data: Uint8Array): void {
    this.guard();
    sendMetadata(this.buffer, data, this.metadata);
    this.metadata = data.slice();
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  /** @internal Waits until another attempt to write may succeed, for a slice at the most. */
  async waitForRoom(signal: AbortSignal | undefined, timeoutMs = Number.POSITIVE_INFINITY): Promise<void> {
    this.guard();
    await this.queue.waitForRoom(timeoutMs, signal);
    this.guard();
  }

  /** @internal Throws ClosedError once the writer is closed. */
  protected guard(): void {
    if (this.isClosed) throw writerClosed(this.name);
  }

  /**
   * Disconnects; what was written stays for the reader. A buffer that this writer made and no reader has adopted is
   * removed. Writes that wait reject with ClosedError, and an acquired frame is given up.
   */
  close(): void {
    this.#end(() => this.buffer.leaveAsWriter());
  }

  /**
   * As {@link close}, but for a program that ends because of an error: what it has written is not all, and the reader is told
   * that the writer has died. Where a reader cannot see roles (docs/protocol.md, section 4), it is told when the process ends.
   */
  abort(): void {
    this.#end(() => {});
  }

  #end(leave: () => void): void {
    if (this.isClosed) return;
    this.#waits = this.ring.waits;
    this.isClosed = true;
    const { memory } = this.buffer;
    let isAbandoned = false;
    let keepsMemory = false;
    takeAllSteps(
      () => this.queue.close(writerClosed(this.name)),
      () => {
        keepsMemory = this.forwarding.leave();
      },
      () => this.ring.leave(),
      () => this.ring.close(),
      () => {
        // Taking the reader's place keeps one from adopting the buffer while it is being removed.
        isAbandoned = this.#reader.isAwaited() && memory.claim(Role.READER, 0, process.pid);
      },
      leave,
      () => isAbandoned && this.buffer.abandon(),
      () => (keepsMemory ? this.buffer.closeExceptMemory() : this.buffer.close()),
    );
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
