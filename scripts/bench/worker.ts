// One process of a measurement through the TypeScript API: does the same work as limit.c, and prints what it measured.
//
// `worker.ts ROLE BUFFER FRAME_SIZE COUNT RING_SIZE`. The first tenth of the frames warms up and is not counted. A role
// may end with `:spin` or `:block`, which is how it waits; otherwise it does so adaptively.

import { readSync, writeSync } from "node:fs";
import {
  DuplexChannelFactory,
  type IDuplexClient,
  Reader,
  type ReaderOptions,
  type WaitMode,
  Writer,
} from "../../src/core/index.ts";

/** How long an idle reader is watched, in milliseconds. */
const IDLE_MS = 2000;

/** Frames of a call, where there are several. */
const BATCH_SIZE = 64;

/** As many as limit.c's. */
const FRAMES_IN_A_ROW = 32;

/** Requests on their way at once. */
const IN_FLIGHT = 64;

const [roleAndWait, name, ...numbers] = process.argv.slice(2) as [string, string, ...string[]];
const [role, wait = "adaptive"] = roleAndWait.split(":") as [string, WaitMode?];
const [frameSize, count, ringSize] = numbers.map(Number) as [number, number, number];
const warmUp = Math.floor(count / 10);
const config = { metadataSize: 0, payloadSize: ringSize };
/** Of readers, and of writers. */
const options = { connectTimeoutMs: 20_000, wait };
const { connectTimeoutMs } = options;
const source = new Uint8Array(frameSize).map((_, i) => i);
const scratch = new Uint8Array(frameSize);

function print(result: object): void {
  console.log(JSON.stringify(result));
}

function printThroughput(startNs: number): void {
  const seconds = (Bun.nanoseconds() - startNs) / 1e9;
  print({ seconds, framesPerSecond: count / seconds, bytesPerSecond: (count * frameSize) / seconds });
}

function write(): void {
  using writer = new Writer(name, options);
  for (let i = 0; i < warmUp + count; i++) writer.writeFrame(source);
}

function read(buffer: string): void {
  using reader = new Reader(buffer, config, options);
  let startNs = 0;
  for (let i = 0; i < warmUp + count; i++) {
    if (i === warmUp) startNs = Bun.nanoseconds();
    const frame = reader.readFrame();
    frame.copyTo(scratch);
    frame.release();
  }
  printThroughput(startNs);
}

/** Writes small frames, many with one call. */
function writeBatches(): void {
  using writer = new Writer(name, options);
  const frames = new Uint8Array(BATCH_SIZE * frameSize).map((_, i) => i);
  for (let i = 0; i < warmUp + count; i += BATCH_SIZE) writer.writeFrames(frames, frameSize);
}

/** Reads as many as are there with one call. */
function readBatches(): void {
  using reader = new Reader(name, config, options);
  const target = new Uint8Array(BATCH_SIZE * frameSize);
  let startNs = 0;
  for (let i = 0; i < warmUp + count; ) {
    if (i >= warmUp && startNs === 0) startNs = Bun.nanoseconds();
    const frames = reader.readFrames(BATCH_SIZE);
    frames.copyTo(target);
    frames.release();
    i += frames.length;
  }
  printThroughput(startNs);
}

/** Writes some frames and then reads them, so that no other thread has a part in it. */
function writeAndRead(): void {
  using reader = new Reader(name, config, options);
  using writer = new Writer(name, options);
  let startNs = 0;
  for (let i = 0; i < warmUp + count; i += FRAMES_IN_A_ROW) {
    if (i >= warmUp && startNs === 0) startNs = Bun.nanoseconds();
    for (let k = 0; k < FRAMES_IN_A_ROW; k++) writer.writeFrame(source);
    for (let k = 0; k < FRAMES_IN_A_ROW; k++) {
      const frame = reader.readFrame();
      frame.copyTo(scratch);
      frame.release();
    }
  }
  printThroughput(startNs);
}

async function readAsync(): Promise<void> {
  using reader = new Reader(name, config, options);
  let startNs = 0;
  let i = 0;
  for await (const frame of reader.frames()) {
    if (i++ === warmUp) startNs = Bun.nanoseconds();
    frame.copyTo(scratch);
    frame.release();
  }
  // The end of the writer is not a frame, but it comes at once.
  printThroughput(startNs);
}

function writeToPipe(): void {
  for (let i = 0; i < warmUp + count; i++) {
    for (let done = 0; done < frameSize; ) done += writeSync(1, source, done);
  }
}

function readFromPipe(): void {
  let startNs = 0;
  for (let i = 0; i < warmUp + count; i++) {
    if (i === warmUp) startNs = Bun.nanoseconds();
    for (let done = 0; done < frameSize; ) done += readSync(0, scratch, done, frameSize - done, null);
  }
  printThroughput(startNs);
}

function serve(): void {
  using requests = new Reader(`${name}-requests`, config, options);
  using responses = new Writer(`${name}-responses`, options);
  for (let i = 0; i < warmUp + count; i++) {
    const request = requests.readFrame();
    responses.writeFrame(request.data);
    request.release();
  }
}

function ping(): void {
  using responses = new Reader(`${name}-responses`, config, options);
  using requests = new Writer(`${name}-requests`, options);
  const elapsedNs = new Uint32Array(warmUp + count);
  for (let i = 0; i < warmUp + count; i++) {
    const startNs = Bun.nanoseconds();
    requests.writeFrame(source);
    const response = responses.readFrame();
    response.copyTo(scratch);
    response.release();
    elapsedNs[i] = Bun.nanoseconds() - startNs;
  }
  printLatency(elapsedNs);
}

/** As {@link ping}, with frames that are made where they are sent from and looked at where they come in. */
function pingInPlace(more: ReaderOptions = {}): void {
  using responses = new Reader(`${name}-responses`, config, { ...options, ...more });
  using requests = new Writer(`${name}-requests`, options);
  const elapsedNs = new Uint32Array(warmUp + count);
  const last = frameSize - 1;
  for (let i = 0; i < warmUp + count; i++) {
    const { data } = requests.acquireFrame(frameSize);
    data[0] = i;
    data[last] = i;
    const startNs = Bun.nanoseconds();
    requests.commitFrame();
    const response = responses.readFrame();
    const isSame = response.data[0] === (i & 0xff) && response.data[last] === (i & 0xff);
    elapsedNs[i] = Bun.nanoseconds() - startNs;
    response.release();
    if (!isSame) throw new Error(`frame ${i} came back changed`);
  }
  printLatency(elapsedNs);
}

function printLatency(elapsedNs: Uint32Array): void {
  const sorted = elapsedNs.subarray(warmUp).sort();
  print({ p50Ns: sorted[Math.floor(count / 2)], p99Ns: sorted[count - 1 - Math.floor(count / 100)] });
}

/** Takes each frame and writes it on: one copy. */
function relay(): void {
  using reader = new Reader(name, config, options);
  using writer = new Writer(`${name}-relayed`, options);
  for (let i = 0; i < warmUp + count; i++) {
    const frame = reader.readFrame();
    writer.writeFrame(frame.data);
    frame.release();
  }
}

/** Makes each frame where it is sent from, but for its bytes. */
function writeInPlace(): void {
  using writer = new Writer(name, options);
  for (let i = 0; i < warmUp + count; i++) {
    writer.acquireFrame(frameSize);
    writer.commitFrame();
  }
}

/** The buffers behind a relay. */
const outputs = ["relayed", "relayed-2", "relayed-3"].map((output) => `${name}-${output}`);

/** Reads what comes through a relay, without a look at the bytes. */
function take(buffer: string): void {
  using reader = new Reader(buffer, config, { ...options, allowPayloadSharing: true });
  let startNs = 0;
  for (let i = 0; i < warmUp + count; i++) {
    if (i === warmUp) startNs = Bun.nanoseconds();
    reader.readFrame().release();
  }
  printThroughput(startNs);
}

/** Passes each frame on to some outputs, as a relay does, shared or copied. */
function forward(to: number, isSharing: boolean): void {
  using reader = new Reader(name, config, { ...options, allowPayloadSharing: isSharing });
  using writers = new DisposableStack();
  const all = outputs
    .slice(0, to)
    .map((output) => writers.use(new Writer(output, { ...options, requestPayloadSharing: isSharing })));
  for (let i = 0; i < warmUp + count; i++) {
    const frame = reader.readFrame();
    for (const writer of all) writer.forwardFrame(frame);
    frame.release();
  }
}

/** As {@link pingInPlace}, through a relay that may share. */
function pingShared(): void {
  pingInPlace({ allowPayloadSharing: true });
}

/** Passes each request on as its response. */
function serveShared(): void {
  using requests = new Reader(`${name}-requests`, config, { ...options, allowPayloadSharing: true });
  using responses = new Writer(`${name}-responses`, { ...options, requestPayloadSharing: true });
  for (let i = 0; i < warmUp + count; i++) {
    const request = requests.readFrame();
    responses.forwardFrame(request);
    request.release();
  }
}

const factory = DuplexChannelFactory.getInstance();

/** Echoes in the background until every request is answered. */
function serveDuplex(): void {
  factory
    .createImmutableServer(name, config)
    .start((request) => request.data, undefined, { limit: warmUp + count });
}

/** Looks at both ends of each request, changes them, and answers in place. */
function serveInPlace(): void {
  const last = frameSize - 1;
  factory.createMutableServer(name, config).start(
    (request) => {
      const bytes = request.getMutableSpan();
      bytes[0]!++;
      bytes[last]!++;
    },
    undefined,
    { limit: warmUp + count },
  );
}

function connectClient(allowPayloadSharing = false): IDuplexClient {
  return factory.createClient(name, { config, connectTimeoutMs, allowPayloadSharing });
}

/** As {@link askOneByOne}, with requests that are made where they are sent from and responses looked at where they come in. */
function askInPlace(allowPayloadSharing: boolean): void {
  using client = connectClient(allowPayloadSharing);
  const elapsedNs = new Uint32Array(warmUp + count);
  const last = frameSize - 1;
  for (let i = 0; i < warmUp + count; i++) {
    const { buffer } = client.acquireRequestBuffer(frameSize);
    buffer[0] = i;
    buffer[last] = i;
    const startNs = Bun.nanoseconds();
    client.commitRequest();
    const response = client.receiveResponse();
    const { data } = response;
    const isRight = data[0] === ((i + 1) & 0xff) && data[last] === ((i + 1) & 0xff);
    elapsedNs[i] = Bun.nanoseconds() - startNs;
    response.release();
    if (!isRight) throw new Error(`the response to request ${i} is wrong`);
  }
  printLatency(elapsedNs);
}

function askOneByOne(): void {
  using client = connectClient();
  const elapsedNs = new Uint32Array(warmUp + count);
  for (let i = 0; i < warmUp + count; i++) {
    const startNs = Bun.nanoseconds();
    client.sendRequest(source);
    const response = client.receiveResponse();
    response.copyTo(scratch);
    response.release();
    elapsedNs[i] = Bun.nanoseconds() - startNs;
  }
  printLatency(elapsedNs);
}

async function askMany(): Promise<void> {
  using client = connectClient();
  let startNs = 0;
  let asked = 0;
  const ask = async () => {
    while (asked < warmUp + count) {
      if (asked++ === warmUp) startNs = Bun.nanoseconds();
      const response = await client.request(source);
      response.copyTo(scratch);
      response.release();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, ask));
  printThroughput(startNs);
}

/** Processor time of this process since `before`, in percent of the time that has passed since `startMs`. */
function printIdle(before: NodeJS.CpuUsage, startMs: number): void {
  const { user, system } = process.cpuUsage(before);
  print({ cpuPercent: (user + system) / 10 / (performance.now() - startMs) });
}

async function idle(wait: (reader: Reader, timeoutMs: number) => unknown): Promise<void> {
  using reader = new Reader(name, config, options);
  const warmUpMs = 300;
  await wait(reader, warmUpMs);
  const [before, startMs] = [process.cpuUsage(), performance.now()];
  await wait(reader, IDLE_MS);
  printIdle(before, startMs);
}

/** Connects and writes nothing while the idle reader is watched. */
async function stayConnected(): Promise<void> {
  using _writer = new Writer(name, options);
  await Bun.sleep(2 * IDLE_MS);
}

const roles: Readonly<Record<string, () => unknown>> = {
  write,
  read: () => read(name),
  "write-batches": writeBatches,
  "read-batches": readBatches,
  "write-and-read": writeAndRead,
  "read-async": readAsync,
  "pipe-write": writeToPipe,
  "pipe-read": readFromPipe,
  "read-relayed": () => read(`${name}-relayed`),
  relay,
  serve,
  ping,
  "ping-in-place": () => pingInPlace(),
  "ping-shared": pingShared,
  "serve-shared": serveShared,
  "write-in-place": writeInPlace,
  ...Object.fromEntries(outputs.map((output, i) => [`take-${i + 1}`, () => take(output)])),
  "relay-shared": () => forward(1, true),
  "relay-copied": () => forward(1, false),
  "fan-out-shared": () => forward(3, true),
  "fan-out-copied": () => forward(3, false),
  "serve-duplex": serveDuplex,
  "ask-one-by-one": askOneByOne,
  "ask-many": askMany,
  "serve-in-place": serveInPlace,
  "ask-copied": () => askInPlace(false),
  "ask-shared": () => askInPlace(true),
  idle: () => idle((reader, timeoutMs) => reader.readFrame(timeoutMs)),
  "idle-async": () => idle((reader, timeoutMs) => reader.readFrameAsync(timeoutMs)),
  "stay-connected": stayConnected,
};

await roles[role]?.();
