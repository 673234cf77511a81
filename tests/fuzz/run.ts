// Fuzzes attaching, reading and writing over hostile memory images with libFuzzer: `bun run test:fuzz`.
//
//   --minutes N   how long (default 2)      --seed N   repeats a run      --keep   adds what is new to the corpus

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  cFlags,
  compile,
  helperSources,
  hostSystem,
  nativeSourceDirectory,
  root,
  sanitizersWork,
} from "../../scripts/build-native.ts";

const corpus = join(import.meta.dir, "corpus");
/** Where inputs go that crash the helper. */
const kept = join(root, "dist", "fuzz");
const sanitizers = "fuzzer,address,undefined";
const mostInputBytes = 6000;
const limits = [`-max_len=${mostInputBytes}`, "-timeout=10", "-rss_limit_mb=2048"];

/** What the two ends do to a golden image, to begin with: see `do_operation` in image.c. */
const operations = [0, 0, 3, 0, 5, 20, 1, 0, 3, 1, 6, 3, 7, 0, 2, 0, 4, 0, 11, 8];

/** The first clang here that has libFuzzer. */
async function findFuzzer(directory: string): Promise<string | undefined> {
  const source = join(directory, "probe.c");
  const probe = "int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size);\n";
  writeFileSync(
    source,
    `${probe}int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long s) { return d == 0 && s > 0; }\n`,
  );
  for (const name of [
    process.env.CC,
    "clang",
    "clang-19",
    "clang-18",
    "clang-17",
    "clang-16",
    "clang-15",
    "clang-14",
  ]) {
    if (name === undefined || Bun.which(name) === null) continue;
    const compiler = { command: [name], env: {} };
    if (!(await sanitizersWork(compiler, "address,undefined"))) continue;
    const flags = [...cFlags, `-fsanitize=${sanitizers}`];
    const built = compile(compiler, { sources: [source], output: join(directory, "probe"), flags });
    if (
      await built.then(
        () => true,
        () => false,
      )
    )
      return name;
  }
  return undefined;
}

async function build(clang: string, output: string): Promise<void> {
  const helper = helperSources(hostSystem);
  await compile(
    { command: [clang], env: {} },
    {
      sources: [...helper, join(import.meta.dir, "image.c")],
      output,
      flags: [
        ...cFlags,
        ...["-O1", "-g", `-fsanitize=${sanitizers}`, "-fno-sanitize-recover=all"],
        ...["-I", nativeSourceDirectory],
      ],
    },
  );
}

/** The corpus, and the images of another implementation with some operations. */
function makeSeeds(directory: string): void {
  mkdirSync(directory);
  cpSync(corpus, directory, { recursive: true });
  const golden = join(root, "tests", "golden");
  for (const file of readdirSync(golden).filter((name) => name.endsWith(".bin"))) {
    const image = readFileSync(join(golden, file));
    writeFileSync(
      join(directory, file),
      Buffer.concat([Buffer.from([operations.length / 2, ...operations]), image]),
    );
  }
}

async function fuzz(program: string, directory: string, seconds: number, seed: number): Promise<number> {
  const found = join(directory, "found");
  const seeds = join(directory, "seeds");
  mkdirSync(found);
  mkdirSync(kept, { recursive: true });
  makeSeeds(seeds);
  const command = [
    ...[program, found, seeds, ...limits, `-seed=${seed}`, `-max_total_time=${seconds}`],
    ...["-print_final_stats=1", `-artifact_prefix=${kept}/`],
  ];
  const child = Bun.spawn(command, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: (seconds + 120) * 1000,
    killSignal: "SIGKILL",
  });
  const [log] = await Promise.all([child.stderr.text(), child.exited]);
  const executions = Number(/number_of_executed_units: (\d+)/.exec(log)?.[1] ?? 0);
  const coverage = [...log.matchAll(/ cov: (\d+) ft: (\d+) corp: (\d+)/g)].at(-1) ?? [];
  const crashes = [...log.matchAll(/Test unit written to (.*)/g)].map(([, path]) => path);
  if (child.exitCode !== 0) console.error(log.slice(-6000));
  for (const path of crashes)
    console.error(
      `fuzz: the input is kept in ${path}; put it into tests/fuzz/corpus, and every run begins with it`,
    );
  console.log(
    `fuzz: ${executions.toLocaleString("en")} executions in ${seconds} s, ${coverage[1] ?? 0} edges and ` +
      `${coverage[2] ?? 0} features covered, corpus ${coverage[3] ?? 0}, ${crashes.length} crashes, seed ${seed}`,
  );
  return child.exitCode === 0 && executions > 0 ? 0 : 1;
}

/** Keeps the smallest inputs that cover all that was covered. */
async function keep(program: string, directory: string): Promise<void> {
  const merged = join(directory, "merged");
  mkdirSync(merged);
  const command = [program, "-merge=1", ...limits, merged, corpus, join(directory, "found")];
  const child = Bun.spawn(command, { stdio: ["ignore", "ignore", "ignore"] });
  if ((await child.exited) !== 0) throw new Error("the corpus could not be merged");
  rmSync(corpus, { recursive: true });
  cpSync(merged, corpus, { recursive: true });
  console.log(`fuzz: ${readdirSync(corpus).length} inputs in tests/fuzz/corpus`);
}

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: `${1 + (Date.now() % 1_000_000_000)}` },
    keep: { type: "boolean", default: false },
  },
});
const seconds = Math.round(Number(values.minutes) * 60);
const seed = Number(values.seed);
if (!(seconds > 0) || !Number.isSafeInteger(seed)) {
  console.error("test:fuzz: --minutes takes a number above 0, --seed a whole one");
  process.exit(1);
}
const directory = mkdtempSync(join(tmpdir(), "zerobuffer-fuzz-"));
try {
  const clang = process.platform === "linux" ? await findFuzzer(directory) : undefined;
  if (clang === undefined) {
    console.error(
      "test:fuzz: needs clang with libFuzzer on Linux: apt-get install clang libclang-rt-dev (Debian 12: libclang-rt-14-dev)",
    );
    process.exitCode = 1;
  } else {
    const program = join(directory, "image");
    await build(clang, program);
    process.exitCode = await fuzz(program, directory, seconds, seed);
    if (values.keep && process.exitCode === 0) await keep(program, directory);
  }
} finally {
  rmSync(directory, { recursive: true });
}
