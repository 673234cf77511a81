import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader } from "../../src/core/index.ts";
import { bufferMade, pseudoRandom, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-streams-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const hashOf = (bytes: Uint8Array) => Bun.hash(bytes).toString(16);

/** A stream of records of these sizes, each behind its length. */
function records(...sizes: number[]): Buffer {
  return Buffer.concat(
    sizes.flatMap((size) => {
      const prefix = Buffer.alloc(4);
      prefix.writeUInt32LE(size);
      return [prefix, pseudoRandom(size)];
    }),
  );
}

/** What comes out of stdout of a reader if this goes into stdin of a writer. */
async function pipeThrough(input: Uint8Array, framing: string[], { chunk = Number.POSITIVE_INFINITY } = {}) {
  const name = uniqueName();
  await using reader = Child.cli([
    "reader",
    name,
    "-o",
    "-",
    "--buffer-size",
    "4MiB",
    "--json-output",
    ...framing,
  ]);
  await bufferMade(name);
  await using writer = Child.cli(["writer", name, "-i", "-", "--json-output", ...framing], { stdin: "pipe" });
  for (let at = 0; at < input.length; at += chunk) writer.write(input.subarray(at, at + chunk));
  writer.closeStdin();
  const [written, read] = await Promise.all([writer.report(), reader.exited()]);
  return { written, read, document: JSON.parse(read.stderr) };
}

describe("a byte stream goes through unchanged", () => {
  test.each([
    ["fixed", 0, ["-s", "64"]],
    ["fixed", 1, ["-s", "64"]],
    ["fixed", 64, ["-s", "64"]],
    ["fixed", 3_000_000, ["-s", "1000"]],
    ["fixed", 9_000_001, ["-s", "1MiB"]],
    ["fixed", 20_000_000, ["-s", "3MiB"]],
  ])("as %s frames, %p bytes, %p", async (framing, size, sizes) => {
    const input = pseudoRandom(size);
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, "-o", "-", "--buffer-size", "4MiB", "--json-output"]);
    await bufferMade(name);
    const writer = ["writer", name, "-i", "-", "--json-output", "--framing", framing, ...sizes];
    await using writing = Child.cli(writer, { stdin: input });
    const [written, read] = await Promise.all([writing.report(), reader.exited()]);
    expect([written.code, read.code]).toEqual([0, 0]);
    expect(hashOf(read.stdout)).toBe(hashOf(input));
    expect(written.document.bytes_written).toBe(size);
  });

  test("as lines", async () => {
    const input = Buffer.from(
      Array.from({ length: 20_000 }, (_, i) => `line ${i} ${"x".repeat(i % 300)}\n`).join(""),
    );
    const { written, read } = await pipeThrough(input, ["--framing", "lines"]);
    expect([written.code, read.code]).toEqual([0, 0]);
    expect(written.document.frames_written).toBe(20_000);
    expect(written.document.frame_size).toBeNull();
    expect(hashOf(read.stdout)).toBe(hashOf(input));
  });

  test("as lines, without the empty ones, which are counted", async () => {
    const { written, read } = await pipeThrough(Buffer.from("\n\na\n\nb\r\n\nc"), ["--framing", "lines"]);
    expect(read.stdout.toString()).toBe("a\nb\r\nc\n");
    expect(written.document).toMatchObject({ frames_written: 3, empty_lines_skipped: 4 });
  });

  test("as length-prefixed records of every size", async () => {
    const input = records(1, 2, 1000, 1, 65_536, 300_000, 1_500_000, 3, 4_000_000, 5);
    const { written, read, document } = await pipeThrough(input, ["--framing", "length-prefixed"]);
    expect([written.code, read.code]).toEqual([0, 0]);
    expect(hashOf(read.stdout)).toBe(hashOf(input));
    expect(document.frames_read).toBe(10);
  });

  test("one byte at a time", async () => {
    const input = records(1, 7, 30);
    const { read } = await pipeThrough(input, ["--framing", "length-prefixed"], { chunk: 1 });
    expect(hashOf(read.stdout)).toBe(hashOf(input));
  });

  test("from a file to a file, which is overwritten", async () => {
    const name = uniqueName();
    const [source, target] = [join(directory, "source"), join(directory, "target")];
    const input = pseudoRandom(5_000_000);
    writeFileSync(source, input);
    writeFileSync(target, pseudoRandom(6_000_000));
    await using reader = Child.cli([
      "reader",
      name,
      "-o",
      target,
      "--buffer-size",
      "1MiB",
      "--batch-size",
      "16",
    ]);
    await bufferMade(name);
    expect((await run("writer", name, "-i", source, "-s", "777")).code).toBe(0);
    expect((await reader.exited()).code).toBe(0);
    expect(hashOf(readFileSync(target))).toBe(hashOf(input));
  });

  test("up to the number of frames asked for", async () => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, "-o", "-", "--buffer-size", "64KiB"]);
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-i", "-", "-n", "3", "-s", "2"], {
      stdin: Buffer.from("abcdefghij"),
    });
    expect((await writer.exited()).code).toBe(0);
    expect((await reader.exited()).stdout.toString()).toBe("abcdef");
  });

  test("frame by frame, as they come", async () => {
    const name = uniqueName();
    await using writer = Child.cli(["writer", name, "-i", "-", "--framing", "lines", "--timeout-ms", "0"], {
      stdin: "pipe",
    });
    using reader = new Reader(name, { payloadSize: 4096 });
    for (const line of ["one", "two"]) {
      writer.write(`${line}\n`);
      using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
      expect(Buffer.from(frame.data).toString()).toBe(line);
    }
    writer.closeStdin();
    expect((await writer.exited()).code).toBe(0);
  });
});

describe("a stream that cannot be cut into frames", () => {
  test.each([
    ["is cut short in a record", records(10, 20).subarray(0, 30), 2, "byte offset 14"],
    ["is cut short in a length", records(10, 20).subarray(0, 16), 2, "byte offset 14"],
    ["has a record of no bytes", Buffer.concat([records(10), Buffer.alloc(4)]), 2, "byte offset 14"],
    ["has a record of 2 GiB", Buffer.concat([records(10), Buffer.from([0, 0, 0, 128])]), 2, "byte offset 14"],
  ])("because it %s fails after the frames before", async (_, input, code, where) => {
    const { written, read } = await pipeThrough(input, ["--framing", "length-prefixed"]);
    expect(written.code).toBe(code);
    expect(written.document.error.code).toBe("IO_ERROR");
    expect(written.document.error.message).toContain(where);
    expect(written.document.frames_written).toBe(1);
    expect(hashOf(read.stdout)).toBe(hashOf(records(10)));
  });

  test("because a line is longer than a frame can be", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 1024 });
    await using writer = Child.cli(["writer", name, "-i", "-", "--framing", "lines", "--json-output"], {
      stdin: Buffer.from(`a\n${"x".repeat(2000)}\n`),
    });
    const { code, document } = await writer.report();
    expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
    expect(document.error.message).toContain("byte offset 2");
    using frame = reader.readFrame(1000);
    expect(frame.size).toBe(1);
  });
});

describe("a file that cannot be used is refused before the buffer is touched", () => {
  test.each([["--input"], ["--metadata-file"]])("%p", async (option) => {
    const name = uniqueName();
    for (const path of ["/nonexistent/file", directory]) {
      const { code, document } = await runJson("writer", name, option, path);
      expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
      expect(document.error.message).toContain(path);
    }
  });

  test.each([["--output"], ["--metadata-output"]])("%p", async (option) => {
    const name = uniqueName();
    for (const path of ["/nonexistent/file", directory]) {
      const { code, document } = await runJson("reader", name, option, path);
      expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
      expect(document.error.message).toContain(path);
    }
  });

  test.each([
    ["reader", "--output", "--metadata-output"],
    ["duplex request", "--input", "--output"],
  ])("%s with one file for %s and %s", async (command, first, second) => {
    const name = uniqueName();
    const [target, link, missing] = ["twice", "twice-link", "missing"].map((file) => join(directory, file));
    writeFileSync(target!, "precious");
    symlinkSync(target!, link!);
    for (const [one, other] of [
      [target, link],
      [link, target],
      [missing, `${directory}/./missing`],
    ]) {
      const { code, document } = await runJson(...command.split(" "), name, first, one!, second, other!);
      expect([code, document.error.code]).toEqual([3, "USAGE"]);
      expect(document.error.message).toBe(`Options ${first} and ${second} name the same file.`);
    }
    expect(readFileSync(target!, "utf8")).toBe("precious");
    expect(existsSync(missing!)).toBe(false);
    rmSync(link!);
  });

  test("and what the output files held stays until a frame or metadata comes", async () => {
    const name = uniqueName();
    const [frames, metadata] = [join(directory, "kept"), join(directory, "kept-metadata")];
    for (const path of [frames, metadata]) writeFileSync(path, "precious");
    const args = ["reader", name, "-o", frames, "--metadata-output", metadata, "--buffer-size", "64KiB"];
    const expectContents = (...contents: string[]) =>
      expect([frames, metadata].map((path) => readFileSync(path, "utf8"))).toEqual(contents);
    const readBetween = async (...writerArgs: string[]) => {
      await using reader = Child.cli(args);
      await bufferMade(name);
      expect((await run("writer", name, ...writerArgs)).code).toBe(0);
      expect((await reader.exited()).code).toBe(0);
    };
    expect((await run(...args, "--connect-timeout-ms", "20")).code).toBe(1);
    expectContents("precious", "precious");
    await readBetween("-i", "/dev/null");
    expectContents("precious", "precious");
    await readBetween("-i", "/dev/null", "-m", "new");
    expectContents("", "new");
    await readBetween("-n", "1", "-s", "2");
    expectContents("\x00\x01", "");
  });

  test("and what the output file held stays where the buffer cannot be made", async () => {
    const name = uniqueName();
    const target = join(directory, "precious");
    writeFileSync(target, "precious");
    using _reader = new Reader(name, { payloadSize: 4096 });
    const { code } = await run("reader", name, "-o", target);
    expect(code).toBe(1);
    expect(readFileSync(target, "utf8")).toBe("precious");
  });
});

describe("metadata", () => {
  test("goes from a file to a file", async () => {
    const name = uniqueName();
    const [source, target] = [join(directory, "metadata"), join(directory, "metadata-out")];
    const metadata = pseudoRandom(2000);
    writeFileSync(source, metadata);
    await using reader = Child.cli([
      "reader",
      name,
      "--metadata-output",
      target,
      "--buffer-size",
      "64KiB",
      "--json-output",
    ]);
    await bufferMade(name);
    const written = await runJson("writer", name, "--metadata-file", source, "-n", "1");
    expect(written.document.metadata_size).toBe(2000);
    expect((await reader.report()).document.metadata_size).toBe(2000);
    expect(hashOf(readFileSync(target))).toBe(hashOf(metadata));
  });

  test("arrives without any frame", async () => {
    const name = uniqueName();
    const target = join(directory, "lonely");
    await using reader = Child.cli(["reader", name, "--metadata-output", target, "--buffer-size", "64KiB"]);
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-m", "alone", "-i", "-"]);
    expect((await writer.exited()).code).toBe(0);
    expect((await reader.exited()).code).toBe(0);
    expect(readFileSync(target, "utf8")).toBe("alone");
  });

  test("that is not sent leaves an empty file", async () => {
    const name = uniqueName();
    const target = join(directory, "empty");
    writeFileSync(target, "old");
    await using reader = Child.cli(["reader", name, "--metadata-output", target, "--buffer-size", "64KiB"]);
    await bufferMade(name);
    await run("writer", name, "-n", "1");
    await reader.exited();
    expect(readFileSync(target, "utf8")).toBe("");
  });
});
