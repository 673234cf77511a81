// Runs every test file in a process of its own, and ends with one line of totals.
//
//   test.ts [--executable PATH] [--jobs N] [PART…]
//
// Runs the files whose paths contain one of the parts, by default all. Slow files (*.slow.test.ts) run only by a part
// with .slow in it. Commands are started from source, or as the executable. N files run at a time.
//
// One process a file, because these tests load native code and signal handlers: a crash, or a stray process.exit(0),
// which the runner does not notice, costs the file it is in and no other. Where mounts are permitted, each file has shared
// memory and lock files for itself: a reader of another program, which removes what killed processes have left, would
// disturb the tests of just that. Only then files run two at a time.

import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { alone, canBeAlone } from "../tests/support/alone.ts";
import { root } from "./build-native.ts";

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/** In the names of files that take minutes. */
const SLOW = ".slow";

/** For a file that hangs. */
const FILE_LIMIT_MS = 30 * 60_000;

/** Reads the totals from the runner's report; a file that ended without one, or badly in spite of it, failed. */
function readTotals(reportPath: string, exitCode: number): Totals {
  if (!existsSync(reportPath)) return { passed: 0, failed: 1, skipped: 0 };
  const summary = /<testsuites [^>]*>/.exec(readFileSync(reportPath, "utf8"))?.[0] ?? "";
  const count = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(summary)?.[1] ?? 0);
  const failures = count("failures");
  const skipped = count("skipped");
  const failed = failures === 0 && exitCode !== 0 ? 1 : failures;
  return { passed: count("tests") - failures - skipped, failed, skipped };
}

/** A file's totals, and what it has printed. */
interface FileRun {
  totals: Totals;
  output: string;
}

/** Runs a file, and prints what it has printed in one piece when it has ended. */
async function runFile(file: string, directory: string): Promise<FileRun> {
  const reportPath = join(directory, `${Bun.hash(file)}.xml`);
  const outputPath = `${reportPath}.log`;
  const command = ["test", `./${file}`, "--reporter=junit", `--reporter-outfile=${reportPath}`];
  const output = openSync(outputPath, "w");
  const child = Bun.spawn(alone([process.execPath, ...command]), {
    cwd: root,
    env: environment,
    stdio: ["ignore", output, output],
    timeout: FILE_LIMIT_MS,
    killSignal: "SIGKILL",
  });
  closeSync(output);
  await child.exited;
  let text = readFileSync(outputPath, "utf8");
  if (child.signalCode !== null) text += `${file}: ended by ${child.signalCode}\n`;
  await Bun.write(Bun.stdout, text);
  return { totals: readTotals(reportPath, child.exitCode ?? 1), output: text };
}

const { values, positionals: wanted } = parseArgs({
  options: { executable: { type: "string" }, jobs: { type: "string", default: canBeAlone ? "2" : "1" } },
  allowPositionals: true,
});
// For tests/support/process.ts. What is assigned to process.env does not get to a process that is started without it.
const environment = {
  ...process.env,
  ...(values.executable !== undefined && { ZB_EXECUTABLE: resolve(values.executable) }),
};
const parts = wanted.length === 0 ? [""] : wanted;
const files = [...new Bun.Glob("tests/**/*.test.ts").scanSync(root)]
  .map((file) => file.replaceAll("\\", "/"))
  // What takes minutes is run by its name.
  .filter((file) =>
    parts.some((part) => file.includes(part) && (!file.includes(SLOW) || part.includes(SLOW))),
  )
  .sort();
const directory = mkdtempSync(join(tmpdir(), "zerobuffer-test-"));
const sum: Totals = { passed: 0, failed: 0, skipped: 0 };
/** What files with failures have printed, by their names. */
const failures = new Map<string, string>();

async function runNext(): Promise<void> {
  for (let file = files.shift(); file !== undefined; file = files.shift()) {
    const { totals, output } = await runFile(file, directory);
    if (totals.failed > 0) failures.set(file, output);
    sum.passed += totals.passed;
    sum.failed += totals.failed;
    sum.skipped += totals.skipped;
  }
}

await Promise.all(Array.from({ length: Number(values.jobs) }, runNext));
rmSync(directory, { recursive: true });

// Once more at the end, where it is found.
for (const output of failures.values()) console.log(output.replaceAll(/^\((pass|skip)\) .*\n/gm, ""));
for (const file of failures.keys()) console.log(`failed: ${file}`);
console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ""}`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
