// zerobuffer relay: makes a buffer, and passes its frames on to another one.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, speedFigures, speedText } from "../../cli/format.ts";
import {
  bufferName,
  choice,
  duration,
  flag,
  integer,
  outputOptions,
  size,
  waitMode,
} from "../../cli/options.ts";
import { Progress } from "../../cli/progress.ts";
import { type BufferConfig, checkName, Reader, Writer } from "../../core/index.ts";
import { TRANSFORMS } from "../../frames/transforms.ts";
import type { RelayDocument } from "../../schemas/relay.ts";
import { RelayLoop } from "./loop.ts";

const args = {
  input: bufferName("the buffer to make and read from"),
  output: bufferName("the buffer to write to"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "frames to pass on; 0: until the writer leaves",
    default: 0,
    min: 0,
  }),
  transform: choice(TRANSFORMS, {
    group: "Frames",
    description: "what to do to the bytes of each frame",
    valueHint: "TRANSFORM",
    default: "none",
  }),
  xorKey: integer({
    group: "Frames",
    description: "what --transform xor combines each byte with",
    valueHint: "BYTE",
    default: 255,
    min: 0,
    max: 255,
  }),
  createOutput: flag({
    group: "Buffers",
    description: "make the output where there is none; a reader that starts later takes it over",
  }),
  bufferSize: size({
    group: "Buffers",
    description: "size of a ring that is made; a frame takes 16 bytes more than it holds",
    default: 256 * 1024 * 1024,
    min: 17,
  }),
  metadataSize: size({
    group: "Buffers",
    description: "room for metadata in a buffer that is made, with 8 bytes for its length",
    default: 4096,
    min: 0,
  }),
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "how long to wait for the output, and then for a writer; 0: for ever",
    default: 30_000,
    zeroIsForever: true,
  }),
  timeoutMs: duration({
    group: "Waiting",
    description:
      "how long to wait for each frame, for room for it, and for the reader of an output that was made; 0: for ever",
    default: 5000,
    zeroIsForever: true,
  }),
  logInterval: integer({
    group: "Output",
    description: "with --verbose, tell after each so many frames; 0: never",
    default: 100,
    min: 0,
  }),
  wait: waitMode(),
  ...outputOptions,
};

export default defineCommand({
  meta: { name: "relay", description: "Makes a buffer and passes the frames of its writer on to another." },
  args,
  examples: [
    {
      purpose: "between a camera that writes to raw and a display that reads from shown",
      line: "zerobuffer relay raw shown --transform reverse",
    },
    {
      purpose: "queue up to 1 GiB of frames until the display starts",
      line: "zerobuffer relay raw shown --create-output --buffer-size 1GiB --timeout-ms 1m",
    },
  ],

  blank: (input, output): RelayDocument => ({
    operation: "relay",
    input_buffer: input,
    output_buffer: output,
    frames_relayed: 0,
    metadata_relayed: false,
    metadata_size: 0,
    total_bytes: 0,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    transform: "none",
    errors: [],
  }),

  async run(options, session, document) {
    const { input, output, bufferSize, connectTimeoutMs, frames, metadataSize, timeoutMs, wait } = options;
    const { log, signal } = session;
    document.transform = options.transform;
    refuseNames(input, output);

    const config: BufferConfig = { metadataSize, payloadSize: bufferSize };
    // The input comes first, so that its writer can start while the output is waited for.
    const reader = session.own(new Reader(input, config, { wait }));
    log?.info(`Made buffer "${input}" of ${count(reader.config.payloadSize, "bytes")}.`);
    const writer = session.own(
      await Writer.connect(output, {
        connectTimeoutMs,
        writeTimeout: timeoutMs,
        create: options.createOutput ? config : undefined,
        wait,
        signal,
      }),
    );
    const verb = writer.isReaderConnected() ? "Connected to" : "Made";
    log?.info(`${verb} buffer "${output}" of ${count(writer.config.payloadSize, "bytes")}.`);

    const progress = await Progress.start(session, "Relaying", frames > 0 ? frames : undefined);
    const loop = new RelayLoop(reader, writer, options, session, document, (frames) =>
      progress?.update(frames, writer.bytesWritten, frames),
    );
    try {
      await loop.run();
    } finally {
      fill(document, writer, loop);
    }
  },

  summarize(document, style, failed) {
    const { input_buffer, output_buffer, frames_relayed, total_bytes, duration_seconds } = document;
    if (failed && frames_relayed === 0) return [];
    const frames = style.bold(`Relayed ${count(frames_relayed, "frames")}`);
    const speed = speedText(frames_relayed, total_bytes, duration_seconds);
    return [`${frames} (${bytesText(total_bytes)}) from ${input_buffer} to ${output_buffer} ${speed}.`];
  },
});

/** Both names are looked at before either buffer is touched. */
function refuseNames(input: string, output: string): void {
  checkName(input);
  checkName(output);
  if (input !== output) return;
  throw new CommandError(
    "USAGE",
    `The input and the output are both buffer "${input}".`,
    "Name two different buffers.",
  );
}

function fill(
  document: RelayDocument,
  { framesWritten, bytesWritten }: Writer,
  { seconds }: RelayLoop,
): void {
  document.frames_relayed = framesWritten;
  document.total_bytes = bytesWritten;
  Object.assign(document, speedFigures(framesWritten, bytesWritten, seconds));
}
