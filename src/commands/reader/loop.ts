// The reader's loop: takes frames from a buffer, checks them and writes them to the output.

import { addLaterFailure, DownstreamClosed } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { FrameOutput } from "../../cli/frame-output.ts";
import type { Session } from "../../cli/session.ts";
import type { ByteOutput } from "../../cli/streams.ts";
import { LoopClock, ShortWait } from "../../cli/timing.ts";
import { FrameBatch, type Reader, STAMP_SIZE, WriterDeadError } from "../../core/index.ts";
import type { ReaderDocument } from "../../schemas/reader.ts";
import { Examination, type ExaminationOptions } from "./examination.ts";
import { type Selection, UNSTAMPED } from "./selection.ts";
import { allOf, type Batch, newestOf, type Take } from "./takes.ts";

/** Batches up to this many bytes are handled so quickly that their frames are released together. */
const MAX_UNIT_SIZE = 64 * 1024;

/** What to do with the frames, and how long to wait for them. */
interface ReaderLoopOptions extends ExaminationOptions {
  /** Frames to read; 0: until the writer leaves. */
  readonly frames: number;
  readonly batchSize: number;
  /** Whether to take the newest frame each time. */
  readonly latest: boolean;
  /** Whether frames have stamps. */
  readonly stamp: boolean;
  /** What to deliver, if not all of every frame. */
  readonly selection: Selection | undefined;
  /** Whether to continue with the next writer when one leaves. */
  readonly follow: boolean;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Where frames and metadata go, if anywhere. */
interface Outputs {
  readonly frames: FrameOutput | undefined;
  readonly metadata: ByteOutput | undefined;
}

/** Reads the frames of one writer, or of one writer after another. */
export class ReaderLoop {
  readonly #reader: Reader;
  readonly #options: ReaderLoopOptions;
  readonly #outputs: Outputs;
  readonly #session: Session;
  readonly #document: ReaderDocument;
  readonly #clock: LoopClock;
  readonly #input: FrameInput;
  readonly #examination: Examination;
  readonly #take: Take;
  /** Whether each frame is checked. */
  readonly #examines: boolean;
  /** Batches that are not released yet, because `batchSize` frames are released together, and their number of frames. */
  readonly #held: Batch[] = [];
  #heldFrames = 0;
  #frames = 0;
  #bytes = 0;
  #lastSequence = 0;
  /** Whether the metadata of the current writer has been read, if there is any. */
  #hasMetadata = false;
  #hasReplacedFiles = false;

  /** @param report is called every few milliseconds with the frames and bytes read so far. */
  constructor(
    reader: Reader,
    options: ReaderLoopOptions,
    outputs: Outputs,
    session: Session,
    document: ReaderDocument,
    report: (frames: number, bytes: number) => void,
  ) {
    this.#reader = reader;
    this.#options = options;
    this.#outputs = outputs;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () => report(this.#frames, this.#bytes));
    this.#take = options.latest ? newestOf(reader) : allOf(reader);
    this.#input = new FrameInput(reader, options, session, () => outputs.frames?.checkReader());
    this.#examination = new Examination(options, document, session.log, this.#clock);
    this.#examines = this.#examination.isWanted;
  }

  /** Frames delivered so far. */
  get frames(): number {
    return this.#frames;
  }

  /** Frames skipped so far. */
  get skipped(): number {
    return this.#reader.framesSkipped + (this.#options.selection?.skipped ?? 0);
  }

  /** Bytes of those frames. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Time from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** Reads until there are enough frames, the writer has left, or the output is closed. */
  async run(): Promise<void> {
    try {
      await this.#readWriters();
    } catch (error) {
      if (error instanceof DownstreamClosed) return;
      // Frames that were taken from the buffer must still be delivered.
      await this.#flush().catch((lost) => lost !== error && addLaterFailure(this.#document.errors, lost));
      throw error;
    }
    await this.#flush().catch(ignoreDownstreamClosed);
  }

  /** Reads the frames of one writer; with `follow`, of one writer after another. */
  async #readWriters(): Promise<void> {
    const { follow, frames } = this.#options;
    for (;;) {
      await this.#input.awaitWriter();
      this.#hasMetadata = false;
      try {
        await this.#readFrames();
        return;
      } catch (error) {
        if (!(error instanceof WriterDeadError)) throw error;
        await this.#takeMetadata({ beforeFrame: false });
        this.#input.noteDeparture(error);
        if (follow) continue;
        if (error.reason === "died") throw error;
        if (frames > 0) throw this.#input.incomplete(this.#frames, frames);
        return;
      }
    }
  }

  /**
   * Reads the frames of one writer until there are enough.
   *
   * @throws WriterDeadError when the writer has left or died and all its frames are read.
   */
  async #readFrames(): Promise<void> {
    const { frames, timeoutMs } = this.#options;
    const wait = new ShortWait(timeoutMs);
    while (frames === 0 || this.#frames < frames) {
      const most = Math.min(this.#room, frames === 0 ? Number.POSITIVE_INFINITY : frames - this.#frames);
      const shortWaitMs = this.#isAtRest ? wait.milliseconds : 0;
      let batch = this.#take(most, shortWaitMs);
      wait.note(batch.length > 0);
      if (batch.length === 0) {
        // What ended the short wait may be a signal, whose listeners run at a turn.
        if (shortWaitMs > 0) await this.#clock.turn();
        batch = await this.#waitForFrames(most);
      }
      this.#clock.start();
      this.#noteFirst(batch);
      if (!this.#hasMetadata) await this.#takeMetadata({ beforeFrame: true });
      if (!this.#takeAtOnce(batch)) await this.#takeOneByOne(batch);
      if (this.#clock.isDue(batch.size, batch.length)) await this.#clock.turn();
    }
    this.#release();
    this.#clock.pause();
  }

  /** Whether every frame read so far is released and written. */
  get #isAtRest(): boolean {
    return this.#heldFrames === 0 && (this.#outputs.frames?.isEmpty ?? true);
  }

  /** The number of frames that may be taken before others are released. */
  get #room(): number {
    const { batchSize } = this.#options;
    return batchSize === 1 ? Number.MAX_SAFE_INTEGER : batchSize - this.#heldFrames;
  }

  async #waitForFrames(most: number): Promise<Batch> {
    this.#release();
    await this.#flush();
    this.#clock.pause();
    return this.#input.blockForFrames(
      (waitMs) => {
        const batch = this.#take(most, waitMs);
        return batch.length > 0 ? batch : undefined;
      },
      () => this.#clock.turn(),
    );
  }

  /** Notes if a batch holds the first frame of all, or the first frame of another writer. */
  #noteFirst(batch: Batch): void {
    if (this.#frames === 0) {
      const stampSize = this.#options.stamp ? STAMP_SIZE : 0;
      this.#document.frame_size = this.#options.size ?? Math.max(0, batch.sizeOf(0) - stampSize);
    }
    const isNew = bringsNewWriter(batch, this.#lastSequence);
    this.#lastSequence = batch.sequenceOf(batch.length - 1);
    if (!this.#hasMetadata || !isNew) return;
    this.#input.noteSuccession();
    this.#hasMetadata = false;
  }

  /** Reads the writer's metadata, once: it arrives before the first frame, or never. */
  async #takeMetadata({ beforeFrame }: { beforeFrame: boolean }): Promise<void> {
    if (this.#hasMetadata) return;
    this.#hasMetadata = true;
    const metadata = this.#reader.getMetadata();
    if (beforeFrame || metadata.length > 0) this.#replaceFiles();
    if (metadata.length === 0) return;
    this.#document.metadata_size = metadata.length;
    this.#session.log?.info(`Received ${count(metadata.length, "bytes")} of metadata.`);
    const output = this.#outputs.metadata;
    output?.restart();
    if (output !== undefined) await this.#deliver(output.write(metadata));
  }

  /** Removes what the files held before, once: when the first frame or metadata arrives. */
  #replaceFiles(): void {
    if (this.#hasReplacedFiles) return;
    this.#hasReplacedFiles = true;
    this.#outputs.frames?.restart();
    this.#outputs.metadata?.restart();
  }

  /** Takes a whole batch if its frames are small and need no check; returns false otherwise. */
  #takeAtOnce(batch: Batch): boolean {
    const output = this.#outputs.frames;
    if (this.#examines || this.#options.selection !== undefined) return false;
    if (batch.size > MAX_UNIT_SIZE || !(batch instanceof FrameBatch)) return false;
    if (output !== undefined && !output.appendBatch(batch)) return false;
    this.#frames += batch.length;
    this.#bytes += batch.size;
    this.#hold(batch);
    return true;
  }

  async #takeOneByOne(batch: Batch): Promise<void> {
    const { batchSize, selection } = this.#options;
    for (let i = 0; i < batch.length; i++) {
      const data = batch.dataOf(i);
      const chosen = selection === undefined ? data : selection.choose(data);
      if (chosen === UNSTAMPED) this.#examination.refuse(this.#frames, data);
      if (chosen !== undefined) this.#bytes += data.length;
      const work = chosen && chosen !== UNSTAMPED ? this.#takeOne(batch, i, chosen) : undefined;
      if (work !== undefined) await work;
      if (chosen !== undefined) this.#frames++;
      if (batchSize === 1 && batch.size > MAX_UNIT_SIZE) batch.release(i + 1);
      if (this.#clock.isDue(data.length)) await this.#clock.turn();
    }
    this.#hold(batch);
  }

  /** Checks and writes the bytes of a frame. Returns a promise if that takes time. */
  #takeOne(batch: Batch, i: number, data: Uint8Array): Promise<void> | undefined {
    const output = this.#outputs.frames;
    const work = this.#examines
      ? this.#examination.check(this.#frames, batch.sequenceOf(i), data)
      : undefined;
    if (work !== undefined) return work.then(() => this.#write(batch, i, data));
    return output === undefined || output.append(data) ? undefined : this.#write(batch, i, data);
  }

  async #write(batch: Batch, i: number, data: Uint8Array): Promise<void> {
    const output = this.#outputs.frames;
    if (output === undefined || output.append(data)) return;
    // Release the frames before this one: the output may take a long time.
    this.#release();
    batch.release(i);
    await this.#deliver(output.write(data));
  }

  /** Keeps a batch until `batchSize` frames can be released together. */
  #hold(batch: Batch): void {
    this.#held.push(batch);
    this.#heldFrames += batch.length;
    if (this.#heldFrames >= this.#options.batchSize) this.#release();
  }

  #release(): void {
    for (const batch of this.#held) batch.release();
    this.#held.length = 0;
    this.#heldFrames = 0;
  }

  async #flush(): Promise<void> {
    if (this.#outputs.frames !== undefined) await this.#deliver(this.#outputs.frames.flush());
  }

  /** Waits for a write. If it fails, the time until then counts. */
  async #deliver(write: Promise<void>): Promise<void> {
    try {
      await this.#session.finish(write);
    } catch (error) {
      this.#clock.mark();
      throw error;
    }
  }
}

function ignoreDownstreamClosed(error: unknown): void {
  if (!(error instanceof DownstreamClosed)) throw error;
}

/** Whether a batch holds the first frame of a writer: the frames of each writer are numbered from 1. */
function bringsNewWriter(batch: Batch, lastSequence: number): boolean {
  const first = batch.sequenceOf(0);
  return first <= lastSequence || batch.sequenceOf(batch.length - 1) - first !== batch.length - 1;
}
