// Runs the C tests under a sanitizer for longer than the test run does: `bun run test:asan`, `bun run test:tsan`.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCompiler } from "../../scripts/build-native.ts";
import { buildSanitizedTests, listTests, runTest } from "./programs.ts";

/** How many times as long the streams and crowds run as usual, and what one case may take. */
const factor = 10;
const timeoutMs = 300_000;

/** A report, in a child of the program as well. One case has a child die of SIGBUS on purpose. */
const reports = /WARNING: ThreadSanitizer|runtime error:|ERROR: (?:Address|Leak)Sanitizer: (?!BUS)/;

const sanitizers = process.argv[2];
if (sanitizers === undefined)
  throw new Error("say which sanitizers, such as `thread` or `address,undefined`");
const directory = mkdtempSync(join(tmpdir(), "zerobuffer-sanitize-"));
try {
  const compiler = await findCompiler();
  const program = await buildSanitizedTests(compiler, join(directory, "tests"), sanitizers);
  if (program === undefined) {
    console.error(
      `sanitize: ${compiler.command.join(" ")} cannot build with -fsanitize=${sanitizers}: install gcc, or clang and its runtime (libclang-rt-dev)`,
    );
    process.exitCode = 1;
  } else {
    const names = await listTests(program, timeoutMs);
    const start = performance.now();
    let failed = 0;
    for (const name of names) {
      const { exitCode, output, leftBehind } = await runTest(program, name, { timeoutMs, factor });
      if (exitCode === 0 && !reports.test(output) && leftBehind.length === 0) continue;
      failed++;
      console.error(
        `failed: ${name.replaceAll("_", " ")} (exit code ${exitCode})\n${output}${leftBehind.join("\n")}`,
      );
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(`${sanitizers}: ${names.length - failed} of ${names.length} cases silent, ${seconds} s`);
    process.exitCode = failed > 0 || names.length === 0 ? 1 : 0;
  }
} finally {
  rmSync(directory, { recursive: true });
}
