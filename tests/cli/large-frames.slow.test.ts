// Frames of 2 GiB and more, which node:fs does not write with one call, and of 4 GiB, whose length fits no prefix.
// Needs 9 GiB of memory; with less, the same is done with frames of 8 MiB.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statfsSync, statSync } from "node:fs";
import { freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { bufferMade, uniqueName } from "../support/buffers.ts";
import { Child, run } from "../support/process.ts";

const SMALL = 8 * 2 ** 20;
const NEEDED = 9 * 2 ** 30;

const { bavail, bsize } = statfsSync("/dev/shm");
const hasRoom = bavail * bsize >= NEEDED && freemem() >= NEEDED;
const large = hasRoom ? 2 ** 31 + 1 : SMALL;
const largest = hasRoom ? 2 ** 32 : SMALL;
const PATIENCE = ["--timeout-ms", "2m"];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-large-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function readerOf(name: string, size: number, ...args: string[]): string[] {
  return ["reader", name, "--buffer-size", `${size + 4096}`, ...PATIENCE, "--json-output", ...args];
}

async function write(name: string, ...args: string[]): Promise<void> {
  await bufferMade(name);
  expect(await run("writer", name, "-s", `${large}`, ...PATIENCE, ...args)).toMatchObject({ code: 0 });
}

describe.each([
  ["fixed", 0],
  ["lines", 1],
  ["length-prefixed", 4],
])("a frame of 2 GiB with the framing %s", (framing, overhead) => {
  test("goes into a file and comes out of it", async () => {
    const file = join(directory, framing);
    const name = uniqueName();
    {
      await using reader = Child.cli(readerOf(name, large, "-o", file, "--framing", framing));
      await write(name, "-n", "1", "--pattern", "zero");
      expect(await reader.report()).toMatchObject({ code: 0, document: { bytes_read: large } });
    }
    expect(statSync(file).size).toBe(large + overhead);
    await using reader = Child.cli(readerOf(name, large, "-s", `${large}`, "--verify", "zero"));
    await write(name, "--input", file, "--framing", framing);
    expect(await reader.report()).toMatchObject({ code: 0, document: { frames_read: 1 } });
    rmSync(file);
  });

  test("goes through a pipe", async () => {
    const name = uniqueName();
    const args = readerOf(name, large, "-o", "-", "--framing", framing);
    await using reader = Child.cli(args, { shell: '"$@" 2>/dev/null | wc -c' });
    await write(name, "-n", "1", "--pattern", "zero");
    expect(Number((await reader.exited()).stdout)).toBe(large + overhead);
  });
});

test("a request of 2 GiB and its response go through a command of --exec", async () => {
  const channel = uniqueName();
  const options = ["--buffer-size", `${large + 4096}`, ...PATIENCE, "--json-output", "-n", "1"];
  await using server = Child.cli(["duplex", "serve", channel, "--exec", "cat", ...options]);
  await using client = Child.cli([
    "duplex",
    "request",
    channel,
    "-s",
    `${large}`,
    "--verify",
    "echo",
    ...options,
  ]);
  expect(await client.report()).toMatchObject({
    code: 0,
    document: { responses: 1, bytes_received: large },
  });
  expect(await server.report()).toMatchObject({ code: 0, document: { responses: 1, handler_errors: 0 } });
});

test("a frame of 4 GiB gets no length prefix: it is refused before anything of it is written", async () => {
  const file = join(directory, "largest");
  const name = uniqueName();
  await using reader = Child.cli(readerOf(name, largest, "-o", file, "--framing", "length-prefixed"));
  await bufferMade(name);
  expect((await run("writer", name, "-s", `${largest}`, "-n", "1", ...PATIENCE)).code).toBe(0);
  const { code, document } = await reader.report();
  const isRefused = largest > 2 ** 32 - 1;
  expect(code).toBe(isRefused ? 3 : 0);
  expect(document.error?.code).toBe(isRefused ? "FRAME_TOO_LARGE" : undefined);
  expect(statSync(file).size).toBe(isRefused ? 0 : largest + 4);
});
