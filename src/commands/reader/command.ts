// zerobuffer reader: makes a buffer, and takes the frames that a writer sends.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, grouped, speedFigures, speedText } from "../../cli/format.ts";
import { FrameOutput } from "../../cli/frame-output.ts";
import { openOutput } from "../../cli/open.ts";
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
  waitMode,
} from "../../cli/options.ts";
import { Progress } from "../../cli/progress.ts";
import { Reader } from "../../core/index.ts";
import { FRAMINGS } from "../../frames/framing.ts";
import { PATTERNS } from "../../frames/patterns.ts";
import type { ReaderDocument } from "../../schemas/reader.ts";
import { MAX_CHECKSUMS } from "./examination.ts";
import { ReaderLoop } from "./loop.ts";

const DEFAULT_FRAME_SIZE = 1024;

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
  wait: waitMode(),
  ...outputOptions,
};

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
    const { buffer, bufferSize, frames, framing, metadataSize, mode, wait } = options;
    const { log } = session;
    document.frame_size = options.size ?? DEFAULT_FRAME_SIZE;

    // Before the buffer is made, so that a bad path harms nothing.
    const output = await openOutput(options.output, session);
    const metadataOutput = await openOutput(options.metadataOutput, session);
    const reader = session.own(new Reader(buffer, { metadataSize, payloadSize: bufferSize, mode }, { wait }));
    log?.info(`Made buffer "${buffer}" of ${count(reader.config.payloadSize, "bytes")}.`);
    output?.restart();
    metadataOutput?.restart();

    const progress = await Progress.start(session, "Reading", frames > 0 ? frames : undefined);
    const outputs = { frames: output && new FrameOutput(output, framing), metadata: metadataOutput };
    const loop = new ReaderLoop(reader, options, outputs, session, document, (frames, bytes) =>
      progress?.update(frames, bytes, frames),
    );
    try {
      await loop.run();
    } catch (error) {
      fill(document, loop);
      if (document.verification_errors > 0) document.errors.push(verificationFailure(document).message);
      throw error;
    }
    fill(document, loop);
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

function fill(document: ReaderDocument, { frames, bytes, seconds }: ReaderLoop): void {
  document.frames_read = frames;
  document.bytes_read = bytes;
  Object.assign(document, speedFigures(frames, bytes, seconds));
}

function verificationFailure({
  verification_errors,
  first_error_frame,
  frames_read,
}: ReaderDocument): CommandError {
  return new CommandError(
    "VERIFICATION_FAILED",
    `Of ${count(frames_read, "frames")} ${grouped(verification_errors)} failed verification, the first of them frame ${first_error_frame}.`,
    "Compare the pattern and the frame size with what the writer sends; --verbose names each frame.",
  );
}
