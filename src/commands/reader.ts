// zerobuffer reader: makes a buffer, and takes the frames that a writer sends.

import { FRAMINGS } from "../core/framing.ts";
import { type Frame, PeerTimeoutError, Reader, WriterDeadError } from "../core/index.ts";
import { PATTERNS, PatternFrames } from "../core/patterns.ts";
import { TurnKeeper } from "../core/turn.ts";
import { defineCommand } from "./command.ts";
import type { ReaderDocument } from "./documents.ts";
import { CommandError } from "./failure.ts";
import { bytesText, count, mebibytesPerSecond, perSecond, speedText } from "./figures.ts";
import { FrameOutput } from "./frame-output.ts";
import {
  bufferName,
  choice,
  duration,
  flag,
  integer,
  outputOptions,
  path,
  permissions,
  size,
  type Values,
} from "./options.ts";
import { Progress } from "./progress.ts";
import type { Session } from "./session.ts";
import { ByteOutput, DownstreamClosed } from "./streams.ts";
import { Stopwatch } from "./timing.ts";

const DEFAULT_FRAME_SIZE = 1024;

/** The checksums that go into the result; --verbose tells them all. */
const MAX_CHECKSUMS = 100;

const args = {
  buffer: bufferName("the buffer to make"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "frames to read; 0: until the writer leaves",
    default: 0,
    min: 0,
  }),
  size: size({
    group: "Frames",
    alias: "s",
    description: "size that every frame has to have; checked only if given",
    default: undefined,
    shown: `${DEFAULT_FRAME_SIZE}`,
    min: 1,
    max: 2 ** 32,
  }),
  verify: choice(["none", ...PATTERNS], {
    group: "Frames",
    description: "compare each frame with a pattern",
    valueHint: "PATTERN",
    default: "none",
  }),
  checksum: flag({
    group: "Frames",
    description: `MD5 of the first ${MAX_CHECKSUMS} frames; of all with --verbose`,
  }),
  batchSize: integer({
    group: "Frames",
    description: "take up to so many frames that are there before releasing them together",
    default: 1,
    min: 1,
  }),
  follow: flag({ group: "Frames", description: "go on to the next writer when one has gone" }),
  output: path({
    group: "Files",
    alias: "o",
    description: "write the frames to a file, or to stdout",
    dash: true,
  }),
  framing: choice(FRAMINGS, {
    group: "Files",
    description: "frames in the output: end to end, one a line, or after their length (u32, little-endian)",
    valueHint: "FRAMING",
    default: "fixed",
  }),
  metadataOutput: path({ group: "Files", description: "write the metadata to a file" }),
  bufferSize: size({
    group: "Buffer",
    description: "size of the ring; a frame takes 16 bytes more than it holds",
    default: 256 * 1024 * 1024,
    min: 17,
  }),
  metadataSize: size({
    group: "Buffer",
    description: "room for metadata, with 8 bytes for its length",
    default: 4096,
    min: 0,
  }),
  mode: permissions({ group: "Buffer", description: "who may connect", shown: "0666 less the umask" }),
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "how long to wait for a writer; 0: for ever",
    default: 30_000,
    zeroIsForever: true,
  }),
  timeoutMs: duration({
    group: "Waiting",
    description: "how long to wait for each frame; 0: for ever",
    default: 5000,
    zeroIsForever: true,
  }),
  ...outputOptions,
};

type ReaderOptions = Values<typeof args>;

export default defineCommand({
  meta: { name: "reader", description: "Makes a buffer and reads the frames that a writer sends." },
  args,
  examples: [
    {
      purpose: "receive a thousand frames and check them",
      line: "zerobuffer reader video -n 1000 --verify sequential",
    },
    {
      purpose: "a byte stream, from one writer after another",
      line: "zerobuffer reader log --follow --output - --framing lines --timeout-ms 0 | grep error",
    },
  ],

  blank: (buffer): ReaderDocument => ({
    operation: "read",
    buffer_name: buffer,
    frames_read: 0,
    bytes_read: 0,
    frame_size: DEFAULT_FRAME_SIZE,
    metadata_size: 0,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    verification_errors: 0,
    first_error_frame: null,
    checksums: [],
    errors: [],
  }),

  async run(options, session, document) {
    const { buffer, bufferSize, frames, framing, metadataSize, mode } = options;
    const { log, signal } = session;
    document.frame_size = options.size ?? DEFAULT_FRAME_SIZE;

    const output =
      options.output === undefined ? undefined : session.own(await ByteOutput.open(options.output, signal));
    const metadataOutput =
      options.metadataOutput === undefined
        ? undefined
        : session.own(await ByteOutput.open(options.metadataOutput, signal));
    const reader = session.own(new Reader(buffer, { metadataSize, payloadSize: bufferSize, mode }));
    log?.info(`Made buffer "${buffer}" of ${count(reader.config.payloadSize, "bytes")}.`);
    output?.restart();
    metadataOutput?.restart();

    const progress = session.showsProgress
      ? session.own(await Progress.start(`Reading from ${buffer}`, frames > 0 ? frames : undefined))
      : undefined;
    const outputs = { frames: output && new FrameOutput(output, framing), metadata: metadataOutput };
    const intake = new Intake(reader, options, outputs, session, document, (count) =>
      progress?.update(count, reader.bytesRead, count),
    );
    try {
      await intake.run();
    } catch (error) {
      fill(document, reader, intake.stopwatch);
      if (document.verification_errors > 0) document.errors.push(verificationFailure(document).message);
      throw error;
    }
    fill(document, reader, intake.stopwatch);
    if (document.verification_errors > 0) throw verificationFailure(document);
  },

  summarize(document, style, failed) {
    const { buffer_name, frames_read, bytes_read, duration_seconds, checksums } = document;
    if (failed && frames_read === 0) return [];
    const frames = style.bold(`Read ${count(frames_read, "frames")}`);
    const speed = speedText(frames_read, bytes_read, duration_seconds);
    return [
      ...checksums.map(({ frame, checksum }) => `${checksum}  frame ${frame}`),
      `${frames} (${bytesText(bytes_read)}) from ${buffer_name} ${speed}.`,
    ];
  },
});

interface Outputs {
  readonly frames: FrameOutput | undefined;
  readonly metadata: ByteOutput | undefined;
}

/** Takes the frames of one writer, or of one after another, and does with each what was asked for. */
class Intake {
  readonly stopwatch = new Stopwatch();
  readonly #reader: Reader;
  readonly #options: ReaderOptions;
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
    options: ReaderOptions,
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
      // What was taken out of the buffer is still to be delivered; how that ends says less than the error.
      await this.#flush().catch(() => {});
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

  #incomplete(): CommandError {
    const { name } = this.#reader;
    return new CommandError(
      "INCOMPLETE",
      `The writer of buffer "${name}" has left after ${this.#taken} of ${count(this.#options.frames, "frames")}.`,
      "Have it write more, or ask for fewer (--frames).",
    );
  }
}

function fill(document: ReaderDocument, { framesRead, bytesRead }: Reader, { seconds }: Stopwatch): void {
  document.frames_read = framesRead;
  document.bytes_read = bytesRead;
  document.duration_seconds = seconds;
  document.throughput_mbps = mebibytesPerSecond(bytesRead, seconds);
  document.frames_per_second = perSecond(framesRead, seconds);
}

function verificationFailure({
  verification_errors,
  first_error_frame,
  frames_read,
}: ReaderDocument): CommandError {
  return new CommandError(
    "VERIFICATION_FAILED",
    `${count(verification_errors, "frames")} of ${frames_read} are wrong, the first is frame ${first_error_frame}.`,
    "Compare the pattern and the frame size with what the writer sends; --verbose names each frame.",
  );
}

function ignoreDownstreamClosed(error: unknown): void {
  if (!(error instanceof DownstreamClosed)) throw error;
}
