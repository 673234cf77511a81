// Checks the models of the ring and of the semaphore with Spin: `bun run test:model`. With `--mutations` it takes away one
// rule after the other instead, and expects that each is missed.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

interface Check {
  model: "ring" | "semaphore";
  /** What the configuration is about. */
  about: string;
  macros: Readonly<Record<string, string | number>>;
  /** Also that frames go on being delivered, under weak fairness. */
  liveness?: boolean;
}

interface Outcome {
  states: number;
  /** Of processor time. */
  seconds: number;
  /** What Spin found; undefined: nothing, and it has seen every state. */
  error: string | undefined;
}

const mostMegabytes = 3500;
const mostDepth = 4_000_000;
const timeoutMs = 600_000;

const quiet = { SLICES: 0, LEAVES: 0, CRASHES: 0, LOST: 0, SURPLUS: 0, READER_ENDS: 0, BATCH: 1 };
const inPairs = { BATCH: 2 };
const narrow = { LOOK: 1, HOLD: 1 };
const two = { LOOK: 2, HOLD: 2 };
const three = { LOOK: 2, HOLD: 3 };

const checks: Readonly<Record<string, Check>> = {
  wraps: {
    model: "ring",
    about: "wraps and held frames; tokens alone wake",
    macros: { ...quiet, P: 7, H: 1, LARGEST: 3, ...three },
  },
  tails: {
    model: "ring",
    about: "headers of 2 units, so tails that are too short for one",
    macros: { ...quiet, P: 9, H: 2, LARGEST: 3, ...three },
  },
  "tokens of R": {
    model: "ring",
    about: "R is counted, and bounded",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two, COUNT_R: 1 },
  },
  departures: {
    model: "ring",
    about: "a writer leaves, and two others come after it",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 1, ...two, LEAVES: 2 },
  },
  "late tokens": {
    model: "ring",
    about: "the same with waits that end without a token: no departure is reported twice",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 1, ...narrow, SLICES: 2, LEAVES: 1, ONCE: 1 },
  },
  "dead writer": {
    model: "ring",
    about: "a writer is killed at any step, and another comes",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 1, ...narrow, SLICES: 2, CRASHES: 1 },
  },
  "lost and surplus posts": {
    model: "ring",
    about: "a token of either semaphore vanishes and one comes from nowhere",
    macros: { ...quiet, P: 5, H: 2, LARGEST: 2, ...two, SLICES: 2, LOST: 1, SURPLUS: 1 },
  },
  "closing reader": {
    model: "ring",
    about: "the reader closes at any call; tokens alone wake",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two, READER_ENDS: 1 },
  },
  "dead reader": {
    model: "ring",
    about: "the reader is killed at any step",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two, SLICES: 1, READER_ENDS: 2 },
  },
  "v1 writer": {
    model: "ring",
    about: "wraps in two steps, short tails without a marker, never rewinds",
    macros: { ...quiet, P: 9, H: 2, LARGEST: 3, ...three, V1_WRITER: 1 },
  },
  "v1 writers that leave and die": {
    model: "ring",
    about: "one is killed at any step, one leaves; the next comes when the reader has reported that",
    macros: { ...quiet, P: 5, H: 2, LARGEST: 1, ...two, SLICES: 2, LEAVES: 1, CRASHES: 1, V1_WRITER: 1 },
  },
  "dead v1 writer": {
    model: "ring",
    about: "killed at any step, half a wrap or an unpublished position left behind",
    macros: { ...quiet, P: 7, H: 2, LARGEST: 2, ...narrow, SLICES: 2, CRASHES: 1, V1_WRITER: 1 },
  },
  "v1 reader": {
    model: "ring",
    about: "one frame at a time, gives waste back early; three writers of ours one after the other",
    macros: { ...quiet, P: 9, H: 2, LARGEST: 4, ...narrow, LEAVES: 2, V1_READER: 1 },
  },
  batches: {
    model: "ring",
    about: "one or two frames published at once, one or two released; tokens alone wake",
    macros: { ...quiet, ...inPairs, P: 7, H: 1, LARGEST: 2, ...two },
  },
  "batches and tails": {
    model: "ring",
    about: "the same with headers of 2 units",
    macros: { ...quiet, ...inPairs, P: 9, H: 2, LARGEST: 3, ...three },
  },
  "batches and tokens of R": {
    model: "ring",
    about: "the same with R counted, and bounded",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 2, ...two, COUNT_R: 1 },
  },
  "batches of a dead writer": {
    model: "ring",
    about: "killed at any step of a batch, and another comes",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...narrow, SLICES: 2, CRASHES: 1 },
  },
  "batches of writers that leave": {
    model: "ring",
    about: "a writer leaves, and two others come after it",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...two, LEAVES: 2 },
  },
  "batches and lost posts": {
    model: "ring",
    about: "a token of either semaphore vanishes and one comes from nowhere",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...two, SLICES: 2, LOST: 1, SURPLUS: 1 },
  },
  "batches and a dead reader": {
    model: "ring",
    about: "the reader is killed at any step",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 2, ...two, SLICES: 1, READER_ENDS: 2 },
  },
  "batches for a v1 reader": {
    model: "ring",
    about: "it takes one frame at a time, and gives waste back early",
    macros: { ...quiet, ...inPairs, P: 9, H: 2, LARGEST: 3, ...narrow, LEAVES: 2, V1_READER: 1 },
  },
  "progress in batches": {
    model: "ring",
    about: "every frame is delivered in the end",
    macros: { ...quiet, ...inPairs, P: 5, H: 1, LARGEST: 1, ...two },
    liveness: true,
  },
  progress: {
    model: "ring",
    about: "every frame is delivered in the end, with no faults",
    macros: { ...quiet, P: 5, H: 1, LARGEST: 2, ...two },
    liveness: true,
  },
  "progress in spite of faults": {
    model: "ring",
    about: "the same with a lost token and another writer",
    macros: { ...quiet, P: 3, H: 1, LARGEST: 1, ...narrow, SLICES: 2, LEAVES: 1, LOST: 1 },
    liveness: true,
  },
  "reader beside an event loop": {
    model: "semaphore",
    about: "a reader that takes 2 tokens, a waiter that takes none, posts of libc, a wait that ends early",
    macros: {
      POSTS: 3,
      COUNT: 2,
      LIBC_POSTS: 1,
      BLOCKING: 1,
      MOST: 2,
      LEAVING: 1,
      LIBC_WAITERS: 0,
      GIVE_UPS: 1,
    },
  },
  "peers of libc": {
    model: "semaphore",
    about: "three waiters of libc's",
    macros: {
      POSTS: 3,
      COUNT: 2,
      LIBC_POSTS: 1,
      BLOCKING: 0,
      MOST: 1,
      LEAVING: 0,
      LIBC_WAITERS: 3,
      GIVE_UPS: 0,
    },
  },
  "all of them": {
    model: "semaphore",
    about: "a reader, a waiter of an event loop and one of libc's",
    macros: {
      POSTS: 2,
      COUNT: 2,
      LIBC_POSTS: 1,
      BLOCKING: 1,
      MOST: 1,
      LEAVING: 1,
      LIBC_WAITERS: 1,
      GIVE_UPS: 1,
    },
  },
};

/** A rule that is taken away, and the configurations that have to miss it. */
const mutations: readonly { without: string; in: string }[] = [
  { without: "HEADER_FIRST", in: "lost and surplus posts" },
  { without: "ONE_LOAD", in: "tails" },
  { without: "WASTE_IN_THE_NEED", in: "wraps" },
  { without: "SECOND_LOOK", in: "wraps" },
  { without: "COUNTING_THE_BATCH", in: "batches" },
  { without: "PUBLISHING_BEFORE_POSTING", in: "batches" },
  { without: "COUNTING_EVERY_FRAME", in: "batches and tokens of R" },
  { without: "THE_OWED_TOKEN", in: "late tokens" },
  { without: "EMPTYING_R", in: "tokens of R" },
  { without: "EMPTYING_W", in: "v1 reader" },
  { without: "EMPTY_RING_FOR_A_NEW_WRITER", in: "v1 reader" },
  { without: "FRESH_POSITION", in: "wraps" },
  { without: "WASTE_HELD", in: "wraps" },
  { without: "ORDER_OF_RELEASE", in: "wraps" },
  { without: "SURPLUS_TEST", in: "lost and surplus posts" },
  { without: "RECOVERY", in: "progress in spite of faults" },
  { without: "NOTICING_A_NEW_WRITER", in: "progress in spite of faults" },
  { without: "JUDGING_FIRST", in: "dead writer" },
  { without: "SETTLING", in: "dead v1 writer" },
  { without: "SETTLING_THE_POSITION", in: "dead v1 writer" },
  { without: "SETTLING_ONLY_AFTER_THE_WRITER", in: "v1 writers that leave and die" },
  { without: "CLAIM_TO_SETTLE", in: "v1 writers that leave and die" },
  { without: "PASSING_ON", in: "reader beside an event loop" },
  { without: "WAKING_ALL", in: "reader beside an event loop" },
  { without: "WAITERS_IN_THE_WORD", in: "peers of libc" },
];

async function output(
  command: readonly string[],
  cwd: string,
): Promise<{ text: string; exitCode: number | null; seconds: number }> {
  const child = Bun.spawn([...command], {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const seconds = Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6;
  return { text: stdout + stderr, exitCode: child.exitCode, seconds };
}

/** Makes Spin's verifier of the configuration in the directory, and runs it. */
async function verify(check: Check, directory: string, without?: string): Promise<Outcome> {
  mkdirSync(directory, { recursive: true });
  const macros = { ...check.macros, ...(without === undefined ? {} : { [`WITHOUT_${without}`]: 1 }) };
  const defines = Object.entries(macros).map(([name, value]) => `-D${name}=${value}`);
  const model = join(import.meta.dir, `${check.model}.pml`);
  const made = await output(["spin", "-a", ...defines, model], directory);
  if (made.exitCode !== 0 || /error/i.test(made.text))
    throw new Error(`spin ${check.model}.pml\n${made.text}`);
  const kind = check.liveness === true ? ["-DNP", "-DNFAIR=3"] : ["-DSAFETY", "-DNOFAIR"];
  const flags = ["-O2", "-w", `-DMEMLIM=${mostMegabytes}`, ...kind];
  const compiled = await output(["cc", ...flags, "-o", "pan", "pan.c"], directory);
  if (compiled.exitCode !== 0) throw new Error(`cc pan.c\n${compiled.text}`);
  const run = [`-m${mostDepth}`, ...(check.liveness === true ? ["-l", "-f"] : [])];
  const { text, seconds } = await output(["./pan", ...run], directory);
  const states = Number(/(\d+) states, stored/.exec(text)?.[1] ?? 0);
  const found = /^pan:1: (.*)$/m.exec(text)?.[1];
  const complete =
    /errors: 0$/m.test(text) && !/Search not completed|max search depth too small|out of memory/.test(text);
  const error = found ?? (complete ? undefined : `not every state was seen\n${text.slice(0, 400)}`);
  return { states, seconds, error };
}

function report(verdict: string, name: string, { states, seconds }: Outcome, note: string): void {
  const figures = `${states.toLocaleString("en").padStart(10)} states ${seconds.toFixed(1).padStart(5)} s`;
  console.log(`${verdict.padEnd(7)}${name.padEnd(36)}${figures}  ${note}`);
}

/** Runs the work over the items, two at a time where there are two processors; returns how many did not do. */
async function runAll<T>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<boolean>,
): Promise<number> {
  let next = 0;
  let failures = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      if (!(await work(items[index]!, index))) failures++;
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, lane));
  return failures;
}

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  options: { mutations: { type: "boolean", default: false } },
  allowPositionals: true,
});
if (Bun.which("spin") === null || Bun.which("cc") === null) {
  console.error("test:model: needs Spin and a C compiler: apt-get install spin gcc");
  process.exit(1);
}
const wanted = (name: string) => positionals.length === 0 || positionals.some((part) => name.includes(part));
const directory = mkdtempSync(join(tmpdir(), "zerobuffer-model-"));
const start = performance.now();
let failures: number;
let count: number;
try {
  if (values.mutations) {
    const chosen = mutations.filter(({ without }) => wanted(without));
    count = chosen.length;
    failures = await runAll(chosen, async (mutation, index) => {
      const outcome = await verify(checks[mutation.in]!, join(directory, `${index}`), mutation.without);
      const isFound = outcome.error !== undefined && !outcome.error.startsWith("not every state");
      const note = isFound ? `${mutation.in}: ${outcome.error}` : `${mutation.in} holds all the same`;
      report(
        isFound ? "found" : "MISSED",
        `without ${mutation.without.toLowerCase().replaceAll("_", " ")}`,
        outcome,
        note,
      );
      return isFound;
    });
  } else {
    const chosen = Object.entries(checks).filter(([name]) => wanted(name));
    count = chosen.length;
    failures = await runAll(chosen, async ([name, check], index) => {
      const outcome = await verify(check, join(directory, `${index}`));
      report(outcome.error === undefined ? "holds" : "FAILS", name, outcome, outcome.error ?? check.about);
      return outcome.error === undefined;
    });
  }
} finally {
  rmSync(directory, { recursive: true });
}
const what = values.mutations ? "mutations found" : "configurations hold";
console.log(`${count - failures} of ${count} ${what}, ${((performance.now() - start) / 1000).toFixed(0)} s`);
process.exitCode = failures > 0 || count === 0 ? 1 : 0;
