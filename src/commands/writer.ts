// zerobuffer writer: frames of a pattern or of a byte stream, into a buffer.

import { maxFrameSize } from "../core/config.ts";
import { FRAMINGS } from "../core/framing.ts";
import { BufferFullError, Writer } from "../core/index.ts";
import { PATTERNS } from "../core/patterns.ts";
import { TurnKeeper } from "../core/turn.ts";
import { defineCommand } from "./command.ts";
import type { WriterDocument } from "./documents.ts";
import { CommandError } from "./failure.ts";
import { bytesText, count, mebibytesPerSecond, perSecond, speedText } from "./figures.ts";
import { type FrameSource, PatternSource, StreamSource } from "./frame-source.ts";
import {
  bufferName,
  choice,
  duration,
  integer,
  outputOptions,
  path,
  rate,
  size,
  text,
  type Values,
} from "./options.ts";
import { Progress } from "./progress.ts";
import { ByteInput } from "./streams.ts";
import { Pace, Stopwatch } from "./timing.ts";

const args = {
  buffer: bufferName("the buffer to write to"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "frames to write, dropped ones included; 0: without end",
    default: undefined,
    shown: "1000; all of the input with --input",
    min: 0,
  }),
  size: size({
    group: "Frames",
    alias: "s",
    description: "size of a frame",
    default: 1024,
    min: 1,
    max: 2 ** 32,
  }),
  pattern: choice(PATTERNS, {
    group: "Frames",
    description: "what the frames hold",
    valueHint: "PATTERN",
    default: undefined,
    shown: "sequential",
  }),
  input: path({
    group: "Frames",
    alias: "i",
    description: "take the frames from a file, or from stdin, instead of a pattern",
    dash: true,
  }),
  framing: choice(FRAMINGS, {
    group: "Frames",
    description:
      "frames of the input: --size bytes each, one a line, or after their length (u32, little-endian)",
    valueHint: "FRAMING",
    default: "fixed",
  }),
  metadata: text({ group: "Metadata", alias: "m", description: "metadata to send before the first frame" }),
  metadataFile: path({ group: "Metadata", description: "the same from a file" }),
  rate: rate({ group: "Pace", description: "frames a second, kept by the clock", valueHint: "PER_SECOND" }),
  batchSize: integer({ group: "Pace", description: "frames written back to back", default: 1, min: 1 }),
  delayMs: duration({ group: "Pace", description: "pause after each batch", default: 0 }),
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "how long to wait for the buffer; 0: try once",
    default: 5000,
  }),
  timeoutMs: duration({
    group: "Waiting",
    description: "how long each write waits for room; 0: for ever",
    default: 5000,
    zeroIsForever: true,
  }),
  onFull: choice(["wait", "drop", "fail"], {
    group: "Waiting",
    description: "with a frame there is no room for",
    valueHint: "POLICY",
    default: "wait",
  }),
  ...outputOptions,
};

type WriterOptions = Values<typeof args>;

const DEFAULT_FRAMES = 1000;

/** More metadata than any reader makes room for, so that a file without end is not read for ever. */
const MAX_METADATA_SIZE = 256 * 1024 * 1024;

export default defineCommand({
  meta: { name: "writer", description: "Writes frames into a buffer that a reader has made." },
  args,
  examples: [
    {
      purpose: "a test picture of 30 frames a second",
      line: "zerobuffer writer video -n 300 -s 2MiB --rate 30",
    },
    {
      purpose: "each line of a log as a frame, as they come",
      line: "tail -f app.log | zerobuffer writer log --input - --framing lines",
    },
  ],

  blank: (buffer): WriterDocument => ({
    operation: "write",
    buffer_name: buffer,
    frames_written: 0,
    frames_dropped: 0,
    bytes_written: 0,
    frame_size: null,
    metadata_size: 0,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    pattern: null,
    empty_lines_skipped: 0,
    waits: 0,
    errors: [],
  }),

  async run(options, session, document) {
    refuseContradictions(options);
    const { buffer, connectTimeoutMs, framing, size: frameSize, timeoutMs } = options;
    const { log, signal } = session;
    const pattern = options.pattern ?? "sequential";
    document.pattern = options.input === undefined ? pattern : null;
    document.frame_size = options.input === undefined || framing === "fixed" ? frameSize : null;

    const metadata = await loadMetadata(options, signal);
    const input =
      options.input === undefined ? undefined : session.own(await ByteInput.open(options.input, signal));
    const writer = session.own(
      await Writer.connect(buffer, { connectTimeoutMs, writeTimeout: timeoutMs, signal }),
    );
    const { payloadSize } = writer.config;
    log?.info(`Connected to buffer "${buffer}" of ${count(payloadSize, "bytes")}.`);

    const sizes = { frameSize, maxFrameSize: maxFrameSize(payloadSize) };
    const source =
      input === undefined
        ? new PatternSource(pattern, sizes)
        : new StreamSource(input, framing, sizes, signal);
    if (metadata !== undefined) {
      writer.setMetadata(metadata);
      document.metadata_size = metadata.length;
      log?.info(`Sent ${count(metadata.length, "bytes")} of metadata.`);
    }

    const limit = options.frames ?? (input === undefined ? DEFAULT_FRAMES : 0);
    const progress = session.showsProgress
      ? session.own(await Progress.start(`Writing into ${buffer}`, limit > 0 ? limit : input?.size))
      : undefined;
    const pump = new Pump(writer, source, options, signal, (frames) =>
      progress?.update(frames, writer.bytesWritten, limit > 0 ? frames : (input?.bytesRead ?? 0)),
    );
    try {
      await pump.run(limit);
    } finally {
      fill(document, writer, pump);
      document.empty_lines_skipped = source.emptyLines;
    }
  },

  summarize(document, style, failed) {
    const { buffer_name, frames_written, frames_dropped, bytes_written, duration_seconds } = document;
    if (failed && frames_written + frames_dropped === 0) return [];
    const frames = style.bold(`Wrote ${count(frames_written, "frames")}`);
    const speed = speedText(frames_written, bytes_written, duration_seconds);
    const lines = [`${frames} (${bytesText(bytes_written)}) into ${buffer_name} ${speed}.`];
    const asides = [];
    if (frames_dropped > 0) asides.push(`Dropped ${count(frames_dropped, "frames")}.`);
    if (document.empty_lines_skipped > 0)
      asides.push(`Skipped ${count(document.empty_lines_skipped, "empty lines")}.`);
    if (asides.length > 0) lines.push(asides.join(" "));
    return lines;
  },
});

/** Moves frames from a source into a buffer, at the pace and with the patience asked for. */
class Pump {
  readonly stopwatch = new Stopwatch();
  readonly #writer: Writer;
  readonly #source: FrameSource;
  readonly #pace: Pace | undefined;
  readonly #onFull: WriterOptions["onFull"];
  readonly #signal: AbortSignal;
  readonly #tell: (frames: number) => void;
  #offered = 0;
  #dropped = 0;

  /** @param tell is told every few milliseconds how many frames are done. */
  constructor(
    writer: Writer,
    source: FrameSource,
    options: WriterOptions,
    signal: AbortSignal,
    tell: (frames: number) => void,
  ) {
    this.#writer = writer;
    this.#source = source;
    this.#pace = options.rate === undefined && options.delayMs === 0 ? undefined : new Pace(options);
    this.#onFull = options.onFull;
    this.#signal = signal;
    this.#tell = tell;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Moves up to `limit` frames, or all of them if it is 0. */
  async run(limit: number): Promise<void> {
    const turns = new TurnKeeper();
    while (limit === 0 || this.#offered < limit) {
      // A dropped frame uses no sequence number, and its pattern goes to the next one.
      const frame = this.#source.next(this.#offered - this.#dropped);
      if (frame === undefined) {
        if (await this.#more()) continue;
        return;
      }
      if (this.#pace?.isDue(this.#offered) === false) await this.#wait(this.#pace);
      this.stopwatch.start();
      if (!this.#writer.tryWriteFrame(frame) && !(await this.#insist(frame))) this.#dropped++;
      this.#pace?.done(this.#offered++);
      if (turns.isDue(frame.length)) await this.#turn(turns);
    }
    this.#pause();
  }

  /** Before each wait: what it takes is not counted, and there is time to tell. */
  #pause(): void {
    this.stopwatch.mark();
    this.#tell(this.#offered);
  }

  #more(): Promise<boolean> {
    this.#pause();
    return this.#source.more();
  }

  #wait(pace: Pace): Promise<void> {
    this.#pause();
    return pace.wait(this.#offered, this.#signal);
  }

  async #turn(turns: TurnKeeper): Promise<void> {
    this.#pause();
    await turns.turn();
    this.#signal.throwIfAborted();
  }

  /** Deals with a full buffer: whether the frame was written after all. */
  async #insist(frame: Uint8Array): Promise<boolean> {
    switch (this.#onFull) {
      case "drop":
        return false;
      case "fail":
        throw new BufferFullError("timeout", `Buffer "${this.#writer.name}" is full.`, {
          buffer: this.#writer.name,
          hint: "Its reader is slower than the writer: give it a larger buffer, or use --on-full wait or drop.",
        });
      case "wait":
        this.#pause();
        await this.#writer.writeFrameAsync(frame, { signal: this.#signal });
        return true;
    }
  }
}

function fill(document: WriterDocument, writer: Writer, { stopwatch, dropped }: Pump): void {
  const { framesWritten, bytesWritten, waits } = writer;
  document.frames_written = framesWritten;
  document.frames_dropped = dropped;
  document.bytes_written = bytesWritten;
  document.waits = waits;
  document.duration_seconds = stopwatch.seconds;
  document.throughput_mbps = mebibytesPerSecond(bytesWritten, stopwatch.seconds);
  document.frames_per_second = perSecond(framesWritten, stopwatch.seconds);
}

function refuseContradictions({ input, pattern, metadata, metadataFile }: WriterOptions): void {
  if (input !== undefined && pattern !== undefined) {
    throw new CommandError("USAGE", "Options --input and --pattern exclude each other.", "Give one of them.");
  }
  if (metadata !== undefined && metadataFile !== undefined) {
    throw new CommandError(
      "USAGE",
      "Options --metadata and --metadata-file exclude each other.",
      "Give one of them.",
    );
  }
}

/** The metadata to send. Read before the buffer is touched, so that a bad file harms nothing. */
async function loadMetadata(
  { metadata, metadataFile }: WriterOptions,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (metadataFile === undefined)
    return metadata === undefined ? undefined : new TextEncoder().encode(metadata);
  using input = await ByteInput.open(metadataFile, signal);
  const bytes = await input.readAll(MAX_METADATA_SIZE, signal);
  if (bytes.length > 0) return bytes;
  throw new CommandError(
    "USAGE",
    `Option --metadata-file takes a file that is not empty; ${metadataFile} is.`,
  );
}
