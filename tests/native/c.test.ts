// The helper's C tests, each in a process of its own, compiled plainly and with sanitizers.

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  cFlags,
  compile,
  findCompiler,
  nativeSourceDirectory,
  sanitizersWork,
} from "../../scripts/build-native.ts";

const isLinux = process.platform === "linux";
const testTimeoutMs = 60_000;

/** ThreadSanitizer does not always come to terms with where the system has put the program; another start may do. */
const badLuck = /ThreadSanitizer: unexpected memory mapping/;
const attempts = 10;

interface Outcome {
  exitCode: number | null;
  output: string;
  /** What the program, which names everything by its pid, left in shared memory and in the temp directory. */
  leftBehind: string[];
}

const directory = mkdtempSync(join(tmpdir(), "zerobuffer-c-tests-"));
afterAll(() => rmSync(directory, { recursive: true }));

const compiler = await findCompiler();

async function build(name: string, flags: readonly string[]): Promise<string> {
  const helper = ["ring.c", "posix.c", "linux.c", "waiter.c"].map((file) =>
    join(nativeSourceDirectory, file),
  );
  const tests = ["test.c", "ring.c", "peers.c", "objects.c", "waiting.c", "semaphores.c"].map((file) =>
    join(import.meta.dir, file),
  );
  const output = join(directory, name);
  const includes = ["-I", nativeSourceDirectory, "-I", import.meta.dir];
  await compile(compiler, {
    sources: [...helper, ...tests],
    output,
    flags: [...cFlags, ...flags, ...includes],
  });
  return output;
}

/** Undefined where the compiler has no such sanitizers. */
async function buildSanitized(name: string, sanitizers: string): Promise<string | undefined> {
  if (!(await sanitizersWork(compiler, sanitizers))) return undefined;
  return await build(name, ["-O1", "-g", `-fsanitize=${sanitizers}`, "-fno-sanitize-recover=all"]);
}

async function run(program: string, name: string): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    const child = Bun.spawn([program, name], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: testTimeoutMs,
      killSignal: "SIGKILL",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (attempt < attempts && badLuck.test(stderr)) continue;
    const own = `zb-ctest-${child.pid}-`;
    const leftBehind = ["/dev/shm", tmpdir()].flatMap((place) =>
      readdirSync(place)
        .filter((file) => file.includes(own))
        .map((file) => join(place, file)),
    );
    for (const path of leftBehind) rmSync(path, { recursive: true });
    return { exitCode: child.exitCode, output: stdout + stderr, leftBehind };
  }
}

const [plain, address, thread] = isLinux
  ? await Promise.all([
      build("plain", ["-O2", "-g"]),
      buildSanitized("address", "address,undefined"),
      buildSanitized("thread", "thread"),
    ])
  : [];
const names = plain === undefined ? [] : (await run(plain, "list")).output.trim().split("\n");

for (const [how, program] of [
  ["compiled with -O2", plain],
  ["under the address and undefined behaviour sanitizers", address],
  ["under the thread sanitizer", thread],
] as const) {
  if (program === undefined) {
    test.skip(`the helper does what it should ${how}`, () => {});
    continue;
  }
  describe(how, () => {
    test.each(names.map((name) => [name.replaceAll("_", " "), name] as const))(
      "%s",
      async (_sentence, name) => {
        const { exitCode, output, leftBehind } = await run(program, name);
        if (exitCode !== 0) throw new Error(`exit code ${exitCode}\n${output}`);
        expect(leftBehind).toEqual([]);
      },
      testTimeoutMs,
    );
  });
}
