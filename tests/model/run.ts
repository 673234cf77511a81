// Checks the models with Spin: `bun run test:model`. With `--mutations` it takes away one rule after the other instead, and
// expects that the model fails without it. `--large` adds the configurations that take minutes.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Check, checks, mutations } from "./checks.ts";

interface Run {
  name: string;
  about: string;
  check: Check;
  /** The rule that is taken away. */
  without?: string;
  /** Whether Spin has to find something. */
  finds: boolean;
}

interface Outcome {
  states: number;
  /** Of processor time. */
  seconds: number;
  /** What Spin has found. */
  error: string | undefined;
  /** Why it has not seen every state, although it has found nothing. */
  fault: string | undefined;
}

const mostMegabytes = 3500;
const mostDepth = 4_000_000;
const timeoutMs = 600_000;

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
async function verify({ check, without }: Run, directory: string): Promise<Outcome> {
  mkdirSync(directory, { recursive: true });
  const macros = { ...check.macros, ...(without === undefined ? {} : { [`WITHOUT_${without}`]: 1 }) };
  const defines = Object.entries(macros).map(([name, value]) => `-D${name}=${value}`);
  const model = join(import.meta.dir, `${check.model}.pml`);
  if (without !== undefined && !(await Bun.file(model).text()).includes(`WITHOUT_${without}`))
    throw new Error(`${check.model}.pml has no rule ${without}`);
  const made = await output(["spin", "-a", ...defines, model], directory);
  if (made.exitCode !== 0 || /error/i.test(made.text))
    throw new Error(`spin ${check.model}.pml\n${made.text}`);
  const kind = check.liveness === true ? ["-DNP", "-DNFAIR=3"] : ["-DSAFETY", "-DNOFAIR"];
  // Their states are large, and slower to compare if they are compressed.
  const isCompressed = check.model === "roles" || check.macros.TARGETS === 2;
  const compression = isCompressed ? ["-DCOLLAPSE"] : [];
  const flags = ["-O2", "-w", `-DMEMLIM=${mostMegabytes}`, ...kind, ...compression];
  const compiled = await output(["cc", ...flags, "-o", "pan", "pan.c"], directory);
  if (compiled.exitCode !== 0) throw new Error(`cc pan.c\n${compiled.text}`);
  const run = [`-m${mostDepth}`, ...(check.liveness === true ? ["-l", "-f"] : [])];
  const { text, seconds } = await output(["./pan", ...run], directory);
  const states = Number(/(\d+) states, stored/.exec(text)?.[1] ?? 0);
  const error = /^pan:1: (.*)$/m.exec(text)?.[1];
  const complete =
    /errors: 0$/m.test(text) && !/Search not completed|max search depth too small|out of memory/.test(text);
  const fault =
    error !== undefined || complete ? undefined : `not every state was seen\n${text.slice(0, 400)}`;
  return { states, seconds, error, fault };
}

/** Says what came out; returns whether that was expected. */
function report(run: Run, { states, seconds, error, fault }: Outcome): boolean {
  const isExpected = fault === undefined && (error !== undefined) === run.finds;
  const verdict = run.finds ? (isExpected ? "found" : "MISSED") : isExpected ? "holds" : "FAILS";
  const figures = `${states.toLocaleString("en").padStart(10)} states ${seconds.toFixed(1).padStart(5)} s`;
  const note = [run.about, error ?? fault].filter(Boolean).join(": ");
  console.log(`${verdict.padEnd(7)}${run.name.padEnd(60)}${figures}  ${note}`);
  return isExpected;
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
  options: { mutations: { type: "boolean", default: false }, large: { type: "boolean", default: false } },
  allowPositionals: true,
});
if (Bun.which("spin") === null || Bun.which("cc") === null) {
  console.error("test:model: needs Spin and a C compiler: apt-get install spin gcc");
  process.exit(1);
}
const isNamed = (name: string) => positionals.some((part) => name.includes(part));

function runsOfChecks(): Run[] {
  const chosen = Object.entries(checks).filter(([name, { isLarge }]) =>
    positionals.length === 0 ? values.large || isLarge !== true : isNamed(name),
  );
  return chosen.map(([name, check]) => ({
    name,
    about: check.about,
    check,
    finds: check.isFinding === true,
  }));
}

function runsOfMutations(): Run[] {
  const chosen = mutations.filter(({ without }) => positionals.length === 0 || isNamed(without));
  return chosen.map(({ without, in: about, isHarmless }) => {
    const name = `without ${without.toLowerCase().replaceAll("_", " ")}`;
    return { name, about, check: checks[about]!, without, finds: isHarmless !== true };
  });
}

const runs = values.mutations ? runsOfMutations() : runsOfChecks();
const directory = mkdtempSync(join(tmpdir(), "zerobuffer-model-"));
const start = performance.now();
let failures: number;
try {
  failures = await runAll(runs, async (run, index) =>
    report(run, await verify(run, join(directory, `${index}`))),
  );
} finally {
  rmSync(directory, { recursive: true });
}
const seconds = ((performance.now() - start) / 1000).toFixed(0);
console.log(
  `${runs.length - failures} of ${runs.length} ${values.mutations ? "mutations" : "configurations"} as expected, ${seconds} s`,
);
process.exitCode = failures > 0 || runs.length === 0 ? 1 : 0;
