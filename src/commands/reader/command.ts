// zerobuffer reader: creates a buffer and reads the frames that a writer sends.

import { noAges } from "../../cli/ages.ts";
import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, grouped, speedFigures, speedText } from "../../cli/format.ts";
import { FrameOutput } from "../../cli/frame-output.ts";
import { openOutput, refuseSameFile } from "../../cli/open.ts";
import {
  bufferName,
  choice,
  duration,
  flag,
  integer,
  path,
  size,
  transferOptions,
  type Values,
} from "../../cli/options.ts";
import { startProgress } from "../../cli/progress.ts";
import { framing, noSharing, readersBuffer, readersWaits, timeoutsOf } from "../../cli/shared-options.ts";
import { timeText } from "../../cli/values.ts";
import { Reader } from "../../core/index.ts";
import { PATTERNS } from "../../frames/patterns.ts";
import type { ReaderDocument } from "../../schemas/reader.ts";
import { MAX_CHECKSUMS } from "./examination.ts";
import { ReaderLoop } from "./loop.ts";
import { Selection } from "./selection.ts";

const DEFAULT_FRAME_SIZE = 1024;

/** How long a reader that does not follow waits for a writer, and for each frame. */
const TIMEOUTS = { connectTimeoutMs: 30_000, timeoutMs: 5000 } as const;

const args = {
  buffer: bufferName("name of the buffer to create"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "read this many frames, 0: until the writer leaves",
    default: 0,
    min: 0,
  }),
  size: size({
    group: "Frames",
    alias: "s",
    description: "expected frame size; not checked unless given",
    default: undefined,
    min: 1,
    max: 2 ** 32,
  }),
  verify: choice(["none", ...PATTERNS], {
    group: "Frames",
    description: "check frames",
    note: "--verify compares each frame with the pattern that zerobuffer writer --pattern writes.",
    valueHint: "PATTERN",
    default: "none",
  }),
  stamp: flag({
    group: "Frames",
    description: "take the stamp off each frame, and measure its age",
  }),
  latest: flag({
    group: "Frames",
    description: "skip to the newest frame each time",
  }),
  every: integer({
    group: "Frames",
    description: "skip all but one of this many frames",
    default: 1,
    min: 1,
  }),
  maxAge: duration({
    group: "Frames",
    description: "skip older frames, with --stamp",
    default: undefined,
  }),
  checksum: flag({
    group: "Frames",
    description: `print the MD5 of the first ${MAX_CHECKSUMS} frames; log all with --verbose`,
  }),
  batchSize: integer({
    group: "Frames",
    description: "release up to this many frames together",
    default: 1,
    min: 1,
  }),
  follow: flag({
    group: "Frames",
    description: "continue with the next writer when one leaves",
    note: "--follow waits forever for writers and frames, unless a timeout is given.",
  }),
  output: path({
    group: "Files",
    alias: "o",
    description: "write frames to a file, or to stdout (-)",
    dash: true,
  }),
  framing: framing({ group: "Files" }),
  metadataOutput: path({ group: "Files", description: "write the metadata to a file" }),
  ...readersBuffer({ group: "Buffer" }),
  noSharing: noSharing({ group: "Buffer" }),
  ...readersWaits(TIMEOUTS, "a writer"),
  ...transferOptions,
};

export default defineCommand({
  meta: { name: "reader", description: "Creates a buffer and reads the frames that a writer sends." },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "receive 1000 frames and check them",
      line: "zerobuffer reader video -n 1000 --verify sequential",
    },
    {
      purpose: "print the lines of one writer after another",
      line: "zerobuffer reader log --follow --output - --framing lines | grep error",
    },
  ],

  blank: (buffer): ReaderDocument => ({
    operation: "read",
    buffer_name: buffer,
    frames_read: 0,
    bytes_read: 0,
    frames_skipped: 0,
    frames_without_age: 0,
    age_us: noAges,
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
    const { buffer, frames, framing, mode, wait } = options;
    const allowPayloadSharing = !options.noSharing;
    const { bufferSize, metadataSize } = { ...options, ...session.sizes.get("buffer") };
    const { log } = session;
    document.frame_size = options.size ?? DEFAULT_FRAME_SIZE;

    refuseContradictions(options);
    refuseSameFile({ "--output": options.output, "--metadata-output": options.metadataOutput });
    // Before the buffer is created, so that a bad path harms nothing.
    const output = await openOutput(options.output, session);
    const metadataOutput = await openOutput(options.metadataOutput, session);
    const config = { metadataSize, payloadSize: bufferSize, mode };
    const reader = session.own(
      await Reader.create(buffer, config, { wait, allowPayloadSharing, signal: session.signal }),
    );
    session.events?.emit("ready", { buffer });
    log?.info(`Created buffer "${buffer}" of ${count(reader.config.payloadSize, "bytes")}.`);

    const progress = await startProgress(session, "Reading", frames > 0 ? frames : undefined);
    const outputs = { frames: output && new FrameOutput(output, framing), metadata: metadataOutput };
    const selection = await Selection.open(options);
    const loop = new ReaderLoop(
      reader,
      { ...options, ...timeoutsOf(options, TIMEOUTS), selection },
      outputs,
      session,
      document,
      (frames, bytes) => progress?.update(frames, bytes, frames),
    );
    try {
      await loop.run();
    } catch (error) {
      fill(document, loop, selection);
      if (document.verification_errors > 0) document.errors.push(verificationFailure(document).message);
      throw error;
    }
    fill(document, loop, selection);
    if (document.verification_errors > 0) throw verificationFailure(document);
  },

  summarize(document, style, failed) {
    const { buffer_name, frames_read, frames_skipped, bytes_read, duration_seconds, checksums } = document;
    const { p50, p99, max } = document.age_us;
    if (failed && frames_read + frames_skipped === 0) return [];
    if (frames_read + frames_skipped === 0) return [`Read 0 frames from ${buffer_name}: none came.`];
    const frames = style.bold(`Read ${count(frames_read, "frames")}`);
    const speed = speedText(frames_read, bytes_read, duration_seconds);
    return [
      ...checksums.map(({ frame, checksum }) => `${checksum}  frame ${frame}`),
      `${frames} (${bytesText(bytes_read)}) from ${buffer_name} ${speed}.`,
      ...(frames_skipped > 0 ? [`Skipped ${count(frames_skipped, "frames")}.`] : []),
      ...(p50 !== null && p99 !== null && max !== null
        ? [`Age: ${timeText(p50)} at the median, 99 % up to ${timeText(p99)}, at most ${timeText(max)}.`]
        : []),
    ];
  },
});

function refuseContradictions(options: Values<typeof args>): void {
  const { every, batchSize, verify } = options;
  const others = {
    "--verify": verify === "none" ? undefined : verify,
    "--batch-size": batchSize === 1 ? undefined : batchSize,
    "--every": every === 1 ? undefined : every,
  };
  for (const [flag, value] of Object.entries(others))
    refuseTogether({ "--latest": options.latest, [flag]: value });
  if (options.maxAge === undefined || options.stamp) return;
  throw new CommandError("USAGE", "Option --max-age needs --stamp.", "The age of a frame is in its stamp.");
}

function fill(document: ReaderDocument, loop: ReaderLoop, selection: Selection | undefined): void {
  const { frames, bytes, seconds } = loop;
  document.frames_read = frames;
  document.bytes_read = bytes;
  document.frames_skipped = loop.skipped;
  document.frames_without_age = selection?.withoutAge ?? 0;
  document.age_us = selection?.agesUs ?? noAges;
  Object.assign(document, speedFigures(frames, bytes, seconds));
}

function verificationFailure({
  verification_errors,
  first_error_frame,
  frames_read,
}: ReaderDocument): CommandError {
  return new CommandError(
    "VERIFICATION_FAILED",
    `${grouped(verification_errors)} of ${count(frames_read, "frames")} failed verification; the first is frame ${first_error_frame}.`,
    "Check that --verify and --size match what the writer sends; --verbose names each frame.",
  );
}
