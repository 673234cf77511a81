// The helper's C tests, each in a process of its own, compiled plainly and with sanitizers.

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCompiler } from "../../scripts/build-native.ts";
import { buildSanitizedTests, buildTests, listTests, runTest } from "./programs.ts";

const isLinux = process.platform === "linux";
const timeoutMs = 300_000;

const directory = mkdtempSync(join(tmpdir(), "zerobuffer-c-tests-"));
afterAll(() => rmSync(directory, { recursive: true }));

const compiler = await findCompiler();

// Windows starts only what is named as a program.
const [plain, address, thread] = await Promise.all([
  buildTests(compiler, join(directory, "plain.exe"), ["-O2", "-g"]),
  ...["address,undefined", "thread"].map((sanitizers) =>
    isLinux ? buildSanitizedTests(compiler, join(directory, sanitizers), sanitizers) : undefined,
  ),
]);
const names = await listTests(plain, timeoutMs);

for (const [how, program] of [
  ["compiled with -O2", plain],
  ["under the address and undefined behaviour sanitizers", address],
  ["under the thread sanitizer", thread],
] as const) {
  if (program === undefined) {
    console.error(`C tests ${how}: not here, its compiler has none`);
    continue;
  }
  describe(how, () => {
    test.each(names.map((name) => [name.replaceAll("_", " "), name] as const))(
      "%s",
      async (_sentence, name) => {
        const { exitCode, output, leftBehind } = await runTest(program, name, { timeoutMs });
        if (exitCode !== 0) throw new Error(`exit code ${exitCode}\n${output}`);
        expect(leftBehind).toEqual([]);
      },
      timeoutMs,
    );
  });
}
