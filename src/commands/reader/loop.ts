// The reader's loop: frames out of a buffer, checked and written to the output.

import { addLaterFailure, DownstreamClosed } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { FrameOutput } from "../../cli/frame-output.ts";
import type { Session } from "../../cli/session.ts";
import type { ByteOutput } from "../../cli/streams.ts";
import { LoopClock, ShortWait } from "../../cli/timing.ts";
import { type FrameBatch, type Reader, WriterDeadError } from "../../core/index.ts";
import type { ReaderDocument } from "../../schemas/reader.ts";
import { Examination, type ExaminationOptions } from "./examination.ts";

/** Frames of so many bytes in all are done with so quickly that they are released together. */
const MAX_UNIT_SIZE = 64 * 1024;

/** What to do with the frames, and how long to wait for them. */
interface ReaderLoopOptions extends ExaminationOptions {
  /** Frames to read; 0: until the writer leaves. */
  readonly frames: number;
  readonly batchSize: number;
  /** Whether to go on with the next writer when one has gone. */
  readonly follow: boolean;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Where frames and metadata go, if anywhere. */
interface Outputs {
  readonly frames: FrameOutput | undefined;
  readonly metadata: ByteOutput | undefined;
}

/** Takes the frames of one writer, or of one after another, and does with each what was asked for. */
export class ReaderLoop {
  readonly #reader: Reader;
  readonly #options: ReaderLoopOptions;
  readonly #outputs: Outputs;
  readonly #session: Session;
  readonly #document: ReaderDocument;
  readonly #clock: LoopClock;
  readonly #input: FrameInput;
  readonly #examination: Examination;
  /** Whether single frames are looked at. */
  readonly #examines: boolean;
  /** What is not released yet, because `batchSize` frames are released together, and how many frames that is. */
  readonly #held: FrameBatch[] = [];
  #heldFrames = 0;
  #frames = 0;
  #bytes = 0;
  /** The writer's metadata was looked for. */
  #hasMetadata = false;

  /** @param tell is called every few milliseconds. */
  constructor(
    reader: Reader,
    options: ReaderLoopOptions,
    outputs: Outputs,
    session: Session,
    document: ReaderDocument,
    tell: (frames: number, bytes: number) => void,
  ) {
    this.#reader = reader;
    this.#options = options;
    this.#outputs = outputs;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () => tell(this.#frames, this.#bytes));
    this.#input = new FrameInput(reader, options, session);
    this.#examination = new Examination(options, document, session.log, this.#clock);
    this.#examines = this.#examination.isWanted;
  }

  /** Frames taken so far, which is the number of the next one. */
  get frames(): number {
    return this.#frames;
  }

  /** Bytes of those frames. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How long it took from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** Reads until there is enough, or the writer has gone, or nobody is downstream any more. */
  async run(): Promise<void> {
    try {
      await this.#readWriters();
    } catch (error) {
      if (error instanceof DownstreamClosed) return;
      // What was taken out of the buffer is still to be delivered.
      await this.#flush().catch((lost) => lost !== error && addLaterFailure(this.#document.errors, lost));
      throw error;
    }
    await this.#flush().catch(ignoreDownstreamClosed);
  }

  /** Reads one writer, or one after another. */
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
        await this.#takeMetadata();
        this.#session.log?.info(error.message);
        if (follow) continue;
        if (error.reason === "died") throw error;
        if (frames > 0) throw this.#input.incomplete(this.#frames, frames);
        return;
      }
    }
  }

  /** Returns when there are enough frames; a writer's departure is thrown as WriterDeadError. */
  async #readFrames(): Promise<void> {
    const { frames, timeoutMs } = this.#options;
    const wait = new ShortWait(timeoutMs);
    while (frames === 0 || this.#frames < frames) {
      const most = Math.min(this.#room, frames === 0 ? Number.POSITIVE_INFINITY : frames - this.#frames);
      const shortWaitMs = this.#isAtRest ? wait.milliseconds : 0;
      let batch =
        shortWaitMs > 0 ? this.#reader.readFrames(most, shortWaitMs) : this.#reader.tryReadFrames(most);
      wait.note(batch.length > 0);
      if (batch.length === 0) batch = await this.#waitForFrames(most);
      this.#clock.start();
      this.#noteFirst(batch);
      if (!this.#hasMetadata) await this.#takeMetadata();
      if (!this.#takeAtOnce(batch)) await this.#takeOneByOne(batch);
      if (this.#clock.isDue(batch.size, batch.length)) await this.#clock.turn();
    }
    this.#release();
    this.#clock.pause();
  }

  /** Nothing that was taken has still to be released or written. */
  get #isAtRest(): boolean {
    return this.#heldFrames === 0 && (this.#outputs.frames?.isEmpty ?? true);
  }

  /** Frames that may be taken before others are released. */
  get #room(): number {
    const { batchSize } = this.#options;
    return batchSize === 1 ? Number.MAX_SAFE_INTEGER : batchSize - this.#heldFrames;
  }

  async #waitForFrames(most: number): Promise<FrameBatch> {
    const { signal } = this.#session;
    this.#release();
    await this.#flush();
    this.#clock.pause();
    return this.#input.awaitFrames(async (waitMs) => {
      const batch = await this.#reader.readFramesAsync(most, waitMs, { signal });
      return batch.length > 0 ? batch : undefined;
    });
  }

  /** Looks whether a batch is the first of all, or of another writer. */
  #noteFirst(batch: FrameBatch): void {
    if (this.#frames === 0) this.#document.frame_size = this.#options.size ?? batch.sizeOf(0);
    if (!this.#hasMetadata || !bringsNewWriter(batch)) return;
    this.#session.log?.info(
      `Another writer has taken the last one's place at buffer "${this.#reader.name}".`,
    );
    this.#hasMetadata = false;
  }

  /** The writer's metadata: there when its first frame is, or never. */
  async #takeMetadata(): Promise<void> {
    if (this.#hasMetadata) return;
    this.#hasMetadata = true;
    const metadata = this.#reader.getMetadata();
    if (metadata.length === 0) return;
    this.#document.metadata_size = metadata.length;
    this.#session.log?.info(`Received ${count(metadata.length, "bytes")} of metadata.`);
    const output = this.#outputs.metadata;
    output?.restart();
    if (output !== undefined) await this.#deliver(output.write(metadata));
  }

  /** Takes small frames that nothing is done with but passing them on; false if they are not like that. */
  #takeAtOnce(batch: FrameBatch): boolean {
    const output = this.#outputs.frames;
    if (this.#examines || batch.size > MAX_UNIT_SIZE) return false;
    if (output !== undefined && !output.appendBatch(batch)) return false;
    this.#frames += batch.length;
    this.#bytes += batch.size;
    this.#hold(batch);
    return true;
  }

  async #takeOneByOne(batch: FrameBatch): Promise<void> {
    const { batchSize } = this.#options;
    const output = this.#outputs.frames;
    for (let i = 0; i < batch.length; i++) {
      const data = batch.dataOf(i);
      if (this.#examines) {
        const work = this.#examination.check(this.#frames, batch.sequenceOf(i), data);
        if (work !== undefined) await work;
      }
      this.#frames++;
      this.#bytes += data.length;
      if (output !== undefined && !output.append(data)) {
        // No other frame is held while the output is waited for.
        this.#release();
        batch.release(i);
        await this.#deliver(output.write(data));
      }
      if (batchSize === 1 && batch.size > MAX_UNIT_SIZE) batch.release(i + 1);
      if (this.#clock.isDue(data.length)) await this.#clock.turn();
    }
    this.#hold(batch);
  }

  /** Keeps frames until there are enough of them to be released together. */
  #hold(batch: FrameBatch): void {
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

  /** Waits until something is written, or cannot be: what was taken until then counts. */
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

/** Whether frames of another writer begin in a batch: those of one have consecutive numbers, from 1 on. */
function bringsNewWriter(batch: FrameBatch): boolean {
  const first = batch.sequenceOf(0);
  return first === 1 || batch.sequenceOf(batch.length - 1) - first !== batch.length - 1;
}
