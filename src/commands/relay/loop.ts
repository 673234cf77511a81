// The relay's loop: frames out of one buffer, transformed on their way into another.

import { addLaterFailure, CommandError } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock, ShortWait } from "../../cli/timing.ts";
import {
  type AcquiredFrame,
  type Frame,
  type Reader,
  type Writer,
  WriterDeadError,
} from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE, type Transform, transformFor } from "../../frames/transforms.ts";
import type { RelayDocument } from "../../schemas/relay.ts";

/** What to do with the frames, and how long to wait for them. */
export interface RelayLoopOptions {
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
export class RelayLoop {
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #options: RelayLoopOptions;
  readonly #session: Session;
  readonly #document: RelayDocument;
  readonly #clock: LoopClock;
  readonly #input: FrameInput;
  readonly #transform: (bytes: Uint8Array) => void;

  /** @param tell is told every few milliseconds how many frames are done. */
  constructor(
    reader: Reader,
    writer: Writer,
    options: RelayLoopOptions,
    session: Session,
    document: RelayDocument,
    tell: (frames: number) => void,
  ) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () => tell(writer.framesWritten));
    this.#input = new FrameInput(reader, options, session, () => this.#lookAround());
    this.#transform = transformFor(options.transform, options.xorKey);
  }

  /** How long it took from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** Passes frames on until there are enough, or the writer has gone; then sees to it that they have a reader. */
  async run(): Promise<void> {
    try {
      await this.#forwardWriter();
    } catch (error) {
      // What was passed on before is still to be read.
      if (this.#writer.framesWritten > 0) {
        await this.#awaitReader().catch((lost) => addLaterFailure(this.#document.errors, lost));
      }
      throw error;
    }
    await this.#awaitReader();
  }

  async #forwardWriter(): Promise<void> {
    const { frames } = this.#options;
    await this.#input.awaitWriter();
    try {
      await this.#forwardFrames();
    } catch (error) {
      if (!(error instanceof WriterDeadError)) throw error;
      this.#forwardMetadata();
      this.#session.log?.info(error.message);
      if (error.reason === "died") throw error;
      if (frames > 0) throw this.#input.incomplete(this.#writer.framesWritten, frames);
    }
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
      this.#clock.start();
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
      if (this.#clock.isDue(frame.size)) await this.#turn();
    }
    this.#clock.pause();
  }

  #waitForFrame(): Promise<Frame> {
    const { signal } = this.#session;
    this.#clock.pause();
    return this.#input.awaitFrames(async (waitMs) => {
      const frame = await this.#reader.readFrameAsync(waitMs, { signal });
      return frame.isValid ? frame : undefined;
    });
  }

  /** The frame stays where it was read meanwhile. */
  #waitForRoom(size: number): Promise<AcquiredFrame> {
    this.#clock.pause();
    return this.#writer.acquireFrameAsync(size, { signal: this.#session.signal });
  }

  /** While the input is waited for: metadata may come, and no write finds out whether the output still has its reader. */
  #lookAround(): void {
    this.#forwardMetadata();
    this.#writer.checkReader();
  }

  #turn(): Promise<void> {
    this.#forwardMetadata();
    return this.#clock.turn();
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

  #logProgress(): void {
    this.#session.log?.info(`Relayed ${count(this.#writer.framesWritten, "frames")}.`);
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
}
