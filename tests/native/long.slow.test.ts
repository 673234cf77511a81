// C tests of what happens only once in a while, run for far longer than usual.

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCompiler } from "../../scripts/build-native.ts";
import { buildSanitizedTests, buildTests, runTest } from "./programs.ts";

const timeoutMs = 300_000;

test.each([
  // 10,000,000 headers that somebody changes all the time.
  ["a header that changes while it is checked is used as it was checked", 500],
  // 100,000 opens and as many questions.
  ["the question who has a file open ends no process and refuses no open of a v1 peer", 100],
  ["the question who has a file open ends no process and refuses no open of ours", 100],
  ["no handler hears that somebody opens the memory while it is asked about", 5],
])(
  "%s, %d times as long",
  async (sentence, factor) => {
    const compiler = await findCompiler();
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-long-"));
    try {
      const path = join(directory, "tests");
      const sanitized = await buildSanitizedTests(compiler, path, "address,undefined");
      const program = sanitized ?? (await buildTests(compiler, path, ["-O1"]));
      const name = sentence.replaceAll(" ", "_");
      const { exitCode, output, leftBehind } = await runTest(program, name, { timeoutMs, factor });
      if (exitCode !== 0) throw new Error(`exit code ${exitCode}\n${output}`);
      expect(leftBehind).toEqual([]);
      console.log(`${output.trim()}${sanitized === undefined ? "" : ", with the address sanitizer"}`);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  timeoutMs,
);
