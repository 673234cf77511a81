// zerobuffer bridge subscribe: writes the frames that a publisher sends over NATS to a buffer.

import { Ages, noAges } from "../../cli/ages.ts";
import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, speedFigures, speedText } from "../../cli/format.ts";
import {
  bufferName,
  choice,
  duration,
  flag,
  integer,
  text,
  transferOptions,
  type Values,
} from "../../cli/options.ts";
import { rewordForWriter } from "../../cli/other-kind.ts";
import { OutputBuffer } from "../../cli/output-buffer.ts";
import { startProgress } from "../../cli/progress.ts";
import type { Session } from "../../cli/session.ts";
import { timeoutsOf, waitMode } from "../../cli/shared-options.ts";
import { formatDuration, timeText } from "../../cli/values.ts";
import { checkName, Writer } from "../../core/index.ts";
import { Runs } from "../../frames/wire.ts";
import type { BridgeSubscribeDocument } from "../../schemas/bridge-subscribe.ts";
import { Broker } from "./broker.ts";
import { CoreSource } from "./core-source.ts";
import { explainBroker } from "./errors.ts";
import { accessOf, brokerOptions, saysOutages } from "./options.ts";
import { Receiver } from "./receiver.ts";
import { JetStream } from "./stream.ts";
import { parseStart, type Start, StreamSource } from "./stream-source.ts";
import { brokerName, type Subjects, subjectOption, subjectsOf } from "./subjects.ts";
import { SubscribeLoop } from "./subscribe-loop.ts";

/** How long a subscriber that does not follow waits for the broker, the reader and the publisher, and for room. */
const TIMEOUTS = { connectTimeoutMs: 30_000, timeoutMs: 5000 } as const;

/** How long a publisher whose frames a stream has kept may be silent when those of another one follow, in milliseconds. */
const DECIDE_MS = 2500;

const args = {
  buffer: bufferName("name of the buffer to write to"),
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "write this many frames, 0: until the publisher leaves",
    default: 0,
    min: 0,
  }),
  follow: flag({
    group: "Frames",
    description: "continue with the next publisher or reader when one leaves",
    note: "--follow waits forever for the server, publishers, readers and room, unless a timeout is given.",
  }),
  ...brokerOptions,
  subject: subjectOption,
  queue: text({
    group: "Broker",
    description: "share the frames with all subscribers that name the same group",
    note: "With --queue each frame goes to one subscriber of the group, and must fit one message of the server (max_payload).",
    valueHint: "GROUP",
  }),
  stream: text({ group: "Stream", description: "read from this JetStream stream", valueHint: "NAME" }),
  durable: text({
    group: "Stream",
    description: "continue where the subscriber of this name stopped",
    note: "Each --durable name has one subscriber at a time: two would tear the frames between them.",
    valueHint: "NAME",
  }),
  start: {
    ...text({
      group: "Stream",
      description: "choose where to start",
      note:
        "--start takes new, first or last, for frames of the stream, the number of a message in it, or a time such as " +
        "2026-05-01T12:00:00Z. A --durable name that is known continues where it stopped.",
      valueHint: "START",
      shown: "new",
    }),
    takes: "new, first, last, a sequence number, or a time such as 2026-05-01T12:00:00Z",
    absent: undefined as Start | undefined,
    parse: parseStart,
  },
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "wait for server, reader and publisher, 0: forever",
    default: undefined,
    shown: formatDuration(TIMEOUTS.connectTimeoutMs),
    zeroIsForever: true,
  }),
  timeoutMs: duration({
    group: "Waiting",
    description: "wait for room, 0: forever",
    default: undefined,
    shown: formatDuration(TIMEOUTS.timeoutMs),
    zeroIsForever: true,
  }),
  deadAfterMs: duration({
    group: "Waiting",
    description: "treat a publisher as dead after this silence",
    default: 5000,
  }),
  onFull: choice(["wait", "drop"], {
    group: "Waiting",
    description: "handle a full buffer",
    note:
      "--on-full wait keeps up to 64 MiB of frames that wait for room, and drops and counts what comes beyond; with --stream " +
      "the server keeps them. --on-full drop drops frames that do not fit.",
    valueHint: "POLICY",
    default: "wait",
  }),
  wait: waitMode(),
  ...transferOptions,
};

export default defineCommand({
  meta: {
    name: "bridge subscribe",
    description: "Writes the frames that a publisher sends over NATS to a buffer.",
  },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "show here what another machine writes to cam",
      line: "zerobuffer bridge subscribe cam --server nats://broker:4222 --follow",
    },
    {
      purpose: "read a stream from its first frame, and go on there after a restart",
      line: "zerobuffer bridge subscribe cam --stream cam --durable archive --start first",
    },
  ],

  blank: (name): BridgeSubscribeDocument => ({
    operation: "bridge-subscribe",
    buffer_name: name,
    server: null,
    subject: null,
    queue: null,
    stream: null,
    durable: null,
    frames_received: 0,
    bytes_received: 0,
    frames_lost: 0,
    frames_torn: 0,
    frames_dropped: 0,
    frames_too_large: 0,
    frames_duplicate: 0,
    frames_refused: 0,
    messages_refused: 0,
    publishers: 0,
    metadata_size: 0,
    is_shared: false,
    outages: 0,
    reconnects: 0,
    age_us: noAges,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    errors: [],
  }),

  async run(options, session, document) {
    const { wait, queue, stream, durable } = options;
    const { connectTimeoutMs, timeoutMs } = timeoutsOf(options, TIMEOUTS);
    const { log, signal } = session;
    checkName(options.buffer);
    checkSource(options);
    const subjects = subjectsOf(options.buffer, options.subject);
    const access = accessOf(options);
    const named = { queue: queue ?? null, stream: stream ?? null, durable: durable ?? null };
    Object.assign(document, { server: access.shown, subject: subjects.frames, ...named });

    const broker = await Broker.connect(access, connectTimeoutMs, session, saysOutages(options));
    const writer = await Writer.connect(options.buffer, {
      connectTimeoutMs,
      writeTimeout: timeoutMs,
      wait,
      signal,
    });
    const output = session.own(new OutputBuffer(writer, { ...options, connectTimeoutMs }, session));
    log?.info(`Connected to buffer "${writer.name}" of ${count(writer.config.payloadSize, "bytes")}.`);

    const progress = await startProgress(
      session,
      "Receiving",
      options.frames > 0 ? options.frames : undefined,
    );
    const ages = await Ages.open();
    const loop = session.own(
      new SubscribeLoop(
        output,
        broker,
        subjects.frames,
        { ...options, connectTimeoutMs },
        session,
        (frames, bytes) => progress?.update(frames, bytes, frames),
      ),
    );
    const manner = {
      seesAll: queue === undefined,
      ask: stream === undefined ? () => core.ask() : undefined,
    };
    const runs = new Runs(options.deadAfterMs, stream === undefined ? undefined : DECIDE_MS);
    const receiver = new Receiver(output, runs, manner, loop, session, loop.clock, ages);
    const core = new CoreSource(broker, subjects, queue, receiver);
    let kept: StreamSource | undefined;
    try {
      if (stream === undefined) core.open();
      else {
        core.openForSigns();
        kept = await openStream(
          stream,
          { ...options, connectTimeoutMs },
          { broker, subjects, receiver, session, loop },
        );
      }
      // The server knows of it: what is published from now on comes.
      await broker.race(broker.connection.flush());
      session.events?.emit("ready", { buffer: writer.name });
      kept?.run();
      await loop.run(receiver, () => (kept ?? core).isIdle);
    } catch (error) {
      output.fail(error);
      throw error;
    } finally {
      await kept?.close();
      if (kept?.isShared) document.errors.push(sharedText(durable));
      const { framesWritten, bytesWritten, reconnects } = output;
      Object.assign(
        document,
        receiver.counts,
        speedFigures(framesWritten, bytesWritten, loop.clock.seconds),
        {
          frames_received: framesWritten,
          bytes_received: bytesWritten,
          reconnects,
          outages: broker.outages,
          is_shared: kept?.isShared ?? false,
          age_us: ages.summaryUs,
        },
      );
    }
  },

  reword: rewordForWriter,

  summarize(document, style, failed) {
    const { subject, buffer_name, frames_received, bytes_received, duration_seconds } = document;
    const { p50, p99, max } = document.age_us;
    const others = OTHER_COUNTS.filter(([key]) => document[key] > 0);
    if (failed && frames_received === 0 && others.length === 0) return [];
    const frames = style.bold(`Received ${count(frames_received, "frames")}`);
    const speed = speedText(frames_received, bytes_received, duration_seconds);
    const lines = [`${frames} (${bytesText(bytes_received)}) from ${subject} to ${buffer_name} ${speed}.`];
    if (document.is_shared) lines.push(sharedText(document.durable));
    for (const [key, what] of others) lines.push(`${what}: ${count(document[key], "frames")}.`);
    if (p50 !== null && p99 !== null && max !== null)
      lines.push(
        `Age: ${timeText(p50)} at the median, 99 % up to ${timeText(p99)}, at most ${timeText(max)}.`,
      );
    return lines;
  },
});

async function openStream(
  stream: string,
  {
    durable,
    start = "new",
    connectTimeoutMs,
  }: { durable: string | undefined; start: Start | undefined; connectTimeoutMs: number },
  parts: { broker: Broker; subjects: Subjects; receiver: Receiver; session: Session; loop: SubscribeLoop },
): Promise<StreamSource> {
  const { broker, subjects, receiver, session, loop } = parts;
  try {
    const options = { stream, durable, start, connectTimeoutMs };
    const jetStream = await JetStream.open(broker);
    const source = new StreamSource(jetStream, subjects, options, receiver, session, () => loop.isOver);
    await source.open();
    return source;
  } catch (error) {
    throw explainBroker(error, broker.shown);
  }
}

function sharedText(durable: string | null | undefined): string {
  return `Another subscriber used the durable consumer "${durable}": each got some of the messages. Give each its own --durable.`;
}

/** The frames that were not written, as the result tells people of them. */
const OTHER_COUNTS = [
  ["frames_lost", "Lost"],
  ["frames_torn", "Torn"],
  ["frames_dropped", "Dropped"],
  ["frames_too_large", "Too large for the buffer"],
  ["frames_duplicate", "Came again"],
  ["frames_refused", "Of another publisher"],
] as const satisfies readonly (readonly [keyof BridgeSubscribeDocument, string])[];

function checkSource({ queue, stream, durable, start }: Values<typeof args>): void {
  brokerName("--queue", queue);
  brokerName("--stream", stream);
  brokerName("--durable", durable);
  refuseTogether(
    { "--queue": queue, "--stream": stream },
    "Subscribers of a stream share frames with one --durable each.",
  );
  for (const [flag, value] of Object.entries({ "--durable": durable, "--start": start })) {
    if (value !== undefined && stream === undefined)
      throw new CommandError("USAGE", `Option ${flag} needs --stream.`, "Only a stream keeps frames.");
  }
}
