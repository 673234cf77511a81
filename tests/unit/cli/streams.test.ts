import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteOutput } from "../../../src/cli/streams.ts";

const { signal } = new AbortController();
const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), "zerobuffer-streams-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

/** How many bytes each call was to write. */
function sizesOf({ mock }: { mock: { calls: unknown[][] } }): number[] {
  return mock.calls.map(([, , , length]) => length as number);
}

test("an output writes in pieces that one system call takes, one after another", async () => {
  const path = join(directory, "file");
  using write = spyOn(fs, "write");
  {
    using output = await ByteOutput.open(path, signal, 7);
    await output.write(bytes.subarray(0, 5));
    await output.write(bytes.subarray(5));
  }
  expect(fs.readFileSync(path)).toEqual(Buffer.from(bytes));
  expect(sizesOf(write)).toEqual([5, ...Array(13).fill(7), 4]);
});

test("an output writes a pipe in pieces, too", async () => {
  const path = join(directory, "pipe");
  Bun.spawnSync(["mkfifo", path]);
  const reader = Bun.spawn(["cat", path], { stdout: "pipe" });
  {
    using output = await ByteOutput.open(path, signal, 7);
    await output.write(bytes);
  }
  expect(Buffer.from(await reader.stdout.bytes())).toEqual(Buffer.from(bytes));
});

test("an output writes less than 2 GiB with one call unless told otherwise: more is refused", async () => {
  // Its bytes are never looked at.
  const frame = {
    length: 2 ** 32,
    subarray: (start: number, end: number) => ({ length: Math.min(end, 2 ** 32) - start }),
  } as unknown as Uint8Array;
  using write = spyOn(fs, "write").mockImplementation(((...args: unknown[]) => {
    const length = args[3] as number;
    (args[5] as (error: null, written: number) => void)(null, length);
  }) as typeof fs.write);
  using output = await ByteOutput.open("/dev/null", signal);
  await output.write(frame);
  const sizes = sizesOf(write);
  expect(Math.max(...sizes)).toBeLessThan(2 ** 31);
  expect(sizes.reduce((sum, size) => sum + size)).toBe(2 ** 32);
});
