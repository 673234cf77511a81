// Fixtures in C.

import { afterAll } from "bun:test";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cFlags, compile, findCompiler } from "../../scripts/build-native.ts";

/** Compiles sources of fixtures/ to a program that every user may run. It goes with the tests of the file. */
export async function compileFixture(...sources: readonly string[]): Promise<string> {
  return await compileTo("program", sources, []);
}

/** Compiles sources of fixtures/ to a library called libNAME.so, in a directory of its own, as {@link compileFixture}. */
export async function compileLibrary(name: string, ...sources: readonly string[]): Promise<string> {
  return await compileTo(`lib${name}.so`, sources, ["-shared", "-fPIC"]);
}

async function compileTo(file: string, sources: readonly string[], flags: readonly string[]) {
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-fixture-"));
  chmodSync(directory, 0o755);
  afterAll(() => rmSync(directory, { recursive: true }));
  const output = join(directory, file);
  await compile(await findCompiler(), {
    sources: sources.map((file) => join(import.meta.dir, "fixtures", file)),
    output,
    // In older versions of glibc shm_open is in librt.
    flags: [...cFlags, ...flags, "-O2", "-lrt"],
  });
  return output;
}
