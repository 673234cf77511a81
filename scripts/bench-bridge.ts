// Measures bridges against bare clients of NATS that send the same messages, in one run:
//
//   bench-bridge.ts [--seconds N] [--rounds N]   throughput of 64 KiB and 3 MB, then latency at 30 frames per second
//
// It starts a NATS server of its own on a free port of the loopback interface, and needs nats-server in PATH.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connect, headers } from "@nats-io/transport-node";
import { median } from "../src/cli/format.ts";
import { ageUs, Reader, Writer } from "../src/core/index.ts";
import { HEADER_ROOM, newRun, partCount, partHeaders } from "../src/frames/wire.ts";
import { root } from "./build-native.ts";

const SIZES = [64 * 1024, 3_000_000];
const RING = 64 * 2 ** 20;
/** Bytes that a bare publisher sends before it waits for the server. */
const WINDOW = 16 * 2 ** 20;
const PICTURE = 3_110_400;

// ---- the processes ---------------------------------------------------------------------------------------------------

async function barePublish(server: string, size: number, count: number): Promise<void> {
  const connection = await connect({ servers: server });
  const run = newRun();
  const frame = new Uint8Array(size).fill(7);
  const parts = partCount(size, (connection.info?.max_payload ?? 0) - HEADER_ROOM);
  const partSize = Math.ceil(size / parts);
  let sent = 0;
  let flushing = Promise.resolve();
  for (let sequence = 1; sequence <= count; sequence++) {
    for (let part = 1; part <= parts; part++) {
      const all = headers();
      const fields = partHeaders({ run, sequence, size, part, parts, timeUs: ageUs({ time: 0n }) });
      for (const name in fields) all.append(name, fields[name]!);
      connection.publish("bare", frame.subarray((part - 1) * partSize, part * partSize), { headers: all });
    }
    sent += size;
    if (sent < WINDOW / 2) continue;
    // The window is half full with what was sent before.
    sent = 0;
    await flushing;
    flushing = connection.flush();
  }
  await connection.drain();
}

async function bareSubscribe(server: string, size: number, count: number): Promise<void> {
  const connection = await connect({ servers: server });
  const { promise, resolve } = Promise.withResolvers<void>();
  let [bytes, startedAt] = [0, 0];
  connection.subscribe("bare", {
    callback: (_, { data, headers }) => {
      if (startedAt === 0) startedAt = performance.now();
      if (headers?.get("Zb-Run") === "") throw new Error("a message without headers");
      bytes += data.length;
      if (bytes >= size * count) resolve();
    },
  });
  await connection.flush();
  console.log("ready");
  await promise;
  console.log(JSON.stringify({ seconds: (performance.now() - startedAt) / 1000, bytes }));
  await connection.close();
}

/** Writes `count` frames, as fast as they go or at a rate. */
function write(name: string, size: number, count: number, rate: number): void {
  using writer = new Writer(name, { connectTimeoutMs: 10_000, writeTimeout: 60_000 });
  const frame = new Uint8Array(size).fill(7);
  const startedAt = performance.now();
  for (let i = 0; i < count; i++) {
    const dueAt = rate > 0 ? startedAt + (i * 1000) / rate : 0;
    const waitMs = dueAt - performance.now();
    if (waitMs > 0) Bun.sleepSync(waitMs);
    writer.writeFrame(frame);
  }
}

async function read(name: string): Promise<void> {
  using reader = new Reader(name, { payloadSize: RING });
  console.log("ready");
  let [bytes, startedAt, lastAt] = [0, 0, 0];
  for await (using frame of reader.frames()) {
    if (startedAt === 0) startedAt = performance.now();
    bytes += frame.size;
    lastAt = performance.now();
  }
  console.log(JSON.stringify({ seconds: (lastAt - startedAt) / 1000, bytes }));
}

// ---- the measurements ------------------------------------------------------------------------------------------------

interface Figures {
  readonly seconds: number;
  readonly bytes: number;
}

function start(...command: string[]) {
  return Bun.spawn(command, { cwd: root, stdout: "pipe", stderr: "inherit", env: { ...process.env } });
}

const self = (...args: unknown[]) => [process.execPath, import.meta.path, ...args.map(String)];
const zerobuffer = (...args: unknown[]) => [process.execPath, join(root, "src/main.ts"), ...args.map(String)];

/** The lines that a process prints, one at a time. */
async function* linesOf(process: { stdout: ReadableStream<Uint8Array> }): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of process.stdout) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

async function next(lines: AsyncGenerator<string>, wanted: (line: string) => boolean): Promise<string> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done) throw new Error("a process ended early");
    if (wanted(value)) return value;
  }
}

const rateOf = ({ seconds, bytes }: Figures) => bytes / seconds / 2 ** 20;

async function bare(server: string, size: number, count: number): Promise<number> {
  const subscriber = start(...self("bare-subscribe", server, size, count));
  const lines = linesOf(subscriber);
  await next(lines, (line) => line === "ready");
  const publisher = start(...self("bare-publish", server, size, count));
  const figures: Figures = JSON.parse(await next(lines, () => true));
  await Promise.all([publisher.exited, subscriber.exited]);
  return rateOf(figures);
}

let bridges = 0;

interface Bridged {
  readonly rate: number;
  // biome-ignore lint/suspicious/noExplicitAny: the documents of the commands
  readonly published: any;
  // biome-ignore lint/suspicious/noExplicitAny: the documents of the commands
  readonly received: any;
  /** Processor time of each side, in seconds, and how long it took. */
  readonly cpu: { readonly publish: number; readonly subscribe: number; readonly seconds: number };
}

async function bridged(
  server: string,
  size: number,
  count: number,
  rate: number,
  ...more: string[]
): Promise<Bridged> {
  const [from, to] = [`bench-${process.pid}-${++bridges}-from`, `bench-${process.pid}-${bridges}-to`];
  const common = ["--server", server, "--json-lines", "--timeout-ms", "0"];
  const reader = start(...self("read", to));
  const readerLines = linesOf(reader);
  await next(readerLines, (line) => line === "ready");
  const publisher = start(
    ...zerobuffer("bridge", "publish", from, "--buffer-size", RING, ...common, ...more),
  );
  const publisherLines = linesOf(publisher);
  await next(publisherLines, (line) => line.includes('"ready"'));
  const words = ["--subject", `zerobuffer.${from}`, ...more];
  const subscriber = start(...zerobuffer("bridge", "subscribe", to, ...common, ...words));
  const subscriberLines = linesOf(subscriber);
  await next(subscriberLines, (line) => line.includes('"ready"'));
  const startedAt = performance.now();
  const writer = start(...self("write", from, size, count, rate));
  const isResult = (line: string) => line.includes('"result"');
  const figures: Figures = JSON.parse(await next(readerLines, () => true));
  const [published, received] = await Promise.all(
    [publisherLines, subscriberLines].map(async (lines) => JSON.parse(await next(lines, isResult))),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  await Promise.all([writer.exited, reader.exited, publisher.exited, subscriber.exited]);
  const cpu = (process: typeof reader) => Number(process.resourceUsage()?.cpuTime.total ?? 0) / 1e6;
  return {
    rate: rateOf(figures),
    published,
    received,
    cpu: { publish: cpu(publisher), subscribe: cpu(subscriber), seconds },
  };
}

async function measure(): Promise<void> {
  const { values } = parseArgs({
    options: { seconds: { type: "string", default: "5" }, rounds: { type: "string", default: "5" } },
  });
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-nats-"));
  const log = join(directory, "log");
  const config = join(directory, "nats.conf");
  const lines = [
    "host: 127.0.0.1",
    "port: -1",
    "max_payload: 8MB",
    `jetstream { store_dir: "${directory}" }`,
    `log_file: "${log}"`,
  ];
  writeFileSync(config, lines.join("\n"));
  const broker = Bun.spawn(["nats-server", "-c", config], { stdio: ["ignore", "ignore", "ignore"] });
  try {
    const server = await addressIn(log);
    const rounds = Number(values.rounds);
    for (const size of SIZES) {
      // About as long, at 400 MiB/s.
      const count = Math.ceil((Number(values.seconds) * 400 * 2 ** 20) / size);
      let lost = 0;
      const rates = { bare: [] as number[], bridge: [] as number[] };
      for (let round = 0; round < rounds; round++) {
        rates.bare.push(await bare(server, size, count));
        const { rate, received } = await bridged(server, size, count, 0);
        lost += received.frames_lost + received.frames_dropped;
        rates.bridge.push(rate);
      }
      const ratios = rates.bridge.map((rate, i) => rate / rates.bare[i]!);
      const text = (all: number[], digits = 0) =>
        `${median(all).toFixed(digits)} (${Math.min(...all).toFixed(digits)} to ${Math.max(...all).toFixed(digits)})`;
      console.log(
        `${size} bytes: bare ${text(rates.bare)} MiB/s, bridge ${text(rates.bridge)} MiB/s, ratio ${text(ratios, 2)}, ${rounds} rounds of ${count} frames, ${lost} lost`,
      );
      const stored = await bridged(server, size, Math.ceil(count / 4), 0, "--stream", `bench-${size}`);
      console.log(`${size} bytes with --stream: ${stored.rate.toFixed(0)} MiB/s`);
    }
    const { received, published, cpu } = await bridged(server, PICTURE, 30 * 4 * Number(values.seconds), 30);
    const { p50, p99, max } = received.age_us;
    const share = (seconds: number) => `${((100 * seconds) / cpu.seconds).toFixed(0)} %`;
    console.log(
      `1080p YUV at 30 frames/s, ${published.frames_published} frames, ${received.frames_lost} lost: ` +
        `latency p50 ${(p50 / 1000).toFixed(2)} ms, p99 ${(p99 / 1000).toFixed(2)} ms, max ${(max / 1000).toFixed(2)} ms; ` +
        `processor: publish ${share(cpu.publish)}, subscribe ${share(cpu.subscribe)} of one`,
    );
  } finally {
    broker.kill();
    await broker.exited;
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Where a server listens, once it says so in its log. */
async function addressIn(log: string): Promise<string> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    const text = await Bun.file(log)
      .text()
      .catch(() => "");
    const port = /Listening for client connections on \S+:(\d+)/.exec(text)?.[1];
    if (port !== undefined && text.includes("Server is ready")) return `nats://127.0.0.1:${port}`;
    await Bun.sleep(10);
  }
  throw new Error(`nats-server does not start: ${readFileSync(log, "utf8")}`);
}

const [role, ...words] = process.argv.slice(2);

switch (role) {
  case "bare-publish":
    await barePublish(words[0]!, Number(words[1]), Number(words[2]));
    break;
  case "bare-subscribe":
    await bareSubscribe(words[0]!, Number(words[1]), Number(words[2]));
    break;
  case "write":
    write(words[0]!, Number(words[1]), Number(words[2]), Number(words[3]));
    break;
  case "read":
    await read(words[0]!);
    break;
  default:
    await measure();
}
