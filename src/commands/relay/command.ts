// zerobuffer relay: creates a buffer and forwards its frames to another buffer.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, speedFigures, speedText } from "../../cli/format.ts";
import { bufferName, choice, duration, flag, integer, transferOptions } from "../../cli/options.ts";
import { rewordForWriter } from "../../cli/other-kind.ts";
import { OutputBuffer } from "../../cli/output-buffer.ts";
import { startProgress } from "../../cli/progress.ts";
import { metadataRoom, ringSize, timeoutsOf, waitMode, xorKey } from "../../cli/shared-options.ts";
import { formatDuration } from "../../cli/values.ts";
import { type BufferConfig, checkName, Reader, Writer } from "../../core/index.ts";
import { TRANSFORMS } from "../../frames/transforms.ts";
import type { RelayDocument } from "../../schemas/relay.ts";
import { RelayLoop } from "./loop.ts";

/** How long a relay that does not follow waits for the output and for a writer, and for frames and room. */
const TIMEOUTS = { connectTimeoutMs: 30_000, timeoutMs: 5000 } as const;

const args = {
  input: bufferName("name of the buffer to create and read from"),
  output: bufferName("name of the buffer to write to"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "relay this many frames, 0: until the writer leaves",
    default: 0,
    min: 0,
  }),
  transform: choice(TRANSFORMS, {
    group: "Frames",
    description: "change the bytes of each frame",
    valueHint: "TRANSFORM",
    default: "none",
  }),
  xorKey: xorKey({ group: "Frames", description: "set the key of --transform xor" }),
  follow: flag({
    group: "Frames",
    description: "continue with the next writer or reader when one leaves",
    note:
      "--follow waits forever for writers, readers, frames and room, unless a timeout is given. Frames wait for the next " +
      "reader, or with --on-full drop are dropped.",
  }),
  createOutput: flag({
    group: "Buffers",
    description: "create the output if it is missing, for a reader of zerobuffer",
  }),
  bufferSize: ringSize({ group: "Buffers", description: "set the ring size of created buffers" }),
  metadataSize: metadataRoom({ group: "Buffers" }),
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "wait for the output, then for a writer, 0: forever",
    default: undefined,
    shown: formatDuration(TIMEOUTS.connectTimeoutMs),
    zeroIsForever: true,
  }),
  timeoutMs: duration({
    group: "Waiting",
    description: "wait for each frame and for room, 0: forever",
    note: "--timeout-ms also limits the wait for a reader of the output after --create-output.",
    default: undefined,
    shown: formatDuration(TIMEOUTS.timeoutMs),
    zeroIsForever: true,
  }),
  onFull: choice(["wait", "drop"], {
    group: "Waiting",
    description: "handle a full output",
    note: "--on-full drop drops frames that do not fit; --frames counts them too.",
    valueHint: "POLICY",
    default: "wait",
  }),
  logInterval: integer({
    group: "Output",
    description: "log every COUNT frames with --verbose, 0: never",
    default: 100,
    min: 0,
  }),
  wait: waitMode(),
  ...transferOptions,
};

export default defineCommand({
  meta: { name: "relay", description: "Creates a buffer and forwards its frames to another buffer." },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "relay from a camera that writes to raw to a display that reads from shown",
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
    frames_dropped: 0,
    metadata_relayed: false,
    metadata_size: 0,
    total_bytes: 0,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    transform: "none",
    reconnects: 0,
    errors: [],
  }),

  async run(options, session, document) {
    const { frames, wait } = options;
    const { connectTimeoutMs, timeoutMs } = timeoutsOf(options, TIMEOUTS);
    const { log, signal } = session;
    document.transform = options.transform;
    checkNames(options.input, options.output);

    const configOf = (place: "input" | "output"): BufferConfig => {
      const { bufferSize, metadataSize } = { ...options, ...session.sizes.get(place) };
      return { metadataSize, payloadSize: bufferSize };
    };
    // The input comes first, so that its writer can start while the relay waits for the output.
    const reader = session.own(await Reader.create(options.input, configOf("input"), { wait, signal }));
    session.events?.emit("ready", { buffer: reader.name });
    log?.info(`Created buffer "${reader.name}" of ${count(reader.config.payloadSize, "bytes")}.`);
    const writer = await Writer.connect(options.output, {
      connectTimeoutMs,
      writeTimeout: timeoutMs,
      create: options.createOutput ? configOf("output") : undefined,
      wait,
      signal,
    });
    const output = session.own(new OutputBuffer(writer, { ...options, connectTimeoutMs }, session));
    const verb = writer.isReaderConnected() ? "Connected to" : "Created";
    log?.info(`${verb} buffer "${writer.name}" of ${count(writer.config.payloadSize, "bytes")}.`);

    const progress = await startProgress(session, "Relaying", frames > 0 ? frames : undefined);
    const loop = new RelayLoop(
      reader,
      output,
      { ...options, connectTimeoutMs, timeoutMs },
      session,
      document,
      (frames) => progress?.update(frames, output.bytesWritten, frames),
    );
    try {
      await loop.run();
    } catch (error) {
      output.fail(error);
      throw error;
    } finally {
      fill(document, output, loop);
    }
  },

  reword: rewordForWriter,

  summarize(document, style, failed) {
    const { input_buffer, output_buffer, frames_relayed, frames_dropped, total_bytes, duration_seconds } =
      document;
    if (failed && frames_relayed + frames_dropped === 0) return [];
    const frames = style.bold(`Relayed ${count(frames_relayed, "frames")}`);
    const speed = speedText(frames_relayed, total_bytes, duration_seconds);
    const lines = [
      `${frames} (${bytesText(total_bytes)}) from ${input_buffer} to ${output_buffer} ${speed}.`,
    ];
    if (frames_dropped > 0) lines.push(`Dropped ${count(frames_dropped, "frames")}.`);
    return lines;
  },
});

/** Checks both names before either buffer is touched. */
function checkNames(input: string, output: string): void {
  checkName(input);
  checkName(output);
  if (input !== output) return;
  throw new CommandError(
    "USAGE",
    `Input and output are both buffer "${input}".`,
    "Name two different buffers.",
  );
}

function fill(document: RelayDocument, output: OutputBuffer, { seconds }: RelayLoop): void {
  const { framesWritten, bytesWritten } = output;
  document.frames_relayed = framesWritten;
  document.frames_dropped = output.dropped;
  document.reconnects = output.reconnects;
  document.total_bytes = bytesWritten;
  Object.assign(document, speedFigures(framesWritten, bytesWritten, seconds));
}
