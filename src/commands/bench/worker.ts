// One process of a measurement: bench starts it with its task as an argument, and reads its result from stdout.

import type { FailureCode } from "../../cli/exit-codes.ts";
import { CommandError, explain } from "../../cli/failure.ts";
import { Latencies } from "../../cli/latencies.ts";
import { OutputBuffer } from "../../cli/output-buffer.ts";
import { Session } from "../../cli/session.ts";
import { StderrLines } from "../../cli/stderr-lines.ts";
import { StrayErrors } from "../../cli/stray-errors.ts";
import { Descriptor, print } from "../../cli/terminal.ts";
import { DuplexChannelFactory, type IDuplexClient, Reader, Writer } from "../../core/index.ts";
import relay from "../relay/command.ts";
import { RelayLoop, type RelayLoopOptions } from "../relay/loop.ts";
import { RelayOutput } from "../relay/output.ts";
import type { Role, WorkerSettings } from "./plan.ts";
import { Schedule, Span, type Usage } from "./span.ts";
import { bufferNames, CONNECT_TIMEOUT_MS, openReceiver, openSender } from "./transports.ts";

/** How often a server checks that bench still runs. */
const PARENT_CHECK_MS = 250;

/** Times in microseconds. */
type LatenciesUs = Readonly<
  Record<"min" | "mean" | "p50" | "p90" | "p99" | "p999" | "p9999" | "max", number>
>;

/** The result of a process. */
export interface WorkerResult extends Usage {
  /** Of round trips, as their initiator measured them. */
  readonly latencyUs?: LatenciesUs;
}

/** What a process prints: its result, or its failure. */
export type WorkerReport =
  | { readonly result: WorkerResult }
  | {
      readonly failure: {
        readonly code: FailureCode;
        readonly message: string;
        readonly hint: string | null;
      };
    };

/** Does the task of the argument and returns the exit code. */
export async function runWorker(argument = ""): Promise<number> {
  let report: WorkerReport;
  try {
    const strays = new StrayErrors();
    const settings = readSettings(argument);
    const work = async () => roles[settings.role](settings);
    report = { result: await strays.race(work()) };
  } catch (error) {
    const { code, message, hint } = explain(error);
    report = { failure: { code, message, hint } };
  }
  await print(Descriptor.STDOUT, `${JSON.stringify(report)}\n`);
  return "result" in report ? 0 : 1;
}

function readSettings(argument: string): WorkerSettings {
  try {
    return JSON.parse(argument);
  } catch {
    throw new CommandError("USAGE", "Only zerobuffer bench starts this process.", "Run zerobuffer bench.");
  }
}

const roles: Readonly<Record<Role, (settings: WorkerSettings) => WorkerResult | Promise<WorkerResult>>> = {
  source,
  sink,
  initiator,
  echo,
  relay: passOnAsRelay,
  client: ask,
  server: serve,
};

/** Sends frames until there are enough. */
function source(settings: WorkerSettings): WorkerResult {
  const { batchSize } = settings;
  const span = new Span(settings);
  const schedule = new Schedule(settings.rate, span);
  const frames = framesOf(settings, batchSize);
  using sender = openSender(settings, "there");
  while (!span.isOver) {
    const count = span.next;
    schedule.next();
    for (let sent = 0; sent < count; sent += batchSize) sender.send(frames);
    span.add(count);
  }
  return span.usage;
}

/** Receives frames until the sender has left. */
function sink(settings: WorkerSettings): WorkerResult {
  const { batchSize, frameSize } = settings;
  const span = new Span(settings);
  const target = new Uint8Array(batchSize * frameSize);
  using receiver = openReceiver(settings, settings.work === "fanout" ? "out" : "there");
  for (let count = receiver.receive(target); count > 0; count = receiver.receive(target)) span.add(count);
  return span.usage;
}

/** Sends one frame after another, each after the one before has come back. */
function initiator(settings: WorkerSettings): WorkerResult {
  const target = new Uint8Array(settings.frameSize);
  // Each process creates its own buffer before it waits for the other process's.
  using receiver = openReceiver(settings, "back");
  using sender = openSender(settings, "there");
  return roundTrips(settings, (frame) => {
    sender.send(frame);
    if (receiver.receive(target) === 0) throw new CommandError("INCOMPLETE", "A frame did not come back.");
  });
}

/** Sends every frame back. */
function echo(settings: WorkerSettings): WorkerResult {
  const span = new Span(settings);
  using receiver = openReceiver(settings, "there");
  using sender = openSender(settings, "back");
  while (receiver.passOn(sender)) span.add(1);
  return span.usage;
}

/** Passes every frame on with the loop of `zerobuffer relay`: back, or to each of several sinks. */
async function passOnAsRelay(settings: WorkerSettings): Promise<WorkerResult> {
  const { there, back, outs } = bufferNames(settings.buffer);
  const span = new Span(settings);
  await using session = new Session({
    events: undefined,
    intervalMs: 0,
    log: undefined,
    showsProgress: false,
    stderr: new StderrLines(),
  });
  const { bufferSize, sharing, wait, work } = settings;
  const options: RelayLoopOptions = {
    ...{ frames: 0, transform: "none" as const, xorKey: 0, createOutput: false, logInterval: 0 },
    ...{ connectTimeoutMs: CONNECT_TIMEOUT_MS, timeoutMs: Number.POSITIVE_INFINITY, follow: false },
  };
  using reader = new Reader(
    there,
    { metadataSize: 0, payloadSize: bufferSize },
    { wait, allowPayloadSharing: sharing },
  );
  const outputs: RelayOutput[] = [];
  for (const name of work === "fanout" ? outs : [back]) {
    const writer = await Writer.connect(name, {
      ...{ wait, connectTimeoutMs: CONNECT_TIMEOUT_MS, writeTimeout: Number.POSITIVE_INFINITY },
      source: sharing ? reader.sharing : undefined,
    });
    const output = session.own(new OutputBuffer(writer, { ...options, onFull: "wait" }, session));
    outputs.push(new RelayOutput(name, output, session));
  }
  let passed = 0;
  const loop = new RelayLoop(reader, outputs, options, session, relay.blank(there, back), (frames) => {
    span.add(frames - passed);
    passed = frames;
  });
  await loop.run();
  return span.usage;
}

/** Sends one request after another, each after the response to the one before. */
function ask(settings: WorkerSettings): WorkerResult {
  const { buffer, bufferSize } = settings;
  const target = new Uint8Array(settings.frameSize);
  using client: IDuplexClient = new DuplexChannelFactory().createClient(buffer, {
    config: { metadataSize: 0, payloadSize: bufferSize },
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });
  return roundTrips(settings, (frame) => {
    client.sendRequest(frame);
    const response = client.receiveResponse(Number.POSITIVE_INFINITY);
    response.copyTo(target);
    response.release();
  });
}

/** Answers each request with its own bytes until it is told to end. */
async function serve(settings: WorkerSettings): Promise<WorkerResult> {
  const { buffer, bufferSize } = settings;
  const span = new Span(settings);
  const { promise: end, resolve, reject } = Promise.withResolvers<void>();
  process.once("SIGTERM", () => resolve());
  const watch = setInterval(() => process.ppid === settings.parent || resolve(), PARENT_CHECK_MS);
  using server = new DuplexChannelFactory().createImmutableServer(buffer, {
    metadataSize: 0,
    payloadSize: bufferSize,
  });
  server.onError = reject;
  server.start((request) => {
    span.add(1);
    return request.data;
  });
  await end.finally(() => clearInterval(watch));
  server.onError = undefined;
  return span.usage;
}

/** Measures round trips, each from when it was due until it was complete. */
function roundTrips(settings: WorkerSettings, go: (frame: Uint8Array) => void): WorkerResult {
  const span = new Span(settings);
  const schedule = new Schedule(settings.rate, span);
  const latencies = new Latencies();
  const frame = framesOf(settings, 1);
  while (!span.isOver) {
    const dueNs = schedule.next();
    go(frame);
    const doneNs = Bun.nanoseconds();
    if (span.counts) latencies.add((doneNs - dueNs) / 1e6);
    span.add(1);
  }
  const usage = span.usage;
  const { min, mean, p50, p90, p99, p999, max } = latencies.summaryUs;
  if (p50 === null) return usage;
  const latencyUs = { min, mean, p50, p90, p99, p999, p9999: latencies.percentileUs(99.99), max };
  return { ...usage, latencyUs: latencyUs as LatenciesUs };
}

/** Frames, end to end. */
function framesOf({ frameSize }: WorkerSettings, count: number): Uint8Array {
  return new Uint8Array(count * frameSize).map((_, i) => i);
}
