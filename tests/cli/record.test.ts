import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Frame, Reader, stampFrame, Writer } from "../../src/core/index.ts";
import { cleanBuffer } from "../../src/core/inspection.ts";
import { canBeAlone } from "../support/alone.ts";
import {
  bufferMade,
  bytesOf,
  eventually,
  pseudoRandom,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { contentsOf, wholeMessages } from "../support/recordings.ts";
import { expectValid } from "../support/schemas.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-record-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
const newPath = () => join(directory, `${++files}.mcap`);
const SMALL = ["--buffer-size", "1MiB", "--json-output"];

const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

const connect = (name: string) => Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });

/** Starts a recording, and waits until its buffers are there. */
async function record(names: readonly string[], path: string, ...options: string[]): Promise<Child> {
  const child = Child.cli(["record", ...names, "-o", path, ...SMALL, ...options]);
  for (const name of names) await bufferMade(name);
  return child;
}

describe("a recording has", () => {
  test("the frames of its writer with their numbers, and its metadata", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path);
    const before = BigInt(Date.now()) * 1_000_000n;
    const written = await runJson("writer", name, "-n", "500", "-s", "3000", "-m", '{"format":"gray8"}');
    expect(written.code).toBe(0);
    const { code, document } = await child.report();
    expect(code).toBe(0);
    expect(expectValid("record", document)).toMatchObject({
      ...{
        operation: "record",
        file: path,
        files: [path],
        frames_written: 500,
        bytes_written: 1_500_000,
        errors: [],
      },
      channels: [{ buffer_name: name, frames: 500, bytes: 1_500_000 }],
      file_bytes: statSync(path).size,
    });
    const { compressions, encodings, messages, metadata } = await contentsOf(path);
    expect(messages.map(({ sequence, topic }) => [sequence, topic])).toEqual(
      Array.from({ length: 500 }, (_, i) => [i + 1, name]),
    );
    for (const { data, sequence } of messages) expect(Buffer.compare(data, bytesOf(sequence, 3000))).toBe(0);
    expect(encodings).toEqual(["application/octet-stream"]);
    expect(new Set(compressions)).toEqual(new Set(["zstd"]));
    expect(metadata.map(({ name, metadata }) => [name, metadata.get("topic"), metadata.get("text")])).toEqual(
      [["zerobuffer", name, '{"format":"gray8"}']],
    );
    let last = before;
    for (const { logTime, publishTime } of messages) {
      expect(logTime).toBeGreaterThanOrEqual(last);
      expect(publishTime).toBe(logTime);
      last = logTime;
    }
    expect(last).toBeLessThan(BigInt(Date.now() + 1000) * 1_000_000n);
  });

  test("the frames of several buffers, and ends when the last writer has left", async () => {
    const [names, path] = [[uniqueName(), uniqueName(), uniqueName()], newPath()];
    await using child = await record(names, path, "--compression", "none");
    const writers = await Promise.all(names.map(connect));
    for (let i = 0; i < 30; i++) {
      const writer = writers[i % 3];
      writer?.writeFrame(pseudoRandom(100 + i));
    }
    writers[0]?.close();
    writers[1]?.close();
    // The others may leave: it goes on.
    await writers[2]?.writeFrameAsync(Buffer.from("last"));
    expect(child.isOver).toBe(false);
    writers[2]?.close();
    const { code, document } = await child.report();
    expect([code, document.frames_written]).toEqual([0, 31]);
    const { compressions, messages } = await contentsOf(path);
    expect(new Set(compressions)).toEqual(new Set([""]));
    for (const [i, name] of names.entries()) {
      const own = messages.filter(({ topic }) => topic === name);
      expect(own.map(({ sequence }) => sequence)).toEqual(
        Array.from({ length: i === 2 ? 11 : 10 }, (_, k) => k + 1),
      );
      for (const [k, { data }] of own.slice(0, 10).entries())
        expect(Buffer.compare(data, pseudoRandom(100 + 3 * k + i))).toBe(0);
    }
  });

  test("frames of any size, those larger than a chunk included", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--buffer-size", "32MiB");
    const sizes = [1, 5_000_000, 1, 1_048_545, 1_048_546, 10, 9_000_001, 100_000, 2, 1_000_000];
    {
      using writer = await connect(name);
      for (const size of sizes) await writer.writeFrameAsync(pseudoRandom(size));
    }
    expect((await child.report()).code).toBe(0);
    const { messages } = await contentsOf(path);
    expect(messages.map(({ data }) => data.length)).toEqual(sizes);
    for (const { data } of messages) expect(Buffer.compare(data, pseudoRandom(data.length))).toBe(0);
  });

  test("the writers that come one after another, each with its metadata and its numbers", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--follow", "-n", "9");
    for (const text of ["first", "second", "third"]) {
      using writer = await connect(name);
      writer.setMetadata(Buffer.from(text));
      for (let i = 0; i < 3; i++) writer.writeFrame(Buffer.from(`${text} ${i}`));
    }
    expect((await child.report()).code).toBe(0);
    const { messages, metadata } = await contentsOf(path);
    expect(messages.map(({ data, sequence }) => `${sequence} ${Buffer.from(data)}`)).toEqual(
      ["first", "second", "third"].flatMap((text) => [0, 1, 2].map((i) => `${i + 1} ${text} ${i}`)),
    );
    expect(metadata.map((record) => record.metadata.get("text"))).toEqual(["first", "second", "third"]);
  });

  test("the times of stamps, and fails if frames have none", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--stamp");
    {
      using writer = await connect(name);
      const frame = new Uint8Array(30);
      stampFrame(frame, { number: 0n, time: 1234n });
      writer.writeFrame(frame);
      stampFrame(frame, { number: 1n, time: 2n ** 64n - 1n });
      writer.writeFrame(frame);
      writer.writeFrame(Buffer.from("short"));
    }
    const { code, document } = await child.report();
    expect([code, document.error.code, document.unstamped_frames]).toEqual([4, "VERIFICATION_FAILED", 1]);
    const { messages } = await contentsOf(path);
    expect(
      messages.map(({ logTime, publishTime }) => (publishTime === logTime ? "arrival" : publishTime)),
    ).toEqual([1234n, "arrival", "arrival"]);
    expect(messages.map(({ data }) => data.length)).toEqual([30, 30, 5]);
  });

  test("the encoding and the schema that are named", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--encoding", "jpeg", "--schema-name", "CompressedImage");
    await run("writer", name, "-n", "1");
    expect((await child.report()).code).toBe(0);
    expect(await contentsOf(path)).toMatchObject({ encodings: ["jpeg"], schemas: ["CompressedImage"] });
  });

  test("no frame twice and none lost in the next files", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--split-size", "2MiB", "--compression", "none");
    await run("writer", name, "-n", "100", "-s", "100000", "-m", "meta");
    const { code, document } = await child.report();
    expect([code, document.frames_written]).toEqual([0, 100]);
    expect(document.files.length).toBeGreaterThan(3);
    expect(document.files[1]).toBe(path.replace(".mcap", "-0001.mcap"));
    const contents = await Promise.all((document.files as string[]).map(contentsOf));
    expect(contents.flatMap(({ messages }) => messages.map(({ sequence }) => sequence))).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    for (const { metadata } of contents)
      expect(metadata.map((record) => record.metadata.get("text"))).toEqual(["meta"]);
  });
});

describe("a recording ends", () => {
  test("after the frames asked for", async () => {
    const [names, path] = [[uniqueName(), uniqueName()], newPath()];
    await using child = await record(names, path, "-n", "7");
    using writer = await connect(names[0] ?? "");
    for (let i = 0; i < 20; i++) writer.writeFrame(Buffer.from("x"));
    const { code, document } = await child.report();
    expect([code, document.frames_written]).toEqual([0, 7]);
    expect((await contentsOf(path)).messages).toHaveLength(7);
  });

  test("after the time asked for, counted from the first frame, without another frame", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--duration", "50ms");
    using writer = await connect(name);
    writer.writeFrame(Buffer.from("x"));
    const { code, document } = await child.report();
    expect([code, document.frames_written]).toEqual([0, 1]);
  });

  test("with the index if a signal stops it", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path);
    using writer = await connect(name);
    for (let i = 0; i < 40; i++) writer.writeFrame(bytesOf(i + 1, 100_000));
    await eventually(() => existsSync(path) && statSync(path).size > 1000);
    child.kill("SIGINT");
    const { code, document } = await child.report();
    expect([code, document.error.code]).toEqual([130, "INTERRUPTED"]);
    const { messages } = await contentsOf(path);
    expect(messages.length).toBeGreaterThan(0);
    expect(messages.length).toBe(document.frames_written);
  });

  test("with the index and WRITER_DEAD if its writer was killed, and records the others to their end", async () => {
    const [names, path] = [[uniqueName(), uniqueName()], newPath()];
    await using child = await record(names, path);
    using other = await connect(names[1] ?? "");
    await using writer = Child.cli(["writer", names[0] ?? "", "-i", "-", "--framing", "lines"], {
      stdin: "pipe",
    });
    writer.write("last words\n");
    // One second later the chunk is written.
    await eventually(() => existsSync(path) && readFileSync(path).includes("last words"));
    writer.kill("SIGKILL");
    await writer.exited();
    await other.writeFrameAsync(Buffer.from("still here"));
    other.close();
    const { code, document } = await child.report();
    expect([code, document.error.code]).toEqual([2, "WRITER_DEAD"]);
    expect((await contentsOf(path)).messages.map(({ data }) => Buffer.from(data).toString())).toEqual([
      "last words",
      "still here",
    ]);
  });

  test("incomplete if the writers leave before", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "-n", "5");
    await run("writer", name, "-n", "3");
    const { code, document } = await child.report();
    expect([code, document.error.message]).toEqual([
      2,
      `The writer of buffer "${name}" left after 3 of 5 frames.`,
    ]);
    expect((await contentsOf(path)).messages).toHaveLength(3);
  });

  test("with a timeout, and with what there was", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--timeout-ms", "100ms");
    using writer = await connect(name);
    writer.writeFrame(Buffer.from("x"));
    const { code, document } = await child.report();
    expect([code, document.error.code]).toEqual([2, "TIMEOUT"]);
    expect((await contentsOf(path)).messages).toHaveLength(1);
  });

  test("with what fits if the disk is full, and says so", async () => {
    if (!canBeAlone) return expectFullDevice();
    const [name, path, disk] = [uniqueName(), newPath(), join(directory, "disk")];
    mkdirSync(disk, { recursive: true });
    // The disk goes with the process: what is on it is copied before.
    const script = `mount -t tmpfs -o size=3m tmpfs ${disk} && "$@"; code=$?; cp ${disk}/full.mcap ${path}; exit $code`;
    const args = ["record", name, "-o", join(disk, "full.mcap"), ...SMALL, "--compression", "none"];
    await using child = Child.cli(args, { shell: `exec unshare --mount sh -c '${script}' sh "$@"` });
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-n", "0", "-s", "100000", "--quiet"]);
    const { code, document } = await child.report();
    expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
    expect(document.error.message).toContain("no space left on device");
    expect(document.error.hint).toContain("Free some space");
    await writer.exited();
    const replayed = await runJson("replay", path, "--dry-run");
    expect(replayed.code).toBe(0);
    const { messages, rest } = wholeMessages(path);
    expect(messages).toBeGreaterThan(0);
    expect(replayed.document).toMatchObject({ truncated: true, channels: [{ frames: messages }] });
    // Nothing is left of the chunk that did not fit.
    expect(rest).toBe(0);
  });

  async function expectFullDevice(): Promise<void> {
    const { code, document } = await runJson("record", uniqueName(), "-o", "/dev/full");
    expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
  }

  test("if its file is a device that is full", expectFullDevice);
});

describe("a recorder that is killed", () => {
  test.each([1, 2, 3])("leaves a file that is read to its last whole chunk (%p)", async (chunks) => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = await record([name], path, "--compression", "none");
    await using writer = Child.cli(["writer", name, "-n", "0", "-s", "50000", "--quiet"]);
    await eventually(() => sizeOf(path) > chunks * 1_100_000);
    child.kill("SIGKILL");
    await child.exited();
    await writer.exited();
    cleanBuffer(name);
    const { code, document } = await runJson("replay", path, "--dry-run", "--json-output");
    expect([code, document.truncated]).toEqual([0, true]);
    const { messages } = wholeMessages(path);
    expect(messages).toBeGreaterThan(0);
    expect(document.channels[0].frames).toBe(messages);
  });
});

describe("a recording to stdout", () => {
  test("is the same file, its result on stderr", async () => {
    const name = uniqueName();
    await using child = Child.cli(["record", name, "-o", "-", ...SMALL]);
    await bufferMade(name);
    await run("writer", name, "-n", "50", "-s", "1000");
    const { code, stderr, stdout } = await child.exited();
    expect(code).toBe(0);
    expect(JSON.parse(stderr)).toMatchObject({
      file: "-",
      files: ["-"],
      frames_written: 50,
      file_bytes: stdout.length,
    });
    const path = newPath();
    writeFileSync(path, stdout);
    expect((await contentsOf(path)).messages).toHaveLength(50);
  });

  test("ends quietly when nobody reads it any more", async () => {
    const name = uniqueName();
    const shell = `"$@" | head -c 100`;
    await using child = Child.cli(["record", name, "-o", "-", "--buffer-size", "1MiB", "--json-output"], {
      shell,
    });
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-n", "0", "-s", "10000", "--quiet"]);
    const { stderr } = await child.exited();
    expect(JSON.parse(stderr).errors).toEqual([]);
    await writer.exited();
  });
});

describe("a recording is refused", () => {
  test("without a file, or without a buffer, or with one twice", async () => {
    const missing = await runJson("record", uniqueName());
    expect([missing.code, missing.document.error.message]).toEqual([
      3,
      "Option --output is missing: it takes the file to record in, or -.",
    ]);
    const nothing = await runJson("record", "-o", newPath());
    expect([nothing.code, nothing.document.error.message]).toEqual([
      3,
      "Argument <buffers> is missing: it takes names of buffers.",
    ]);
    const name = uniqueName();
    const twice = await runJson("record", name, name, "-o", newPath());
    expect([twice.code, twice.document.error.message]).toEqual([3, `Buffer "${name}" is named twice.`]);
    for (const { document } of [missing, nothing, twice]) expectValid("record", document);
  });

  test("if a file exists, also one that would follow, before a buffer is made", async () => {
    const path = newPath();
    for (const taken of [path, path.replace(".mcap", "-0001.mcap")]) {
      writeFileSync(taken, "precious");
      const { code, document } = await runJson("record", uniqueName(), "-o", path);
      expect([code, document.error.message]).toEqual([3, `File ${taken} exists.`]);
      expect(readFileSync(taken, "utf8")).toBe("precious");
      rmSync(taken);
    }
    expect(existsSync(path)).toBe(false);
  });

  test("unless it is to be replaced", async () => {
    const [name, path] = [uniqueName(), newPath()];
    writeFileSync(path, pseudoRandom(100_000));
    await using child = await record([name], path, "--force");
    await run("writer", name, "-n", "2");
    expect((await child.report()).code).toBe(0);
    expect((await contentsOf(path)).messages).toHaveLength(2);
  });

  test("in a place that cannot be written to, with what to do", async () => {
    for (const path of [join(directory, "missing", "a.mcap"), directory]) {
      const { code, document } = await runJson("record", uniqueName(), "-o", path);
      expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
      expect(document.error.hint).toBeTruthy();
    }
  });

  test("if a buffer has a reader, and leaves no file", async () => {
    const [name, path] = [uniqueName(), newPath()];
    using _reader = new Reader(name, { payloadSize: 4096 });
    const { code, document } = await runJson("record", name, "-o", path, "--buffer-size", "1MiB");
    expect([code, document.error.code]).toEqual([1, "READER_ALREADY_CONNECTED"]);
    expect(existsSync(path)).toBe(false);
  });
});

test("the sizes of buffers may be in their addresses", async () => {
  const [first, second] = [uniqueName(), uniqueName()];
  const path = newPath();
  const child = Child.cli([
    "record",
    `shm://${first}?size=1MB`,
    `shm://${second}?size=2MB&metadata=8KB`,
    "-o",
    path,
    "--json-output",
  ]);
  await using _child = child;
  await bufferMade(first);
  await bufferMade(second);
  expect(statSync(`/dev/shm/${first}`).size).toBe(128 + 4096 + 2 ** 20);
  expect(statSync(`/dev/shm/${second}`).size).toBe(128 + 8192 + 2 ** 21);
  for (const name of [first, second]) await run("writer", name, "-n", "1");
  expect(
    (await child.report()).document.channels.map(({ frames }: Frame & { frames: number }) => frames),
  ).toEqual([1, 1]);
});

test("the events of a recording tell its whole run", async () => {
  const [name, path] = [uniqueName(), newPath()];
  await using child = Child.cli([
    "record",
    name,
    "-o",
    path,
    "--buffer-size",
    "1MiB",
    "--json-lines",
    "--interval-ms",
    "20",
  ]);
  await child.printed('"ready"');
  await run("writer", name, "-n", "60", "-s", "1000", "--rate", "200");
  const lines = (await child.exited()).stdout
    .toString()
    .trim()
    .split("\n")
    .map(
      (line) => expectValid("event", JSON.parse(line)) as { event: string; frames: number; change: string },
    );
  const kinds = lines.filter(({ event }) => event !== "progress").map(({ change, event }) => change ?? event);
  expect(kinds).toEqual(["started", "ready", "came", "left", "result"]);
  expect(lines.some(({ event, frames }) => event === "progress" && frames > 0)).toBe(true);
});
