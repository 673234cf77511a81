// zerobuffer record: creates buffers and records their frames in an MCAP file.

import { defineCommand } from "../../cli/command.ts";
import { addLaterFailure, CommandError } from "../../cli/failure.ts";
import { bytesText, count, speedFigures, speedText } from "../../cli/format.ts";
import {
  bufferNames,
  choice,
  duration,
  flag,
  integer,
  path,
  size,
  text,
  transferOptions,
} from "../../cli/options.ts";
import { startProgress } from "../../cli/progress.ts";
import { readersBuffer, readersWaits, timeoutsOf } from "../../cli/shared-options.ts";
import { version } from "../../cli/version.ts";
import { checkName, Reader, STAMP_SIZE } from "../../core/index.ts";
import type { RecordDocument } from "../../schemas/record.ts";
import { COMPRESSIONS } from "./plan.ts";
import { RecordLoop } from "./record-loop.ts";
import { Recorder } from "./recorder.ts";
import { checkTarget } from "./target.ts";

/** How long a recording that does not follow waits for writers, and for their frames. */
const TIMEOUTS = { connectTimeoutMs: 30_000, timeoutMs: 5000 } as const;

const DEFAULT_ENCODING = "application/octet-stream";

const args = {
  buffers: bufferNames("names of the buffers to create and record"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "record this many frames, 0: until the writers leave",
    default: 0,
    min: 0,
  }),
  duration: duration({
    group: "Frames",
    description: "record this long from the first frame on",
    default: undefined,
  }),
  stamp: flag({
    group: "Frames",
    description: "record the time in the stamp of each frame",
    note: "--stamp is for frames with stamps (writer --stamp): the frames keep them, and their times become publish times.",
  }),
  follow: flag({
    group: "Frames",
    description: "continue with the next writer when one leaves",
    note: "--follow waits forever for writers and frames, unless a timeout is given.",
  }),
  output: path({
    group: "File",
    alias: "o",
    description: "record in this file, or to stdout (-)",
    dash: true,
  }),
  force: flag({ group: "File", description: "replace files that exist" }),
  compression: choice(COMPRESSIONS, {
    group: "File",
    description: "compress",
    valueHint: "METHOD",
    default: "zstd",
  }),
  splitSize: size({
    group: "File",
    description: "start the next file at this size",
    note: "The files after FILE.mcap are FILE-0001.mcap, FILE-0002.mcap and so on.",
    default: 16 * 2 ** 30,
    min: 1,
  }),
  splitDuration: duration({
    group: "File",
    description: "start the next file after this time",
    default: undefined,
  }),
  encoding: text({
    group: "File",
    description: "name the encoding of the frames",
    shown: DEFAULT_ENCODING,
  }),
  schemaName: text({ group: "File", description: "name the schema of the frames" }),
  ...readersBuffer({ group: "Buffers" }),
  ...readersWaits(TIMEOUTS, "each writer"),
  ...transferOptions,
};

export default defineCommand({
  meta: { name: "record", description: "Creates buffers and records their frames in an MCAP file." },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "record two cameras until their writers have left",
      line: "zerobuffer record left right --output drive.mcap",
    },
    {
      purpose: "record for a day, whatever writers come and go, in files of an hour",
      line: "zerobuffer record cam --follow --duration 1440m --split-duration 60m --output day.mcap",
    },
  ],

  blank: (): RecordDocument => ({
    operation: "record",
    file: null,
    files: [],
    file_bytes: 0,
    channels: [],
    frames_written: 0,
    bytes_written: 0,
    unstamped_frames: 0,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    errors: [],
  }),

  async run(options, session, document) {
    const { buffers, mode, output, splitDuration, wait } = options;
    const { log, signal } = session;
    if (output === undefined) {
      throw new CommandError("USAGE", "Option --output is missing: it takes the file to record in, or -.");
    }
    checkNames(buffers);
    document.channels = buffers.map((buffer_name) => ({ buffer_name, frames: 0, bytes: 0 }));

    // Before the buffers are created, so that a bad path harms nothing.
    await checkTarget(output, options.force);
    const readers: Reader[] = [];
    for (const name of buffers) {
      const { bufferSize, metadataSize } = { ...options, ...session.sizes.get(`buffers ${name}`) };
      const config = { metadataSize, payloadSize: bufferSize, mode };
      const reader = session.own(await Reader.create(name, config, { wait, signal }));
      readers.push(reader);
      log?.info(`Created buffer "${name}" of ${count(reader.config.payloadSize, "bytes")}.`);
    }
    const recorder = await Recorder.open(
      {
        ...options,
        path: output,
        splitNs: splitDuration === undefined ? undefined : BigInt(Math.round(splitDuration * 1e6)),
        topics: buffers,
        encoding: options.encoding ?? DEFAULT_ENCODING,
        library: `zerobuffer ${version}`,
      },
      session,
    );
    for (const buffer of buffers) session.events?.emit("ready", { buffer });

    const total = options.frames > 0 ? options.frames : undefined;
    const progress = await startProgress(session, "Recording", total);
    const loop = new RecordLoop(
      recorder,
      { ...options, ...timeoutsOf(options, TIMEOUTS) },
      session,
      document,
      (frames, bytes) => progress?.update(frames, bytes, frames),
    );
    try {
      await loop.run(readers);
    } catch (error) {
      // Whatever has ended it: what was recorded gets its index.
      await recorder.end().catch((lost) => lost !== error && addLaterFailure(document.errors, lost));
      throw error;
    } finally {
      fill(document, recorder, loop);
    }
    await recorder.end();
    fill(document, recorder, loop);
    if (document.unstamped_frames > 0) throw unstamped(document);
  },

  summarize(document, style, failed) {
    const { channels, file, file_bytes, files, frames_written, bytes_written, duration_seconds } = document;
    if (failed && frames_written === 0) return [];
    const frames = style.bold(`Recorded ${count(frames_written, "frames")}`);
    const speed = speedText(frames_written, bytes_written, duration_seconds);
    const place =
      file === "-"
        ? "stdout"
        : `${file}${files.length > 1 ? ` and ${count(files.length - 1, "more files")}` : ""}`;
    return [
      `${frames} (${bytesText(bytes_written)}) in ${place} (${bytesText(file_bytes)}) ${speed}.`,
      ...(channels.length > 1
        ? channels.map(
            ({ buffer_name, frames, bytes }) =>
              `${buffer_name}: ${count(frames, "frames")}, ${bytesText(bytes)}`,
          )
        : []),
    ];
  },
});

/** @throws InvalidNameError; CommandError USAGE if a buffer is named twice. */
function checkNames(names: readonly string[]): void {
  for (const [i, name] of names.entries()) {
    checkName(name);
    if (names.indexOf(name) === i) continue;
    throw new CommandError("USAGE", `Buffer "${name}" is named twice.`, "Name each buffer once.");
  }
}

function fill(document: RecordDocument, recorder: Recorder, loop: RecordLoop): void {
  const { frames, bytes, seconds } = loop;
  const { files, bytes: fileBytes } = recorder.written;
  document.files = [...files];
  document.file = files[0] ?? null;
  document.file_bytes = fileBytes;
  document.frames_written = frames;
  document.bytes_written = bytes;
  Object.assign(document, speedFigures(frames, bytes, seconds));
}

function unstamped({ unstamped_frames, frames_written }: RecordDocument): CommandError {
  return new CommandError(
    "VERIFICATION_FAILED",
    `${count(unstamped_frames, "frames")} of ${frames_written} had fewer bytes than a stamp, which has ${STAMP_SIZE}.`,
    "They are recorded with the time at which they came. Leave --stamp out, or write with --stamp.",
  );
}
