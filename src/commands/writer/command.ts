// zerobuffer writer: writes the frames of a pattern or of a byte stream to a buffer.

import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { bytesText, count, speedFigures, speedText } from "../../cli/format.ts";
import { sourceOf } from "../../cli/frame-source.ts";
import { loadMetadata, METADATA_BYTES, metadataFile, refuseTwoMetadata } from "../../cli/metadata.ts";
import { openInput } from "../../cli/open.ts";
import {
  bufferName,
  choice,
  duration,
  flag,
  integer,
  path,
  rate,
  size,
  text,
  transferOptions,
} from "../../cli/options.ts";
import { rewordForWriter } from "../../cli/other-kind.ts";
import { OutputBuffer } from "../../cli/output-buffer.ts";
import { startProgress } from "../../cli/progress.ts";
import { framing, timeoutsOf, writersWaits } from "../../cli/shared-options.ts";
import { DEFAULT_FRAME_SIZE, frameRateOf, frameSizeOf, videoOption } from "../../cli/video.ts";
import { STAMP_SIZE, Writer } from "../../core/index.ts";
import { PATTERNS } from "../../frames/patterns.ts";
import type { WriterDocument } from "../../schemas/writer.ts";
import { WriterLoop } from "./loop.ts";

const DEFAULT_FRAMES = 1000;

/** How long a writer that does not follow waits for the buffer, and for room. */
const TIMEOUTS = { connectTimeoutMs: 5000, timeoutMs: 5000 } as const;

const args = {
  buffer: bufferName("name of the buffer to write to"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "write this many frames, 0: no limit",
    default: undefined,
    shown: `${DEFAULT_FRAMES}, all of --input`,
    min: 0,
  }),
  size: size({
    group: "Frames",
    alias: "s",
    description: "set the frame size",
    default: undefined,
    shown: `${DEFAULT_FRAME_SIZE}`,
    min: 1,
    max: 2 ** 32,
  }),
  video: videoOption({ group: "Frames", what: "frames" }),
  pattern: choice(PATTERNS, {
    group: "Frames",
    description: "fill frames",
    valueHint: "PATTERN",
    default: undefined,
    shown: "sequential",
  }),
  input: path({
    group: "Frames",
    alias: "i",
    description: "read frames from a file, or from stdin (-)",
    dash: true,
  }),
  framing: framing({ group: "Frames" }),
  stamp: flag({
    group: "Frames",
    description: "put number and time before each frame, 24 bytes",
  }),
  follow: flag({
    group: "Frames",
    description: "continue with the next reader when one leaves",
    note:
      "--follow waits forever for readers and room, unless a timeout is given. Frames wait for the next reader, or with " +
      "--on-full drop are dropped.",
  }),
  metadata: text({
    group: "Metadata",
    alias: "m",
    description: "send this text as metadata before the first frame",
    rawBytes: METADATA_BYTES,
  }),
  metadataFile: metadataFile({ group: "Metadata", what: "frame" }),
  rate: rate({
    group: "Pace",
    description: "write this many frames per second",
    valueHint: "PER_SECOND",
  }),
  batchSize: integer({
    group: "Pace",
    description: "write this many frames back to back",
    default: 1,
    min: 1,
  }),
  delayMs: duration({ group: "Pace", description: "pause after each batch", default: 0 }),
  ...writersWaits(TIMEOUTS, "the buffer"),
  ...transferOptions,
};

export default defineCommand({
  meta: { name: "writer", description: "Writes frames to a buffer that a reader has created." },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "write a test picture 30 times per second",
      line: "zerobuffer writer video -n 300 -s 2MiB --rate 30",
    },
    {
      purpose: "write each new line of a log as a frame",
      line: "tail -f app.log | zerobuffer writer log --input - --framing lines --follow",
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
    reconnects: 0,
    errors: [],
  }),

  async run(options, session, document) {
    refuseTogether({ "--input": options.input, "--pattern": options.pattern });
    refuseTwoMetadata(options);
    const { buffer, framing, video, wait } = options;
    refuseTogether(
      { "--video": video, [`--framing ${framing}`]: framing !== "fixed" },
      "Frames of raw video have one size: leave --framing out.",
    );
    const size = frameSizeOf(options.size, video);
    const { connectTimeoutMs, timeoutMs } = timeoutsOf(options, TIMEOUTS);
    const { log, signal } = session;
    const pattern = options.pattern ?? "sequential";
    document.pattern = options.input === undefined ? pattern : null;
    const frameSize = options.input === undefined || framing === "fixed" ? size : undefined;
    document.frame_size = frameSize ?? null;
    const stampSize = options.stamp ? STAMP_SIZE : 0;

    // Before the buffer is touched, so that a bad path harms nothing.
    const metadata = await loadMetadata(options, session);
    const input = await openInput(options.input, session);
    log?.info(`Connecting to buffer "${buffer}".`);
    const writer = await Writer.connect(buffer, {
      connectTimeoutMs,
      frameSize: frameSize && frameSize + stampSize,
      metadata,
      signal,
      wait,
      writeTimeout: timeoutMs,
    });
    const output = session.own(new OutputBuffer(writer, { ...options, connectTimeoutMs }, session));
    log?.info(`Connected to buffer "${buffer}" of ${count(writer.config.payloadSize, "bytes")}.`);
    if (metadata !== undefined) {
      document.metadata_size = metadata.length;
      log?.info(`Sent ${count(metadata.length, "bytes")} of metadata.`);
    }
    const source = sourceOf(input, { ...options, size }, writer.maxFrameSize - stampSize, signal);

    const limit = options.frames ?? (input === undefined ? DEFAULT_FRAMES : 0);
    const progress = await startProgress(session, "Writing", limit > 0 ? limit : input?.size);
    const rate = frameRateOf(options.rate, video, input);
    const loop = new WriterLoop(output, source, { ...options, rate }, signal, (frames) =>
      progress?.update(frames, output.bytesWritten, limit > 0 ? frames : (input?.bytesRead ?? 0)),
    );
    try {
      await loop.run(limit);
    } catch (error) {
      output.fail(error);
      throw error;
    } finally {
      fill(document, output, loop);
      document.empty_lines_skipped = source.emptyLines;
    }
  },

  reword: rewordForWriter,

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

function fill(document: WriterDocument, output: OutputBuffer, { seconds }: WriterLoop): void {
  const { framesWritten, bytesWritten } = output;
  document.frames_written = framesWritten;
  document.frames_dropped = output.dropped;
  document.bytes_written = bytesWritten;
  document.waits = output.waits;
  document.reconnects = output.reconnects;
  Object.assign(document, speedFigures(framesWritten, bytesWritten, seconds));
}
