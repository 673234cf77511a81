// The buffer that a command writes to: what becomes of frames while it is full, and when its reader has gone.

import { type AcquiredFrame, type Frame, ReaderDeadError, type Sharing, type Writer } from "../core/index.ts";
import { CommandError, DownstreamClosed, Interrupted } from "./failure.ts";
import type { Session } from "./session.ts";
import type { FULL_POLICIES } from "./shared-options.ts";
import { ShortWait } from "./timing.ts";

/** How often to check the reader while nothing is written that would notice its end, in milliseconds. */
const CHECK_MS = 250;

/** What {@link OutputBuffer.forwardFrames} has forwarded. */
export type ForwardedFrames = NonNullable<ReturnType<Writer["forwardFrames"]>>;

/** What to do when a frame cannot be written. */
interface OutputPolicy {
  /** Whether to go on with the next reader when one has gone. */
  readonly follow: boolean;
  readonly onFull: (typeof FULL_POLICIES)[number];
  /** How long to wait for the next reader. */
  readonly connectTimeoutMs: number;
}

/**
 * Writes to the reader of a buffer, or, with `follow`, to one reader after another. Before each wait for room or for a reader
 * the policy decides: the frame waits, is dropped, or ends the command.
 */
export class OutputBuffer implements Disposable {
  readonly #policy: OutputPolicy;
  readonly #session: Session;
  readonly #roomWait: ShortWait;
  /** Aborted when the command ends: then no further reader is waited for. */
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  #writer: Writer;
  /** What was sent by {@link sendMetadata}. */
  #metadata: Uint8Array | undefined;
  /** Whether a reader has been told of. */
  #hasReader = false;
  /** Settles when there is another reader, or none can be connected to. Undefined: there is a reader. */
  #reconnecting: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  /** What was written to the readers before. */
  #framesBefore = 0;
  #bytesBefore = 0;
  #waitsBefore = 0;
  #sharedBefore = 0;
  #reconnects = 0;
  #dropped = 0;

  constructor(writer: Writer, policy: OutputPolicy, session: Session) {
    this.#writer = writer;
    this.#policy = policy;
    this.#session = session;
    this.#signal = AbortSignal.any([session.signal, this.#end.signal]);
    this.#roomWait = new ShortWait(policy.onFull === "wait" ? undefined : 0);
    if (writer.isReaderConnected()) this.noteReader();
  }

  /** The writer; closed while there is no reader. */
  get writer(): Writer {
    return this.#writer;
  }

  /** Frames written so far, to all readers. */
  get framesWritten(): number {
    return this.#framesBefore + this.#writer.framesWritten;
  }

  /** Bytes of those frames. */
  get bytesWritten(): number {
    return this.#bytesBefore + this.#writer.bytesWritten;
  }

  /** How many of those frames were forwarded without a copy. */
  get framesShared(): number {
    return this.#sharedBefore + this.#writer.framesShared;
  }

  /** Whether the frames that are forwarded are shared now. */
  get sharing(): Sharing {
    return this.#writer.sharing;
  }

  /** How often a write found the buffer full. */
  get waits(): number {
    return this.#waitsBefore + this.#writer.waits;
  }

  /** Frames dropped so far. */
  get dropped(): number {
    return this.#dropped;
  }

  /** How often another reader was connected to. */
  get reconnects(): number {
    return this.#reconnects;
  }

  /** Whether there is a reader, as far as is known. */
  get isConnected(): boolean {
    return this.#reconnecting === undefined;
  }

  // ---- frames ------------------------------------------------------------------------------------------------------

  /** Writes those of the frames that fit now. Returns how many bytes. */
  tryWrite(frames: Uint8Array, frameSize: number): number {
    if (!this.isConnected) return 0;
    const writer = this.#writer;
    const before = writer.bytesWritten;
    try {
      const written = writer.tryWriteFrames(frames, frameSize, this.#roomWait.milliseconds);
      this.#roomWait.note(written === frames.length);
      return written;
    } catch (error) {
      this.#lose(error);
      return writer.bytesWritten - before;
    }
  }

  /** Writes frames that do not fit now. One frame at a time may be dropped. */
  async write(frames: Uint8Array, frameSize: number): Promise<void> {
    let rest = frames;
    while (rest.length > 0 && (await this.#waitsForRoom())) {
      const writer = this.#writer;
      const before = writer.bytesWritten;
      try {
        return await writer.writeFramesAsync(rest, frameSize, { signal: this.#session.signal });
      } catch (error) {
        this.#lose(error);
        rest = rest.subarray(writer.bytesWritten - before);
      }
    }
  }

  /** Forwards a frame if there is room now: whether it has. */
  tryForward(frame: Frame): boolean {
    if (!this.isConnected) return false;
    try {
      const outcome = this.#writer.tryForwardFrame(frame, this.#roomWait.milliseconds);
      this.#roomWait.note(outcome !== undefined);
      return outcome !== undefined;
    } catch (error) {
      this.#lose(error);
      return false;
    }
  }

  /** Forwards the frames that a reader has not handed out, as {@link Writer.forwardFrames}. There is a reader of this buffer. */
  forwardFrames(...[reader, limits]: Parameters<Writer["forwardFrames"]>): ForwardedFrames | undefined {
    return this.#writer.forwardFrames(reader, limits);
  }

  /** Forwards a frame for which there is no room now, or drops it. */
  async forward(frame: Frame): Promise<void> {
    while (await this.#waitsForRoom()) {
      try {
        await this.#writer.forwardFrameAsync(frame, { signal: this.#session.signal });
        return;
      } catch (error) {
        this.#lose(error);
      }
    }
  }

  /** The place of a frame, if there is one now. */
  tryAcquire(size: number): AcquiredFrame | undefined {
    if (!this.isConnected) return undefined;
    try {
      const slot = this.#writer.tryAcquireFrame(size, this.#roomWait.milliseconds);
      this.#roomWait.note(slot !== undefined);
      return slot;
    } catch (error) {
      this.#lose(error);
      return undefined;
    }
  }

  /** The place of a frame for which there is none now; undefined if the frame is dropped. */
  async acquire(size: number): Promise<AcquiredFrame | undefined> {
    while (await this.#waitsForRoom()) {
      try {
        return await this.#writer.acquireFrameAsync(size, { signal: this.#session.signal });
      } catch (error) {
        this.#lose(error);
      }
    }
    return undefined;
  }

  /** Applies the policy: true, once there is a reader, to wait for room; false if the frame is dropped. */
  async #waitsForRoom(): Promise<boolean> {
    switch (this.#policy.onFull) {
      case "drop":
        this.#checkConnecting();
        this.#dropped++;
        return false;
      case "fail":
        throw new CommandError(
          "BUFFER_FULL",
          `Buffer "${this.#writer.name}" is full.`,
          "The reader is slower than the writer: raise its --buffer-size, or use --on-full wait or drop.",
        );
      case "wait":
        await this.connected();
        return true;
    }
  }

  // ---- the reader --------------------------------------------------------------------------------------------------

  /**
   * Checks the reader, for a wait in which nothing is written. Call it while no frame is acquired.
   *
   * @throws ReaderDeadError if the reader has gone and no other is waited for; what keeps the next one from being connected to.
   */
  check(): void {
    this.#checkConnecting();
    if (!this.isConnected) return;
    try {
      this.#writer.checkReader();
      // One may have adopted the buffer that this process has made.
      if (this.#writer.isReaderConnected()) this.noteReader();
    } catch (error) {
      this.#lose(error);
    }
  }

  #checkConnecting(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Waits for `work`, and checks the reader meanwhile. */
  async watch<T>(work: Promise<T>): Promise<T> {
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const check = () => {
      try {
        this.check();
      } catch (error) {
        reject(error);
      }
    };
    const timer = setInterval(check, CHECK_MS);
    try {
      return await Promise.race([work, gone]);
    } finally {
      clearInterval(timer);
      // Nothing awaits it any more.
      work.catch(() => {});
    }
  }

  /** Waits for the next reader if there is none. */
  async connected(): Promise<void> {
    await this.#reconnecting;
  }

  /** Sends metadata; as another writer if other metadata has been sent, because a writer can send it once. */
  async sendMetadata(metadata: Uint8Array): Promise<void> {
    await this.connected();
    const sent = this.#metadata;
    this.#metadata = metadata;
    if (sent === undefined) return this.#writer.setMetadata(metadata);
    if (Buffer.compare(sent, metadata) !== 0) await this.changeWriter(metadata);
  }

  /** Goes on as another writer, which sends this metadata, or else what the last one has sent. */
  async changeWriter(metadata = this.#metadata): Promise<void> {
    await this.connected();
    this.#metadata = metadata;
    this.#reconnecting = this.#connect(metadata, { isSameReader: true });
    await this.connected();
  }

  /** Tells that there is a reader. */
  noteReader(): void {
    if (this.#hasReader) return;
    this.#hasReader = true;
    this.#notePeer("came");
  }

  #notePeer(change: "came" | "left" | "died"): void {
    this.#session.events?.emit("peer", { buffer: this.#writer.name, role: "reader", change });
  }

  /** Waits for another reader, in the background, if the policy says so; otherwise throws. */
  #lose(error: unknown): void {
    if (!(error instanceof ReaderDeadError)) throw error;
    this.#notePeer(error.reason);
    this.#hasReader = false;
    const { follow, onFull } = this.#policy;
    if (!follow || onFull === "fail") throw error;
    this.#session.log?.info(`${error.message} Waiting for its next reader.`);
    this.#reconnect();
  }

  #reconnect(): void {
    this.#reconnecting = this.#connect(undefined, { isSameReader: false });
    // A call that waits for a reader throws it, and so does the next check.
    this.#reconnecting.catch((error) => {
      this.#failure = { error };
    });
  }

  async #connect(
    metadata: Uint8Array | undefined,
    { isSameReader }: { readonly isSameReader: boolean },
  ): Promise<void> {
    const { connectTimeoutMs } = this.#policy;
    const last = this.#writer;
    const next = await last.reconnect({ connectTimeoutMs, metadata, signal: this.#signal });
    if (this.#end.signal.aborted) return next.close();
    this.#writer = next;
    this.#framesBefore += last.framesWritten;
    this.#bytesBefore += last.bytesWritten;
    this.#waitsBefore += last.waits;
    this.#sharedBefore += last.framesShared;
    this.#reconnecting = undefined;
    if (isSameReader) return;
    if (next.isReaderConnected()) this.noteReader();
    this.#reconnects++;
    this.#session.log?.info(`Connected to the next reader of buffer "${next.name}".`);
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  /** Lets the reader know that the command has failed, as far as it can be told: not all frames have come. */
  fail(error: unknown): void {
    if (!(error instanceof Interrupted || error instanceof DownstreamClosed)) this.#writer.abort();
  }

  [Symbol.dispose](): void {
    this.#end.abort();
    this.#writer.close();
  }
}
