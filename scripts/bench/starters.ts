// The contenders of starting: executables that do next to nothing, so that they show what a start costs.

import { join } from "node:path";
import { cFlags, compile, findCompiler, root } from "../build-native.ts";
import { buildExecutable } from "../executable.ts";

/** How often each contender starts in one turn. */
const STARTS = 15;

/** Builds the contenders in `directory`, and returns the command line that measures them all. */
export async function buildStarters(directory: string): Promise<readonly string[]> {
  const starts = join(directory, "starts");
  const hello = join(directory, "hello");
  const zerobuffer = join(directory, "zerobuffer");
  await compile(await findCompiler(), {
    sources: [join(root, "scripts", "bench", "starts.c")],
    output: starts,
    flags: [...cFlags, "-O2"],
  });
  await buildExecutable(join(root, "scripts", "bench", "hello.ts"), hello);
  await buildExecutable(join(root, "src", "main.ts"), zerobuffer);
  const missing = `bench-${process.pid}-missing`;
  return [
    ...[starts, `${STARTS}`],
    ...["--", "hello", "0", hello],
    ...["--", "--version", "0", zerobuffer, "--version"],
    ...["--", "list", "0", zerobuffer, "list", "--json-output"],
    // Code 1: there is no such buffer.
    ...["--", "writer", "1", zerobuffer, "writer", missing, "--connect-timeout-ms", "0", "--json-output"],
  ];
}
