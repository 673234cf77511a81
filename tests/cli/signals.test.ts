import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, Writer } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { bufferFull, bufferMade, leavesNoBuffersBehind, Run } from "../support/cli.ts";

leavesNoBuffersBehind();

/** The commands answer within 100 ms; the rest is for a busy machine that runs several tests at once. */
const ANSWER_MS = 1500;

const signals = [
  ["SIGHUP", 129],
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-signals-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** A pipe that nobody reads, both ends open. */
function stalledPipe(): Disposable & { readonly descriptor: number } {
  const path = join(directory, uniqueName());
  Bun.spawnSync(["mkfifo", path]);
  const descriptor = openSync(path, constants.O_RDWR);
  return { descriptor, [Symbol.dispose]: () => closeSync(descriptor) };
}

/** Sends the signal and waits for the end. */
async function stop(child: Run, signal: NodeJS.Signals) {
  const sentAt = performance.now();
  child.kill(signal);
  const outcome = await child.end();
  expect(performance.now() - sentAt).toBeLessThan(ANSWER_MS);
  return outcome;
}

describe.each(signals)("%s stops", (signal, exitCode) => {
  test("a writer that waits for its buffer", async () => {
    const name = uniqueName();
    await using child = new Run([
      "writer",
      name,
      "--connect-timeout-ms",
      "1m",
      "--json-output",
      "-v",
      "-i",
      "/dev/null",
    ]);
    await child.says("Connecting");
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(JSON.parse(stdout.toString()).error).toEqual({
      code: "INTERRUPTED",
      message: `Stopped by ${signal}.`,
      hint: null,
    });
  });

  test("a writer that waits for room", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    await using child = new Run([
      "writer",
      name,
      "-n",
      "0",
      "-s",
      "1000",
      "--timeout-ms",
      "0",
      "--json-output",
    ]);
    await bufferFull(name, 1000);
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    const document = JSON.parse(stdout.toString());
    expect(document.frames_written).toBe(4);
    for (let i = 0; i < 4; i++) reader.readFrame(1000).release();
    expect(() => reader.readFrame(1000)).toThrow(
      expect.objectContaining({ code: "WRITER_DEAD", reason: "left" }),
    );
  });

  test("a writer that waits for its input", async () => {
    const name = uniqueName();
    using _reader = new Reader(name, { payloadSize: 4096 });
    await using child = new Run(["writer", name, "-i", "-", "--json-output", "-v"], { stdin: "pipe" });
    await child.says("Connected");
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(JSON.parse(stdout.toString()).error.code).toBe("INTERRUPTED");
  });

  test("a writer between two frames of a slow rate", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    await using child = new Run(["writer", name, "-n", "0", "--rate", "0.01", "--json-output"]);
    (await reader.readFrameAsync(30_000)).release();
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(JSON.parse(stdout.toString()).frames_written).toBe(1);
  });

  test("a reader that waits for a writer", async () => {
    const name = uniqueName();
    await using child = new Run(["reader", name, "--buffer-size", "64KiB", "--json-output", "-v"]);
    await child.says("Made buffer");
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(JSON.parse(stdout.toString()).error.code).toBe("INTERRUPTED");
  });

  test("a reader that waits for a frame, and what it has read is delivered", async () => {
    const name = uniqueName();
    await using child = new Run([
      "reader",
      name,
      "--buffer-size",
      "64KiB",
      "-o",
      "-",
      "--timeout-ms",
      "0",
      "-v",
    ]);
    await bufferMade(name);
    using writer = await Writer.connect(name, { connectTimeoutMs: 5000 });
    writer.writeFrame(Buffer.from("delivered"));
    await child.prints("delivered");
    const { code, stdout, stderr } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(stdout.toString()).toBe("delivered");
    expect(stderr).toContain(`zerobuffer reader: Stopped by ${signal}.`);
  });

  test.each(["1KiB", "300KiB"])("a reader whose output is stalled, with frames of %s", async (size) => {
    const name = uniqueName();
    using pipe = stalledPipe();
    const readerArgs = ["reader", name, "--buffer-size", "1MiB", "-o", "-", "--json-output"];
    await using child = new Run(readerArgs, { stdout: pipe.descriptor });
    await bufferMade(name);
    await using writer = new Run(["writer", name, "-n", "0", "-s", size, "--json-output"]);
    await bufferFull(name, size === "1KiB" ? 1024 : 300 * 1024);
    const { code, stderr } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(JSON.parse(stderr).error.code).toBe("INTERRUPTED");
    const ended = await writer.report();
    expect([ended.code, ended.document.error.code]).toEqual([2, "READER_DEAD"]);
  });

  describe("a relay that waits", () => {
    /** Stops a relay, whose buffers are gone afterwards. */
    async function stopRelay(child: Run) {
      const { code, stdout } = await stop(child, signal);
      expect(code).toBe(exitCode);
      const document = JSON.parse(stdout.toString());
      expect(document.error.code).toBe("INTERRUPTED");
      return document;
    }

    const args = ["--buffer-size", "4KiB", "--timeout-ms", "0", "--json-output", "-v"];
    const connectToRelay = (name: string) => Writer.connect(name, { connectTimeoutMs: 30_000 });

    test("for its output", async () => {
      await using child = new Run(["relay", uniqueName(), uniqueName(), ...args]);
      await child.says("Made buffer");
      await stopRelay(child);
    });

    test("for a writer", async () => {
      using display = new Reader(uniqueName(), { payloadSize: 4096 });
      await using child = new Run(["relay", uniqueName(), display.name, ...args]);
      await child.says("Connected");
      await stopRelay(child);
    });

    test("for a frame", async () => {
      const name = uniqueName();
      using display = new Reader(uniqueName(), { payloadSize: 4096 });
      await using child = new Run(["relay", name, display.name, ...args]);
      await bufferMade(name);
      using camera = await connectToRelay(name);
      camera.writeFrame(new Uint8Array(10));
      (await display.readFrameAsync(30_000)).release();
      expect((await stopRelay(child)).frames_relayed).toBe(1);
      expect(() => display.readFrame(30_000)).toThrow(
        expect.objectContaining({ code: "WRITER_DEAD", reason: "left" }),
      );
    });

    test("for room", async () => {
      const name = uniqueName();
      using display = new Reader(uniqueName(), { payloadSize: 4096 });
      await using child = new Run(["relay", name, display.name, ...args]);
      await bufferMade(name);
      using camera = await connectToRelay(name);
      for (let i = 0; i < 5; i++) await camera.writeFrameAsync(new Uint8Array(1000));
      await bufferFull(display.name, 1000);
      expect((await stopRelay(child)).frames_relayed).toBe(4);
    });

    test("for the reader of the output it made", async () => {
      const [name, output] = [uniqueName(), uniqueName()];
      await using child = new Run(["relay", name, output, "--create-output", ...args]);
      await bufferMade(name);
      {
        using camera = await connectToRelay(name);
        camera.writeFrame(new Uint8Array(10));
      }
      await child.says("has left");
      expect((await stopRelay(child)).frames_relayed).toBe(1);
    });
  });

  test("a busy relay at a frame boundary, and both its neighbours know", async () => {
    const [input, output] = [uniqueName(), uniqueName()];
    const made = ["--buffer-size", "64KiB", "--json-output"];
    await using reader = new Run(["reader", output, "--verify", "sequential", ...made]);
    await using relay = new Run(["relay", input, output, ...made, "-v"]);
    await using writer = new Run([
      "writer",
      input,
      "-n",
      "0",
      "--connect-timeout-ms",
      "30s",
      "--json-output",
    ]);
    await relay.says("Relayed 1,000 frames");
    const relayed = JSON.parse((await stop(relay, signal)).stdout.toString());
    expect(relayed.error.code).toBe("INTERRUPTED");
    const read = await reader.report();
    expect([read.code, read.document.frames_read]).toEqual([0, relayed.frames_relayed]);
    const written = await writer.report();
    expect([written.code, written.document.error.code]).toEqual([2, "READER_DEAD"]);
  });

  test("both sides of a busy transfer", async () => {
    const name = uniqueName();
    await using reader = new Run([
      "reader",
      name,
      "--buffer-size",
      "1MiB",
      "--verify",
      "random",
      "--json-output",
    ]);
    await bufferMade(name);
    const writerArgs = ["writer", name, "-n", "0", "--pattern", "random", "--json-output", "-v"];
    await using writer = new Run(writerArgs);
    await writer.says("Connected");
    const written = await stop(writer, signal);
    const { code, document } = await reader.report();
    expect(written.code).toBe(exitCode);
    // Stopped at a frame boundary: the reader sees a writer that has left, and every frame whole.
    expect(code).toBe(0);
    expect(document.verification_errors).toBe(0);
    expect(document.frames_read).toBe(JSON.parse(written.stdout.toString()).frames_written);
  });
});

describe("a second signal", () => {
  test("ends a command that cannot print its result, and leaves nothing behind", async () => {
    const name = uniqueName();
    using pipe = stalledPipe();
    await using filler = new Run(["reader", name, "--buffer-size", "1MiB", "-o", "-"], {
      stdout: pipe.descriptor,
    });
    await bufferMade(name);
    await using writer = new Run(["writer", name, "-n", "0", "-s", "1KiB", "--timeout-ms", "0"], {
      stdout: pipe.descriptor,
    });
    await bufferFull(name, 1024);
    // The pipe is full, and the writer's result has to go there.
    writer.kill("SIGINT");
    writer.kill("SIGTERM");
    const { code } = await writer.end();
    expect([130, 143]).toContain(code!);
    await stop(filler, "SIGINT");
  });
});
