// The reader's loop: frames out of a buffer, looked at and passed on.

import { CommandError, DownstreamClosed } from "../../cli/failure.ts";
import { count, grouped } from "../../cli/format.ts";
import type { FrameOutput } from "../../cli/frame-output.ts";
import type { Session } from "../../cli/session.ts";
import type { ByteOutput } from "../../cli/streams.ts";
import { ShortWait, Stopwatch } from "../../cli/timing.ts";
import { type FrameBatch, PeerTimeoutError, type Reader, WriterDeadError } from "../../core/index.ts";
import { type Pattern, PatternFrames } from "../../frames/patterns.ts";
import { PIECE_SIZE } from "../../frames/transforms.ts";
import { TurnKeeper } from "../../runtime/turn.ts";
import type { ReaderDocument } from "../../schemas/reader.ts";

/** The checksums that go into the result; the log has them all. */
export const MAX_CHECKSUMS = 100;

/** Frames of so many bytes in all are done with so quickly that they are released together. */
const MAX_UNIT_SIZE = 64 * 1024;

/** What to do with the frames, and how long to wait for them. */
interface IntakeOptions {
  /** Frames to read; 0: until the writer leaves. */
  readonly frames: number;
  /** The size every frame has to have, if any. */
  readonly size: number | undefined;
  readonly verify: "none" | Pattern;
  readonly checksum: boolean;
  readonly batchSize: number;
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
export class Intake {
  readonly stopwatch = new Stopwatch();
  readonly #reader: Reader;
  readonly #options: IntakeOptions;
  readonly #outputs: Outputs;
  readonly #session: Session;
  readonly #document: ReaderDocument;
  readonly #tell: (frames: number) => void;
  readonly #turns = new TurnKeeper();
  readonly #expected: PatternFrames | undefined;
  /** Whether single frames are looked at. */
  readonly #examines: boolean;
  /** What is not released yet, because `batchSize` frames are released together, and how many frames that is. */
  readonly #held: FrameBatch[] = [];
  #heldFrames = 0;
  /** Frames taken so far, which is the number of the next one, and their bytes. */
  #taken = 0;
  #takenBytes = 0;
  /** The writer's metadata was looked for. */
  #hasMetadata = false;

  /** @param tell is told every few milliseconds how many frames are done. */
  constructor(
    reader: Reader,
    options: IntakeOptions,
    outputs: Outputs,
    session: Session,
    document: ReaderDocument,
    tell: (frames: number) => void,
  ) {
    this.#reader = reader;
    this.#options = options;
    this.#outputs = outputs;
    this.#session = session;
    this.#document = document;
    this.#tell = tell;
    this.#expected = options.verify === "none" ? undefined : new PatternFrames(options.verify);
    this.#examines = options.verify !== "none" || options.size !== undefined || options.checksum;
  }

  /** Frames taken so far. */
  get frames(): number {
    return this.#taken;
  }

  /** Bytes of those frames. */
  get bytes(): number {
    return this.#takenBytes;
  }

  /** Reads until there is enough, or the writer has gone, or nobody is downstream any more. */
  async run(): Promise<void> {
    try {
      await this.#readWriters();
    } catch (error) {
      if (error instanceof DownstreamClosed) return;
      // What was taken out of the buffer is still to be delivered.
      await this.#flush().catch((lost) => lost !== error && this.#noteLoss(lost));
      throw error;
    }
    await this.#flush().catch(ignoreDownstreamClosed);
  }

  async #readWriters(): Promise<void> {
    const { follow, frames } = this.#options;
    for (;;) {
      await this.#awaitWriter();
      this.#hasMetadata = false;
      try {
        await this.#readWriter();
        return;
      } catch (error) {
        if (!(error instanceof WriterDeadError)) throw error;
        await this.#takeMetadata();
        this.#session.log?.info(error.message);
        if (follow) continue;
        if (error.reason === "died") throw error;
        if (frames > 0) throw this.#incomplete();
        return;
      }
    }
  }

  async #awaitWriter(): Promise<void> {
    const { connectTimeoutMs } = this.#options;
    const { signal, log } = this.#session;
    const { name } = this.#reader;
    const deadline = performance.now() + connectTimeoutMs;
    if (await this.#reader.isWriterConnectedAsync(connectTimeoutMs, { signal })) {
      log?.info(`A writer has connected to buffer "${name}".`);
      return;
    }
    // An answer before the deadline means that one came and went: reading tells.
    if (performance.now() < deadline) return;
    throw new PeerTimeoutError(`No writer has connected to buffer "${name}" within ${connectTimeoutMs} ms.`, {
      buffer: name,
      hint: "Start the writer, or wait longer (--connect-timeout-ms; 0: for ever).",
    });
  }

  /** Returns when there are enough frames; a writer's departure is thrown as WriterDeadError. */
  async #readWriter(): Promise<void> {
    const { frames, timeoutMs } = this.#options;
    const wait = new ShortWait(timeoutMs);
    while (frames === 0 || this.#taken < frames) {
      const most = Math.min(this.#room, frames === 0 ? Number.POSITIVE_INFINITY : frames - this.#taken);
      const shortWaitMs = this.#isAtRest ? wait.milliseconds : 0;
      let batch =
        shortWaitMs > 0 ? this.#reader.readFrames(most, shortWaitMs) : this.#reader.tryReadFrames(most);
      wait.note(batch.length > 0);
      if (batch.length === 0) batch = await this.#waitForFrames(most);
      this.stopwatch.start();
      if (this.#taken === 0) this.#document.frame_size = this.#options.size ?? batch.sizeOf(0);
      if (this.#hasMetadata && bringsNewWriter(batch)) {
        this.#session.log?.info(
          `Another writer has taken the last one's place at buffer "${this.#reader.name}".`,
        );
        this.#hasMetadata = false;
      }
      if (!this.#hasMetadata) await this.#takeMetadata();
      if (!this.#takeAtOnce(batch)) await this.#takeOneByOne(batch);
      if (this.#turns.isDue(batch.size, batch.length)) await this.#turn();
    }
    this.#release();
    this.#pause();
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

  /** Takes small frames that nothing is done with but passing them on; false if they are not like that. */
  #takeAtOnce(batch: FrameBatch): boolean {
    const output = this.#outputs.frames;
    if (this.#examines || batch.size > MAX_UNIT_SIZE) return false;
    if (output !== undefined && !output.appendBatch(batch)) return false;
    this.#taken += batch.length;
    this.#takenBytes += batch.size;
    this.#hold(batch);
    return true;
  }

  async #takeOneByOne(batch: FrameBatch): Promise<void> {
    const { batchSize } = this.#options;
    const output = this.#outputs.frames;
    for (let i = 0; i < batch.length; i++) {
      const data = batch.dataOf(i);
      if (this.#examines) {
        const sequence = batch.sequenceOf(i);
        if (data.length > PIECE_SIZE) await this.#examineInPieces(this.#taken, sequence, data);
        else this.#examine(this.#taken, sequence, data);
      }
      this.#taken++;
      this.#takenBytes += data.length;
      if (output !== undefined && !output.append(data)) {
        // No other frame is held while the output is waited for.
        this.#release();
        batch.release(i);
        await this.#deliver(output.write(data));
      }
      if (batchSize === 1 && batch.size > MAX_UNIT_SIZE) batch.release(i + 1);
      if (this.#turns.isDue(data.length)) await this.#turn();
    }
    this.#hold(batch);
  }

  /** Keeps frames until there are enough of them to be released together. */
  #hold(batch: FrameBatch): void {
    this.#held.push(batch);
    this.#heldFrames += batch.length;
    if (this.#heldFrames >= this.#options.batchSize) this.#release();
  }

  async #waitForFrames(most: number): Promise<FrameBatch> {
    const { timeoutMs } = this.#options;
    const { signal } = this.#session;
    const { name } = this.#reader;
    this.#release();
    await this.#flush();
    this.#pause();
    const batch = await this.#reader.readFramesAsync(most, timeoutMs, { signal });
    if (batch.length > 0) return batch;
    throw new CommandError(
      "TIMEOUT",
      `No frame has come through buffer "${name}" within ${timeoutMs} ms; its writer is still connected.`,
      "See why the writer is idle, or wait longer (--timeout-ms; 0: for ever).",
    );
  }

  /** Looks at the frame's bytes, where that was asked for. */
  #examine(number: number, sequence: number, data: Uint8Array): void {
    const expected = this.#expected;
    if (this.#checkSize(number, data) && expected?.matches(sequence - 1, data) === false) {
      this.#countMismatch(number, sequence);
    }
    if (this.#options.checksum) this.#addChecksum(number, new Bun.CryptoHasher("md5").update(data));
  }

  /** {@link #examine}, with turns of the event loop between the pieces of a large frame. */
  async #examineInPieces(number: number, sequence: number, data: Uint8Array): Promise<void> {
    const expected = this.#expected;
    if (this.#checkSize(number, data) && expected !== undefined) {
      while (!expected.prepare(sequence - 1, data.length)) await this.#turn();
      const isRight = await this.#eachPiece(data, (start, end) =>
        expected.matches(sequence - 1, data, start, end),
      );
      if (!isRight) this.#countMismatch(number, sequence);
    }
    if (!this.#options.checksum) return;
    const hasher = new Bun.CryptoHasher("md5");
    await this.#eachPiece(data, (start, end) => {
      hasher.update(data.subarray(start, end));
      return true;
    });
    this.#addChecksum(number, hasher);
  }

  /** Works on a frame piece by piece, until it is told to stop; whether that was not the case. */
  async #eachPiece(data: Uint8Array, work: (start: number, end: number) => boolean): Promise<boolean> {
    for (let start = 0; start < data.length; start += PIECE_SIZE) {
      if (!work(start, Math.min(data.length, start + PIECE_SIZE))) return false;
      await this.#turn();
    }
    return true;
  }

  #checkSize(number: number, data: Uint8Array): boolean {
    const { size = data.length } = this.#options;
    if (data.length !== size) this.#countError(number, `it has ${data.length} bytes`);
    return data.length === size;
  }

  #countMismatch(number: number, sequence: number): void {
    this.#countError(number, `it is not the ${this.#expected?.pattern} pattern of sequence ${sequence}`);
  }

  #countError(number: number, what: string): void {
    this.#document.verification_errors++;
    this.#document.first_error_frame ??= number;
    this.#session.log?.warn(`Frame ${number} is wrong: ${what}.`);
  }

  #addChecksum(frame: number, hasher: Bun.CryptoHasher): void {
    const checksum = hasher.digest("hex");
    if (frame < MAX_CHECKSUMS) this.#document.checksums.push({ frame, checksum });
    this.#session.log?.info(`Frame ${frame} has MD5 ${checksum}.`);
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
      this.stopwatch.mark();
      throw error;
    }
  }

  /** Before each wait: what it takes is not counted, and there is time to tell. */
  #pause(): void {
    this.stopwatch.mark();
    this.#tell(this.#taken);
  }

  async #turn(): Promise<void> {
    this.#pause();
    await this.#turns.turn();
    this.#session.signal.throwIfAborted();
  }

  /** A failure to deliver, after the one that ends the run. */
  #noteLoss(error: unknown): void {
    if (error instanceof CommandError && error.code !== "INTERRUPTED")
      this.#document.errors.push(error.message);
  }

  #incomplete(): CommandError {
    const { name } = this.#reader;
    return new CommandError(
      "INCOMPLETE",
      `The writer of buffer "${name}" has left after ${grouped(this.#taken)} of ${count(this.#options.frames, "frames")}.`,
      "Have it write more, or ask for fewer (--frames).",
    );
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
