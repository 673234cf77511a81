// A frame's header that somebody changes all the time while it is checked: ZB_FLIPS times, by default 10,000,000.

import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  cFlags,
  compile,
  findCompiler,
  nativeSourceDirectory,
  root,
  sanitizersWork,
} from "../../../scripts/build-native.ts";
import { option } from "../options.ts";

const tests = join(root, "tests", "native");
const sourcesIn = (directory: string) =>
  readdirSync(directory).flatMap((file) => (file.endsWith(".c") ? [join(directory, file)] : []));

test("a header is used as it was checked, whatever becomes of it meanwhile", async () => {
  const compiler = await findCompiler();
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-flipping-"));
  try {
    const sanitized = await sanitizersWork(compiler, "address,undefined");
    const output = join(directory, "tests");
    await compile(compiler, {
      sources: [...sourcesIn(nativeSourceDirectory), ...sourcesIn(tests)],
      output,
      flags: [
        ...cFlags,
        ...["-O1", "-I", nativeSourceDirectory, "-I", tests],
        ...(sanitized ? ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] : []),
      ],
    });
    const name = "a_header_that_changes_while_it_is_checked_is_used_as_it_was_checked";
    const env = { ...process.env, ZB_FLIPS: `${option("ZB_FLIPS", 10_000_000)}` };
    const child = Bun.spawn([output, name], { stdio: ["ignore", "pipe", "pipe"], env });
    const [stdout, stderr, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    console.log(`${stdout.trim()}${sanitized ? ", with the address sanitizer" : ""}`);
    expect(stderr).toBe("");
    expect(code).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
}, 300_000);
