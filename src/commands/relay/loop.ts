// The relay's loop: takes frames from one buffer, transforms them and writes them to another.

import { addLaterFailure, CommandError } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { OutputBuffer } from "../../cli/output-buffer.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock, ShortWait } from "../../cli/timing.ts";
import { type Frame, type Reader, WriterDeadError } from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE, type Transform, transformFor } from "../../frames/transforms.ts";
import type { RelayDocument } from "../../schemas/relay.ts";

/** What to do with the frames, and how long to wait for them. */
export interface RelayLoopOptions {
  /** Frames to relay; 0: until the writer leaves. */
  readonly frames: number;
  /** Whether to continue with the next writer when one leaves. */
  readonly follow: boolean;
  readonly transform: Transform;
  readonly xorKey: number;
  readonly createOutput: boolean;
  /** Frames between two lines of the log; 0: none. */
  readonly logInterval: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Relays the frames of one writer, or of one after another. Each is copied once: from the input buffer to the output buffer. */
export class RelayLoop {
  readonly #reader: Reader;
  readonly #output: OutputBuffer;
  readonly #options: RelayLoopOptions;
  readonly #session: Session;
  readonly #document: RelayDocument;
  readonly #clock: LoopClock;
  readonly #input: FrameInput;
  readonly #transform: (bytes: Uint8Array) => void;
  /** Frames taken from the input, relayed or dropped. */
  #taken = 0;
  /** Number of the last frame of the current writer. */
  #lastSequence = 0;
  /** Whether the metadata of the current writer has been relayed. */
  #hasMetadata = false;
  /** Whether to look for it before the next frame: a writer usually sends it before its first one. */
  #isMetadataDue = true;

  /** @param report is called every few milliseconds with the frames taken so far. */
  constructor(
    reader: Reader,
    output: OutputBuffer,
    options: RelayLoopOptions,
    session: Session,
    document: RelayDocument,
    report: (frames: number) => void,
  ) {
    this.#reader = reader;
    this.#output = output;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () => report(this.#taken));
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
      await this.#forwardWriters();
    } catch (error) {
      // Frames that were relayed before still need a reader.
      if (this.#output.framesWritten > 0) {
        await this.#awaitReader().catch((lost) => addLaterFailure(this.#document.errors, lost));
      }
      throw error;
    }
    await this.#awaitReader();
  }

  /** Relays the frames of one writer; with `follow`, of one writer after another. */
  async #forwardWriters(): Promise<void> {
    const { follow, frames } = this.#options;
    for (;;) {
      await this.#input.awaitWriter();
      try {
        await this.#forwardFrames();
        return;
      } catch (error) {
        if (!(error instanceof WriterDeadError)) throw error;
        await this.#forwardMetadata();
        this.#input.noteDeparture(error);
        if (follow) {
          this.#expectMetadata();
          continue;
        }
        if (error.reason === "died") throw error;
        if (frames > 0) throw this.#input.incomplete(this.#taken, frames);
        return;
      }
    }
  }

  /**
   * Relays the frames of the writer until there are enough.
   *
   * @throws WriterDeadError when the writer has left or died and all its frames are relayed.
   */
  async #forwardFrames(): Promise<void> {
    const { frames, logInterval, timeoutMs } = this.#options;
    const wait = new ShortWait(timeoutMs);
    const reader = this.#reader;
    while (frames === 0 || this.#taken < frames) {
      const shortWaitMs = wait.milliseconds;
      let frame: Frame = shortWaitMs > 0 ? reader.readFrame(shortWaitMs) : reader.tryReadFrame();
      wait.note(frame.isValid);
      if (!frame.isValid) frame = await this.#waitForFrame();
      this.#clock.start();
      // Another writer may have taken over unseen.
      if (frame.sequence === 1 && this.#lastSequence > 0) {
        this.#input.noteSuccession();
        this.#expectMetadata();
      }
      this.#lastSequence = frame.sequence;
      if (this.#isMetadataDue && this.#output.isConnected) {
        this.#isMetadataDue = false;
        await this.#forwardMetadata();
      }
      const work = this.#forward(frame);
      if (work !== undefined) await work;
      frame.release();
      this.#taken++;
      if (logInterval > 0 && this.#taken % logInterval === 0) this.#logProgress();
      if (this.#clock.isDue(frame.size)) await this.#turn();
    }
    this.#clock.pause();
  }

  #waitForFrame(): Promise<Frame> {
    this.#clock.pause();
    return this.#input.awaitFrames(async (waitMs) => {
      const frame = this.#reader.readFrame(waitMs);
      if (frame.isValid) return frame;
      await this.#clock.turn();
      return undefined;
    });
  }

  /** Relays a frame if it fits now and is not large; otherwise returns a promise. */
  #forward(frame: Frame): Promise<void> | undefined {
    if (frame.size > PIECE_SIZE) return this.#forwardInPieces(frame);
    const slot = this.#output.tryAcquire(frame.size);
    if (slot === undefined) return this.#forwardLater(frame);
    this.#fill(slot.data, frame);
    return undefined;
  }

  /** Relays a frame when there is room, or drops it. It stays in the input buffer meanwhile. */
  async #forwardLater(frame: Frame): Promise<void> {
    this.#clock.pause();
    const slot = await this.#output.acquire(frame.size);
    if (slot !== undefined) this.#fill(slot.data, frame);
  }

  #fill(place: Uint8Array, frame: Frame): void {
    frame.copyTo(place);
    this.#transform(place);
    this.#output.writer.commitFrame();
  }

  /** Relays a large frame, taking turns with the event loop. */
  async #forwardInPieces(frame: Frame): Promise<void> {
    let slot = this.#output.tryAcquire(frame.size);
    if (slot === undefined) {
      this.#clock.pause();
      slot = await this.#output.acquire(frame.size);
    }
    if (slot === undefined) return;
    await copyInPieces(frame.data, slot.data, this.#options, () => this.#clock.turn());
    this.#output.writer.commitFrame();
  }

  /** While the relay waits for its input: metadata may arrive, and no write would notice that the output's reader left. */
  async #checkBothEnds(): Promise<void> {
    this.#output.check();
    await this.#forwardMetadata();
  }

  async #turn(): Promise<void> {
    await this.#forwardMetadata();
    await this.#clock.turn();
  }

  /** The next metadata is that of another writer. */
  #expectMetadata(): void {
    this.#lastSequence = 0;
    this.#hasMetadata = false;
    this.#isMetadataDue = true;
  }

  /** Relays the metadata of the writer, once, if it has arrived and there is a reader. */
  async #forwardMetadata(): Promise<void> {
    if (this.#hasMetadata || !this.#output.isConnected) return;
    const metadata = this.#reader.getMetadata();
    if (metadata.length === 0) return;
    this.#hasMetadata = true;
    this.#isMetadataDue = false;
    await this.#output.sendMetadata(metadata);
    this.#document.metadata_relayed = true;
    this.#document.metadata_size = metadata.length;
    this.#session.log?.info(`Relayed ${count(metadata.length, "bytes")} of metadata.`);
  }

  #logProgress(): void {
    this.#session.log?.info(`Relayed ${count(this.#output.framesWritten, "frames")}.`);
  }

  /** Waits for a reader of the created output, without which its frames are lost. */
  async #awaitReader(): Promise<void> {
    const { createOutput, timeoutMs } = this.#options;
    const { signal } = this.#session;
    if (!createOutput) return;
    await this.#output.connected();
    const { writer } = this.#output;
    const deadline = performance.now() + timeoutMs;
    if (await writer.isReaderConnectedAsync(timeoutMs, { signal })) return this.#output.noteReader();
    // An answer before the deadline means that a reader connected and left.
    if (performance.now() < deadline) return;
    throw new CommandError(
      "INCOMPLETE",
      `No reader connected to buffer "${writer.name}" within ${timeoutMs} ms: ${count(writer.framesWritten, "relayed frames")} lost.`,
      "Start its reader earlier, or raise --timeout-ms (0: wait forever).",
    );
  }
}
