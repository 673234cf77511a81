// zerobuffer duplex serve: answers the requests of one client after another.

import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import type { CommandError } from "../../cli/failure.ts";
import { bytesText, count, speedText } from "../../cli/format.ts";
import {
  channelName,
  choice,
  duration,
  integer,
  outputOptions,
  size,
  text,
  type Values,
} from "../../cli/options.ts";
import { Progress } from "../../cli/progress.ts";
import type { Session } from "../../cli/session.ts";
import { Stopwatch } from "../../cli/timing.ts";
import {
  DuplexChannelFactory,
  type IDuplexServer,
  type MutableRequestHandler,
  ProcessingMode,
  type RequestHandler,
  type ServerStatistics,
} from "../../core/index.ts";
import { transformFor } from "../../frames/transforms.ts";
import type { DuplexServeDocument } from "../../schemas/duplex-serve.ts";
import { rewordForServer } from "./channel.ts";
import type { ChildHandler } from "./exec-child.ts";

/** How often progress is told. */
const TELL_MS = 100;

/** Reasons for missing responses that go into the result; the log has them all. */
const MAX_REASONS = 10;

const args = {
  channel: channelName("the channel to make"),
  handler: choice(["echo", "reverse", "xor"], {
    group: "Requests",
    description: "what a response is made of its request",
    valueHint: "HANDLER",
    default: undefined,
    shown: "echo",
  }),
  xorKey: integer({
    group: "Requests",
    description: "what xor combines each byte with",
    default: 255,
    min: 0,
    max: 255,
  }),
  exec: text({
    group: "Requests",
    description:
      "a command that is kept running: requests go to its stdin, and responses come from its stdout, each after its length (u32, little-endian)",
    valueHint: "COMMAND",
  }),
  frames: integer({
    group: "Requests",
    alias: "n",
    description: "requests to answer; 0: without end",
    default: 0,
    min: 0,
  }),
  mode: choice(["immutable", "mutable"], {
    group: "Handling",
    description: "whether a handler makes new bytes, or changes the request's own",
    valueHint: "MODE",
    default: "immutable",
  }),
  processing: choice([ProcessingMode.SINGLE_THREAD, ProcessingMode.THREAD_POOL], {
    group: "Handling",
    description: "one request after another, or several at once",
    valueHint: "HOW",
    default: ProcessingMode.SINGLE_THREAD,
  }),
  workers: integer({
    group: "Handling",
    description: "requests that a thread-pool handles at once",
    default: 16,
    min: 1,
    max: 4096,
  }),
  delayMs: duration({ group: "Handling", description: "how long each request takes at least", default: 0 }),
  timeoutMs: duration({
    group: "Handling",
    description: "how long --exec may take for a response; 0: for ever",
    default: 5000,
    zeroIsForever: true,
  }),
  bufferSize: size({
    group: "Buffer",
    description: "size of the ring of requests",
    default: 256 * 1024 * 1024,
    min: 17,
  }),
  metadataSize: size({
    group: "Buffer",
    description: "room for a client's metadata, with 8 bytes for its length",
    default: 4096,
    min: 0,
  }),
  ...outputOptions,
};

type ServeOptions = Values<typeof args>;

export default defineCommand({
  meta: {
    name: "duplex serve",
    description: "Makes a channel and answers the requests that come through it.",
  },
  args,
  examples: [
    {
      purpose: "each request comes back, all its bits inverted",
      line: "zerobuffer duplex serve filter --handler xor",
    },
    {
      purpose: "a program of yours answers, four requests at once",
      line: "zerobuffer duplex serve filter --exec ./model.py --processing thread-pool --workers 4",
    },
  ],

  blank: (channel): DuplexServeDocument => ({
    operation: "duplex-serve",
    channel,
    requests: 0,
    responses: 0,
    handler_errors: 0,
    clients: 0,
    bytes_in: 0,
    bytes_out: 0,
    duration_seconds: 0,
    errors: [],
  }),

  async run(options, session, document) {
    refuseContradictions(options);
    const { frames } = options;
    const stopwatch = new Stopwatch();
    const { promise: ended, resolve: noteEnd, reject: fail } = Promise.withResolvers<void>();
    session.signal.addEventListener("abort", () => fail(session.signal.reason), { once: true });
    // Until it is awaited.
    ended.catch(() => {});
    const child = await openChild(options, session, fail);
    const { server, start } = prepare(options, child, stopwatch, session);
    server.onStop = noteEnd;
    server.onError = (error, sequence) => {
      if (sequence === 0) document.errors.push(error.message);
      else if (document.handler_errors++ < MAX_REASONS) {
        document.errors.push(`Request ${sequence} got no response: ${error.message}`);
      }
    };
    server.onMetadata = (metadata) =>
      session.log?.info(`Received ${count(metadata.length, "bytes")} of metadata.`);
    const progress = await Progress.start(session, "Serving", frames > 0 ? frames : undefined, "requests");
    const telling = setInterval(() => {
      const { requests, bytesIn } = server.statistics;
      progress?.update(requests, bytesIn, requests);
    }, TELL_MS);
    try {
      start();
      session.log?.info(`Made channel "${options.channel}".`);
      await ended;
    } finally {
      clearInterval(telling);
      server.stop();
      fill(document, server.statistics, stopwatch);
      await child?.end({ atOnce: session.signal.aborted });
    }
  },

  reword: (error, { channel }) => rewordForServer(error, channel),

  summarize(document, style, failed) {
    const { channel, clients, requests, responses, bytes_in, handler_errors } = document;
    if (failed && requests === 0) return [];
    const answered = style.bold(`Answered ${count(responses, "requests")}`);
    const speed = speedText(requests, bytes_in, document.duration_seconds, "requests");
    const lines = [
      `${answered} of ${count(clients, "clients")} (${bytesText(bytes_in)}) on ${channel} ${speed}.`,
    ];
    if (handler_errors === 0) return lines;
    return [...lines, style.red(`${count(handler_errors, "requests")} got no response.`), ...document.errors];
  },
});

function refuseContradictions({ exec, handler, mode, delayMs }: ServeOptions): void {
  if (exec === undefined) return;
  refuseTogether(
    {
      "--exec": exec,
      "--handler": handler,
      "--mode mutable": mode === "mutable",
      "--delay-ms": delayMs > 0,
    },
    "The command decides what the responses are, and when they come.",
  );
}

/** @param giveUp is told when the command of --exec cannot be kept running. */
async function openChild(
  { exec: line, timeoutMs, bufferSize: maxRequestSize }: ServeOptions,
  session: Session,
  giveUp: (error: CommandError) => void,
): Promise<ChildHandler | undefined> {
  if (line === undefined) return undefined;
  const { ChildHandler } = await import("./exec-child.ts");
  return session.own(new ChildHandler({ line, timeoutMs, maxRequestSize, log: session.log, giveUp }));
}

/** The server that was asked for, and how it is started. */
function prepare(
  options: ServeOptions,
  child: ChildHandler | undefined,
  stopwatch: Stopwatch,
  session: Session,
): { server: IDuplexServer; start: () => void } {
  const { bufferSize, channel, frames, metadataSize, mode, processing, workers } = options;
  const factory = new DuplexChannelFactory({ logger: session.log });
  const config = { metadataSize, payloadSize: bufferSize };
  const limits = { concurrency: workers, ...(frames > 0 && { limit: frames }) };
  if (mode === "mutable") {
    const server = session.own(factory.createMutableServer(channel, config));
    const handler = timed(mutableHandler(options), stopwatch);
    return { server, start: () => server.start(handler, processing, limits) };
  }
  const server = session.own(factory.createImmutableServer(channel, config));
  const handler = timed(immutableHandler(options, child), stopwatch);
  return { server, start: () => server.start(handler, processing, limits) };
}

function mutableHandler({ handler = "echo", xorKey, delayMs }: ServeOptions): MutableRequestHandler {
  const transform = transformFor(handler === "echo" ? "none" : handler, xorKey);
  if (delayMs === 0) return (request) => transform(request.getMutableSpan());
  return async (request) => {
    await Bun.sleep(delayMs);
    transform(request.getMutableSpan());
  };
}

function immutableHandler(options: ServeOptions, child: ChildHandler | undefined): RequestHandler {
  if (child !== undefined) return (request) => child.handle(request);
  const { handler = "echo", xorKey, delayMs } = options;
  const transform = handler === "echo" ? undefined : transformFor(handler, xorKey);
  const answer: RequestHandler = (request) => {
    if (transform === undefined) return request.data;
    const response = request.toArray();
    transform(response);
    return response;
  };
  return delayMs === 0 ? answer : (request) => Bun.sleep(delayMs).then(() => answer(request));
}

/** The same handler, with the time from its first request to its last taken. */
function timed<R, T>(
  handler: (request: R) => T | Promise<T>,
  stopwatch: Stopwatch,
): (request: R) => T | Promise<T> {
  return (request) => {
    stopwatch.start();
    const result = handler(request);
    if (result instanceof Promise) return result.finally(() => stopwatch.mark());
    stopwatch.mark();
    return result;
  };
}

function fill(document: DuplexServeDocument, statistics: ServerStatistics, { seconds }: Stopwatch): void {
  document.clients = statistics.clients;
  document.requests = statistics.requests;
  document.responses = statistics.responses;
  document.bytes_in = statistics.bytesIn;
  document.bytes_out = statistics.bytesOut;
  document.duration_seconds = seconds;
}
