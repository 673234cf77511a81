import { describe, expect, test } from "bun:test";
import { Reader, readStamp, STAMP_SIZE, stampFrame, Writer } from "../../src/core/index.ts";
import { bufferMade, bytesOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

/** A reader, and what it reports of the frames that `write` sends. */
async function readWith(args: readonly string[], write: (writer: Writer, reader: Child) => unknown) {
  const name = uniqueName();
  await using reader = Child.cli(["reader", name, "--buffer-size", "1MiB", "--json-output", ...args]);
  {
    using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    await write(writer, reader);
  }
  const report = await reader.report();
  expectValid("reader", report.document);
  return report;
}

/** A frame with a stamp. */
function stampedFrame(number: number, time?: bigint, rest = "data"): Uint8Array {
  const frame = new Uint8Array(STAMP_SIZE + rest.length);
  stampFrame(frame, { number: BigInt(number), ...(time !== undefined && { time }) });
  frame.set(Buffer.from(rest), STAMP_SIZE);
  return frame;
}

/** A server that takes stamps off so many requests. */
function serveStamped(channel: string, requests: number, ...args: string[]): Child {
  const options = ["--stamp", "-n", `${requests}`, "--buffer-size", "64KiB", "--json-output"];
  return Child.cli(["duplex", "serve", channel, ...options, ...args]);
}

const nowNs = () => BigInt(Date.now()) * 1_000_000n;

describe("reader --latest", () => {
  test("delivers the newest of the frames that have come, and counts the others", async () => {
    const { code, document, stdout, stderr } = await readWith(["--latest", "-v"], async (writer, reader) => {
      await reader.logged("A writer connected");
      await reader.stop();
      for (let i = 1; i <= 300; i++) writer.writeFrame(bytesOf(i, 20));
      reader.resume();
    });
    expect([code, stdout.length > 0, stderr.length > 0]).toEqual([0, true, true]);
    expect(document.frames_read + document.frames_skipped).toBe(300);
    expect(document.frames_read).toBeLessThan(5);
  });

  test("is never behind a fast writer by more than its own time and a frame", async () => {
    // The output takes no more than it is given: the reader waits with each frame for the one who reads it.
    const name = uniqueName();
    const args = ["reader", name, "--latest", "--stamp", "-o", "-", "--framing", "lines", "--json-output"];
    await using reader = Child.cli([...args, "--buffer-size", "1MiB"], {
      shell: '"$@" | while read -r line; do sleep 0.1; echo "$line"; done',
    });
    await bufferMade(name);
    const written = await runJson(
      "writer",
      name,
      "-n",
      "300",
      "-s",
      "100000",
      "--rate",
      "200",
      "--stamp",
      "--pattern",
      "ones",
    );
    expect(written.code).toBe(0);
    const { stderr } = await reader.exited();
    const document = JSON.parse(stderr);
    expect(document.frames_read + document.frames_skipped).toBe(300);
    expect(document.frames_skipped).toBeGreaterThan(0);
    expect(document.frames_without_age).toBe(0);
  });

  test.each([
    [["--verify", "zero"], "--verify"],
    [["--batch-size", "2"], "--batch-size"],
    [["--every", "2"], "--every"],
  ])("cannot be combined with %p", async (args, flag) => {
    const { code, document } = await runJson("reader", uniqueName(), "--latest", ...args);
    expect([code, document.error.code]).toEqual([3, "USAGE"]);
    expect(document.error.message).toBe(`Options --latest and ${flag} cannot be combined.`);
  });
});

test("reader --every delivers the first of each so many frames, and -n counts those that are delivered", async () => {
  const name = uniqueName();
  const args = ["--every", "3", "-o", "-", "--framing", "lines", "--json-output", "--buffer-size", "64KiB"];
  await using reader = Child.cli(["reader", name, "-n", "3", ...args]);
  using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
  for (let i = 0; i < 10; i++) writer.writeFrame(Buffer.from(`line ${i}`));
  const { code, stdout, stderr } = await reader.exited();
  expect([code, stdout.toString()]).toEqual([0, "line 0\nline 3\nline 6\n"]);
  expect(JSON.parse(stderr)).toMatchObject({ frames_read: 3, frames_skipped: 4 });
});

describe("stamps", () => {
  test("are put before frames by writer --stamp, with numbers from 0 and the time", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 64 * 1024 });
    const before = nowNs();
    const { code, document } = await runJson("writer", name, "-n", "3", "-s", "10", "--stamp");
    expect([code, document.frame_size, document.bytes_written]).toEqual([0, 10, 3 * 34]);
    for (let k = 0; k < 3; k++) {
      using frame = reader.readFrame(0);
      const { number, time, exposure } = readStamp(frame.data);
      expect([number, exposure]).toEqual([BigInt(k), 2n ** 64n - 1n]);
      expect(time >= before && time <= nowNs() + 1_000_000n).toBe(true);
      expect([...frame.data.subarray(STAMP_SIZE)]).toEqual([...bytesOf(k + 1, 10)]);
    }
  });

  test("count the frames that are dropped", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 256 });
    const writing = runJson("writer", name, "-n", "20", "-s", "100", "--stamp", "--on-full", "drop");
    const { document } = await writing;
    expect(document).toMatchObject({ frames_written: 1, frames_dropped: 19 });
    using frame = reader.readFrame(0);
    expect(readStamp(frame.data).number).toBe(0n);
  });

  test("are put before large frames, and need room", async () => {
    const name = uniqueName();
    const size = 5 * 2 ** 20;
    using reader = new Reader(name, { payloadSize: size + 64 });
    const { code } = await runJson("writer", name, "-n", "1", "-s", `${size}`, "--stamp");
    expect(code).toBe(0);
    {
      using frame = reader.readFrame(0);
      expect([frame.size, readStamp(frame.data).number, frame.data[STAMP_SIZE + 7]]).toEqual([
        size + 24,
        0n,
        7,
      ]);
    }
    const refused = await runJson("writer", name, "-n", "1", "-s", `${size + 40}`, "--stamp");
    expect([refused.code, refused.document.error.code]).toEqual([3, "FRAME_TOO_LARGE"]);
  });

  test("are taken off by reader --stamp, whose checks see what is left", async () => {
    const name = uniqueName();
    const args = ["--stamp", "--verify", "sequential", "-s", "10", "--json-output", "--buffer-size", "64KiB"];
    await using reader = Child.cli(["reader", name, ...args]);
    await bufferMade(name);
    expect((await runJson("writer", name, "-n", "500", "-s", "10", "--stamp")).code).toBe(0);
    const { code, document } = await reader.report();
    expect(code).toBe(0);
    expect(document).toMatchObject({ frames_read: 500, frames_without_age: 0, frame_size: 10 });
    const { min, p50, p99, max } = document.age_us;
    expect([min > 0, p50 >= min, p99 >= p50, max >= p99]).toEqual([true, true, true, true]);
  });

  test("with a time that is none of the system's have no age, and are not skipped", async () => {
    const hour = 3_600_000_000_000n;
    const times = [0n, 1_000_000n, nowNs() - 2n * hour, nowNs() + hour, 2n ** 64n - 1n];
    const { code, document } = await readWith(["--stamp", "--max-age", "1s"], (writer) => {
      for (const [i, time] of times.entries()) writer.writeFrame(stampedFrame(i, time));
      writer.writeFrame(stampedFrame(9));
    });
    expect(code).toBe(0);
    expect(document).toMatchObject({ frames_read: 6, frames_skipped: 0, frames_without_age: 5 });
  });

  test("decide what --max-age skips", async () => {
    const { code, document } = await readWith(["--stamp", "--max-age", "10s"], (writer) => {
      writer.writeFrame(stampedFrame(0, nowNs() - 60_000_000_000n));
      writer.writeFrame(stampedFrame(1));
      writer.writeFrame(stampedFrame(2, nowNs() - 11_000_000_000n));
    });
    expect(code).toBe(0);
    expect(document).toMatchObject({ frames_read: 1, frames_skipped: 2, frames_without_age: 0 });
    expect(document.age_us.max).toBeGreaterThanOrEqual(60e6);
    const { code: usage, document: refused } = await runJson("reader", uniqueName(), "--max-age", "1s");
    expect([usage, refused.error.code]).toEqual([3, "USAGE"]);
  });

  test("that a frame is too short for end the reader with code 4, after everything", async () => {
    const { code, document } = await readWith(["--stamp", "-v"], (writer) => {
      writer.writeFrame(stampedFrame(0));
      writer.writeFrame(new Uint8Array(23));
      writer.writeFrame(stampedFrame(2, undefined, ""));
    });
    expect([code, document.error.code]).toEqual([4, "VERIFICATION_FAILED"]);
    expect(document).toMatchObject({ frames_read: 3, verification_errors: 1, first_error_frame: 1 });
  });

  test("are put before requests and taken off again; a response has none", async () => {
    const channel = uniqueName();
    await using server = Child.cli([
      "duplex",
      "serve",
      channel,
      "--stamp",
      "-n",
      "20",
      "--buffer-size",
      "64KiB",
      "--json-output",
    ]);
    const { code, document } = await runJson(
      ...["duplex", "request", channel, "-n", "20", "-s", "50", "--stamp", "--verify", "echo"],
      ...["--connect-timeout-ms", "60s", "--buffer-size", "64KiB"],
    );
    expect([code, document.verification_errors]).toEqual([0, 0]);
    const served = await server.report();
    expect(served.code).toBe(0);
    expectValid("duplex-serve", served.document);
    expect(served.document).toMatchObject({ requests: 20, frames_without_age: 0 });
    expect(served.document.age_us.p50).toBeGreaterThan(0);
  });

  test("are taken off before an --exec program sees its request", async () => {
    const channel = uniqueName();
    await using server = serveStamped(channel, 2, "--exec", "cat");
    const requested = await runJson(
      ...["duplex", "request", channel, "-n", "2", "-s", "50", "--stamp", "--verify", "echo"],
      ...["--connect-timeout-ms", "60s", "--buffer-size", "64KiB"],
    );
    expect([requested.code, requested.document.verification_errors]).toEqual([0, 0]);
    expect((await server.report()).code).toBe(0);
  });

  test("that a request is too short for are told with code 4, and are refused in place", async () => {
    const channel = uniqueName();
    await using server = serveStamped(channel, 2);
    const requested = await runJson(
      ...["duplex", "request", channel, "-n", "2", "-s", "10", "--timeout-ms", "200"],
      ...["--connect-timeout-ms", "60s", "--buffer-size", "64KiB"],
    );
    expect(requested.document.responses).toBe(0);
    const { code, document } = await server.report();
    expect([code, document.error.code, document.handler_errors]).toEqual([4, "VERIFICATION_FAILED", 2]);
    const refused = await runJson("duplex", "serve", channel, "--stamp", "--mode", "mutable");
    expect([refused.code, refused.document.error.code]).toEqual([3, "USAGE"]);
  });
});
