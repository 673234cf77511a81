import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writer } from "../../src/core/index.ts";
import { bufferMade, eventually, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { nicenessOf } from "../support/proc.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { transfer } from "./transfer.ts";

const small = ["--buffer-size", "64KiB", "--json-output"];

describe("a reader ends", () => {
  test("after the frames asked for, whatever the writer still does", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "-n", "5", ...small]);
    await bufferMade(name);
    using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    for (let i = 0; i < 10; i++) writer.writeFrame(new Uint8Array(10));
    const { code, document } = await child.report();
    expect([code, document.frames_read]).toEqual([0, 5]);
  });

  test("when the writer has left and everything is delivered", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, ...small]);
    await bufferMade(name);
    expect((await run("writer", name, "-n", "20")).code).toBe(0);
    const { code, document } = await child.report();
    expect([code, document.frames_read]).toEqual([0, 20]);
  });

  test("incomplete when the writer has left before the frames asked for", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "-n", "30", ...small]);
    await bufferMade(name);
    await run("writer", name, "-n", "20");
    const { code, document } = await child.report();
    expect([code, document.frames_read, document.error.code]).toEqual([2, 20, "INCOMPLETE"]);
    expect(document.error.message).toBe(`The writer of buffer "${name}" left after 20 of 30 frames.`);
  });

  test("with WRITER_DEAD when the writer was killed, after delivering everything", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "-o", "-", ...small]);
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-i", "-", "--framing", "lines"], { stdin: "pipe" });
    writer.write("last words\n");
    await child.printed("last words");
    writer.kill("SIGKILL");
    const { code, stderr } = await child.exited();
    const document = JSON.parse(stderr);
    expect([code, document.frames_read, document.error.code]).toEqual([2, 1, "WRITER_DEAD"]);
  });

  test("with TIMEOUT when a frame takes too long, and with what there was", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "--timeout-ms", "100ms", ...small]);
    await bufferMade(name);
    using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    writer.writeFrame(new Uint8Array(10));
    const { code, document } = await child.report();
    expect([code, document.frames_read, document.error.code]).toEqual([2, 1, "TIMEOUT"]);
    expect(document.error.message).toContain(`"${name}" within 100 ms`);
  });

  test("with the frames of a writer that came and went meanwhile", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "--verify", "sequential", ...small]);
    await bufferMade(name);
    child.kill("SIGSTOP");
    expect((await run("writer", name, "-n", "7")).code).toBe(0);
    child.kill("SIGCONT");
    const { code, document } = await child.report();
    expect([code, document.frames_read]).toEqual([0, 7]);
  });

  test("with the verification errors told, also where something else ended it", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "-n", "9000", "--verify", "zero", ...small]);
    await bufferMade(name);
    await run("writer", name, "-n", "1200", "--pattern", "ones");
    const { code, document } = await child.report();
    expect([code, document.error.code]).toEqual([2, "INCOMPLETE"]);
    expect(document.verification_errors).toBe(1200);
    expect(document.errors).toEqual([
      expect.stringContaining("1,200 of 1,200 frames failed verification"),
      document.error.message,
    ]);
  });
});

describe("a reader's batch", () => {
  test("is never waited for while its frames are held", async () => {
    const name = uniqueName();
    const args = ["--batch-size", "64", "--verify", "sequential", "--buffer-size", "4KiB", "--json-output"];
    await using child = Child.cli(["reader", name, ...args]);
    await bufferMade(name);
    // The buffer holds four frames, the batch 64.
    const written = await runJson("writer", name, "-n", "500", "-s", "1000");
    expect(written.code).toBe(0);
    expect((await child.report()).document.frames_read).toBe(500);
  });
});

describe("a reader's buffer", () => {
  test("has the size, the room for metadata and the permissions asked for", async () => {
    const name = uniqueName();
    const args = ["--buffer-size", "64KiB", "--metadata-size", "1000", "--mode", "0640"];
    await using child = Child.cli(["reader", name, ...args]);
    await bufferMade(name);
    const { size, mode } = statSync(`/dev/shm/${name}`);
    expect(size).toBe(128 + 1024 + 64 * 1024);
    expect(mode & 0o777).toBe(0o640);
    child.kill("SIGTERM");
    expect((await child.exited()).code).toBe(143);
  });
});

describe("a reader that follows", () => {
  test("waits for a frame for longer than another reader would", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "--follow", "-n", "2", "-o", "-", ...small]);
    await bufferMade(name);
    using writer = new Writer(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    writer.writeFrame(Buffer.from("one"));
    await child.printed("one");
    // Without --follow it gives up after 5 s.
    await Bun.sleep(5500);
    writer.writeFrame(Buffer.from("two"));
    const { code, stdout } = await child.exited();
    expect([code, stdout.toString()]).toEqual([0, "onetwo"]);
  });

  test("reads one writer after another, each with its own metadata and sequence", async () => {
    const name = uniqueName();
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-follow-"));
    const metadata = join(directory, "metadata");
    const args = ["--follow", "-n", "60", "--verify", "sequential", "--metadata-output", metadata];
    await using child = Child.cli(["reader", name, ...args, ...small]);
    await bufferMade(name);
    for (const n of [10, 20, 30]) {
      const written = await runJson("writer", name, "-n", `${n}`, "-m", `metadata of ${n}`);
      expect(written.code).toBe(0);
    }
    const { code, document } = await child.report();
    expect([code, document.frames_read, document.verification_errors]).toEqual([0, 60, 0]);
    expect(document.metadata_size).toBe("metadata of 30".length);
    expect(readFileSync(metadata, "utf8")).toBe("metadata of 30");
    rmSync(directory, { recursive: true });
  });

  test("goes on after a writer that was killed", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "--follow", "-n", "2", "-o", "-", ...small]);
    await bufferMade(name);
    await using first = Child.cli(["writer", name, "-i", "-", "--framing", "lines"], { stdin: "pipe" });
    first.write("one\n");
    await child.printed("one");
    first.kill("SIGKILL");
    await first.exited();
    await using second = Child.cli(["writer", name, "-i", "-", "--framing", "lines"], {
      stdin: Buffer.from("two\n"),
    });
    expect((await second.exited()).code).toBe(0);
    const { code, stdout } = await child.exited();
    expect(code).toBe(0);
    expect(stdout.toString()).toBe("onetwo");
  });

  test("meets a writer that takes a killed one's place at once, with its metadata", async () => {
    const name = uniqueName();
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-follow-"));
    const metadata = join(directory, "metadata");
    const args = ["--follow", "-n", "3", "-o", "-", "--metadata-output", metadata, "-v"];
    await using child = Child.cli(["reader", name, ...args, "--buffer-size", "64KiB"]);
    await bufferMade(name);
    await using first = Child.cli(["writer", name, "-m", "the first", "-i", "-", "--framing", "lines"], {
      stdin: "pipe",
    });
    first.write("one\n");
    await child.printed("one");
    first.kill("SIGKILL");
    await first.exited();
    {
      // In this process, which starts sooner than the reader looks at its writer.
      using second = new Writer(name, { connectTimeoutMs: WAIT_LIMIT_MS });
      second.setMetadata(Buffer.from("the second"));
      for (const frame of ["two", "three"]) second.writeFrame(Buffer.from(frame));
    }
    const { code, stdout, stderr } = await child.exited();
    expect([code, stdout.toString()]).toEqual([0, "onetwothree"]);
    expect(readFileSync(metadata, "utf8")).toBe("the second");
    expect(stderr.match(/(A writer connected|Another writer took over)/g)).toHaveLength(2);
    rmSync(directory, { recursive: true });
  });

  test("gives up when none comes within the connect timeout", async () => {
    const name = uniqueName();
    await using child = Child.cli(["reader", name, "--follow", "--connect-timeout-ms", "1s", ...small]);
    await bufferMade(name);
    await run("writer", name, "-n", "3");
    const { code, document } = await child.report();
    expect([code, document.frames_read, document.error.code]).toEqual([1, 3, "PEER_TIMEOUT"]);
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
    const { stderr } = await child.exited();
    expect(stderr).toMatch(/^[0-9a-f]{32} {2}frame 0\n[0-9a-f]{32} {2}frame 1\nRead 2 frames/);
  });
});

describe.skipIf(process.platform !== "linux")("the engine's compiler", () => {
  test("gives way to everything else once frames come with pauses", async () => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, ...small]);
    await bufferMade(name);
    const ofCompiler = () => nicenessOf(reader.pid, "JITWorker");
    await eventually(() => ofCompiler().length > 0);
    expect(new Set(ofCompiler())).toEqual(new Set([0]));
    await using writer = Child.cli(["writer", name, "-n", "0", "--rate", "100", "-s", "10"]);
    await eventually(() => ofCompiler().length > 0 && ofCompiler().every((niceness) => niceness === 19));
    reader.kill("SIGTERM");
    expect((await reader.report()).code).toBe(143);
    await writer.exited();
  });
});
