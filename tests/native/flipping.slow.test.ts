// A frame's header that somebody changes all the time while it is checked: 10,000,000 times, 500 times as long as usual.

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCompiler } from "../../scripts/build-native.ts";
import { buildSanitizedTests, buildTests, runTest } from "./programs.ts";

const timeoutMs = 300_000;

test(
  "a header is used as it was checked, whatever becomes of it meanwhile",
  async () => {
    const compiler = await findCompiler();
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-flipping-"));
    try {
      const path = join(directory, "tests");
      const sanitized = await buildSanitizedTests(compiler, path, "address,undefined");
      const program = sanitized ?? (await buildTests(compiler, path, ["-O1"]));
      const name = "a_header_that_changes_while_it_is_checked_is_used_as_it_was_checked";
      const { exitCode, output, leftBehind } = await runTest(program, name, { timeoutMs, factor: 500 });
      if (exitCode !== 0) throw new Error(`exit code ${exitCode}\n${output}`);
      expect(leftBehind).toEqual([]);
      console.log(`${output.trim()}${sanitized === undefined ? "" : ", with the address sanitizer"}`);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  timeoutMs,
);
