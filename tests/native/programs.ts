// Builds the program of the C tests, plainly or with sanitizers, and runs its cases, each in a process of its own.

import { existsSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import {
  type Compiler,
  cFlagsFor,
  compile,
  helperSources,
  hostSystem,
  nativeSourceDirectory,
  sanitizersWork,
} from "../../scripts/build-native.ts";
import type { Target } from "../../scripts/targets.ts";
import { Child } from "../support/process.ts";

/** ThreadSanitizer does not always come to terms with where the system has put the program; another start may do. */
const badLuck = /ThreadSanitizer: unexpected memory mapping/;
const attempts = 10;

export interface Outcome {
  exitCode: number | null;
  output: string;
  /** What the program, which names everything by its pid, left in shared memory and in the temp directory. */
  leftBehind: string[];
}

/** What C tests are built for: a target, or this machine. */
type TestPlatform = Pick<Target, "os" | "libc">;

const header = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
const host: TestPlatform = {
  os: hostSystem,
  libc: header.header.glibcVersionRuntime === undefined ? null : "glibc",
};

/** The cases' sources, and what they need of the system. */
function testSources({ os, libc }: TestPlatform): string[] {
  const everywhere = [
    "test.c",
    "ring.c",
    "reader.c",
    "writer.c",
    "cancellation.c",
    "forwarding.c",
    "handover.c",
    "peers.c",
    "objects.c",
    "waiting.c",
  ];
  const posix = ["posix.c", "threads.c", "processes.c", "signals.c"];
  const files = {
    linux: [
      ...posix,
      "linux.c",
      "files.c",
      "locks.c",
      "roles.c",
      "alone.c",
      "liveness.c",
      "lease.c",
      "sharing.c",
      "descriptors.c",
      "truncation.c",
      "semaphores.c",
      "uring.c",
    ],
    darwin: [...posix, "darwin.c"],
    windows: ["win32.c"],
  }[os];
  if (libc === "glibc") files.push("glibc.c");
  return [...everywhere, ...files].map((file) => join(import.meta.dir, file));
}

/** Compiles the helper and the C tests to the program `output`. */
export async function buildTests(
  compiler: Compiler,
  output: string,
  flags: readonly string[],
  platform = host,
): Promise<string> {
  // The tests have a C runtime.
  const helper = helperSources(platform.os).filter((path) => basename(path) !== "freestanding.c");
  const includes = ["-I", nativeSourceDirectory, "-I", import.meta.dir];
  await compile(compiler, {
    sources: [...helper, ...testSources(platform)],
    output,
    flags: [...cFlagsFor(platform.os), ...flags, ...includes],
  });
  return output;
}

/** The same with sanitizers, as `-fsanitize` takes them. Undefined where the compiler has no such ones. */
export async function buildSanitizedTests(
  compiler: Compiler,
  output: string,
  sanitizers: string,
): Promise<string | undefined> {
  if (!(await sanitizersWork(compiler, sanitizers))) return undefined;
  return await buildTests(compiler, output, [
    "-O1",
    "-g",
    `-fsanitize=${sanitizers}`,
    "-fno-sanitize-recover=all",
  ]);
}

/**
 * Runs one case.
 *
 * @param factor how many times as long as in a usual run.
 */
export async function runTest(
  program: string,
  name: string,
  { timeoutMs, factor = 1 }: { timeoutMs: number; factor?: number },
): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    await using child = Child.program([program, name], {
      env: { ZB_TEST_FACTOR: `${factor}` },
      limitMs: timeoutMs,
    });
    const { code, stdout, stderr } = await child.end();
    if (attempt < attempts && badLuck.test(stderr)) continue;
    const own = `zb-ctest-${child.pid}-`;
    const leftBehind = ["/dev/shm", tmpdir()].filter(existsSync).flatMap((place) =>
      readdirSync(place)
        .filter((file) => file.includes(own))
        .map((file) => join(place, file)),
    );
    for (const path of leftBehind) rmSync(path, { recursive: true });
    return { exitCode: code, output: `${stdout}${stderr}`, leftBehind };
  }
}

/** The names of all cases. */
export async function listTests(program: string, timeoutMs: number): Promise<string[]> {
  return (await runTest(program, "list", { timeoutMs })).output.trim().split("\n");
}
