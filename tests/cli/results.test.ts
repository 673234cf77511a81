import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { schemaDirectory, schemaFiles } from "../../scripts/build-schema.ts";
import { perSecond } from "../../src/cli/format.ts";
import { Reader, Writer } from "../../src/core/index.ts";
import { bufferMade, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { transfer } from "./transfer.ts";

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
  test("gets one line on stderr from each side: stdout is for frames", async () => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, "--buffer-size", "1MiB"]);
    await bufferMade(name);
    const written = await run("writer", name, "-n", "3000");
    const read = await reader.exited();
    expect(written.stderr).toMatch(
      new RegExp(
        `^Wrote 3,000 frames \\(2\\.9 MiB\\) into ${name} in [\\d.]+ s: [\\d,]+ frames/s, [\\d.,]+ [KMG]iB/s\\.\n$`,
      ),
    );
    expect(read.stderr).toMatch(
      new RegExp(
        `^Read 3,000 frames \\(2\\.9 MiB\\) from ${name} in [\\d.]+ s: [\\d,]+ frames/s, [\\d.,]+ [KMG]iB/s\\.\n$`,
      ),
    );
    expect([written.stdout.length, read.stdout.length]).toEqual([0, 0]);
  });

  test("gets no line with --quiet, but JSON and failures", async () => {
    const channel = uniqueName();
    const [input, output] = [uniqueName(), uniqueName()];
    const options = ["--buffer-size", "64KiB", "--quiet"];
    const started = [
      ["duplex", "serve", channel, "-n", "5", ...options],
      ["reader", output, "--checksum", ...options],
      ["relay", input, output, ...options],
    ].map((args) => Child.cli(args));
    const [server, reader, relay] = started;
    await using _server = server;
    await using _reader = reader;
    await using _relay = relay;
    await Promise.all([bufferMade(`${channel}_request`), bufferMade(input)]);
    const outcomes = [
      await run("duplex", "request", channel, "-n", "5", ...options),
      await run("writer", input, "-n", "5", "--quiet"),
      ...(await Promise.all(started.map((child) => child.exited()))),
    ];
    for (const { code, stdout, stderr } of outcomes) {
      expect([code, stdout.toString(), stderr]).toEqual([0, "", ""]);
    }
    const failed = await run("writer", uniqueName(), "--connect-timeout-ms", "0", "--quiet");
    expect(failed.stderr).toContain("There is no buffer");
    const { document } = await runJson("writer", uniqueName(), "--connect-timeout-ms", "0", "--quiet");
    expect(document.error.code).toBe("BUFFER_NOT_FOUND");
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
