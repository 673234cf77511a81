// Measures this project against its speed limit and the usual alternatives, side by side in one run.
//
// The limit is scripts/bench/limit.c: the same helper doing the same work without Bun. Machines differ and are noisy, so
// only ratios of figures that were taken right after each other count: contenders take turns, each ratio is formed
// within a turn, and the median over all turns is shown with its range.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";
import { buildStarters } from "./bench/starters.ts";
import {
  cFlags,
  compile,
  findCompiler,
  helperSources,
  hostSystem,
  nativeSourceDirectory,
  root,
} from "./build-native.ts";

const json = process.argv.includes("--json");
const TURNS = 7;

const KIB = 1024;
const MIB = 1024 * KIB;
/** Size of the ring at 64 KiB and 1 MiB; at 1 KiB it is as large as the pipe. */
const RING_SIZE = 16 * MIB;
/** The most that a pipe of a process without privileges can hold. */
const PIPE_SIZE = MIB;

/** One program's figure of one turn, as it printed it. */
type Figures = Readonly<Record<string, number>>;

/** What is measured in one turn, by contender. */
type Turn = Readonly<Record<string, Figures>>;

interface Target {
  /** `ratio >= atLeast` or `ratio <= atMost` is wanted. */
  readonly atLeast?: number;
  readonly atMost?: number;
}

interface Comparison extends Target {
  /** What is put above and below the line. */
  readonly of: string;
  readonly to: string;
  readonly ratio: number;
  readonly range: readonly [number, number];
}

interface Measurement {
  readonly title: string;
  /** Median and unit of each contender. */
  readonly contenders: Readonly<Record<string, string>>;
  readonly comparisons: readonly Comparison[];
  readonly turns: readonly Turn[];
}

const directory = mkdtempSync(join(tmpdir(), "zerobuffer-bench-"));
const limit = join(directory, "limit");
const workerPath = join(root, "scripts", "bench", "worker.ts");
let buffers = 0;

async function buildLimit(): Promise<void> {
  const helper = helperSources(hostSystem);
  await compile(await findCompiler(), {
    sources: [join(root, "scripts", "bench", "limit.c"), ...helper],
    output: limit,
    flags: [...cFlags, "-O2", "-I", nativeSourceDirectory],
  });
}

/** Runs programs at the same time to their ends, and returns what the first one printed. */
async function measure(...commands: readonly (readonly string[])[]): Promise<Figures> {
  const children = commands.map((command) =>
    Bun.spawn([...command], { cwd: root, stdio: ["ignore", "pipe", "inherit"], timeout: 60_000 }),
  );
  const outputs = await Promise.all(children.map((child) => child.stdout.text()));
  await Promise.all(children.map((child) => child.exited));
  const failed = children.findIndex((child) => child.exitCode !== 0);
  if (failed >= 0) throw new Error(`failed: ${commands[failed]!.join(" ")}`);
  return JSON.parse(outputs[0]!);
}

function inC(
  mode: string,
  frameSize: number,
  count: number,
  ringSize: number,
  programs: readonly string[] = [],
): Promise<Figures> {
  return measure([limit, mode, ...[frameSize, count, ringSize].map(String), ...programs]);
}

/** Through the API: a Bun process for each role, the first of which prints the figures. */
function inBun(roles: readonly string[], frameSize: number, count: number, ringSize: number) {
  const buffer = `bench-${process.pid}-${++buffers}`;
  return measure(
    ...roles.map((role) => [
      ...[process.execPath, workerPath, role, buffer],
      ...[frameSize, count, ringSize].map(String),
    ]),
  );
}

// ---- figures -------------------------------------------------------------------------------------------------------

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function compare(
  turns: readonly Turn[],
  figure: string,
  of: string,
  to: string,
  target: Target = {},
): Comparison {
  const ratios = turns.map((turn) => turn[of]![figure]! / turn[to]![figure]!);
  return { of, to, ratio: median(ratios), range: [Math.min(...ratios), Math.max(...ratios)], ...target };
}

function medians(turns: readonly Turn[], figure: string, show: (value: number) => string) {
  return Object.fromEntries(
    Object.keys(turns[0]!).map((contender) => [
      contender,
      show(median(turns.map((turn) => turn[contender]![figure]!))),
    ]),
  );
}

/** Lets the contenders take turns, a different one first each time. */
async function takeTurns(contenders: Readonly<Record<string, () => Promise<Figures>>>): Promise<Turn[]> {
  const turns: Turn[] = [];
  const names = Object.keys(contenders);
  for (let turn = 0; turn < TURNS; turn++) {
    const figures: Record<string, Figures> = {};
    for (let i = 0; i < names.length; i++) {
      const name = names[(turn + i) % names.length]!;
      figures[name] = await contenders[name]!();
    }
    turns.push(figures);
  }
  return turns;
}

function sizeText(bytes: number): string {
  return bytes >= MIB ? `${bytes / MIB} MiB` : bytes >= KIB ? `${bytes / KIB} KiB` : `${bytes} B`;
}

function framesText(framesPerSecond: number): string {
  const [divisor, unit] = framesPerSecond >= 1e6 ? [1e6, "M"] : [1e3, "k"];
  return `${(framesPerSecond / divisor).toFixed(2)} ${unit}/s`;
}

function nanosecondsText(nanoseconds: number): string {
  return nanoseconds >= 10_000
    ? `${(nanoseconds / 1000).toFixed(1)} µs`
    : `${(nanoseconds / 1000).toFixed(2)} µs`;
}

// ---- what is measured ----------------------------------------------------------------------------------------------

async function oneWay(frameSize: number, count: number, target: Target): Promise<Measurement> {
  const ringSize = frameSize === KIB ? PIPE_SIZE : RING_SIZE;
  const turns = await takeTurns({
    API: () => inBun(["read", "write"], frameSize, count, ringSize),
    C: () => inC("one-way", frameSize, count, ringSize),
    async: () => inBun(["read-async", "write"], frameSize, count, ringSize),
    memcpy: () => inC("memcpy", frameSize, count, ringSize),
    ...(frameSize === KIB && {
      pipe: () => inC("pipe-of-programs", frameSize, count / 4, PIPE_SIZE, [process.execPath, workerPath]),
      "pipe in C": () => inC("pipe", frameSize, count / 4, PIPE_SIZE),
    }),
  });
  const figure = "framesPerSecond";
  return {
    title: `one way, ${sizeText(frameSize)} frames, ring of ${sizeText(ringSize)}`,
    contenders: medians(turns, figure, framesText),
    comparisons: [
      compare(turns, figure, "API", "C", target),
      ...(frameSize === KIB
        ? [
            compare(turns, figure, "API", "pipe", { atLeast: 5 }),
            compare(turns, figure, "API", "pipe in C"),
            compare(turns, figure, "C", "pipe in C"),
          ]
        : []),
      compare(turns, figure, "async", "API", { atLeast: 0.5 }),
      compare(turns, figure, "API", "memcpy"),
    ],
    turns,
  };
}

async function roundTrip(): Promise<Measurement> {
  const [frameSize, count] = [64, 1_000_000];
  const turns = await takeTurns({
    API: () => inBun(["ping", "serve"], frameSize, count, MIB),
    C: () => inC("round-trip", frameSize, count, MIB),
    "Unix socket": () => inC("socket", frameSize, count / 50, MIB),
  });
  return {
    title: `round trip, ${sizeText(frameSize)} frames, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [
      compare(turns, "p50Ns", "API", "C", { atMost: 1.3 }),
      compare(turns, "p50Ns", "API", "Unix socket", { atMost: 0.1 }),
      compare(turns, "p99Ns", "API", "C"),
    ],
    turns,
  };
}

async function relayed(): Promise<Measurement> {
  const [frameSize, count] = [64 * KIB, 100_000];
  const turns = await takeTurns({
    relayed: () => inBun(["read-relayed", "relay", "write"], frameSize, count, RING_SIZE),
    direct: () => inBun(["read", "write"], frameSize, count, RING_SIZE),
  });
  return {
    title: `through a relay, ${sizeText(frameSize)} frames, rings of ${sizeText(RING_SIZE)}`,
    contenders: medians(turns, "framesPerSecond", framesText),
    comparisons: [compare(turns, "framesPerSecond", "relayed", "direct", { atLeast: 0.6 })],
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
  const percent = (contender: string): Comparison => {
    const values = turns.map((turn) => turn[contender]!.cpuPercent!);
    return {
      of: contender,
      to: "one processor, in percent",
      ratio: median(values),
      range: [Math.min(...values), Math.max(...values)],
      atMost: 1,
    };
  };
  return {
    title: "processor time of an idle reader",
    contenders: medians(turns, "cpuPercent", (value) => `${value.toFixed(2)} %`),
    comparisons: [percent("blocking"), percent("async")],
    turns,
  };
}

async function starting(): Promise<Measurement> {
  const contenders = await buildStarters(directory);
  const turns: Turn[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
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

// ---- what is shown -------------------------------------------------------------------------------------------------

const colour = process.stdout.isTTY && !process.env.NO_COLOR;

function paint(style: "bold" | "dim" | "green" | "red", text: string): string {
  return colour ? styleText(style, text) : text;
}

/** Undefined where nothing in particular is wanted. */
function isMet({ ratio, atLeast, atMost }: Comparison): boolean | undefined {
  if (atLeast === undefined && atMost === undefined) return undefined;
  return ratio >= (atLeast ?? 0) && ratio <= (atMost ?? Number.POSITIVE_INFINITY);
}

function show({ title, contenders, comparisons }: Measurement): void {
  console.log(paint("bold", title));
  console.log(
    `  ${Object.entries(contenders)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ")}`,
  );
  for (const comparison of comparisons) {
    const { of, to, ratio, range, atLeast, atMost } = comparison;
    const met = isMet(comparison);
    const wanted =
      atLeast !== undefined ? `at least ${atLeast}` : atMost !== undefined ? `at most ${atMost}` : "";
    const verdict = met === undefined ? "" : met ? paint("green", "ok") : paint("red", "miss");
    const columns = [
      `  ${of} : ${to}`.padEnd(40),
      ratio.toFixed(3).padStart(8),
      paint("dim", `(${range.map((value) => value.toFixed(3)).join(" to ")})`.padEnd(20)),
      wanted.padEnd(14),
      verdict,
    ];
    console.log(columns.join("  ").trimEnd());
  }
}

try {
  await buildLimit();
  const measurements: Measurement[] = [];
  // Each long enough that starting and compiling do not show, a second or two.
  for (const take of [
    () => oneWay(KIB, 4_000_000, { atLeast: 0.75 }),
    () => oneWay(64 * KIB, 250_000, { atLeast: 0.9 }),
    () => oneWay(MIB, 12_000, { atLeast: 0.9 }),
    roundTrip,
    relayed,
    oneRequest,
    manyRequests,
    idle,
    starting,
  ]) {
    const measurement = await take();
    measurements.push(measurement);
    if (!json) show(measurement);
  }
  if (json) console.log(JSON.stringify(measurements, undefined, 2));
} finally {
  rmSync(directory, { recursive: true });
}
