// The reader's loop: frames out of a buffer, looked at and passed on.

import { type Frame, PeerTimeoutError, type Reader, WriterDeadError } from "../core/index.ts";
import { type Pattern, PatternFrames } from "../core/patterns.ts";
import { TurnKeeper } from "../core/turn.ts";
import type { ReaderDocument } from "./documents.ts";
import { CommandError, DownstreamClosed } from "./failure.ts";
import { count } from "./figures.ts";
import type { FrameOutput } from "./frame-output.ts";
import type { Session } from "./session.ts";
import type { ByteOutput } from "./streams.ts";
import { Stopwatch } from "./timing.ts";

/** The checksums that go into the result; the log has them all. */
export const MAX_CHECKSUMS = 100;

/** What to do with the frames, and how long to wait for them. */
export interface IntakeOptions {
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
export interface Outputs {
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
  /** Frames of the batch so far, not released yet. */
  readonly #held: Frame[] = [];
  /** Frames taken so far; the number of the next one. */
  #taken = 0;
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
  }

  /** Reads until there is enough, or the writer has gone, or nobody is downstream any more. */
  async run(): Promise<void> {
    try {
      await this.#readWriters();
    } catch (error) {
      if (error instanceof DownstreamClosed) return;
      // What was taken out of the buffer is still to be delivered.
      await this.#flush().catch((lost) => this.#noteLoss(lost));
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
    const { batchSize, frames } = this.#options;
    const output = this.#outputs.frames;
    while (frames === 0 || this.#taken < frames) {
      let frame = this.#reader.tryReadFrame();
      if (!frame.isValid) frame = await this.#waitForFrame();
      this.stopwatch.start();
      if (!this.#hasMetadata) await this.#takeMetadata();
      this.#examine(frame, this.#taken++);
      if (output !== undefined && !output.append(frame.data)) await this.#writeFrame(output, frame);
      this.#held.push(frame);
      if (this.#held.length >= batchSize) this.#release();
      if (this.#turns.isDue(frame.size)) await this.#turn();
    }
    this.#release();
    this.#pause();
  }

  async #waitForFrame(): Promise<Frame> {
    const { timeoutMs } = this.#options;
    const { signal } = this.#session;
    const { name } = this.#reader;
    this.#release();
    await this.#flush();
    this.#pause();
    const frame = await this.#reader.readFrameAsync(timeoutMs, { signal });
    if (frame.isValid) return frame;
    throw new CommandError(
      "TIMEOUT",
      `No frame has come through buffer "${name}" within ${timeoutMs} ms; its writer is still connected.`,
      "See why the writer is idle, or wait longer (--timeout-ms; 0: for ever).",
    );
  }

  /** Looks at the frame's bytes, where that was asked for. */
  #examine(frame: Frame, number: number): void {
    const { size = frame.size, checksum } = this.#options;
    if (number === 0) this.#document.frame_size = this.#options.size ?? frame.size;
    if (frame.size !== size) {
      this.#countError(number, `it has ${frame.size} bytes`);
    } else if (this.#expected !== undefined && !this.#expected.matches(frame.sequence - 1, frame.data)) {
      this.#countError(
        number,
        `it is not the ${this.#expected.pattern} pattern of sequence ${frame.sequence}`,
      );
    }
    if (checksum) this.#addChecksum(number, frame.data);
  }

  #countError(number: number, what: string): void {
    this.#document.verification_errors++;
    this.#document.first_error_frame ??= number;
    this.#session.log?.warn(`Frame ${number} is wrong: ${what}.`);
  }

  #addChecksum(frame: number, data: Uint8Array): void {
    const checksum = new Bun.CryptoHasher("md5").update(data).digest("hex");
    if (frame < MAX_CHECKSUMS) this.#document.checksums.push({ frame, checksum });
    this.#session.log?.info(`Frame ${frame} has MD5 ${checksum}.`);
  }

  /** Waits for the output to take a frame; no other one is held meanwhile. */
  async #writeFrame(output: FrameOutput, frame: Frame): Promise<void> {
    this.#release();
    await this.#session.finish(output.write(frame.data));
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
    if (output !== undefined) await this.#session.finish(output.write(metadata));
  }

  #release(): void {
    for (const frame of this.#held) frame.release();
    this.#held.length = 0;
  }

  async #flush(): Promise<void> {
    if (this.#outputs.frames !== undefined) await this.#session.finish(this.#outputs.frames.flush());
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
      `The writer of buffer "${name}" has left after ${this.#taken} of ${count(this.#options.frames, "frames")}.`,
      "Have it write more, or ask for fewer (--frames).",
    );
  }
}

function ignoreDownstreamClosed(error: unknown): void {
  if (!(error instanceof DownstreamClosed)) throw error;
}
