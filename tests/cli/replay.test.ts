import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, Writer, WriterDeadError } from "../../src/core/index.ts";
import { bufferMade, pseudoRandom, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, program, run, runJson } from "../support/process.ts";
import {
  contentsOf,
  type ForeignMessage,
  foreignFile,
  rawChunk,
  rawRecord,
  START,
  shortened,
  wholeMessages,
} from "../support/recordings.ts";
import { expectValid } from "../support/schemas.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-replay-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
const newPath = () => join(directory, `${++files}.mcap`);

/** Records what `write` writes. */
async function recordingOf(write: (name: string) => Promise<void>, ...options: string[]) {
  const [name, path] = [uniqueName(), newPath()];
  await using child = Child.cli([
    "record",
    name,
    "-o",
    path,
    "--buffer-size",
    "32MiB",
    "--json-output",
    ...options,
  ]);
  await bufferMade(name);
  await write(name);
  const { code, document } = await child.report();
  expect(code).toBe(0);
  return { name, path, files: document.files as string[] };
}

/** Frames of many sizes, with metadata. */
async function writeFrames(name: string, frames = 200): Promise<void> {
  using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
  writer.setMetadata(Buffer.from([0xff, 1, 2, 3]));
  for (let i = 0; i < frames; i++) await writer.writeFrameAsync(pseudoRandom(1 + ((i * 7919) % 60_000)));
}

async function foreign(messages: readonly ForeignMessage[], options = {}): Promise<string> {
  const path = newPath();
  writeFileSync(path, await foreignFile(messages, options));
  return path;
}

/** Messages of topics in turn, `apartMs` from each other. */
const messagesOf = (topics: readonly string[], count: number, apartMs = 0): ForeignMessage[] =>
  Array.from({ length: count }, (_, i) => ({
    topic: topics[i % topics.length] ?? "",
    logTime: 1_700_000_000_000_000_000n + BigInt(Math.round(i * apartMs * 1e6)),
    data: Buffer.from(`message ${i}`),
  }));

/** Starts a program, and prints the most memory that it had resident, in bytes. */
const MEASURE =
  "const { resourceUsage } = Bun.spawnSync(process.argv.slice(1), { stdio: ['inherit', 'ignore', 'ignore'] });" +
  "console.log(resourceUsage.maxRSS)";

/** The most memory that a program has resident. A process of its own starts it: a child's peak begins with its parent's. */
function peakMiB(command: readonly string[], stdin: "ignore" | Uint8Array): number {
  const { stdout } = Bun.spawnSync([process.execPath, "-e", MEASURE, ...command], { stdin });
  return Number(stdout.toString()) / 2 ** 20;
}

/** Takes frames until the writer has left. */
async function received(reader: Reader): Promise<{ sequence: number; text: string }[]> {
  const frames: { sequence: number; text: string }[] = [];
  expect(await reader.isWriterConnectedAsync(WAIT_LIMIT_MS)).toBe(true);
  for await (using frame of reader.frames())
    frames.push({ sequence: frame.sequence, text: Buffer.from(frame.data).toString() });
  return frames;
}

const MAX = ["--speed", "max", "--json-output"];

describe("a recording that is replayed", () => {
  test("and recorded again is the same: bytes, numbers, order, metadata", async () => {
    const first = await recordingOf((name) => writeFrames(name));
    const second = newPath();
    await using child = Child.cli([
      "record",
      first.name,
      "-o",
      second,
      "--buffer-size",
      "32MiB",
      "--json-output",
    ]);
    await bufferMade(first.name);
    const { code, document } = await runJson("replay", first.path, ...MAX);
    expect(code).toBe(0);
    expect(expectValid("replay", document)).toMatchObject({
      ...{ operation: "replay", files: [first.path], frames_written: 200, late_frames: 0, truncated: false },
      channels: [{ topic: first.name, buffer_name: first.name, frames: 200, bytes: document.bytes_written }],
    });
    expect((await child.report()).code).toBe(0);
    const [one, two] = await Promise.all([contentsOf(first.path), contentsOf(second)]);
    const withoutTimes = (contents: typeof one) =>
      contents.messages
        .map(shortened)
        .map(({ hash, sequence, size, topic }) => ({ hash, sequence, size, topic }));
    expect(withoutTimes(two)).toEqual(withoutTimes(one));
    expect(two.metadata[0]?.metadata.get("base64")).toBe("/wECAw==");
    expect(document.recorded_seconds).toBeCloseTo(
      Number((one.messages.at(-1)?.logTime ?? 0n) - (one.messages[0]?.logTime ?? 0n)) / 1e9,
      6,
    );
  });

  test("has the writers that it was made of, with their numbers and their metadata", async () => {
    const recording = await recordingOf(
      async (name) => {
        for (const text of ["first", "second"]) {
          using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
          writer.setMetadata(Buffer.from(text));
          for (let i = 0; i < 3; i++) writer.writeFrame(Buffer.from(`${text} ${i}`));
        }
      },
      ...["--follow", "-n", "6"],
    );
    using reader = new Reader(recording.name, { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", recording.path, ...MAX]);
    const frames: { sequence: number; text: string }[] = [];
    while (frames.length < 6) {
      try {
        using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
        frames.push({ sequence: frame.sequence, text: Buffer.from(frame.data).toString() });
      } catch (error) {
        // The first writer has left. If the second one comes first, its first frame tells.
        expect(error).toBeInstanceOf(WriterDeadError);
      }
    }
    expect(frames).toEqual(
      ["first", "second"].flatMap((text) =>
        [0, 1, 2].map((i) => ({ sequence: i + 1, text: `${text} ${i}` })),
      ),
    );
    expect(Buffer.from(reader.getMetadata()).toString()).toBe("second");
    expect((await child.report()).code).toBe(0);
  });

  test("from several files goes on from one to the next", async () => {
    const recording = await recordingOf((name) => writeFrames(name, 150), "--split-size", "1MiB");
    expect(recording.files.length).toBeGreaterThan(2);
    const frames = newPath();
    await using reader = Child.cli([
      "reader",
      recording.name,
      "-o",
      frames,
      "--buffer-size",
      "4MiB",
      "--json-output",
    ]);
    await bufferMade(recording.name);
    const { code, document } = await runJson("replay", ...recording.files, ...MAX);
    expect([code, document.frames_written, document.reconnects]).toEqual([0, 150, 0]);
    expect((await reader.report()).document.frames_read).toBe(150);
    const contents = await Promise.all(recording.files.map(contentsOf));
    const sent = Buffer.concat(contents.flatMap(({ messages }) => messages.map(({ data }) => data)));
    expect(Bun.hash(readFileSync(frames))).toBe(Bun.hash(sent));
  });

  test("from stdin is the same", async () => {
    const recording = await recordingOf((name) => writeFrames(name));
    using reader = new Reader("x".concat(uniqueName()).slice(1), { payloadSize: 4 << 20 });
    const shell = `cat ${recording.path} | "$@"`;
    await using child = Child.cli(["replay", "-", reader.name, ...MAX], { shell });
    expect(await received(reader)).toHaveLength(200);
    const { code, document } = await child.report();
    expect([code, document.frames_written, document.truncated]).toEqual([0, 200, false]);
  });
});

describe("time", () => {
  test("goes as in the recording, at any speed", async () => {
    const path = await foreign(messagesOf(["a"], 11, 20));
    for (const [speed, ms] of [
      ["1", 200],
      ["0.5", 400],
      ["4", 50],
    ] as const) {
      using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
      await using child = Child.cli(["replay", path, reader.name, "--speed", speed, "--json-output"]);
      expect(await received(reader)).toHaveLength(11);
      const { code, document } = await child.report();
      expect([code, document.frames_written]).toEqual([0, 11]);
      // Frames are never early; how late they are is up to the machine.
      expect(document.duration_seconds * 1000).toBeGreaterThanOrEqual(ms - 1);
      expect(document.recorded_seconds).toBeCloseTo(0.2, 9);
    }
  });

  test("does not pass with --speed max", async () => {
    const path = await foreign(messagesOf(["a"], 3, 3_600_000));
    using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, reader.name, ...MAX]);
    expect(await received(reader)).toHaveLength(3);
    expect((await child.report()).document).toMatchObject({ late_frames: 0, recorded_seconds: 7200 });
  });

  test("begins and ends where it is asked to", async () => {
    const path = await foreign(messagesOf(["a"], 100, 100), { chunkSize: 200 });
    for (const [options, first, last] of [
      [["--from", "2s"], 20, 99],
      [["--to", "450ms"], 0, 4],
      [["--from", "2023-11-14T22:13:25Z", "--to", "2023-11-14T22:13:26Z"], 50, 60],
    ] as const) {
      using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
      await using child = Child.cli(["replay", path, reader.name, ...options, ...MAX]);
      const frames = await received(reader);
      expect(frames.map(({ text }) => text)).toEqual(
        Array.from({ length: last - first + 1 }, (_, i) => `message ${first + i}`),
      );
      expect(frames[0]?.sequence).toBe(1);
      expect((await child.report()).code).toBe(0);
    }
  });

  test("begins again with --loop, and the numbers go on", async () => {
    const path = await foreign(messagesOf(["a"], 3, 1));
    using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, reader.name, "--loop", "-n", "8", "--json-output"]);
    const frames = await received(reader);
    expect(frames).toEqual(
      Array.from({ length: 8 }, (_, i) => ({ sequence: i + 1, text: `message ${i % 3}` })),
    );
    expect((await child.report()).document.frames_written).toBe(8);
  });

  test("can be stopped while nothing is due", async () => {
    const path = await foreign(messagesOf(["a"], 2, 3_600_000));
    using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, reader.name, "--json-output"]);
    (await reader.readFrameAsync(WAIT_LIMIT_MS)).release();
    child.kill("SIGINT");
    const { code, document } = await child.report();
    expect([code, document.error.code, document.frames_written]).toEqual([130, "INTERRUPTED", 1]);
  });

  test("is not waited for if the reader leaves meanwhile", async () => {
    const path = await foreign(messagesOf(["a"], 2, 3_600_000));
    const reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, reader.name, "--json-output"]);
    (await reader.readFrameAsync(WAIT_LIMIT_MS)).release();
    reader.close();
    const { code, document } = await child.report();
    expect([code, document.error.code]).toEqual([2, "READER_DEAD"]);
  });
});

describe("the topics of another program's file", () => {
  test("go to the buffers of their names, or to those that are named", async () => {
    const [left, right] = [uniqueName(), uniqueName()];
    const path = await foreign(messagesOf([left, right], 10));
    for (const args of [[], [left, right], [right, left, "--topic", `${right},${left}`]]) {
      using one = new Reader(left, { payloadSize: 64 * 1024 });
      using two = new Reader(right, { payloadSize: 64 * 1024 });
      await using child = Child.cli(["replay", path, ...args, ...MAX]);
      const [first, second] = await Promise.all([received(one), received(two)]);
      expect(first.map(({ sequence, text }) => `${sequence} ${text}`)).toEqual(
        [0, 2, 4, 6, 8].map((i, k) => `${k + 1} message ${i}`),
      );
      expect(second).toHaveLength(5);
      expect((await child.report()).code).toBe(0);
    }
  });

  test("are chosen with --topic", async () => {
    const path = await foreign(messagesOf(["/camera", "/lidar"], 10), { useChunks: false });
    using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, reader.name, "--topic", "/lidar", ...MAX]);
    expect((await received(reader)).map(({ text }) => text)).toEqual(
      [1, 3, 5, 7, 9].map((i) => `message ${i}`),
    );
    expect((await child.report()).document.channels).toEqual([
      { topic: "/lidar", buffer_name: reader.name, frames: 5, bytes: 45 },
    ]);
  });

  test("have to be chosen, and have to be there, before a buffer is touched", async () => {
    const path = await foreign(messagesOf(["/camera", "/lidar"], 10));
    for (const [args, code, message] of [
      [[uniqueName()], "USAGE", "more topics than the 1 buffer named"],
      [[uniqueName(), "--topic", "/radar"], "USAGE", 'no topic "/radar"'],
      [["a", "b", "c"], "USAGE", "has 2 topics, and 3 buffers are named"],
      [[], "INVALID_NAME", 'Topic "/camera" cannot be the name of a buffer'],
    ] as const) {
      // None of these buffers is there: that would be the failure if they were touched.
      const { code: exit, document } = await runJson("replay", path, ...args, "--connect-timeout-ms", "0");
      expect([exit, document.error.code, document.error.message]).toEqual([
        3,
        code,
        expect.stringContaining(message),
      ]);
      expect(document.error.hint).toBeTruthy();
    }
  });

  test("may be spread over several files", async () => {
    const [first, second] = [await foreign(messagesOf(["a"], 3)), await foreign(messagesOf(["b"], 3))];
    const { code, document } = await runJson("replay", first, second, "x", "y", "--dry-run");
    expect([code, document.channels.map(({ buffer_name }: { buffer_name: string }) => buffer_name)]).toEqual([
      0,
      ["x", "y"],
    ]);
  });

  test("do not get to a terminal as they are", async () => {
    const path = await foreign(messagesOf(["\x1b[31mred\x9b"], 1));
    const { stderr } = await run("replay", path, "x", "--dry-run");
    expect(stderr).toContain("?[31mred? to x: 1 frame");
    expect(stderr.includes("\x1b") || stderr.includes("\x9b")).toBe(false);
  });

  test("have messages without bytes, which are no frames", async () => {
    const path = await foreign([
      { topic: "a", logTime: 1n, data: new Uint8Array(0) },
      ...messagesOf(["a"], 1),
    ]);
    using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, reader.name, ...MAX]);
    expect(await received(reader)).toHaveLength(1);
    expect((await child.report()).document).toMatchObject({ frames_written: 1, empty_messages_skipped: 1 });
  });
});

describe("a replay", () => {
  test("drops frames that do not fit with --on-full drop, and fails with fail", async () => {
    const path = await foreign(messagesOf(["a"], 1000));
    for (const [policy, code] of [
      ["drop", 0],
      ["fail", 2],
    ] as const) {
      using reader = new Reader(uniqueName(), { payloadSize: 1024 });
      await using child = Child.cli(["replay", path, reader.name, "--on-full", policy, ...MAX]);
      const { code: exit, document } = await child.report();
      expect(exit).toBe(code);
      if (policy === "drop") expect(document.frames_written + document.frames_dropped).toBe(1000);
      else expect(document.error.code).toBe("BUFFER_FULL");
      expect(document.frames_written).toBeLessThan(1000);
    }
  });

  test("goes on with the next reader with --follow", async () => {
    const path = await foreign(messagesOf(["a"], 1000, 1));
    const name = uniqueName();
    const first = new Reader(name, { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, name, "--follow", "--loop", "--json-output"]);
    (await first.readFrameAsync(WAIT_LIMIT_MS)).release();
    first.close();
    using second = new Reader(name, { payloadSize: 64 * 1024 });
    (await second.readFrameAsync(WAIT_LIMIT_MS)).release();
    child.kill("SIGTERM");
    const { code, document } = await child.report();
    expect([code, document.reconnects]).toEqual([143, 1]);
  });

  test("says what it would do with --dry-run, without any buffer", async () => {
    const path = await foreign(messagesOf(["/camera", "/lidar"], 10, 1000));
    const { code, document } = await runJson("replay", path, "a", "b", "--dry-run");
    expect(code).toBe(0);
    expect(expectValid("replay", document)).toMatchObject({
      ...{ dry_run: true, frames_written: 0, recorded_at: "2023-11-14T22:13:20.000Z", recorded_seconds: 9 },
      channels: [
        { topic: "/camera", buffer_name: "a", frames: 5, bytes: 45 },
        { topic: "/lidar", buffer_name: "b", frames: 5, bytes: 45 },
      ],
    });
    const { stderr } = await run("replay", path, "a", "b", "--dry-run");
    expect(stderr).toContain("Found 10 frames (90 bytes) of 9.000 s, from 2023-11-14T22:13:20.000Z on.");
    expect(stderr).toContain("/camera to a: 5 frames, 45 bytes");
  });

  test("fails if there is no reader, and if a frame does not fit its buffer", async () => {
    const path = await foreign([{ topic: "a", logTime: 1n, data: new Uint8Array(5000) }]);
    const missing = await runJson("replay", path, uniqueName(), "--connect-timeout-ms", "0");
    expect([missing.code, missing.document.error.code]).toEqual([1, "BUFFER_NOT_FOUND"]);
    using reader = new Reader(uniqueName(), { payloadSize: 1024 });
    const large = await runJson("replay", path, reader.name);
    expect([large.code, large.document.error.code]).toEqual([3, "FRAME_TOO_LARGE"]);
  });

  test("is told by events, with a warning for a file that was cut off", async () => {
    const path = newPath();
    const whole = await foreignFile(messagesOf(["a"], 50, 2), { chunkSize: 100 });
    writeFileSync(path, whole.subarray(0, whole.length / 2));
    using reader = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    await using child = Child.cli(["replay", path, reader.name, "--json-lines", "--interval-ms", "10"]);
    const frames = await received(reader);
    expect(frames.length).toBeGreaterThan(0);
    expect(frames).toHaveLength(wholeMessages(path).messages);
    const { code, stdout } = await child.exited();
    expect(code).toBe(0);
    const lines = stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => expectValid("event", JSON.parse(line)) as Record<string, unknown>);
    expect(lines.filter(({ event }) => event !== "progress").map(({ event }) => event)).toEqual([
      "started",
      "peer",
      "warning",
      "result",
    ]);
    expect(lines.at(-1)).toMatchObject({ truncated: true, frames_written: frames.length });
  });
});

describe("a file that cannot be replayed", () => {
  test("is an error that says why and what to do", async () => {
    for (const [content, message] of [
      [new Uint8Array(0), "it is empty"],
      [pseudoRandom(10_000), "it is no MCAP file"],
      [Buffer.concat([START, rawRecord(6, new Uint8Array(100), 2n ** 45n)]), "it is damaged"],
      [Buffer.concat([START, rawChunk(new Uint8Array(100), { compression: "lz4" })]), "compressed with lz4"],
    ] as const) {
      const path = newPath();
      writeFileSync(path, content);
      for (const args of [[path], ["-"]]) {
        const shell = args[0] === "-" ? { shell: `"$@" < ${path}` } : {};
        await using child = Child.cli(["replay", ...args, uniqueName(), "--json-output"], shell);
        const { code, document } = await child.report();
        expect([code, document.error.code, document.error.message]).toEqual([
          2,
          "IO_ERROR",
          expect.stringContaining(message),
        ]);
        expect(document.error.hint).toBeTruthy();
        expectValid("replay", document);
      }
    }
    const missing = await runJson("replay", newPath());
    expect([missing.code, missing.document.error.code]).toEqual([2, "IO_ERROR"]);
  });

  test("delivers what comes before the damage", async () => {
    const path = newPath();
    const whole = await foreignFile(messagesOf(["a"], 100), { chunkSize: 300 });
    const damaged = Buffer.from(whole);
    damaged[damaged.indexOf("message 50")] = 0;
    writeFileSync(path, damaged);
    const { code, document } = await runJson("replay", path, "a", "--dry-run");
    expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
    expect(document.channels[0].frames).toBeGreaterThan(5);
    expect(document.channels[0].frames).toBeLessThan(100);
  });

  test("takes no memory for what it claims", async () => {
    const bomb = Bun.zstdCompressSync(new Uint8Array(2 ** 29));
    const claims = [
      ...[5, 6, 12].map((opcode) => rawRecord(opcode, new Uint8Array(100), 2n ** 45n)),
      ...[5, 6, 12].map((opcode) => rawRecord(opcode, new Uint8Array(100), 2n ** 30n)),
      rawChunk(bomb, { compression: "zstd", size: 2n ** 20n }),
      rawChunk(bomb, { compression: "zstd", size: 2n ** 45n }),
    ];
    for (const claim of claims) {
      const path = newPath();
      writeFileSync(path, Buffer.concat([START, claim]));
      for (const [place, stdin] of [
        [path, "ignore"],
        ["-", readFileSync(path)],
      ] as const) {
        const peak = peakMiB([...program, "replay", place, "--dry-run"], stdin);
        // A third of what the bomb would take, beside what Bun takes.
        expect(peak).toBeGreaterThan(10);
        expect(peak).toBeLessThan(200);
      }
    }
  });

  test("is named before its buffers", async () => {
    const { code, document } = await runJson("replay", "cam");
    expect([code, document.error.code]).toEqual([3, "USAGE"]);
    const loop = await runJson("replay", "-", "cam", "--loop");
    expect([loop.code, loop.document.error.message]).toEqual([3, "Options --loop and - cannot be combined."]);
  });
});
