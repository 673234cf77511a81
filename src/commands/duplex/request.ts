// zerobuffer duplex request: sends requests, and reports the responses and their latencies.

import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { addLaterFailure, CommandError, DownstreamClosed } from "../../cli/failure.ts";
import { count, grouped, perSecond, speedText } from "../../cli/format.ts";
import { FrameOutput } from "../../cli/frame-output.ts";
import { sourceOf } from "../../cli/frame-source.ts";
import { noLatencies, picture } from "../../cli/latencies.ts";
import { loadMetadata, METADATA_BYTES, metadataFile, refuseTwoMetadata } from "../../cli/metadata.ts";
import { openInput, openOutput, refuseSameFile } from "../../cli/open.ts";
import {
  channelName,
  choice,
  duration,
  flag,
  integer,
  path,
  rate,
  size,
  text,
  transferOptions,
  type Values,
} from "../../cli/options.ts";
import { startProgress } from "../../cli/progress.ts";
import { framing, whoMayConnect, xorKey } from "../../cli/shared-options.ts";
import { timeText } from "../../cli/values.ts";
import { DEFAULT_FRAME_SIZE, frameRateOf, frameSizeOf, videoOption } from "../../cli/video.ts";
import {
  DuplexChannelFactory,
  FRAME_HEADER_SIZE,
  ReaderDeadError,
  STAMP_SIZE,
  WriterDeadError,
} from "../../core/index.ts";
import { PATTERNS } from "../../frames/patterns.ts";
import type { DuplexRequestDocument } from "../../schemas/duplex-request.ts";
import { rewordForClient } from "./channel.ts";
import { EXPECTATIONS, RequestLoop } from "./request-loop.ts";

const DEFAULT_REQUESTS = 1000;

/** How long a client that does not follow waits for its server. */
const CONNECT_MS = 5000;

const args = {
  channel: channelName("name of the channel to send requests to"),
  frames: integer({
    group: "Requests",
    alias: "n",
    description: "send this many requests, 0: no limit",
    default: undefined,
    shown: `${DEFAULT_REQUESTS}, all of --input`,
    min: 0,
  }),
  size: size({
    group: "Requests",
    alias: "s",
    description: "set the request size",
    default: undefined,
    shown: `${DEFAULT_FRAME_SIZE}`,
    min: 1,
    max: 2 ** 32,
  }),
  video: videoOption({
    group: "Requests",
    what: "requests",
    aside: " With --video, --framing is that of --output alone: pictures of --input are end to end.",
  }),
  pattern: choice(PATTERNS, {
    group: "Requests",
    description: "fill with",
    valueHint: "PATTERN",
    default: undefined,
    shown: "sequential",
  }),
  input: path({
    group: "Requests",
    alias: "i",
    description: "read requests from a file, or from stdin (-)",
    dash: true,
  }),
  stamp: flag({
    group: "Requests",
    description: "put number and time before each request, 24 bytes",
    note: "With --stamp, --verify expects the responses of a server that takes the stamp off.",
  }),
  metadata: text({
    group: "Requests",
    alias: "m",
    description: "send this text as metadata before the first request",
    rawBytes: METADATA_BYTES,
  }),
  metadataFile: metadataFile({ group: "Requests", what: "request" }),
  output: path({
    group: "Responses",
    alias: "o",
    description: "write responses in order to a file, or to stdout (-)",
    dash: true,
  }),
  verify: choice(EXPECTATIONS, {
    group: "Responses",
    description: "check responses",
    note: "--verify echo expects the bytes of the request; reverse and xor expect them after that transform.",
    valueHint: "HOW",
    default: "none",
  }),
  xorKey: xorKey({ group: "Responses", description: "set the key of --verify xor" }),
  bufferSize: size({
    group: "Responses",
    description: "set the ring size of the response buffer",
    note: "The default of --buffer-size is that of the server if it is larger than 256MiB.",
    default: undefined,
    shown: "256MiB",
    min: FRAME_HEADER_SIZE + 1,
  }),
  permissions: whoMayConnect({ group: "Responses" }),
  noSharing: flag({
    group: "Responses",
    description: "take copies of responses",
    note:
      "Without --no-sharing, responses of 4096 bytes and more of a server that changes requests in place are read in the " +
      "request buffer, and take room there until they are read.",
  }),
  framing: framing({ group: "Files" }),
  inFlight: integer({
    group: "Pace",
    description: "keep up to this many requests in flight",
    default: 1,
    min: 1,
    max: 65536,
  }),
  rate: rate({
    group: "Pace",
    description: "send this many requests per second",
    valueHint: "PER_SECOND",
  }),
  connectTimeoutMs: duration({
    group: "Waiting",
    description: "wait this long for the server, 0: try once",
    default: undefined,
    shown: "5s",
  }),
  timeoutMs: duration({
    group: "Waiting",
    description: "wait this long for each response, 0: forever",
    note: "A request that gets no response in time is cancelled at the server.",
    default: 5000,
    zeroIsForever: true,
  }),
  follow: flag({
    group: "Waiting",
    description: "continue with the next server when one leaves",
    note:
      "--follow waits forever for servers unless --connect-timeout-ms is given. Requests in flight when a server goes get no " +
      "response: they may have been handled.",
  }),
  ...transferOptions,
};

type RequestOptions = Values<typeof args>;

export default defineCommand({
  meta: { name: "duplex request", description: "Sends requests to a server and receives its responses." },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "measure how long 1000 requests of 1 MiB take",
      line: "zerobuffer duplex request filter -n 1000 -s 1MiB",
    },
    {
      purpose: "send each line of a file, eight at once, and print the responses line by line",
      line: "zerobuffer duplex request filter -i questions.txt -o - --framing lines --in-flight 8",
    },
  ],

  blank: (channel): DuplexRequestDocument => ({
    operation: "duplex-request",
    channel,
    requests: 0,
    responses: 0,
    responses_shared: 0,
    timeouts: 0,
    cancelled: 0,
    lost: 0,
    verification_errors: 0,
    first_error_request: null,
    bytes_sent: 0,
    bytes_received: 0,
    metadata_size: 0,
    empty_lines_skipped: 0,
    duration_seconds: 0,
    requests_per_second: 0,
    latency_us: noLatencies,
    latency_histogram: [],
    errors: [],
  }),

  async run(options, session, document) {
    refuseTogether({ "--input": options.input, "--pattern": options.pattern });
    refuseTwoMetadata(options);
    const { channel, follow, framing, video } = options;
    const { connectTimeoutMs = follow ? Number.POSITIVE_INFINITY : CONNECT_MS } = options;
    const { bufferSize } = { ...options, ...session.sizes.get("channel") };
    const size = frameSizeOf(options.size, video);
    const { log, signal } = session;

    refuseSameFile({
      "--input": options.input === "-" ? undefined : options.input,
      "--output": options.output,
    });
    // Before the channel is touched, so that a bad path harms nothing.
    const metadata = await loadMetadata(options, session);
    const input = await openInput(options.input, session);
    const output = await openOutput(options.output, session);
    const notePeer = (change: "came" | "left" | "died") => {
      session.events?.emit("peer", { buffer: channel, role: "server", change });
      if (change === "came") log?.info(`Connected to channel "${channel}".`);
      else log?.warn(`The server of channel "${channel}" has ${change}.`);
    };
    const client = session.own(
      await new DuplexChannelFactory().connectClient(channel, {
        config: {
          metadataSize: 0,
          mode: options.permissions,
          ...(bufferSize !== undefined && { payloadSize: bufferSize }),
        },
        allowPayloadSharing: !options.noSharing,
        connectTimeoutMs,
        signal,
        reconnect: follow,
        onServer: notePeer,
      }),
    );
    notePeer("came");
    const stampSize = options.stamp ? STAMP_SIZE : 0;
    const source = sourceOf(input, { ...options, size }, client.maxRequestSize - stampSize, signal);
    if (metadata !== undefined) {
      client.setMetadata(metadata);
      document.metadata_size = metadata.length;
    }

    const limit = options.frames ?? (input === undefined ? DEFAULT_REQUESTS : 0);
    const progress = await startProgress(session, "Requesting", limit > 0 ? limit : input?.size, "requests");
    const responses = output && new FrameOutput(output, framing);
    const pace = { ...options, connectTimeoutMs, rate: frameRateOf(options.rate, video, input) };
    const loop: RequestLoop = new RequestLoop(client, source, responses, pace, session, () =>
      progress?.update(loop.received, loop.bytesSent, limit > 0 ? loop.sent : (input?.bytesRead ?? 0)),
    );
    try {
      await loop.run(limit);
    } catch (error) {
      if (error instanceof ReaderDeadError || error instanceof WriterDeadError) notePeer(error.reason);
      if (!(error instanceof DownstreamClosed)) {
        // Responses that were received must still be delivered.
        await loop.deliver().catch((lost) => lost !== error && addLaterFailure(document.errors, lost));
        throw error;
      }
    } finally {
      fill(document, loop);
      document.empty_lines_skipped = source.emptyLines;
    }
    checkResult(document, options);
  },

  reword: (error, { channel }) => rewordForClient(error, channel),

  summarize(document, style, failed) {
    const { channel, responses, bytes_received, duration_seconds, timeouts, latency_us } = document;
    const { empty_lines_skipped } = document;
    if (failed && document.requests === 0) return [];
    const received = style.bold(`Received ${count(responses, "responses")}`);
    const lines = [
      `${received} from ${channel} ${speedText(responses, bytes_received, duration_seconds, "responses")}.`,
    ];
    if (empty_lines_skipped > 0) lines.push(`Skipped ${count(empty_lines_skipped, "empty lines")}.`);
    if (document.lost > 0)
      lines.push(style.red(`${count(document.lost, "requests")} were lost with their server.`));
    if (timeouts > 0) lines.push(style.red(`${count(timeouts, "requests")} got no response in time.`));
    if (responses === 0) return lines;
    const figures = Object.entries(latency_us).map(([name, us]) => `${name} ${timeText(us ?? 0)}`);
    return [...lines, `Latency: ${figures.join(", ")}`, ...picture(document.latency_histogram, style)];
  },
});

function fill(document: DuplexRequestDocument, loop: RequestLoop): void {
  const { seconds } = loop.stopwatch;
  document.requests = loop.sent;
  document.responses = loop.received;
  document.responses_shared = loop.shared;
  document.timeouts = loop.timeouts;
  document.cancelled = loop.cancelled;
  document.lost = loop.lost;
  document.verification_errors = loop.wrong;
  document.first_error_request = loop.firstWrong ?? null;
  document.bytes_sent = loop.bytesSent;
  document.bytes_received = loop.bytesReceived;
  document.duration_seconds = seconds;
  document.requests_per_second = perSecond(loop.received, seconds);
  document.latency_us = loop.latencies.summaryUs;
  document.latency_histogram = loop.latencies.histogram;
}

/** Fails a complete run in which responses are wrong or missing. */
function checkResult(document: DuplexRequestDocument, { verify, timeoutMs }: RequestOptions): void {
  const { responses, requests, verification_errors, first_error_request, timeouts } = document;
  if (verification_errors > 0) {
    throw new CommandError(
      "VERIFICATION_FAILED",
      `${grouped(verification_errors)} of ${count(responses, "responses")} failed --verify ${verify}; the first answers request ${first_error_request}.`,
      "Check what the server does with requests; --verbose names each response.",
    );
  }
  if (document.lost > 0) {
    throw new CommandError(
      "INCOMPLETE",
      `${grouped(document.lost)} of ${count(requests, "requests")} were in flight when their server went.`,
      "They may have been handled: send them again if that does no harm.",
    );
  }
  if (timeouts > 0) {
    throw new CommandError(
      "TIMEOUT",
      `${grouped(timeouts)} of ${count(requests, "requests")} got no response within ${timeoutMs} ms.`,
      "Check why the server did not answer, or raise --timeout-ms (0: wait forever).",
    );
  }
}
