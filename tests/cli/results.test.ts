import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { schemaDirectory, schemaFiles } from "../../scripts/build-schema.ts";
import { perSecond } from "../../src/cli/format.ts";
import { Reader, Writer } from "../../src/core/index.ts";
import { bufferMade, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

/** Moves frames from a writer to a reader, both with --json-output. */
async function transfer(writerArgs: readonly string[], readerArgs: readonly string[]) {
  const name = uniqueName();
  await using reader = Child.cli(["reader", name, "--buffer-size", "1MiB", "--json-output", ...readerArgs]);
  await bufferMade(name);
  await using writer = Child.cli(["writer", name, "--json-output", ...writerArgs]);
  const [written, read] = await Promise.all([writer.report(), reader.report()]);
  return { name, written, read };
}

describe("the schemas in docs/schema", () => {
  test("are those of the source", () => {
    for (const [file, text] of schemaFiles()) {
      const published = JSON.parse(readFileSync(join(schemaDirectory, file), "utf8"));
      expect(published).toEqual(JSON.parse(text));
    }
  });

  test("hold for the program's own documents", async () => {
    for (const args of [["--version"], ["--help"], ["writer", "--help"], [], ["nosuch"], ["--nosuch"]]) {
      const { document } = await runJson(...args);
      expectValid("program", document);
    }
  });

  test("refuse what they do not know", () => {
    expect(() =>
      expectValid("program", { operation: "version", version: "1.0.0", errors: [], more: 1 }),
    ).toThrow();
  });
});

describe("a transfer", () => {
  test("is reported by both sides, with every key", async () => {
    const { name, written, read } = await transfer(
      ["-n", "5000", "-s", "2KiB", "-m", "hello"],
      ["--verify", "sequential"],
    );
    expect([written.code, read.code]).toEqual([0, 0]);
    expectValid("writer", written.document);
    expectValid("reader", read.document);
    expect(written.document).toMatchObject({
      operation: "write",
      buffer_name: name,
      frames_written: 5000,
      frames_dropped: 0,
      bytes_written: 5000 * 2048,
      frame_size: 2048,
      metadata_size: 5,
      pattern: "sequential",
      empty_lines_skipped: 0,
      errors: [],
    });
    expect(read.document).toMatchObject({
      operation: "read",
      buffer_name: name,
      frames_read: 5000,
      bytes_read: 5000 * 2048,
      frame_size: 2048,
      metadata_size: 5,
      verification_errors: 0,
      first_error_frame: null,
      checksums: [],
      errors: [],
    });
    for (const { document } of [written, read]) {
      const { duration_seconds: seconds, throughput_mbps: mebibytes, frames_per_second: frames } = document;
      expect(seconds).toBeGreaterThan(0);
      expect(frames).toBeCloseTo(5000 / seconds, 0);
      expect(mebibytes).toBeCloseTo((5000 * 2048) / 2 ** 20 / seconds, 0);
      expect(Object.keys(document).at(-1)).toBe("errors");
    }
    expect([written.stderr, read.stderr]).toEqual(["", ""]);
  });

  test.each(["sequential", "random", "zero", "ones"])("of the %p pattern is verified", async (pattern) => {
    const { read } = await transfer(["-n", "50", "-s", "1000", "--pattern", pattern], ["--verify", pattern]);
    expect(read.code).toBe(0);
    expect(read.document.frames_read).toBe(50);
  });

  test("has no speed where no time passed", async () => {
    const { read } = await transfer(["-i", "/dev/null"], []);
    expectValid("reader", read.document);
    expect(read.document).toMatchObject({ frames_read: 0, duration_seconds: 0, throughput_mbps: 0 });
    expect(perSecond(1, 0)).toBeNull();
  });

  test("in batches is a transfer all the same", async () => {
    const { written, read } = await transfer(
      ["-n", "1000", "--batch-size", "7"],
      ["--batch-size", "64", "--verify", "sequential", "-n", "1000"],
    );
    expect([written.code, read.code]).toEqual([0, 0]);
    expect(read.document.frames_read).toBe(1000);
  });
});

describe("a person", () => {
  test("gets one line on stdout from each side", async () => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, "--buffer-size", "1MiB"]);
    await bufferMade(name);
    const written = await run("writer", name, "-n", "3000");
    const read = await reader.exited();
    expect(written.stdout.toString()).toMatch(
      new RegExp(
        `^Wrote 3,000 frames \\(2\\.9 MiB\\) into ${name} in [\\d.]+ s: [\\d,]+ frames/s, [\\d.,]+ [KMG]iB/s\\.\n$`,
      ),
    );
    expect(read.stdout.toString()).toMatch(
      new RegExp(
        `^Read 3,000 frames \\(2\\.9 MiB\\) from ${name} in [\\d.]+ s: [\\d,]+ frames/s, [\\d.,]+ [KMG]iB/s\\.\n$`,
      ),
    );
    expect([written.stderr, read.stderr]).toEqual(["", ""]);
  });

  test("is told what happened and what to do, on stderr", async () => {
    const name = uniqueName();
    const { code, stdout, stderr } = await run("writer", name, "--connect-timeout-ms", "0");
    expect(code).toBe(1);
    expect(stdout.length).toBe(0);
    expect(stderr).toMatch(new RegExp(`^zerobuffer writer: .*"${name}".*\n  .*\n$`));
  });

  test("hears more with --verbose, on stderr, also in JSON mode", async () => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, "--buffer-size", "1MiB", "-v", "--json-output"]);
    await bufferMade(name);
    const written = await run("writer", name, "-v", "-m", "hello");
    const read = await reader.report();
    expect(written.stderr).toContain(`info: Connected to buffer "${name}"`);
    expect(written.stderr).toContain("info: Sent 5 bytes of metadata.");
    expect(read.stderr).toContain("info: Received 5 bytes of metadata.");
    expect(read.document.metadata_size).toBe(5);
  });
});

describe("verification", () => {
  test("counts the wrong frames, goes on, and ends with code 4", async () => {
    const { read } = await transfer(["-n", "300", "--pattern", "ones"], ["--verify", "zero"]);
    expect(read.code).toBe(4);
    expectValid("reader", read.document);
    expect(read.document).toMatchObject({ frames_read: 300, verification_errors: 300, first_error_frame: 0 });
    expect(read.document.error.code).toBe("VERIFICATION_FAILED");
    expect(read.document.errors).toEqual([read.document.error.message]);
  });

  test("names the first wrong frame, counted from 0", async () => {
    const name = uniqueName();
    await using child = Child.cli([
      "reader",
      name,
      "--verify",
      "zero",
      "--json-output",
      "--buffer-size",
      "64KiB",
    ]);
    await bufferMade(name);
    {
      using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
      for (const fill of [0, 0, 1, 0, 2]) writer.writeFrame(new Uint8Array(100).fill(fill));
    }
    const { document } = await child.report();
    expect(document).toMatchObject({ frames_read: 5, verification_errors: 2, first_error_frame: 2 });
  });

  test("looks at the size only where it is given", async () => {
    const unchecked = await transfer(["-n", "10", "-s", "100"], []);
    expect(unchecked.read.code).toBe(0);
    expect(unchecked.read.document.frame_size).toBe(100);
    const checked = await transfer(["-n", "10", "-s", "100"], ["--size", "200"]);
    expect(checked.read.code).toBe(4);
    expect(checked.read.document).toMatchObject({
      verification_errors: 10,
      first_error_frame: 0,
      frame_size: 200,
    });
  });
});

describe("checksums", () => {
  test("are the MD5 of the frames; the result has the first 100, --verbose all", async () => {
    const name = uniqueName();
    await using child = Child.cli([
      "reader",
      name,
      "--checksum",
      "-v",
      "--json-output",
      "--buffer-size",
      "64KiB",
    ]);
    await bufferMade(name);
    await run("writer", name, "-n", "250", "-s", "10", "--pattern", "zero");
    const { code, document, stderr } = await child.report();
    expect(code).toBe(0);
    expectValid("reader", document);
    expect(document.checksums).toHaveLength(100);
    const checksum = new Bun.CryptoHasher("md5").update(new Uint8Array(10)).digest("hex");
    expect(document.checksums[99]).toEqual({ frame: 99, checksum });
    expect(stderr.match(/info: Frame \d+ has MD5 [0-9a-f]{32}\./g)).toHaveLength(250);
  });

  test("are shown to a person before the result", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "--checksum", "--buffer-size", "64KiB"]);
    await bufferMade(name);
    await run("writer", name, "-n", "2", "-s", "10");
    const { stdout } = await child.exited();
    expect(stdout.toString()).toMatch(/^[0-9a-f]{32} {2}frame 0\n[0-9a-f]{32} {2}frame 1\nRead 2 frames/);
  });
});

describe("what cannot connect ends with code 1", () => {
  test("no such buffer", async () => {
    const name = uniqueName();
    const { code, document } = await runJson("writer", name, "--connect-timeout-ms", "0");
    expect(code).toBe(1);
    expectValid("writer", document);
    expect(document.error.code).toBe("BUFFER_NOT_FOUND");
    expect(document.error.message).toContain(name);
    expect(document.error.hint).toContain("(--connect-timeout-ms)");
  });

  test("no writer within the connect timeout", async () => {
    const { code, document } = await runJson(
      "reader",
      uniqueName(),
      "--connect-timeout-ms",
      "50",
      "--buffer-size",
      "64KiB",
    );
    expect(code).toBe(1);
    expectValid("reader", document);
    expect(document.error.code).toBe("PEER_TIMEOUT");
  });

  test("a second writer, a second reader", async () => {
    const name = uniqueName();
    using _reader = new Reader(name, { payloadSize: 4096 });
    using _writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    const writer = await runJson("writer", name, "--connect-timeout-ms", "0");
    expect([writer.code, writer.document.error.code]).toEqual([1, "WRITER_ALREADY_CONNECTED"]);
    const reader = await runJson("reader", name, "--buffer-size", "64KiB");
    expect([reader.code, reader.document.error.code]).toEqual([1, "READER_ALREADY_CONNECTED"]);
  });

  test("a buffer larger than the shared memory", async () => {
    const { code, document } = await runJson("reader", uniqueName(), "--buffer-size", "200000GiB");
    expect([code, document.error.code]).toEqual([1, "RESOURCE_EXHAUSTED"]);
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
  });
});
