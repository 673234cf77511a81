import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Reader, Writer, WriterDeadError } from "../../src/core/index.ts";
import {
  bufferFull,
  bufferMade,
  bytesOf,
  eventually,
  rejectionOf,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../support/buffers.ts";
import { Child, run, runJson, runOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

const SMALL = ["--buffer-size", "64KiB"];

/** A relay between a writer and a reader of this test. */
class Line implements AsyncDisposable {
  readonly input = uniqueName();
  readonly display: Reader;
  readonly relay: Child;
  readonly #camera: Promise<Writer>;

  constructor(args: readonly string[], displaySizes = { metadataSize: 4096, payloadSize: 65_536 }) {
    this.display = new Reader(uniqueName(), displaySizes);
    this.relay = Child.cli(["relay", this.input, this.display.name, ...SMALL, "--json-output", ...args]);
    this.#camera = Writer.connect(this.input, { connectTimeoutMs: WAIT_LIMIT_MS });
  }

  /** The writer, once it is connected to the relay. */
  camera(): Promise<Writer> {
    return this.#camera;
  }

  /** The bytes of the next frame that comes out. */
  async shown(): Promise<Uint8Array> {
    using frame = await this.display.readFrameAsync(WAIT_LIMIT_MS);
    return frame.toArray();
  }

  /** Ends the writer, and waits for the relay's result. */
  async finish() {
    (await this.#camera).close();
    return await this.relay.report();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.relay[Symbol.asyncDispose]();
    await this.#camera.then(
      (camera) => camera.close(),
      () => {},
    );
    this.display.close();
  }
}

describe("a relay", () => {
  test.each([
    [[], (bytes: Uint8Array) => bytes],
    [["--transform", "none"], (bytes: Uint8Array) => bytes],
    [["--transform", "reverse"], (bytes: Uint8Array) => bytes.toReversed()],
    [["--transform", "xor"], (bytes: Uint8Array) => bytes.map((byte) => byte ^ 255)],
    [["--transform", "xor", "--xor-key", "17"], (bytes: Uint8Array) => bytes.map((byte) => byte ^ 17)],
  ] as const)("with %p passes on every frame so changed", async (args, transform) => {
    await using line = new Line([...args]);
    const camera = await line.camera();
    const sizes = [1, 2, 3, 255, 256, 257, 1000, 4096, 30_001];
    for (const [i, size] of sizes.entries()) {
      await camera.writeFrameAsync(bytesOf(i + 1, size));
      expect(Buffer.compare(await line.shown(), transform(bytesOf(i + 1, size)))).toBe(0);
    }
    const { code, document } = await line.finish();
    expect(code).toBe(0);
    expect(document).toMatchObject({ frames_relayed: sizes.length, transform: args[1] ?? "none" });
  });

  test("reports what it did, with every key", async () => {
    await using line = new Line(["--transform", "xor"]);
    const camera = await line.camera();
    camera.setMetadata(Buffer.from("hello"));
    for (let i = 1; i <= 500; i++) {
      await camera.writeFrameAsync(bytesOf(i, 1000));
      await line.shown();
    }
    const { code, document, stderr } = await line.finish();
    expect([code, stderr]).toEqual([0, ""]);
    expectValid("relay", document);
    expect(document).toMatchObject({
      operation: "relay",
      input_buffer: line.input,
      output_buffer: line.display.name,
      frames_relayed: 500,
      metadata_relayed: true,
      metadata_size: 5,
      total_bytes: 500_000,
      transform: "xor",
      errors: [],
    });
    const { duration_seconds: seconds, throughput_mbps: mebibytes, frames_per_second: frames } = document;
    expect(seconds).toBeGreaterThan(0);
    expect(frames).toBeCloseTo(500 / seconds, 0);
    expect(mebibytes).toBeCloseTo(500_000 / 2 ** 20 / seconds, 0);
    expect(Object.keys(document).at(-1)).toBe("errors");
  });

  test("tells a person in one line", async () => {
    using display = new Reader(uniqueName(), { payloadSize: 4 * 1024 * 1024 });
    const input = uniqueName();
    await using relay = Child.cli(["relay", input, display.name, ...SMALL]);
    await bufferMade(input);
    expect((await run("writer", input, "-n", "3000")).code).toBe(0);
    const { code, stdout, stderr } = await relay.exited();
    expect([code, stdout.length]).toEqual([0, 0]);
    expect(stderr).toMatch(
      new RegExp(
        `^Relayed 3,000 frames \\(2\\.9 MiB\\) from ${input} to ${display.name} in [\\d.]+ s: .*\\.\n$`,
      ),
    );
  });

  test("shows its progress on a terminal", async () => {
    using display = new Reader(uniqueName(), { payloadSize: 4 * 1024 * 1024 });
    const input = uniqueName();
    const shown = runOnTerminal(["relay", input, display.name, ...SMALL, "-n", "50"], {
      shell: 'exec "$@" >/dev/null',
    });
    await bufferMade(input);
    await run("writer", input, "-n", "50", "--rate", "100");
    const { code, output } = await shown;
    expect(code).toBe(0);
    expect(output).toMatch(/Relaying █*░* \d+ %.*: \d+ frames, /);
  });

  test("with nothing to pass on is done when the writer has left", async () => {
    await using line = new Line([]);
    const { code, document } = await line.finish();
    expect([code, document.frames_relayed, document.duration_seconds]).toEqual([0, 0, 0]);
    expectValid("relay", document);
    expect(await rejectionOf(line.shown())).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
  });

  test("passes on what a writer left that came and went while the relay stood still", async () => {
    await using line = new Line([]);
    await line.camera();
    line.relay.kill("SIGSTOP");
    const camera = await line.camera();
    for (let i = 1; i <= 7; i++) camera.writeFrame(bytesOf(i, 100));
    camera.close();
    line.relay.kill("SIGCONT");
    const { code, document } = await line.relay.report();
    expect([code, document.frames_relayed]).toEqual([0, 7]);
    for (let i = 1; i <= 7; i++) expect(await line.shown()).toEqual(bytesOf(i, 100));
  });
});

describe("metadata", () => {
  test("is passed on when it comes, without a frame", async () => {
    await using line = new Line([]);
    (await line.camera()).setMetadata(Buffer.from("early"));
    await eventually(() => line.display.getMetadata().length > 0);
    expect(Buffer.from(line.display.getMetadata()).toString()).toBe("early");
    const { document } = await line.finish();
    expect(document).toMatchObject({ metadata_relayed: true, metadata_size: 5 });
  });

  test("is there before the first frame is", async () => {
    await using line = new Line([]);
    const camera = await line.camera();
    camera.setMetadata(Buffer.from("first"));
    camera.writeFrame(bytesOf(1, 10));
    await line.shown();
    expect(Buffer.from(line.display.getMetadata()).toString()).toBe("first");
    expect((await line.finish()).code).toBe(0);
  });

  test("is passed on late where it comes late", async () => {
    await using line = new Line([]);
    const camera = await line.camera();
    camera.writeFrame(bytesOf(1, 10));
    await line.shown();
    expect(line.display.getMetadata().length).toBe(0);
    camera.setMetadata(Buffer.from("late"));
    await eventually(() => line.display.getMetadata().length > 0);
    camera.writeFrame(bytesOf(2, 10));
    expect(await line.shown()).toEqual(bytesOf(2, 10));
    expect((await line.finish()).document).toMatchObject({ frames_relayed: 2, metadata_size: 4 });
  });

  test("is passed on late from a writer that leaves at once", async () => {
    await using line = new Line([]);
    const camera = await line.camera();
    camera.writeFrame(bytesOf(1, 10));
    await line.shown();
    camera.setMetadata(Buffer.from("last"));
    expect((await line.finish()).document.metadata_relayed).toBe(true);
    expect(Buffer.from(line.display.getMetadata()).toString()).toBe("last");
  });

  test("that there is none of is none", async () => {
    await using line = new Line([]);
    (await line.camera()).writeFrame(bytesOf(1, 10));
    await line.shown();
    expect((await line.finish()).document).toMatchObject({ metadata_relayed: false, metadata_size: 0 });
  });

  test("that the output has no room for is refused", async () => {
    await using line = new Line([], { metadataSize: 64, payloadSize: 65_536 });
    (await line.camera()).setMetadata(bytesOf(1, 57));
    const { code, document } = await line.relay.report();
    expect([code, document.error.code]).toEqual([3, "METADATA_TOO_LARGE"]);
    expect(document.metadata_relayed).toBe(false);
  });
});

describe("a relay ends", () => {
  test("after the frames asked for, whatever the writer still does", async () => {
    await using line = new Line(["-n", "3"]);
    const camera = await line.camera();
    for (let i = 1; i <= 10; i++) camera.writeFrame(bytesOf(i, 10));
    const { code, document } = await line.relay.report();
    expect([code, document.frames_relayed]).toEqual([0, 3]);
    for (let i = 1; i <= 3; i++) expect(await line.shown()).toEqual(bytesOf(i, 10));
    expect(await rejectionOf(line.shown())).toBeInstanceOf(WriterDeadError);
  });

  test("incomplete when the writer has left before the frames asked for", async () => {
    await using line = new Line(["-n", "3"]);
    (await line.camera()).writeFrame(bytesOf(1, 10));
    const { code, document } = await line.finish();
    expect([code, document.frames_relayed, document.error.code]).toEqual([2, 1, "INCOMPLETE"]);
    expect(document.error.message).toBe(`The writer of buffer "${line.input}" left after 1 of 3 frames.`);
    expectValid("relay", document);
  });

  test("with TIMEOUT when a frame takes too long", async () => {
    await using line = new Line(["--timeout-ms", "100ms"]);
    (await line.camera()).writeFrame(bytesOf(1, 10));
    const { code, document } = await line.relay.report();
    expect([code, document.frames_relayed, document.error.code]).toEqual([2, 1, "TIMEOUT"]);
    expect(document.error.message).toContain(`"${line.input}" within 100 ms`);
  });

  test("with PEER_TIMEOUT when no writer comes", async () => {
    using display = new Reader(uniqueName(), { payloadSize: 4096 });
    const timeout = ["--connect-timeout-ms", "300"];
    const { code, document } = await runJson("relay", uniqueName(), display.name, ...SMALL, ...timeout);
    expect([code, document.error.code]).toEqual([1, "PEER_TIMEOUT"]);
  });

  test("with BUFFER_NOT_FOUND when there is no output", async () => {
    const timeout = ["--connect-timeout-ms", "50"];
    const { code, document } = await runJson("relay", uniqueName(), uniqueName(), ...SMALL, ...timeout);
    expect([code, document.error.code]).toEqual([1, "BUFFER_NOT_FOUND"]);
  });

  test("with WRITER_ALREADY_CONNECTED or READER_ALREADY_CONNECTED where its place is taken", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    using _writer = new Writer(reader.name);
    const output = await runJson("relay", uniqueName(), reader.name, ...SMALL, "--create-output");
    expect([output.code, output.document.error.code]).toEqual([1, "WRITER_ALREADY_CONNECTED"]);
    const input = await runJson("relay", reader.name, uniqueName(), ...SMALL, "--create-output");
    expect([input.code, input.document.error.code]).toEqual([1, "READER_ALREADY_CONNECTED"]);
  });

  test("with BUFFER_FULL when the output's reader takes nothing", async () => {
    await using line = new Line(["--timeout-ms", "100"], { metadataSize: 0, payloadSize: 4096 });
    const camera = await line.camera();
    for (let i = 1; i <= 6; i++) camera.writeFrame(bytesOf(i, 1000));
    const { code, document } = await line.relay.report();
    expect([code, document.frames_relayed, document.error.code]).toEqual([2, 4, "BUFFER_FULL"]);
  });

  test("with FRAME_TOO_LARGE at a frame that the output can never take", async () => {
    await using line = new Line([], { metadataSize: 0, payloadSize: 4096 });
    const camera = await line.camera();
    camera.writeFrame(bytesOf(1, 1000));
    camera.writeFrame(bytesOf(2, 5000));
    const { code, document } = await line.relay.report();
    expect([code, document.frames_relayed, document.error.code]).toEqual([3, 1, "FRAME_TOO_LARGE"]);
    expect(document.error.message).toContain(`"${line.display.name}"`);
  });

  test("with READER_DEAD when the output's reader leaves, before there is a writer", async () => {
    const display = new Reader(uniqueName(), { payloadSize: 4096 });
    await using relay = Child.cli(["relay", uniqueName(), display.name, ...SMALL, "--json-output", "-v"]);
    await relay.logged("Connected");
    display.close();
    const { code, document } = await relay.report();
    expect([code, document.error.code]).toEqual([2, "READER_DEAD"]);
  });
});

test("a relay passes on a frame of several megabytes whole, and in reverse", async () => {
  const size = 9 * 1024 * 1024 + 5;
  const ring = 10 * 1024 * 1024;
  const input = uniqueName();
  using display = new Reader(uniqueName(), { metadataSize: 0, payloadSize: ring });
  const args = ["--transform", "reverse", "--buffer-size", `${ring}`, "--json-output"];
  await using relay = Child.cli(["relay", input, display.name, ...args]);
  {
    using camera = await Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS });
    for (let i = 1; i <= 2; i++) {
      await camera.writeFrameAsync(bytesOf(i, size));
      using frame = await display.readFrameAsync(WAIT_LIMIT_MS);
      expect(Buffer.compare(frame.data, bytesOf(i, size).reverse())).toBe(0);
    }
  }
  expect((await relay.report()).document.frames_relayed).toBe(2);
});

describe("a relay that is full", () => {
  test("goes on when there is room, and keeps the order", async () => {
    await using line = new Line(["--transform", "xor", "--timeout-ms", "0"], {
      metadataSize: 0,
      payloadSize: 4096,
    });
    const camera = await line.camera();
    const frames = 300;
    const written = (async () => {
      for (let i = 1; i <= frames; i++) await camera.writeFrameAsync(bytesOf(i, 1 + ((i * 331) % 3000)));
    })();
    await bufferFull(line.display.name, 3000);
    for (let i = 1; i <= frames; i++) {
      const wanted = bytesOf(i, 1 + ((i * 331) % 3000)).map((byte) => byte ^ 255);
      expect(Buffer.compare(await line.shown(), wanted)).toBe(0);
    }
    await written;
    expect((await line.finish()).document.frames_relayed).toBe(frames);
  });
});

describe("--create-output", () => {
  /** A relay without an output, and the frames of a writer that has come and left already. */
  async function startRelay(...args: string[]) {
    const [input, output] = [uniqueName(), uniqueName()];
    const relay = Child.cli([
      "relay",
      input,
      output,
      "--create-output",
      ...SMALL,
      "--json-output",
      "-v",
      ...args,
    ]);
    await bufferMade(input);
    expect((await run("writer", input, "-n", "20", "-m", "hello")).code).toBe(0);
    return { input, output, relay };
  }

  test("queues the frames for a reader that starts later", async () => {
    const { output, relay } = await startRelay("--timeout-ms", "0");
    await using _ = relay;
    await relay.logged("has left");
    expect(relay.isOver).toBe(false);
    const args = ["--verify", "sequential", "--buffer-size", "1MiB", "--json-output"];
    const read = await runJson("reader", output, ...args.slice(0, -1));
    expect([read.code, read.document.frames_read, read.document.metadata_size]).toEqual([0, 20, 5]);
    const { code, document } = await relay.report();
    expect(code).toBe(0);
    expect(document).toMatchObject({ frames_relayed: 20, metadata_relayed: true, errors: [] });
  });

  test("is incomplete, and leaves nothing behind, if no reader comes within the timeout", async () => {
    const { output, relay } = await startRelay("--timeout-ms", "300");
    await using _ = relay;
    const { code, document } = await relay.report();
    expect([code, document.frames_relayed, document.error.code]).toEqual([2, 20, "INCOMPLETE"]);
    expect(document.error.message).toContain(`"${output}" within 300 ms: 20 relayed frames lost`);
    expectValid("relay", document);
  });

  test("tells both where the writer was killed and no reader comes", async () => {
    const [input, output] = [uniqueName(), uniqueName()];
    const args = ["--create-output", ...SMALL, "--json-output", "--timeout-ms", "2s"];
    await using relay = Child.cli(["relay", input, output, ...args]);
    await bufferMade(input);
    await using writer = Child.cli(["writer", input, "-i", "-", "--framing", "lines"], { stdin: "pipe" });
    writer.write("last words\n");
    await bufferMade(output);
    await bufferFull(output, 64 * 1024 - 16);
    writer.kill("SIGKILL");
    const { code, document } = await relay.report();
    expect([code, document.frames_relayed, document.error.code]).toEqual([2, 1, "WRITER_DEAD"]);
    expect(document.errors).toEqual([
      expect.stringContaining("1 relayed frame lost"),
      document.error.message,
    ]);
  });

  test("connects to an output that is there", async () => {
    await using line = new Line(["--create-output", "-v"]);
    await line.relay.logged(`Connected to buffer "${line.display.name}" of 65,536 bytes.`);
    (await line.camera()).writeFrame(bytesOf(1, 10));
    expect(await line.shown()).toEqual(bytesOf(1, 10));
    expect((await line.finish()).code).toBe(0);
  });

  test("replaces what a relay that was killed has left", async () => {
    const [input, output] = [uniqueName(), uniqueName()];
    const args = ["relay", input, output, "--create-output", ...SMALL, "--json-output", "--timeout-ms", "0"];
    await using first = Child.cli(args);
    await bufferMade(output);
    first.kill("SIGKILL");
    await first.exited();
    expect(existsSync(`/dev/shm/${output}`)).toBe(true);
    await using second = Child.cli([...args, "-v"]);
    await second.logged(`Created buffer "${output}"`);
    expect((await run("writer", input, "-n", "5")).code).toBe(0);
    const read = await runJson("reader", output, ...SMALL, "--verify", "sequential");
    expect([read.code, read.document.frames_read]).toEqual([0, 5]);
    expect((await second.report()).code).toBe(0);
  });

  test("is done also where its reader has enough before the relay looks again", async () => {
    const { output, relay } = await startRelay("--timeout-ms", "0");
    await using _ = relay;
    await relay.logged("has left");
    relay.kill("SIGSTOP");
    const reader = new Reader(output);
    reader.readFrame(WAIT_LIMIT_MS).release();
    reader.close();
    relay.kill("SIGCONT");
    const { code, document } = await relay.report();
    expect([code, document.errors]).toEqual([0, []]);
  });
});

describe("--log-interval", () => {
  /** The lines about frames passed on. */
  async function log(...args: string[]): Promise<string[]> {
    await using line = new Line(args);
    const camera = await line.camera();
    for (let i = 1; i <= 250; i++) await camera.writeFrameAsync(bytesOf(i, 10));
    for (let i = 1; i <= 250; i++) await line.shown();
    const { stderr } = await line.finish();
    return stderr.split("\n").filter((text) => text.startsWith("info: Relayed"));
  }

  test("is 100 frames, with --verbose", async () => {
    expect(await log("-v")).toEqual(["info: Relayed 100 frames.", "info: Relayed 200 frames."]);
  });

  test("is as many frames as asked for", async () => {
    expect((await log("-v", "--log-interval", "50")).length).toBe(5);
    expect(await log("-v", "--log-interval", "1000")).toEqual([]);
  });

  test("of 0 is never", async () => {
    expect(await log("-v", "--log-interval", "0")).toEqual([]);
  });

  test("tells nothing without --verbose", async () => {
    expect(await log("--log-interval", "10")).toEqual([]);
  });
});
