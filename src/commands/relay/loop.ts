// The relay's loop: frames out of one buffer, transformed on their way into another.

import { CommandError } from "../../cli/failure.ts";
import { count, grouped } from "../../cli/format.ts";
import type { Session } from "../../cli/session.ts";
import { ShortWait, Stopwatch } from "../../cli/timing.ts";
import {
  type AcquiredFrame,
  type Frame,
  PeerTimeoutError,
  type Reader,
  type Writer,
  WriterDeadError,
} from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE, type Transform, transformFor } from "../../frames/transforms.ts";
import { TurnKeeper } from "../../runtime/turn.ts";
import type { RelayDocument } from "../../schemas/relay.ts";

/** How long the input is waited for before the output's reader is looked at. */
const SLICE_MS = 250;

/** What to do with the frames, and how long to wait for them. */
export interface ForwarderOptions {
  /** Frames to pass on; 0: until the writer leaves. */
  readonly frames: number;
  readonly transform: Transform;
  readonly xorKey: number;
  readonly createOutput: boolean;
  /** Frames between two lines of the log; 0: none. */
  readonly logInterval: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Passes the frames of one writer on, each with one copy: from where it was read to where it is written. */
export class Forwarder {
  readonly stopwatch = new Stopwatch();
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #options: ForwarderOptions;
  readonly #session: Session;
  readonly #document: RelayDocument;
  readonly #tell: (frames: number) => void;
  readonly #transform: (bytes: Uint8Array) => void;
  readonly #turns = new TurnKeeper();

  /** @param tell is told every few milliseconds how many frames are done. */
  constructor(
    reader: Reader,
    writer: Writer,
    options: ForwarderOptions,
    session: Session,
    document: RelayDocument,
    tell: (frames: number) => void,
  ) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#tell = tell;
    this.#transform = transformFor(options.transform, options.xorKey);
  }

  /** Passes frames on until there are enough, or the writer has gone; then sees to it that they have a reader. */
  async run(): Promise<void> {
    try {
      await this.#forwardAll();
    } catch (error) {
      // What was passed on before is still to be read.
      if (this.#writer.framesWritten > 0) await this.#awaitReader().catch((lost) => this.#noteLoss(lost));
      throw error;
    }
    await this.#awaitReader();
  }

  async #forwardAll(): Promise<void> {
    await this.#awaitWriter();
    try {
      await this.#forwardFrames();
    } catch (error) {
      if (!(error instanceof WriterDeadError)) throw error;
      this.#forwardMetadata();
      this.#session.log?.info(error.message);
      if (error.reason === "died") throw error;
      if (this.#options.frames > 0) throw this.#incomplete();
    }
  }

  async #awaitWriter(): Promise<void> {
    const { connectTimeoutMs } = this.#options;
    const { signal, log } = this.#session;
    const { name } = this.#reader;
    const seen = await this.#waitInSlices(connectTimeoutMs, async (sliceMs) => {
      const deadline = performance.now() + sliceMs;
      if (await this.#reader.isWriterConnectedAsync(sliceMs, { signal })) return "connected";
      // An answer before the deadline means that one came and went: reading tells.
      return performance.now() < deadline ? "gone" : undefined;
    });
    if (seen === "connected") log?.info(`A writer has connected to buffer "${name}".`);
    if (seen !== undefined) return;
    throw new PeerTimeoutError(`No writer has connected to buffer "${name}" within ${connectTimeoutMs} ms.`, {
      buffer: name,
      hint: "Start the writer, or wait longer (--connect-timeout-ms; 0: for ever).",
    });
  }

  /** Returns when there are enough frames; the writer's departure is thrown as WriterDeadError. */
  async #forwardFrames(): Promise<void> {
    const { frames, logInterval, timeoutMs } = this.#options;
    const frameWait = new ShortWait(timeoutMs);
    const roomWait = new ShortWait();
    const reader = this.#reader;
    const writer = this.#writer;
    while (frames === 0 || writer.framesWritten < frames) {
      const shortWaitMs = frameWait.milliseconds;
      let frame: Frame = shortWaitMs > 0 ? reader.readFrame(shortWaitMs) : reader.tryReadFrame();
      frameWait.note(frame.isValid);
      if (!frame.isValid) frame = await this.#waitForFrame();
      this.stopwatch.start();
      if (writer.framesWritten === 0) this.#forwardMetadata();
      const slot = writer.tryAcquireFrame(frame.size, roomWait.milliseconds);
      roomWait.note(slot !== undefined);
      const { data } = slot ?? (await this.#waitForRoom(frame.size));
      if (frame.size > PIECE_SIZE) {
        await copyInPieces(frame.data, data, this.#options, () => this.#turn());
      } else {
        frame.copyTo(data);
        this.#transform(data);
      }
      writer.commitFrame();
      frame.release();
      if (logInterval > 0 && writer.framesWritten % logInterval === 0) this.#logProgress();
      if (this.#turns.isDue(frame.size)) await this.#turn();
    }
    this.#pause();
  }

  async #waitForFrame(): Promise<Frame> {
    const { timeoutMs } = this.#options;
    const { signal } = this.#session;
    const { name } = this.#reader;
    this.#pause();
    const frame = await this.#waitInSlices(timeoutMs, async (sliceMs) => {
      const frame = await this.#reader.readFrameAsync(sliceMs, { signal });
      return frame.isValid ? frame : undefined;
    });
    if (frame !== undefined) return frame;
    throw new CommandError(
      "TIMEOUT",
      `No frame has come through buffer "${name}" within ${timeoutMs} ms; its writer is still connected.`,
      "See why the writer is idle, or wait longer (--timeout-ms; 0: for ever).",
    );
  }

  /** The frame stays where it was read meanwhile. */
  #waitForRoom(size: number): Promise<AcquiredFrame> {
    this.#pause();
    return this.#writer.acquireFrameAsync(size, { signal: this.#session.signal });
  }

  /**
   * Waits for something from the input, `undefined` if it does not come. After each slice that brought nothing, it looks
   * for metadata, and whether the output still has its reader: no write would find out.
   */
  async #waitInSlices<T>(
    timeoutMs: number,
    wait: (sliceMs: number) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const restMs = Math.max(0, deadline - performance.now());
      const result = await wait(Math.min(SLICE_MS, restMs));
      if (result !== undefined) return result;
      this.#forwardMetadata();
      this.#writer.checkReader();
      if (performance.now() >= deadline) return undefined;
    }
  }

  /** Passes the metadata on if it has come. A writer sends it before its first frame, as a rule. */
  #forwardMetadata(): void {
    if (this.#document.metadata_relayed) return;
    const metadata = this.#reader.getMetadata();
    if (metadata.length === 0) return;
    this.#writer.setMetadata(metadata);
    this.#document.metadata_relayed = true;
    this.#document.metadata_size = metadata.length;
    this.#session.log?.info(`Relayed ${count(metadata.length, "bytes")} of metadata.`);
  }

  /** An output that was made has to find its reader, or its frames are lost. */
  async #awaitReader(): Promise<void> {
    const { createOutput, timeoutMs } = this.#options;
    const { signal } = this.#session;
    const { name, framesWritten } = this.#writer;
    if (!createOutput) return;
    const deadline = performance.now() + timeoutMs;
    if (await this.#writer.isReaderConnectedAsync(timeoutMs, { signal })) return;
    // An answer before the deadline means that one came and went.
    if (performance.now() < deadline) return;
    throw new CommandError(
      "INCOMPLETE",
      `No reader has come for buffer "${name}" within ${timeoutMs} ms; what was passed on (${count(framesWritten, "frames")}) is lost.`,
      "Start its reader earlier, or wait longer (--timeout-ms; 0: for ever).",
    );
  }

  /** Before each wait: what it takes is not counted, and there is time to tell. */
  #pause(): void {
    this.stopwatch.mark();
    this.#tell(this.#writer.framesWritten);
  }

  async #turn(): Promise<void> {
    this.#pause();
    this.#forwardMetadata();
    await this.#turns.turn();
    this.#session.signal.throwIfAborted();
  }

  #logProgress(): void {
    this.#session.log?.info(`Relayed ${count(this.#writer.framesWritten, "frames")}.`);
  }

  /** A failure to deliver, after the one that ends the run. */
  #noteLoss(error: unknown): void {
    if (error instanceof CommandError && error.code !== "INTERRUPTED")
      this.#document.errors.push(error.message);
  }

  #incomplete(): CommandError {
    const { name } = this.#reader;
    const { frames } = this.#options;
    return new CommandError(
      "INCOMPLETE",
      `The writer of buffer "${name}" has left after ${grouped(this.#writer.framesWritten)} of ${count(frames, "frames")}.`,
      "Have it write more, or ask for fewer (--frames).",
    );
  }
}
