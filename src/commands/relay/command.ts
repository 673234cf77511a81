// zerobuffer relay: creates a buffer and forwards its frames to one or more other buffers.

import type { AddressSizes } from "../../cli/address.ts";
import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, grouped, speedFigures, speedText } from "../../cli/format.ts";
import {
  bufferName,
  bufferNames,
  choice,
  duration,
  flag,
  integer,
  type Option,
  transferOptions,
} from "../../cli/options.ts";
import { rewordForWriter } from "../../cli/other-kind.ts";
import { OutputBuffer } from "../../cli/output-buffer.ts";
import { startProgress } from "../../cli/progress.ts";
import { metadataRoom, ringSize, timeoutsOf, waitMode, xorKey } from "../../cli/shared-options.ts";
import { formatDuration } from "../../cli/values.ts";
import { type BufferConfig, checkName, Reader, Writer } from "../../core/index.ts";
import { TRANSFORMS } from "../../frames/transforms.ts";
import type { RelayDocument, RelayedTo } from "../../schemas/relay.ts";
import { RelayLoop } from "./loop.ts";
import { RelayOutput } from "./output.ts";

/** How long a relay that does not follow waits for the output and for a writer, and for frames and room. */
const TIMEOUTS = { connectTimeoutMs: 30_000, timeoutMs: 5000 } as const;

const POLICIES = ["wait", "drop"] as const;

/** An output as it is named on the command line: `NAME`, `NAME:wait` or `NAME:drop`. */
interface NamedOutput {
  readonly text: string;
  readonly name: string;
  /** What to do with it when it is full, if that is given. */
  readonly onFull: (typeof POLICIES)[number] | undefined;
}

/** Undefined if what follows the colon is no policy. */
function parseOutput(text: string): NamedOutput | undefined {
  const [name = "", ...rest] = text.split(":");
  if (rest.length === 0) return { text, name, onFull: undefined };
  const onFull = POLICIES.find((policy) => policy === rest.join(":"));
  return onFull && { text, name, onFull };
}

const outputNames: Option<readonly NamedOutput[]> = {
  ...bufferNames("names of the buffers to write to; also NAME:wait, NAME:drop"),
  takes: "the name of a buffer, also with :wait or :drop behind it",
  absent: [],
  parse: (text) => {
    const output = parseOutput(text);
    return output && [output];
  },
};

const args = {
  input: bufferName("name of the buffer to create and read from"),
  output: outputNames,
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
      "reader, or with --on-full drop are dropped. Without it, an output whose reader is gone is left out; the relay goes on " +
      "with the others, and fails at its end.",
  }),
  noSharing: flag({
    group: "Frames",
    description: "copy all frames",
    note:
      "Frames of 4096 bytes and more are passed on without a copy if the reader of an output allows it, as zerobuffer reader " +
      "does. They take room in the input until all outputs have released them. --no-sharing copies them instead: use it if " +
      "the writer is a C++ program with version 1.2.8 or older.",
  }),
  createOutput: flag({
    group: "Buffers",
    description: "create missing outputs, for readers of zerobuffer",
  }),
  bufferSize: ringSize({ group: "Buffers", description: "set the ring size of created buffers" }),
  metadataSize: metadataRoom({ group: "Buffers" }),
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "wait for the outputs, then for a writer, 0: forever",
    default: undefined,
    shown: formatDuration(TIMEOUTS.connectTimeoutMs),
    zeroIsForever: true,
  }),
  timeoutMs: duration({
    group: "Waiting",
    description: "wait for each frame and for room, 0: forever",
    note: "--timeout-ms also limits the wait for a reader of an output after --create-output.",
    default: undefined,
    shown: formatDuration(TIMEOUTS.timeoutMs),
    zeroIsForever: true,
  }),
  onFull: choice(POLICIES, {
    group: "Waiting",
    description: "handle full outputs",
    note:
      "--on-full wait: the slowest output sets the pace. drop: an output gets copies, and misses those that do not fit; --frames " +
      "counts them too. NAME:drop and NAME:wait set it for one output.",
    valueHint: "POLICY",
    default: "wait",
  }),
  maxLag: integer({
    group: "Waiting",
    description: "let an output hold this many shared frames",
    note: "--max-lag makes the relay wait for an output that holds as many; by default it waits when the input is full.",
    default: undefined,
    min: 1,
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
  meta: { name: "relay", description: "Creates a buffer and forwards its frames to other buffers." },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "relay from a camera that writes to raw to a display that reads from shown",
      line: "zerobuffer relay raw shown --transform reverse",
    },
    {
      purpose: "relay from one camera to a display, a recorder, and a model that may miss frames",
      line: "zerobuffer relay cam shown recorded model:drop",
    },
    {
      purpose: "queue up to 1 GiB of frames until the display starts",
      line: "zerobuffer relay raw shown --create-output --buffer-size 1GiB --timeout-ms 1m",
    },
  ],

  blank: (input, output): RelayDocument => ({
    operation: "relay",
    input_buffer: input,
    output_buffer: output === null ? null : (parseOutput(output)?.name ?? output),
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
    outputs: [],
    errors: [],
  }),

  async run(options, session, document) {
    const { frames, noSharing, wait } = options;
    const { connectTimeoutMs, timeoutMs } = timeoutsOf(options, TIMEOUTS);
    const { log, signal } = session;
    document.transform = options.transform;
    checkNames(options.input, options.output);

    const configOf = (sizes: AddressSizes | undefined): BufferConfig => {
      const { bufferSize, metadataSize } = { ...options, ...sizes };
      return { metadataSize, payloadSize: bufferSize };
    };
    // The input comes first, so that its writer can start while the relay waits for the outputs.
    const inputConfig = configOf(session.sizes.get("input"));
    const allowPayloadSharing = !noSharing;
    const reader = session.own(
      await Reader.create(options.input, inputConfig, { wait, allowPayloadSharing, signal }),
    );
    session.events?.emit("ready", { buffer: reader.name });
    log?.info(`Created buffer "${reader.name}" of ${count(reader.config.payloadSize, "bytes")}.`);
    const connect = async (output: NamedOutput, signal: AbortSignal) => {
      const { name, onFull = options.onFull, text } = output;
      const writer = await Writer.connect(name, {
        ...{ connectTimeoutMs, writeTimeout: timeoutMs, wait, signal, maxFramesLent: options.maxLag },
        create: options.createOutput ? configOf(session.sizes.get(`output ${text}`)) : undefined,
        // Frames that an output may miss must not keep their room in the input.
        source: !noSharing && onFull === "wait" ? reader.sharing : undefined,
      });
      const { follow } = options;
      const buffer = session.own(new OutputBuffer(writer, { follow, onFull, connectTimeoutMs }, session));
      const verb = writer.isReaderConnected() ? "Connected to" : "Created";
      log?.info(`${verb} buffer "${name}" of ${count(writer.config.payloadSize, "bytes")}.`);
      return new RelayOutput(name, buffer, session);
    };
    const outputs = await allOf(options.output, signal, connect);

    const progress = await startProgress(session, "Relaying", frames > 0 ? frames : undefined);
    const loop = new RelayLoop(
      reader,
      outputs,
      { ...options, connectTimeoutMs, timeoutMs },
      session,
      document,
      (frames, bytes) => progress?.update(frames, bytes, frames),
    );
    try {
      await loop.run();
    } catch (error) {
      fill(document, outputs, loop);
      if (!loop.isComplete) for (const { buffer } of outputs) buffer.fail(error);
      throw error;
    }
    fill(document, outputs, loop);
  },

  reword: rewordForWriter,

  summarize(document, style, failed) {
    const { duration_seconds, frames_dropped, frames_relayed, input_buffer, outputs, total_bytes } = document;
    if (failed && frames_relayed + frames_dropped === 0) return [];
    const frames = style.bold(`Relayed ${count(frames_relayed, "frames")}`);
    const speed = speedText(frames_relayed, total_bytes, duration_seconds);
    const [first] = outputs;
    const target = outputs.length === 1 ? first?.buffer : count(outputs.length, "buffers");
    const lines = [`${frames} (${bytesText(total_bytes)}) from ${input_buffer} to ${target} ${speed}.`];
    if (outputs.length > 1) return [...lines, ...outputs.map(outputText)];
    if (first !== undefined && first.frames_shared > 0)
      lines.push(`Passed on ${count(first.frames_shared, "frames")} without a copy.`);
    if (frames_dropped > 0) lines.push(`Dropped ${count(frames_dropped, "frames")}.`);
    return lines;
  },
});

/** What became of the frames for one of several outputs. */
function outputText({ buffer, frames_dropped, frames_relayed, frames_shared }: RelayedTo): string {
  const parts = [count(frames_relayed, "frames")];
  if (frames_shared > 0) parts.push(`${grouped(frames_shared)} without a copy`);
  if (frames_dropped > 0) parts.push(`${grouped(frames_dropped)} dropped`);
  return `  ${buffer}: ${parts.join(", ")}.`;
}

/** Checks all names before any buffer is touched. */
function checkNames(input: string, outputs: readonly NamedOutput[]): void {
  checkName(input);
  const known = new Set([input]);
  for (const { name } of outputs) {
    checkName(name);
    if (known.has(name)) {
      const message =
        name === input
          ? `Input and output are both buffer "${input}".`
          : `Two outputs are both buffer "${name}".`;
      throw new CommandError("USAGE", message, "Name different buffers.");
    }
    known.add(name);
  }
}

/** Connects to all outputs at once. If one fails, the others are not waited for any longer. */
async function allOf(
  outputs: readonly NamedOutput[],
  signal: AbortSignal,
  connect: (output: NamedOutput, signal: AbortSignal) => Promise<RelayOutput>,
): Promise<RelayOutput[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const connecting = outputs.map((output) => connect(output, either));
  try {
    return await Promise.all(connecting);
  } catch (error) {
    failed.abort();
    await Promise.allSettled(connecting);
    throw error;
  }
}

function fill(document: RelayDocument, outputs: readonly RelayOutput[], loop: RelayLoop): void {
  for (const output of outputs) output.noteSharing();
  document.outputs = outputs.map(({ result }) => result);
  document.frames_relayed = loop.framesRelayed;
  document.frames_dropped = loop.framesDropped;
  document.reconnects = outputs.reduce((sum, { buffer }) => sum + buffer.reconnects, 0);
  document.total_bytes = loop.bytesRelayed;
  Object.assign(document, speedFigures(loop.framesRelayed, loop.bytesRelayed, loop.seconds));
}
