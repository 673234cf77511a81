// Runs every test file in a process of its own, and ends with one line of totals.
//
//   test.ts [--executable PATH] [PART…]   the files whose paths have one of the parts in them, by default all; slow
//                                         ones (*.slow.test.ts) only by a part with .slow in it. Commands are started from source, or as this executable
//
// One process a file, because these tests load native code and signal handlers: a crash, or a stray process.exit(0),
// which the runner does not notice, costs the file it is in and no other.

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./build-native.ts";

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

const fileTimeoutMs = 600_000;

/** In the names of files that take minutes. */
const SLOW = ".slow";

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

async function runFile(file: string, reportPath: string): Promise<Totals> {
  const command = ["test", `./${file}`, "--reporter=junit", `--reporter-outfile=${reportPath}`];
  const child = Bun.spawn([process.execPath, ...command], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: fileTimeoutMs,
    killSignal: "SIGKILL",
  });
  await child.exited;
  const totals = readTotals(reportPath, child.exitCode ?? 1);
  if (child.signalCode !== null) console.error(`${file}: ended by ${child.signalCode}`);
  return totals;
}

const { values, positionals: wanted } = parseArgs({
  options: { executable: { type: "string" } },
  allowPositionals: true,
});
// For tests/support/process.ts.
if (values.executable !== undefined) process.env.ZB_EXECUTABLE = resolve(values.executable);
const files = [...new Bun.Glob("tests/**/*.test.ts").scanSync(root)]
  .filter(
    (file) =>
      // What takes minutes is run by its name.
      (wanted.length === 0 || wanted.some((part) => file.includes(part))) &&
      (!file.includes(SLOW) || wanted.some((part) => part.includes(SLOW))),
  )
  .sort();
const reports = mkdtempSync(join(tmpdir(), "zerobuffer-test-"));
const sum: Totals = { passed: 0, failed: 0, skipped: 0 };
const failedFiles: string[] = [];
for (const [index, file] of files.entries()) {
  const totals = await runFile(file, join(reports, `${index}.xml`));
  if (totals.failed > 0) failedFiles.push(file);
  sum.passed += totals.passed;
  sum.failed += totals.failed;
  sum.skipped += totals.skipped;
}
rmSync(reports, { recursive: true });

for (const file of failedFiles) console.error(`failed: ${file}`);
console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ""}`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
