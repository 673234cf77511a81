import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, Writer, WriterDeadError } from "../../src/core/index.ts";
import { bufferFull, bufferMade, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { fastest } from "../support/fastest.ts";
import { Child } from "../support/process.ts";

/** How long a command has to end after a signal. */
const ANSWER_MS = 200;

const signals = [
  ["SIGHUP", 129],
  ["SIGINT", 130],
  ["SIGQUIT", 131],
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

/** The longest that a command has taken to end in the present try. */
let slowestMs = 0;

/** Sends the signals and waits for the end. */
async function stop(child: Child, ...signals: NodeJS.Signals[]) {
  const sentAt = performance.now();
  for (const signal of signals) child.kill(signal);
  const outcome = await child.exited();
  slowestMs = Math.max(slowestMs, performance.now() - sentAt);
  return outcome;
}

/** A test whose commands have to stop in time. What they leave is right each time it is tried. */
function prompt(name: string, play: () => Promise<void>): void {
  test(name, async () => {
    const fastestMs = await fastest(ANSWER_MS, async () => {
      slowestMs = 0;
      await play();
      return slowestMs;
    });
    expect(fastestMs).toBeLessThan(ANSWER_MS);
  });
}

describe.each(signals)("%s stops", (signal, exitCode) => {
  /** Stops a command, whose document says so. */
  async function expectInterrupted(child: Child) {
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    const document = JSON.parse(stdout.toString());
    expect(document.error.code).toBe("INTERRUPTED");
    return document;
  }

  prompt("a writer that waits for its buffer", async () => {
    const name = uniqueName();
    await using child = Child.cli([
      "writer",
      name,
      "--connect-timeout-ms",
      "1m",
      "--json-output",
      "-v",
      "-i",
      "/dev/null",
    ]);
    await child.logged("Connecting");
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(JSON.parse(stdout.toString()).error).toEqual({
      code: "INTERRUPTED",
      message: `Stopped by ${signal}.`,
      hint: null,
    });
  });

  prompt("a writer that waits for room", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    await using child = Child.cli([
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

  prompt("a writer that waits for its input", async () => {
    const name = uniqueName();
    using _reader = new Reader(name, { payloadSize: 4096 });
    await using child = Child.cli(["writer", name, "-i", "-", "--json-output", "-v"], { stdin: "pipe" });
    await child.logged("Connected");
    await expectInterrupted(child);
  });

  prompt("a writer between two frames of a slow rate", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    await using child = Child.cli(["writer", name, "-n", "0", "--rate", "0.01", "--json-output"]);
    (await reader.readFrameAsync(WAIT_LIMIT_MS)).release();
    const { code, stdout } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(JSON.parse(stdout.toString()).frames_written).toBe(1);
  });

  prompt("a reader that waits for a writer", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "--buffer-size", "64KiB", "--json-output", "-v"]);
    await child.logged("Created buffer");
    await expectInterrupted(child);
  });

  prompt("a reader that waits for a frame, and what it has read is delivered", async () => {
    const name = uniqueName();
    await using child = Child.cli([
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
    using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    writer.writeFrame(Buffer.from("delivered"));
    await child.printed("delivered");
    const { code, stdout, stderr } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(stdout.toString()).toBe("delivered");
    expect(stderr).toContain(`zerobuffer reader: Stopped by ${signal}.`);
  });

  for (const size of ["1KiB", "300KiB"]) {
    prompt(`a reader whose output is stalled, with frames of ${size}`, async () => {
      const name = uniqueName();
      using pipe = stalledPipe();
      const readerArgs = ["reader", name, "--buffer-size", "1MiB", "-o", "-", "--json-output"];
      await using child = Child.cli(readerArgs, { stdout: pipe.descriptor });
      await bufferMade(name);
      await using writer = Child.cli(["writer", name, "-n", "0", "-s", size, "--json-output"]);
      await bufferFull(name, size === "1KiB" ? 1024 : 300 * 1024);
      const { code, stderr } = await stop(child, signal);
      expect(code).toBe(exitCode);
      expect(JSON.parse(stderr).error.code).toBe("INTERRUPTED");
      const ended = await writer.report();
      expect([ended.code, ended.document.error.code]).toEqual([2, "READER_DEAD"]);
    });
  }

  prompt("a reader in the middle of a frame that takes long to verify", async () => {
    const name = uniqueName();
    const size = 200 * 1024 * 1024;
    const options = ["--buffer-size", "201MiB", "--verify", "random", "--checksum", "-v"];
    await using child = Child.cli(["reader", name, ...options]);
    await bufferMade(name);
    using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    writer.writeFrame(Buffer.from("first"));
    writer.writeFrame(new Uint8Array(size));
    await child.logged("Frame 0 has MD5");
    const { code, stderr } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(stderr).not.toContain("Frame 1");
  });

  prompt("a writer in the middle of a frame that takes long to make", async () => {
    using reader = new Reader(uniqueName(), { metadataSize: 0, payloadSize: 201 * 1024 * 1024 });
    await using child = Child.cli(["writer", reader.name, "-s", "200MiB", "--pattern", "random", "-v"]);
    await child.logged("Connected");
    const { code } = await stop(child, signal);
    expect(code).toBe(exitCode);
    expect(() => reader.tryReadFrame()).toThrow(WriterDeadError);
  });

  describe("a relay that waits", () => {
    const args = ["--buffer-size", "4KiB", "--timeout-ms", "0", "--json-output", "-v"];
    const connectToRelay = (name: string) => Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });

    prompt("for its output", async () => {
      await using child = Child.cli(["relay", uniqueName(), uniqueName(), ...args]);
      await child.logged("Created buffer");
      await expectInterrupted(child);
    });

    prompt("for a writer", async () => {
      using display = new Reader(uniqueName(), { payloadSize: 4096 });
      await using child = Child.cli(["relay", uniqueName(), display.name, ...args]);
      await child.logged("Connected");
      await expectInterrupted(child);
    });

    prompt("for a frame", async () => {
      const name = uniqueName();
      using display = new Reader(uniqueName(), { payloadSize: 4096 });
      await using child = Child.cli(["relay", name, display.name, ...args]);
      await bufferMade(name);
      using camera = await connectToRelay(name);
      camera.writeFrame(new Uint8Array(10));
      (await display.readFrameAsync(WAIT_LIMIT_MS)).release();
      expect((await expectInterrupted(child)).frames_relayed).toBe(1);
      expect(() => display.readFrame(WAIT_LIMIT_MS)).toThrow(
        expect.objectContaining({ code: "WRITER_DEAD", reason: "left" }),
      );
    });

    prompt("for room", async () => {
      const name = uniqueName();
      using display = new Reader(uniqueName(), { payloadSize: 4096 });
      await using child = Child.cli(["relay", name, display.name, ...args]);
      await bufferMade(name);
      using camera = await connectToRelay(name);
      for (let i = 0; i < 5; i++) await camera.writeFrameAsync(new Uint8Array(1000));
      await bufferFull(display.name, 1000);
      expect((await expectInterrupted(child)).frames_relayed).toBe(4);
    });

    prompt("for the reader of the output it made", async () => {
      const [name, output] = [uniqueName(), uniqueName()];
      await using child = Child.cli(["relay", name, output, "--create-output", ...args]);
      await bufferMade(name);
      {
        using camera = await connectToRelay(name);
        camera.writeFrame(new Uint8Array(10));
      }
      await child.logged("has left");
      expect((await expectInterrupted(child)).frames_relayed).toBe(1);
    });
  });

  prompt("a busy relay at a frame boundary, and both its neighbours know", async () => {
    const [input, output] = [uniqueName(), uniqueName()];
    const made = ["--buffer-size", "64KiB", "--json-output"];
    await using reader = Child.cli(["reader", output, "--verify", "sequential", ...made]);
    await using relay = Child.cli(["relay", input, output, ...made, "-v"]);
    await using writer = Child.cli([
      "writer",
      input,
      "-n",
      "0",
      "--connect-timeout-ms",
      "30s",
      "--json-output",
    ]);
    await relay.logged("Relayed 1,000 frames");
    const relayed = await expectInterrupted(relay);
    const read = await reader.report();
    expect([read.code, read.document.frames_read]).toEqual([0, relayed.frames_relayed]);
    const written = await writer.report();
    expect([written.code, written.document.error.code]).toEqual([2, "READER_DEAD"]);
  });

  prompt("both sides of a busy transfer", async () => {
    const name = uniqueName();
    await using reader = Child.cli([
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
    await using writer = Child.cli(writerArgs);
    await writer.logged("Connected");
    const written = await stop(writer, signal);
    const { code, document } = await reader.report();
    expect(written.code).toBe(exitCode);
    // Stopped at a frame boundary: the reader sees a writer that has left, and every frame whole.
    expect(code).toBe(0);
    expect(document.verification_errors).toBe(0);
    expect(document.frames_read).toBe(JSON.parse(written.stdout.toString()).frames_written);
  });

  const ring = ["--buffer-size", "64KiB", "--json-output"];

  prompt("a server that waits for a client", async () => {
    const channel = uniqueName();
    await using server = Child.cli(["duplex", "serve", channel, ...ring, "-v"]);
    await server.logged("Created channel");
    await expectInterrupted(server);
  });

  prompt("a busy server, and then its client", async () => {
    const channel = uniqueName();
    await using server = Child.cli(["duplex", "serve", channel, ...ring, "-v"]);
    await server.logged("Created channel");
    const args = ["duplex", "request", channel, ...ring, "-n", "0", "--in-flight", "4"];
    await using client = Child.cli(args);
    await server.logged("A client has connected");
    const { requests, responses } = await expectInterrupted(server);
    expect(requests - responses).toBeLessThanOrEqual(1);
    const ended = await client.report();
    expect([ended.code, ended.document.error.message]).toEqual([
      2,
      `The server of channel "${channel}" has left.`,
    ]);
  });

  prompt("a server whose command does not answer, and the command", async () => {
    const channel = uniqueName();
    await using server = Child.cli(["duplex", "serve", channel, ...ring, "-v", "--exec", "exec sleep 1000"]);
    await server.logged("Created channel");
    const request = ["duplex", "request", channel, ...ring, "-n", "1", "--timeout-ms", "0", "-v"];
    await using client = Child.cli(request);
    await server.logged("A client has connected");
    await expectInterrupted(server);
    expect((await client.exited()).code).toBe(2);
  });

  prompt("a client that waits for its server, and one that waits for a response", async () => {
    const channel = uniqueName();
    const request = ["duplex", "request", channel, ...ring, "-n", "1", "--timeout-ms", "0", "-v"];
    // Without a server it has not said anything yet: what it waits for is its first sign.
    await using early = Child.cli([...request, "--connect-timeout-ms", "1m", "--input", "/dev/null"]);
    await early.handles(signal);
    await expectInterrupted(early);
    const args = ["duplex", "serve", channel, ...ring, "-v", "--delay-ms", "60000"];
    await using server = Child.cli(args);
    await server.logged("Created channel");
    await using client = Child.cli(request);
    await server.logged("A client has connected");
    await expectInterrupted(client);
    await expectInterrupted(server);
  });

  prompt("an inspector that watches", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    await using watch = Child.cli(["inspect", reader.name, "--watch", "--json-output", "-v"]);
    await watch.logged("Watching");
    await expectInterrupted(watch);
  });
});

describe("a second signal", () => {
  prompt("ends a command that cannot print its result, and leaves nothing behind", async () => {
    const name = uniqueName();
    using pipe = stalledPipe();
    await using filler = Child.cli(["reader", name, "--buffer-size", "1MiB", "-o", "-"], {
      stdout: pipe.descriptor,
    });
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-n", "0", "-s", "1KiB", "--timeout-ms", "0"], {
      stdout: pipe.descriptor,
    });
    await bufferFull(name, 1024);
    // The pipe is full, and the writer's result has to go there.
    const { code } = await stop(writer, "SIGINT", "SIGTERM");
    expect([130, 143]).toContain(code!);
    await stop(filler, "SIGINT");
  });
});
