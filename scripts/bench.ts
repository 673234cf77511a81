// Measures this project against its speed limit and the usual alternatives, side by side in one run.
//
// The limit is scripts/bench/limit.c: the same helper doing the same work without Bun.
// `bench.ts [--json|--markdown] [NAME...]` takes all measurements, or those named: the keys of `measurements`.

import type { WaitMode } from "../src/core/index.ts";
import {
  type Comparison,
  compare,
  framesText,
  gibibytesText,
  type Measurement,
  medianAndRange,
  medians,
  nanosecondsText,
  show,
  showMarkdown,
  sizeText,
  type Target,
  type Turn,
  takeTurns,
} from "./bench/contest.ts";
import { firstLap, laterLaps } from "./bench/paced.ts";
import {
  buildLimit,
  bunWorker,
  directory,
  inBun,
  inC,
  inCommands,
  inPacedCommands,
  makeFile,
  measure,
  streamThroughCat,
  streamThroughCommands,
} from "./bench/programs.ts";
import { fannedOut, requestInPlace, shared, sharedPictures } from "./bench/sharing.ts";
import { KIB, MIB, PICTURE_SIZE, RING_SIZE } from "./bench/sizes.ts";
import { buildStarters } from "./bench/starters.ts";

const GIB = 1024 * MIB;
/** The most that a pipe of a process without privileges can hold. */
const PIPE_SIZE = MIB;
/** Turns of what takes little. */
const MANY_TURNS = 7;
/** Turns of what takes long. */
const FEW_TURNS = 3;

// ---- what is measured ----------------------------------------------------------------------------------------------

/** Sizes at which a frame costs more than its bytes: against C, and against a pipe of the ring's size. */
async function oneWaySmall(
  frameSize: number,
  count: number,
  targets: { single?: Target; batched?: Target },
): Promise<Measurement> {
  const turns = await takeTurns({
    API: () => inBun(["read", "write"], frameSize, count, PIPE_SIZE),
    C: () => inC("one-way", frameSize, count, PIPE_SIZE),
    batched: () => inBun(["read-batches", "write-batches"], frameSize, count, PIPE_SIZE),
    async: () => inBun(["read-async", "write"], frameSize, count, PIPE_SIZE),
    pipe: () => inC("pipe-of-programs", frameSize, count / 4, PIPE_SIZE, bunWorker),
    "pipe in C": () => inC("pipe", frameSize, count / 4, PIPE_SIZE),
  });
  const figure = "framesPerSecond";
  return {
    title: `one way, ${sizeText(frameSize)} frames, ring of ${sizeText(PIPE_SIZE)}`,
    contenders: medians(turns, figure, framesText),
    comparisons: [
      compare(turns, figure, "API", "C", targets.single),
      compare(turns, figure, "batched", "C", targets.batched),
      compare(turns, figure, "batched", "pipe", { atLeast: 5 }),
      compare(turns, figure, "API", "pipe"),
      compare(turns, figure, "API", "pipe in C"),
      compare(turns, figure, "C", "pipe in C"),
      compare(turns, figure, "async", "API", frameSize >= KIB ? { atLeast: 0.5 } : {}),
    ],
    turns,
  };
}

/** What a frame costs one thread, which writes some and then reads them. */
async function oneThread(frameSize: number, count: number): Promise<Measurement> {
  const turns = await takeTurns({
    API: () => inBun(["write-and-read"], frameSize, count, MIB),
    C: () => inC("one-thread", frameSize, count, MIB),
  });
  const figure = "framesPerSecond";
  return {
    title: `written and read by one thread, ${sizeText(frameSize)} frames`,
    contenders: medians(turns, figure, framesText),
    comparisons: [compare(turns, figure, "API", "C")],
    turns,
  };
}

/** Sizes at which the bytes cost most: against C, and against a single copy of them. */
async function oneWayLarge(frameSize: number, count: number): Promise<Measurement> {
  const turns = await takeTurns({
    API: () => inBun(["read", "write"], frameSize, count, RING_SIZE),
    C: () => inC("one-way", frameSize, count, RING_SIZE),
    async: () => inBun(["read-async", "write"], frameSize, count, RING_SIZE),
    memcpy: () => inC("memcpy", frameSize, count, RING_SIZE),
    "memcpy in and out": () => inC("memcpy-both", frameSize, count, RING_SIZE),
  });
  const figure = "bytesPerSecond";
  return {
    title: `one way, ${sizeText(frameSize)} frames, ring of ${sizeText(RING_SIZE)}`,
    contenders: medians(turns, figure, gibibytesText),
    comparisons: [
      compare(turns, figure, "API", "memcpy", { atLeast: 0.8 }),
      compare(turns, figure, "API", "C", { atLeast: 0.9 }),
      compare(turns, figure, "C", "memcpy"),
      compare(turns, figure, "API", "memcpy in and out"),
      compare(turns, figure, "async", "API", { atLeast: 0.5 }),
    ],
    turns,
  };
}

/** The commands with their default options, as the reader reports them. */
async function commands(): Promise<Measurement> {
  const [frameSize, count] = [KIB, 5_000_000];
  const turns = await takeTurns(
    {
      commands: () => inCommands(frameSize, count),
      pipe: () => inC("pipe-of-programs", frameSize, count / 4, PIPE_SIZE, bunWorker),
      "pipe in C": () => inC("pipe", frameSize, count / 4, PIPE_SIZE),
    },
    FEW_TURNS,
  );
  const figure = "framesPerSecond";
  return {
    title: `zerobuffer writer and reader, ${count.toLocaleString("en-US")} frames of ${sizeText(frameSize)}`,
    contenders: medians(turns, figure, framesText),
    comparisons: [
      compare(turns, figure, "commands", "pipe", { atLeast: 5 }),
      compare(turns, figure, "commands", "pipe in C"),
    ],
    turns,
  };
}

/** A file from stdin to stdout, from the start of the programs to their end. */
async function streamed(): Promise<Measurement> {
  const path = await makeFile(GIB);
  const turns = await takeTurns(
    {
      commands: () => streamThroughCommands(path),
      "commands -s 1MiB": () => streamThroughCommands(path, "-s", "1MiB"),
      "cat | cat": () => streamThroughCat(path),
    },
    FEW_TURNS,
  );
  const figure = "bytesPerSecond";
  return {
    title: "zerobuffer writer -i - and reader -o -, a file of 1 GiB",
    contenders: medians(turns, figure, gibibytesText),
    comparisons: [
      compare(turns, figure, "commands", "cat | cat", { atLeast: 0.8 }),
      compare(turns, figure, "commands -s 1MiB", "cat | cat", { atLeast: 0.8 }),
    ],
    turns,
  };
}

/** @param wait how both sides wait for each other, here and in C. */
async function roundTrip(wait: WaitMode, count: number, targets: { c?: Target; socket?: Target }) {
  const frameSize = 64;
  const inMode = wait === "adaptive" ? "" : `-${wait}`;
  const turns = await takeTurns({
    API: () => inBun([`ping:${wait}`, `serve:${wait}`], frameSize, count, MIB),
    C: () => inC(`round-trip${inMode}`, frameSize, count, MIB),
    "Unix socket": () => inC("socket", frameSize, 20_000, MIB),
  });
  return {
    title: `round trip, ${sizeText(frameSize)} frames, waiting: ${wait}, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [
      compare(turns, "p50Ns", "API", "C", targets.c),
      compare(turns, "p50Ns", "API", "Unix socket", targets.socket),
      { ...compare(turns, "p99Ns", "API", "C"), of: "API p99", to: "C p99" },
    ],
    turns,
  };
}

/** Where a busy loop takes its part of each processor. */
async function roundTripBesideOthers(): Promise<Measurement> {
  const [frameSize, count] = [64, 200_000];
  // They end with this process, even if it is killed.
  const others = Array.from({ length: navigator.hardwareConcurrency }, () =>
    Bun.spawn(["sh", "-c", "while kill -0 $PPID 2> /dev/null; do :; done"]),
  );
  try {
    const turns = await takeTurns(
      {
        API: () => inBun(["ping", "serve"], frameSize, count, MIB),
        C: () => inC("round-trip", frameSize, count, MIB),
        "pipe in C": () => inC("pipes", frameSize, count, MIB),
      },
      2 * MANY_TURNS,
    );
    return {
      title: `round trip, ${sizeText(frameSize)} frames, beside as many busy loops as processors, p50`,
      contenders: medians(turns, "p50Ns", nanosecondsText),
      comparisons: [
        compare(turns, "p50Ns", "API", "pipe in C", { atMost: 1 }),
        compare(turns, "p50Ns", "C", "pipe in C"),
        { ...compare(turns, "p99Ns", "API", "pipe in C"), of: "API p99", to: "pipe in C p99" },
      ],
      turns,
    };
  } finally {
    for (const other of others) other.kill("SIGKILL");
  }
}

/** A picture to a relay and back. */
async function pictures(): Promise<Measurement> {
  const count = 300;
  const turns = await takeTurns({
    API: () => inBun(["ping", "serve"], PICTURE_SIZE, count, RING_SIZE),
    "in place": () => inBun(["ping-in-place", "serve"], PICTURE_SIZE, count, RING_SIZE),
    C: () => inC("round-trip", PICTURE_SIZE, count, RING_SIZE),
    "Unix socket": () => inC("socket", PICTURE_SIZE, count, RING_SIZE),
  });
  return {
    title: `round trip through a relay, pictures of ${PICTURE_SIZE.toLocaleString("en-US")} bytes, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [
      compare(turns, "p50Ns", "in place", "Unix socket", { atMost: 1 / 4 }),
      compare(turns, "p50Ns", "API", "Unix socket"),
      compare(turns, "p50Ns", "API", "C"),
      compare(turns, "p50Ns", "C", "Unix socket"),
    ],
    turns,
  };
}

async function relayed(): Promise<Measurement> {
  const [frameSize, count] = [64 * KIB, 200_000];
  const turns = await takeTurns({
    relayed: () => inBun(["read-relayed", "relay", "write"], frameSize, count, RING_SIZE),
    direct: () => inBun(["read", "write"], frameSize, count, RING_SIZE),
    "relayed in C": () => inC("relayed", frameSize, count, RING_SIZE),
    "direct in C": () => inC("one-way", frameSize, count, RING_SIZE),
  });
  return {
    title: `through a relay, ${sizeText(frameSize)} frames, rings of ${sizeText(RING_SIZE)}`,
    contenders: medians(turns, "framesPerSecond", framesText),
    comparisons: [
      compare(turns, "framesPerSecond", "relayed", "direct", { atLeast: 0.6 }),
      compare(turns, "framesPerSecond", "relayed in C", "direct in C"),
      compare(turns, "framesPerSecond", "relayed", "relayed in C"),
    ],
    turns,
  };
}

async function oneRequest(): Promise<Measurement> {
  const [frameSize, count] = [64, 500_000];
  const turns = await takeTurns({
    duplex: () => inBun(["ask-one-by-one", "serve-duplex"], frameSize, count, MIB),
    "two buffers": () => inBun(["ping", "serve"], frameSize, count, MIB),
  });
  return {
    title: `request and response, ${sizeText(frameSize)}, one at a time, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [compare(turns, "p50Ns", "duplex", "two buffers", { atMost: 1.5 })],
    turns,
  };
}

async function manyRequests(): Promise<Measurement> {
  const [frameSize, count] = [KIB, 1_000_000];
  const turns = await takeTurns({
    requests: () => inBun(["ask-many", "serve-duplex"], frameSize, count, MIB),
    "one way": () => inBun(["read", "write"], frameSize, count, MIB),
  });
  return {
    title: `requests, ${sizeText(frameSize)}, 64 on their way at once, asynchronous`,
    contenders: medians(turns, "framesPerSecond", framesText),
    comparisons: [compare(turns, "framesPerSecond", "requests", "one way", { atLeast: 0.2 })],
    turns,
  };
}

async function idle(): Promise<Measurement> {
  const turns: Turn[] = [];
  for (let turn = 0; turn < 2; turn++) {
    turns.push({
      blocking: await inBun(["idle", "stay-connected"], 1, 1, MIB),
      async: await inBun(["idle-async", "stay-connected"], 1, 1, MIB),
    });
  }
  return {
    title: "processor time of an idle reader",
    contenders: medians(turns, "cpuPercent", percentText),
    comparisons: [percentOf(turns, "blocking", 1), percentOf(turns, "async", 1)],
    turns,
  };
}

/** The commands at the rate of a camera. */
async function paced(): Promise<Measurement> {
  const [frameSize, rate] = [KIB, 60];
  const turns: Turn[] = [];
  for (let turn = 0; turn < FEW_TURNS; turn++) turns.push(await inPacedCommands(frameSize, rate));
  return {
    title: `processor time of zerobuffer writer and reader at ${rate} frames per second of ${sizeText(frameSize)}`,
    contenders: medians(turns, "cpuPercent", percentText),
    comparisons: [percentOf(turns, "writer", 2), percentOf(turns, "reader", 2)],
    turns,
  };
}

function percentOf(turns: readonly Turn[], contender: string, atMost: number): Comparison {
  const values = turns.map((turn) => turn[contender]!.cpuPercent!);
  return { of: contender, to: "one processor, in percent", ...medianAndRange(values), atMost };
}

function percentText(value: number): string {
  return `${value.toFixed(2)} %`;
}

async function starting(): Promise<Measurement> {
  const contenders = await buildStarters(directory);
  const turns: Turn[] = [];
  for (let turn = 0; turn < MANY_TURNS; turn++) {
    const startMs = Object.entries(await measure(contenders));
    turns.push(Object.fromEntries(startMs.map(([contender, startMs]) => [contender, { startMs }])));
  }
  return {
    title: "executables from start to end: a writer without a buffer, a list without buffers",
    contenders: medians(turns, "startMs", (value) => `${value.toFixed(1)} ms`),
    comparisons: [
      compare(turns, "startMs", "--version", "hello", { atMost: 1.3 }),
      compare(turns, "startMs", "list", "hello", { atMost: 2 }),
      compare(turns, "startMs", "writer", "hello", { atMost: 2 }),
    ],
    turns,
  };
}

// ---- all of it -----------------------------------------------------------------------------------------------------

/** Each long enough that starting and compiling do not show, a second or two. */
const measurements: Readonly<Record<string, () => Promise<Measurement>>> = {
  "one-thread-64": () => oneThread(64, 8_000_000),
  "one-thread-1k": () => oneThread(KIB, 6_000_000),
  "one-way-64": () => oneWaySmall(64, 8_000_000, { batched: { atLeast: 1 } }),
  "one-way-1k": () => oneWaySmall(KIB, 4_000_000, { single: { atLeast: 0.9 } }),
  "one-way-64k": () => oneWayLarge(64 * KIB, 250_000),
  "one-way-1m": () => oneWayLarge(MIB, 12_000),
  commands,
  stream: streamed,
  "round-trip": () => roundTrip("adaptive", 1_000_000, { c: { atMost: 1.3 }, socket: { atMost: 0.1 } }),
  "round-trip-spin": () => roundTrip("spin", 1_000_000, { socket: { atMost: 1 / 20 } }),
  "round-trip-block": () => roundTrip("block", 50_000, { c: { atMost: 1 / 0.95 } }),
  "round-trip-busy": roundTripBesideOthers,
  pictures,
  relay: relayed,
  "shared-64k": () => shared(64 * KIB, 200_000, { atLeast: 1.4 }),
  "shared-1m": () => shared(MIB, 10_000, { atLeast: 1.8 }),
  "fan-out": fannedOut,
  "shared-pictures": sharedPictures,
  request: oneRequest,
  "request-in-place": requestInPlace,
  requests: manyRequests,
  "paced-first-lap": firstLap,
  "paced-60": () => laterLaps({ rate: 60, count: 1000 }),
  "paced-500": () => laterLaps({ rate: 500, count: 10_000 }),
  idle,
  paced,
  starting,
};

const forms = ["--json", "--markdown"];
const form = process.argv.slice(2).find((argument) => forms.includes(argument));
const names = process.argv.slice(2).filter((argument) => argument !== form);
const unknown = names.filter((name) => measurements[name] === undefined);
if (unknown.length > 0) {
  console.error(`bench: no ${unknown.join(", ")}; there are ${Object.keys(measurements).join(", ")}`);
  process.exit(2);
}

// Until the end is reached.
process.exitCode = 1;
await buildLimit();
const taken: Measurement[] = [];
for (const name of names.length > 0 ? names : Object.keys(measurements)) {
  const measurement = await measurements[name]!();
  taken.push(measurement);
  if (form === undefined) show(measurement);
}
if (form === "--json") console.log(JSON.stringify(taken, undefined, 2));
if (form === "--markdown") showMarkdown(taken);
process.exitCode = 0;
