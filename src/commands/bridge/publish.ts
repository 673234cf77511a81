// zerobuffer bridge publish: creates a buffer and publishes its frames over NATS.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, speedFigures, speedText } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { Log } from "../../cli/log.ts";
import {
  bufferName,
  choice,
  duration,
  flag,
  integer,
  size,
  text,
  transferOptions,
  type Values,
} from "../../cli/options.ts";
import { startProgress } from "../../cli/progress.ts";
import { metadataRoom, ringSize, timeoutsOf, waitMode, whoMayConnect } from "../../cli/shared-options.ts";
import { formatDuration } from "../../cli/values.ts";
import { checkName, Reader } from "../../core/index.ts";
import { newRun } from "../../frames/wire.ts";
import type { BridgePublishDocument } from "../../schemas/bridge-publish.ts";
import { Broker } from "./broker.ts";
import { CoreCourier } from "./core-courier.ts";
import { explainBroker } from "./errors.ts";
import { accessOf, brokerOptions, saysOutages } from "./options.ts";
import { PublishLoop } from "./publish-loop.ts";
import { JetStream, StreamCourier } from "./stream.ts";
import { brokerName, type Subjects, subjectOption, subjectsOf } from "./subjects.ts";

/** How long a publisher that does not follow waits for the broker, for a writer, and for each frame. */
const TIMEOUTS = { connectTimeoutMs: 30_000, timeoutMs: 5000 } as const;

/** The least room for bytes in a message. */
const LEAST_ROOM = 64;

const args = {
  buffer: bufferName("name of the buffer to create"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "publish this many frames, 0: until the writer leaves",
    default: 0,
    min: 0,
  }),
  follow: flag({
    group: "Frames",
    description: "continue with the next writer when one leaves",
    note: "--follow waits forever for the server, for writers and for frames, unless a timeout is given.",
  }),
  bufferSize: ringSize({ group: "Buffer", description: "set the ring size" }),
  metadataSize: metadataRoom({ group: "Buffer" }),
  mode: whoMayConnect({ group: "Buffer" }),
  ...brokerOptions,
  subject: subjectOption,
  stream: text({
    group: "Stream",
    description: "keep the frames in this JetStream stream",
    valueHint: "NAME",
  }),
  streamStorage: choice(["file", "memory"], {
    group: "Stream",
    description: "choose where a new stream is",
    valueHint: "STORAGE",
    default: "file",
  }),
  streamMaxBytes: size({
    group: "Stream",
    description: "drop the oldest frames beyond this size",
    default: undefined,
    shown: "no limit",
    min: 1,
  }),
  streamMaxAge: duration({
    group: "Stream",
    description: "drop frames older than this",
    default: undefined,
    shown: "no limit",
  }),
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "wait for the server, then for a writer, 0: forever",
    default: undefined,
    shown: formatDuration(TIMEOUTS.connectTimeoutMs),
    zeroIsForever: true,
  }),
  timeoutMs: duration({
    group: "Waiting",
    description: "wait for each frame, 0: forever",
    default: undefined,
    shown: formatDuration(TIMEOUTS.timeoutMs),
    zeroIsForever: true,
  }),
  onOutage: choice(["wait", "drop"], {
    group: "Waiting",
    description: "handle frames while the server is away",
    note:
      "--on-outage wait keeps frames in the buffer, whose writer waits when it is full, and sends again what the server may " +
      "have lost; drop drops and counts them.",
    valueHint: "POLICY",
    default: "wait",
  }),
  wait: waitMode(),
  ...transferOptions,
};

export default defineCommand({
  meta: { name: "bridge publish", description: "Creates a buffer and publishes its frames over NATS." },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "let other machines see what is written to cam",
      line: "zerobuffer bridge publish cam --server nats://broker:4222 --follow",
    },
    {
      purpose: "keep the last 10 GB in a stream, so that nothing is lost while a subscriber is away",
      line: "zerobuffer bridge publish cam --stream cam --stream-max-bytes 10GB",
    },
  ],

  blank: (name): BridgePublishDocument => ({
    operation: "bridge-publish",
    buffer_name: name,
    server: null,
    subject: null,
    stream: null,
    run: null,
    frames_published: 0,
    frames_dropped: 0,
    frames_resent: 0,
    bytes_published: 0,
    metadata_size: 0,
    outages: 0,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    errors: [],
  }),

  async run(options, session, document) {
    const { frames, wait, mode, stream } = options;
    const { connectTimeoutMs, timeoutMs } = timeoutsOf(options, TIMEOUTS);
    const { log, signal } = session;
    checkName(options.buffer);
    checkStream(options);
    const subjects = subjectsOf(options.buffer, options.subject);
    const access = accessOf(options);
    const run = newRun();
    Object.assign(document, { server: access.shown, subject: subjects.frames, stream: stream ?? null, run });

    const { bufferSize, metadataSize } = { ...options, ...session.sizes.get("buffer") };
    // The buffer comes first, so that its writer can start while the publisher waits for the broker.
    const reader = session.own(
      await Reader.create(options.buffer, { metadataSize, payloadSize: bufferSize, mode }, { wait, signal }),
    );
    session.events?.emit("ready", { buffer: reader.name });
    log?.info(`Created buffer "${reader.name}" of ${count(reader.config.payloadSize, "bytes")}.`);
    const broker = await Broker.connect(access, connectTimeoutMs, session, saysOutages(options));
    const courier =
      stream === undefined
        ? new CoreCourier(broker)
        : await openStream(stream, options, broker, subjects, log);
    if (courier.room < LEAST_ROOM) throw noRoom(broker);

    const progress = await startProgress(session, "Publishing", frames > 0 ? frames : undefined);
    const input = new FrameInput(reader, { connectTimeoutMs, timeoutMs }, session, () => loop.takeMetadata());
    const loop = session.own(
      new PublishLoop(
        { reader, input, broker, courier, subjects, run },
        options,
        session,
        document,
        (sent, bytes) => progress?.update(sent, bytes, sent),
      ),
    );
    broker.subscribe(subjects.request, () => loop.answer());
    try {
      await loop.run();
    } finally {
      document.outages = broker.outages;
      document.frames_resent = loop.resent;
      Object.assign(
        document,
        speedFigures(document.frames_published, document.bytes_published, loop.seconds),
      );
    }
  },

  summarize(document, style, failed) {
    const { buffer_name, subject, frames_published, frames_dropped, frames_resent, outages } = document;
    const { bytes_published, duration_seconds } = document;
    if (failed && frames_published + frames_dropped === 0) return [];
    const frames = style.bold(`Published ${count(frames_published, "frames")}`);
    const speed = speedText(frames_published, bytes_published, duration_seconds);
    const lines = [`${frames} (${bytesText(bytes_published)}) from ${buffer_name} to ${subject} ${speed}.`];
    if (frames_dropped > 0) lines.push(`Dropped ${count(frames_dropped, "frames")}.`);
    if (outages > 0)
      lines.push(
        `The server was away ${count(outages, "times")}; ${count(frames_resent, "frames")} were sent again.`,
      );
    return lines;
  },
});

async function openStream(
  name: string,
  { streamStorage, streamMaxAge, streamMaxBytes }: Values<typeof args>,
  broker: Broker,
  subjects: Subjects,
  log: Log | undefined,
): Promise<StreamCourier> {
  const settings = { name, storage: streamStorage, maxBytes: streamMaxBytes, maxAgeMs: streamMaxAge };
  const onMade = (isAgain: boolean) => {
    if (isAgain) log?.warn(`Stream "${name}" has gone with what it kept, and was made again.`);
    else log?.info(`Made stream "${name}".`);
  };
  try {
    const courier = new StreamCourier(await JetStream.open(broker), subjects, settings, onMade);
    await courier.prepare();
    return courier;
  } catch (error) {
    throw explainBroker(error, broker.shown);
  }
}

function checkStream({ stream, streamMaxAge, streamMaxBytes }: Values<typeof args>): void {
  brokerName("--stream", stream);
  for (const [flag, value] of Object.entries({
    "--stream-max-age": streamMaxAge,
    "--stream-max-bytes": streamMaxBytes,
  })) {
    if (value !== undefined && stream === undefined)
      throw new CommandError("USAGE", `Option ${flag} needs --stream.`, "Name the stream, too.");
  }
}

function noRoom({ shown, maxPayload }: Broker): CommandError {
  return new CommandError(
    "RESOURCE_EXHAUSTED",
    `The NATS server ${shown} takes messages of up to ${count(maxPayload, "bytes")} (max_payload), which have no room for frames.`,
    "Raise max_payload in the configuration of the server: 8MB suits pictures.",
  );
}
