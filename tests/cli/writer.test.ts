import { describe, expect, test } from "bun:test";
import { Reader } from "../../src/core/index.ts";
import { bufferMade, uniqueName } from "../support/buffers.ts";
import { fastest } from "../support/fastest.ts";
import { Child, runJson } from "../support/process.ts";

/** Runs a writer against a reader of this test that has room for everything. */
async function write(...args: string[]) {
  const name = uniqueName();
  using reader = new Reader(name, { payloadSize: 1024 * 1024 });
  const { code, document } = await runJson("writer", name, "-s", "16", ...args);
  expect(code).toBe(0);
  expect(reader.isWriterConnected(0)).toBe(document.frames_written > 0);
  return document;
}

/** How long the frames took when the machine was least busy, in seconds: each time as long as asked for, or longer. */
async function pacedSeconds(seconds: number, limit: number, ...args: string[]): Promise<number> {
  return await fastest(limit, async () => {
    const { duration_seconds } = await write(...args);
    expect(duration_seconds).toBeGreaterThanOrEqual(seconds - 0.001);
    return duration_seconds;
  });
}

describe("--rate", () => {
  test("is kept from the first frame to the last", async () => {
    expect(await pacedSeconds(0.5, 1, "-n", "51", "--rate", "100")).toBeLessThan(1);
  });

  test("is kept above a thousand a second, where timers are too coarse", async () => {
    expect(await pacedSeconds(0.5, 1, "-n", "10001", "--rate", "20000")).toBeLessThan(1);
  });

  test("is the rate of frames, also in batches", async () => {
    const args = ["-n", "60", "--rate", "100", "--batch-size", "20"];
    expect(await pacedSeconds(0.4, 1, ...args)).toBeLessThan(1);
  });
});

describe("--delay-ms", () => {
  test("follows each batch, not the last", async () => {
    const args = ["-n", "30", "--batch-size", "10", "--delay-ms", "200"];
    expect(await pacedSeconds(0.4, 0.6, ...args)).toBeLessThan(0.6);
  });

  test("does not follow the only batch", async () => {
    const { duration_seconds } = await write("-n", "10", "--batch-size", "10", "--delay-ms", "1m");
    expect(duration_seconds).toBeLessThan(60);
  });
});

describe("--on-full", () => {
  test("drop counts what it drops, which uses no sequence and no pattern", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    const { code, document } = await runJson("writer", name, "-n", "50", "-s", "1000", "--on-full", "drop");
    expect(code).toBe(0);
    expect(document).toMatchObject({
      frames_written: 4,
      frames_dropped: 46,
      bytes_written: 4000,
      errors: [],
    });
    for (let k = 0; k < 4; k++) {
      using frame = reader.readFrame(1000);
      expect(frame.sequence).toBe(k + 1);
      expect(frame.data[0]).toBe(k);
    }
  });

  test("drop leaves a stream that verifies", async () => {
    const name = uniqueName();
    await using child = Child.cli([
      "reader",
      name,
      "--verify",
      "sequential",
      "--buffer-size",
      "8KiB",
      "--json-output",
    ]);
    await bufferMade(name);
    const { document } = await runJson("writer", name, "-n", "20000", "-s", "1000", "--on-full", "drop");
    const read = await child.report();
    expect(read.code).toBe(0);
    expect(document.frames_written + document.frames_dropped).toBe(20_000);
    expect(read.document.frames_read).toBe(document.frames_written);
  });

  test("fail ends at the first frame without room", async () => {
    const name = uniqueName();
    using _reader = new Reader(name, { payloadSize: 4096 });
    const args = ["-n", "50", "-s", "1000", "--on-full", "fail", "--timeout-ms", "0"];
    const { code, document } = await runJson("writer", name, ...args);
    expect([code, document.frames_written, document.error.code]).toEqual([2, 4, "BUFFER_FULL"]);
  });
});

describe("a writer ends", () => {
  test("with READER_DEAD when the reader leaves or dies", async () => {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const name = uniqueName();
      await using reader = Child.cli(["reader", name, "--buffer-size", "64KiB", "--timeout-ms", "0"]);
      await bufferMade(name);
      await using writer = Child.cli(["writer", name, "-n", "0", "--json-output", "-v"]);
      await writer.logged("Connected");
      reader.kill(signal);
      const { code, document } = await writer.report();
      expect([code, document.error.code]).toEqual([2, "READER_DEAD"]);
      await reader.exited();
      // The next start takes away what a killed reader has left.
      if (signal === "SIGKILL") new Reader(name, { payloadSize: 4096 }).close();
    }
  });

  test.each([
    ["is paced", ["--rate", "0.01"]],
    ["has nothing to write yet", ["-i", "-"]],
  ])("with READER_DEAD when the reader dies while it %s", async (_, options) => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, "--buffer-size", "64KiB", "--timeout-ms", "0"]);
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-n", "0", "--json-output", "-v", ...options], {
      stdin: "pipe",
    });
    await writer.logged("Connected");
    reader.kill("SIGKILL");
    const { code, document } = await writer.report();
    expect([code, document.error.code]).toEqual([2, "READER_DEAD"]);
    await reader.exited();
    new Reader(name, { payloadSize: 4096 }).close();
  });

  test("with BUFFER_FULL when there is no room within the timeout", async () => {
    const name = uniqueName();
    using _reader = new Reader(name, { payloadSize: 4096 });
    const { code, document } = await runJson("writer", name, "-s", "1000", "--timeout-ms", "50");
    expect([code, document.frames_written, document.error.code]).toEqual([2, 4, "BUFFER_FULL"]);
    expect(document.waits).toBeGreaterThan(0);
  });
});

describe("what cannot fit ends with code 3", () => {
  test.each([
    ["FRAME_TOO_LARGE", ["-s", "1MiB"]],
    ["FRAME_TOO_LARGE", ["-s", "1MiB", "-i", "/dev/zero"]],
    ["METADATA_TOO_LARGE", ["-m", "x".repeat(300)]],
    ["METADATA_TOO_LARGE", ["--metadata-file", "/dev/zero"]],
  ])("%p", async (code, args) => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096, metadataSize: 256 });
    const ended = await runJson("writer", name, ...args);
    expect([ended.code, ended.document.error.code]).toEqual([3, code]);
    expect(reader.getMetadata()).toHaveLength(0);
    expect(reader.isWriterConnected(0)).toBe(false);
    // The reader has not seen a writer come and go.
    expect(reader.tryReadFrame().isValid).toBe(false);
  });
});
