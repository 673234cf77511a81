// zerobuffer duplex serve: creates a channel and answers the requests of one client after another.

import { Ages, noAges } from "../../cli/ages.ts";
import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, grouped, speedText } from "../../cli/format.ts";
import { openOutput } from "../../cli/open.ts";
import {
  channelName,
  choice,
  duration,
  flag,
  integer,
  path,
  text,
  transferOptions,
  type Values,
} from "../../cli/options.ts";
import { startProgress } from "../../cli/progress.ts";
import type { Session } from "../../cli/session.ts";
import { metadataRoom, ringSize, whoMayConnect, xorKey } from "../../cli/shared-options.ts";
import { Stopwatch } from "../../cli/timing.ts";
import {
  DuplexChannelFactory,
  type Frame,
  type IDuplexServer,
  type MutableRequestHandler,
  ProcessingMode,
  type RequestContext,
  type ServerStatistics,
  STAMP_SIZE,
} from "../../core/index.ts";
import { transformFor } from "../../frames/transforms.ts";
import { sleep } from "../../runtime/abort.ts";
import type { DuplexServeDocument } from "../../schemas/duplex-serve.ts";
import { rewordForServer } from "./channel.ts";
import type { ExecHandler } from "./exec-handler.ts";
import type { MetadataFile } from "./exec-metadata.ts";
import { MetadataOutput } from "./metadata-output.ts";

/** How often to update the progress. */
const PROGRESS_MS = 100;

/** The default of --start-timeout-ms, unless --timeout-ms is longer. */
const START_TIMEOUT_MS = 30_000;

/** The most reasons for missing responses in a result; the log has all of them. */
const MAX_REASONS = 10;

const args = {
  channel: channelName("name of the channel to create"),
  handler: choice(["echo", "reverse", "xor"], {
    group: "Requests",
    description: "turn requests into responses",
    valueHint: "HANDLER",
    default: undefined,
    shown: "echo",
  }),
  xorKey: xorKey({ group: "Requests", description: "set the key of --handler xor" }),
  metadataOutput: path({
    group: "Requests",
    description: "write the metadata of each client to a file",
    note: "--metadata-output holds the metadata of the last client that has sent any.",
  }),
  exec: text({
    group: "Requests",
    description: "let a command answer the requests",
    note:
      "--exec keeps COMMAND running: it reads requests from stdin and writes responses to stdout, each after its " +
      "length (u32, little-endian). It finds the metadata of the client that it answers in the file that its environment " +
      "variable ZEROBUFFER_METADATA_FILE names. The file is replaced before the first request of each client, and is " +
      "empty for a client without metadata.",
    valueHint: "COMMAND",
  }),
  execCancel: flag({
    group: "Requests",
    description: "tell the command of --exec which requests are cancelled",
    note:
      "With --exec-cancel, the length 4294967295 is followed by the number of a request that is cancelled (u64, " +
      "little-endian), counted from 0 since this start of COMMAND. It answers that one, too, with 1 byte or more, which " +
      "is dropped; it may have answered already.",
  }),
  stamp: flag({
    group: "Requests",
    description: "take the stamp off each request, and measure its age",
  }),
  frames: integer({
    group: "Requests",
    alias: "n",
    description: "answer this many requests, 0: no limit",
    default: 0,
    min: 0,
  }),
  mode: choice(["immutable", "mutable"], {
    group: "Handling",
    description: "change a copy or in place",
    valueHint: "MODE",
    default: "immutable",
  }),
  processing: choice([ProcessingMode.SINGLE_THREAD, ProcessingMode.THREAD_POOL], {
    group: "Handling",
    description: "handle requests",
    note: "--processing single-thread handles one request after another; thread-pool handles several at once.",
    valueHint: "HOW",
    default: ProcessingMode.SINGLE_THREAD,
  }),
  workers: integer({
    group: "Handling",
    description: "let the thread-pool handle this many requests at once",
    default: 16,
    min: 1,
    max: 4096,
  }),
  delayMs: duration({
    group: "Handling",
    description: "delay each response",
    default: 0,
  }),
  timeoutMs: duration({
    group: "Handling",
    description: "wait this long for a response of --exec, 0: forever",
    default: 5000,
    zeroIsForever: true,
  }),
  startTimeoutMs: duration({
    group: "Handling",
    description: "wait this long for the first response, 0: forever",
    note:
      "--start-timeout-ms applies to the first response after each start of --exec; its default is --timeout-ms if that " +
      "is longer than 30s.",
    default: undefined,
    shown: "30s",
    zeroIsForever: true,
  }),
  bufferSize: ringSize({ group: "Buffer", description: "set the ring size of the request buffer" }),
  metadataSize: metadataRoom({ group: "Buffer" }),
  permissions: whoMayConnect({ group: "Buffer" }),
  ...transferOptions,
};

type ServeOptions = Values<typeof args>;

export default defineCommand({
  meta: {
    name: "duplex serve",
    description: "Creates a channel and answers the requests of its clients.",
  },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "answer each request with its bytes inverted",
      line: "zerobuffer duplex serve filter --handler xor",
    },
    {
      purpose: "let a program answer, four requests at once",
      line: "zerobuffer duplex serve filter --exec ./model.py --processing thread-pool --workers 4",
    },
  ],

  blank: (channel): DuplexServeDocument => ({
    operation: "duplex-serve",
    channel,
    requests: 0,
    responses: 0,
    responses_shared: 0,
    requests_cancelled: 0,
    handler_errors: 0,
    clients: 0,
    bytes_in: 0,
    bytes_out: 0,
    frames_without_age: 0,
    age_us: noAges,
    duration_seconds: 0,
    errors: [],
  }),

  async run(given, session, document) {
    const options = { ...given, ...session.sizes.get("channel") };
    refuseContradictions(options);
    const { frames } = options;
    const stopwatch = new Stopwatch();
    const { promise: ended, resolve: noteEnd, reject: fail } = Promise.withResolvers<void>();
    session.signal.addEventListener("abort", () => fail(session.signal.reason), { once: true });
    // Until it is awaited.
    ended.catch(() => {});
    // Before the channel is created, so that a bad path harms nothing.
    const file = await openOutput(options.metadataOutput, session);
    const metadataOutput = file && new MetadataOutput(file, fail);
    const exec = await openChild(options, session, fail);
    const child = exec?.child;
    const stamps = options.stamp ? new Stamps(await Ages.open()) : undefined;
    const { server, start } = createServer(options, exec, stamps, stopwatch, session);
    /** Why the server has last lost a client, or has stopped. A run with such a failure fails, even if it goes on to the end. */
    let lastFailure: Error | undefined;
    server.onStop = () => {
      if (lastFailure === undefined) return noteEnd();
      // It is added when the document is printed.
      document.errors.splice(document.errors.lastIndexOf(lastFailure.message), 1);
      fail(lastFailure);
    };
    server.onError = (error, sequence) => {
      if (sequence === 0) {
        lastFailure = error;
        document.errors.push(error.message);
      } else if (document.handler_errors++ < MAX_REASONS) {
        document.errors.push(`Request ${sequence} got no response: ${error.message}`);
      }
    };
    server.onCancelled = (sequence) => session.log?.info(`Request ${sequence} was cancelled.`);
    server.onClient = (change) =>
      session.events?.emit("peer", { buffer: options.channel, role: "client", change });
    server.onMetadata = (metadata) => {
      session.log?.info(`Received ${count(metadata.length, "bytes")} of metadata.`);
      metadataOutput?.replace(metadata);
    };
    const progress = await startProgress(session, "Serving", frames > 0 ? frames : undefined, "requests");
    const updates = setInterval(() => {
      const { requests, bytesIn } = server.statistics;
      progress?.update(requests, bytesIn, requests);
    }, PROGRESS_MS);
    try {
      start();
      session.events?.emit("ready", { buffer: options.channel });
      session.log?.info(`Created channel "${options.channel}".`);
      // Not before this server has the channel: two of them might need the same device.
      await child?.start();
      await ended;
    } finally {
      clearInterval(updates);
      server.stop();
      fill(document, server.statistics, stopwatch);
      document.frames_without_age = stamps?.ages.withoutAge ?? 0;
      document.age_us = stamps?.ages.summaryUs ?? noAges;
      await child?.end({ atOnce: session.signal.aborted });
      if (metadataOutput !== undefined) await session.finish(metadataOutput.finish()).catch(() => {});
    }
    await metadataOutput?.finish();
    checkResult(document, stamps?.missing ?? 0);
  },

  reword: (error, { channel }) => rewordForServer(error, channel),

  summarize(document, style, failed) {
    const { channel, clients, requests, responses, bytes_in, handler_errors, requests_cancelled } = document;
    if (failed && requests === 0) return [];
    const answered = style.bold(`Answered ${count(responses, "requests")}`);
    const speed = speedText(requests, bytes_in, document.duration_seconds, "requests");
    const lines = [
      `${answered} of ${count(clients, "clients")} (${bytesText(bytes_in)}) on ${channel} ${speed}.`,
    ];
    if (requests_cancelled > 0) lines.push(`${count(requests_cancelled, "requests")} were cancelled.`);
    if (handler_errors === 0) return lines;
    return [...lines, style.red(`${count(handler_errors, "requests")} got no response.`), ...document.errors];
  },
});

/** Fails a complete run in which responses are missing. */
function checkResult({ handler_errors, requests }: DuplexServeDocument, unstamped: number): void {
  if (handler_errors === 0) return;
  if (unstamped > 0) {
    throw new CommandError(
      "VERIFICATION_FAILED",
      `${grouped(unstamped)} of ${count(requests, "requests")} were too short for a stamp.`,
      "Leave --stamp out, or let the clients put stamps before their requests.",
    );
  }
  throw new CommandError(
    "INCOMPLETE",
    `${grouped(handler_errors)} of ${count(requests, "requests")} got no response.`,
    "Check the reasons above; --verbose names each one.",
  );
}

function refuseContradictions({ exec, execCancel, handler, mode, delayMs, stamp }: ServeOptions): void {
  refuseTogether(
    { "--stamp": stamp, "--mode mutable": mode === "mutable" },
    "A response in place of its request would have the stamp.",
  );
  if (exec === undefined) {
    if (!execCancel) return;
    throw new CommandError(
      "USAGE",
      "--exec-cancel is for the command of --exec.",
      "Add --exec, or leave --exec-cancel out.",
    );
  }
  refuseTogether(
    {
      "--exec": exec,
      "--handler": handler,
      "--mode mutable": mode === "mutable",
      "--delay-ms": delayMs > 0,
    },
    "The command decides what to answer, and when.",
  );
}

/** A program that answers requests, and the file in which it finds the metadata of their client. */
interface Exec {
  readonly child: ExecHandler;
  readonly metadata: MetadataFile;
}

/** @param giveUp is called when it cannot be kept running. */
async function openChild(
  {
    exec: line,
    timeoutMs,
    startTimeoutMs = Math.max(START_TIMEOUT_MS, timeoutMs),
    bufferSize: maxRequestSize,
    execCancel: tellsCancellations,
  }: ServeOptions,
  session: Session,
  giveUp: (error: CommandError) => void,
): Promise<Exec | undefined> {
  if (line === undefined) return undefined;
  const { ExecHandler } = await import("./exec-handler.ts");
  const { METADATA_VARIABLE, MetadataFile } = await import("./exec-metadata.ts");
  const { log, stderr } = session;
  const metadata = session.own(new MetadataFile());
  const env = { [METADATA_VARIABLE]: metadata.path };
  const child = session.own(
    new ExecHandler({
      ...{ line, env, timeoutMs, startTimeoutMs, maxRequestSize, tellsCancellations, log, stderr, giveUp },
    }),
  );
  return { child, metadata };
}

/** The server, and the function that starts it. */
function createServer(
  options: ServeOptions,
  exec: Exec | undefined,
  stamps: Stamps | undefined,
  stopwatch: Stopwatch,
  session: Session,
): { server: IDuplexServer; start: () => void } {
  const { bufferSize, channel, frames, metadataSize, mode, permissions, processing, workers } = options;
  const factory = new DuplexChannelFactory({ logger: session.log });
  const config = { metadataSize, payloadSize: bufferSize, mode: permissions };
  // A command's answers come by way of the event loop.
  const how = { concurrency: workers, blocks: exec === undefined, ...(frames > 0 && { limit: frames }) };
  if (mode === "mutable") {
    const server = session.own(factory.createMutableServer(channel, config));
    const handler = timed(mutableHandler(options), stopwatch);
    return { server, start: () => server.start(handler, processing, how) };
  }
  const server = session.own(factory.createImmutableServer(channel, config));
  const answer = immutableHandler(options, exec?.child);
  const handler = timed((request: Frame, context: RequestContext) => {
    // The first one of a client.
    if (request.sequence === 1) exec?.metadata.replace(server.metadata);
    return answer(stamps === undefined ? request : stamps.takeOff(request), context);
  }, stopwatch);
  return { server, start: () => server.start(handler, processing, how) };
}

function mutableHandler({ handler = "echo", xorKey, delayMs }: ServeOptions): MutableRequestHandler {
  const transform = transformFor(handler === "echo" ? "none" : handler, xorKey);
  if (delayMs === 0) return (request) => transform(request.getMutableSpan());
  return async (request, { signal }) => {
    await sleep(delayMs, signal);
    transform(request.getMutableSpan());
  };
}

/** A request, or what is left of it without its stamp. */
type Request = Pick<Frame, "data" | "size">;

/** Takes stamps off requests. */
class Stamps {
  /** Requests that were too short for one. */
  missing = 0;
  readonly ages: Ages;

  constructor(ages: Ages) {
    this.ages = ages;
  }

  takeOff({ data }: Request): Request {
    if (data.length < STAMP_SIZE) {
      this.missing++;
      throw new Error(`it has ${data.length} bytes, and a stamp has ${STAMP_SIZE}`);
    }
    this.ages.note(data);
    const rest = data.subarray(STAMP_SIZE);
    return { data: rest, size: rest.length };
  }
}

function immutableHandler(
  options: ServeOptions,
  child: ExecHandler | undefined,
): (request: Request, context: RequestContext) => Uint8Array | Promise<Uint8Array> {
  if (child !== undefined) return (request, context) => child.handle(request, context);
  const { handler = "echo", xorKey, delayMs } = options;
  const transform = handler === "echo" ? undefined : transformFor(handler, xorKey);
  const answer = ({ data }: Request) => {
    if (transform === undefined) return data;
    const response = data.slice();
    transform(response);
    return response;
  };
  if (delayMs === 0) return answer;
  return (request, { signal }) => sleep(delayMs, signal).then(() => answer(request));
}

/** The same handler; the stopwatch measures from its first request to its last. */
function timed<R, T>(
  handler: (request: R, context: RequestContext) => T | Promise<T>,
  stopwatch: Stopwatch,
): (request: R, context: RequestContext) => T | Promise<T> {
  return (request, context) => {
    stopwatch.start();
    const result = handler(request, context);
    if (result instanceof Promise) return result.finally(() => stopwatch.mark());
    stopwatch.mark();
    return result;
  };
}

function fill(document: DuplexServeDocument, statistics: ServerStatistics, { seconds }: Stopwatch): void {
  document.clients = statistics.clients;
  document.requests = statistics.requests;
  document.responses = statistics.responses;
  document.responses_shared = statistics.responsesShared;
  document.requests_cancelled = statistics.cancelled;
  document.bytes_in = statistics.bytesIn;
  document.bytes_out = statistics.bytesOut;
  document.duration_seconds = seconds;
}
