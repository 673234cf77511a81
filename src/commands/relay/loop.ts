// The relay's loop: takes frames from one buffer, transforms them and writes them to another.

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
  /** Frames to relay; 0: until the writer leaves. */
  readonly frames: number;
  readonly transform: Transform;
  readonly xorKey: number;
  readonly createOutput: boolean;
  /** Frames between two lines of the log; 0: none. */
  readonly logInterval: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Relays the frames of one writer. Each frame is copied once: from the input buffer to the output buffer. */
export class RelayLoop {
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #options: RelayLoopOptions;
  readonly #session: Session;
  readonly #document: RelayDocument;
  readonly #clock: LoopClock;
  readonly #input: FrameInput;
  readonly #transform: (bytes: Uint8Array) => void;

  /** @param report is called every few milliseconds with the frames relayed so far. */
  constructor(
    reader: Reader,
    writer: Writer,
    options: RelayLoopOptions,
    session: Session,
    document: RelayDocument,
    report: (frames: number) => void,
  ) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () => report(writer.framesWritten));
    this.#input = new FrameInput(reader, options, session, () => this.#checkBothEnds());
    this.#transform = transformFor(options.transform, options.xorKey);
  }

  /** Time from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** Relays frames until there are enough or the writer has left; then waits until they have a reader. */
  async run(): Promise<void> {
    try {
      await this.#forwardWriter();
    } catch (error) {
      // Frames that were relayed before still need a reader.
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

  /**
   * Relays the frames of the writer until there are enough.
   *
   * @throws WriterDeadError when the writer has left or died and all its frames are relayed.
   */
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

  /** Waits for room in the output. The frame stays in the input buffer meanwhile. */
  #waitForRoom(size: number): Promise<AcquiredFrame> {
    this.#clock.pause();
    return this.#writer.acquireFrameAsync(size, { signal: this.#session.signal });
  }

  /** While the relay waits for its input: metadata may arrive, and no write would notice that the output's reader left. */
  #checkBothEnds(): void {
    this.#forwardMetadata();
    this.#writer.checkReader();
  }

  #turn(): Promise<void> {
    this.#forwardMetadata();
    return this.#clock.turn();
  }

  /** Relays the metadata, once, if it has arrived. A writer usually sends it before its first frame. */
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

  /** Waits for a reader of the created output, without which its frames are lost. */
  async #awaitReader(): Promise<void> {
    const { createOutput, timeoutMs } = this.#options;
    const { signal } = this.#session;
    const { name, framesWritten } = this.#writer;
    if (!createOutput) return;
    const deadline = performance.now() + timeoutMs;
    if (await this.#writer.isReaderConnectedAsync(timeoutMs, { signal })) return;
    // An answer before the deadline means that a reader connected and left.
    if (performance.now() < deadline) return;
    throw new CommandError(
      "INCOMPLETE",
      `No reader connected to buffer "${name}" within ${timeoutMs} ms: ${count(framesWritten, "relayed frames")} lost.`,
      "Start its reader earlier, or raise --timeout-ms (0: wait forever).",
    );
  }
}
