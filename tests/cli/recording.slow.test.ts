// What takes minutes: recorders that are killed at random moments, and frames as large as they may be.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, Writer } from "../../src/core/index.ts";
import { cleanBuffer } from "../../src/core/inspection.ts";
import { bufferMade, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, runJson } from "../support/process.ts";
import { contentsOf, wholeMessages } from "../support/recordings.ts";

const KILLS = 20;
const GIB = 2 ** 30;
const MIB = 2 ** 20;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-recording-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
const newPath = () => join(directory, `${++files}.mcap`);

describe("a recorder that is killed at a random moment", () => {
  test.each(Array.from({ length: KILLS }, (_, i) => i))("leaves its whole chunks (%p)", async (i) => {
    const [name, path] = [uniqueName(), newPath()];
    const size = [200, 20_000, 2_000_000][i % 3] ?? 0;
    const options = ["--buffer-size", "16MiB", "--compression", i % 2 === 0 ? "zstd" : "none"];
    await using child = Child.cli([
      "record",
      name,
      "-o",
      path,
      ...options,
      "--json-lines",
      "--interval-ms",
      "10",
    ]);
    await child.receive("started");
    await child.receive("ready");
    await using writer = Child.cli(["writer", name, "-n", "0", "-s", `${size}`, "--quiet"]);
    const wanted = Math.floor((Math.random() * 30 * MIB) / size);
    for (let frames = 0; frames < wanted; ) ({ frames = frames } = await child.receiveAny());
    child.kill("SIGKILL");
    await child.exited();
    await writer.exited();
    cleanBuffer(name);

    const { messages } = wholeMessages(path);
    using reader = new Reader(name, { payloadSize: 16 * MIB });
    await using replay = Child.cli(["replay", path, "--speed", "max", "--json-output"]);
    let frames = 0;
    if (messages > 0) {
      expect(await reader.isWriterConnectedAsync(WAIT_LIMIT_MS)).toBe(true);
      for await (using frame of reader.frames()) {
        expect(frame.sequence).toBe(++frames);
        // The pattern of the writer.
        expect([frame.size, frame.data[0], frame.data[size - 1]]).toEqual([
          size,
          (frames - 1) & 255,
          (frames + size - 2) & 255,
        ]);
      }
    }
    const { code, document } = await replay.report();
    expect([code, document.truncated, document.frames_written, frames]).toEqual([
      0,
      true,
      messages,
      messages,
    ]);
    rmSync(path);
  });
});

/** The most memory of its own that a process has, sampled until it ends, in bytes. */
async function peakOf(child: Child): Promise<number> {
  let peak = 0;
  for (; !child.isOver; await Bun.sleep(2)) {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
      // The ring is shared memory: it is not the recorder's own.
      peak = Math.max(peak, 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
    } catch {
      // It has just ended.
    }
  }
  return peak;
}

/** Writes large frames of noise. */
async function writeLarge(name: string, size: number, count: number): Promise<void> {
  using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS, writeTimeout: WAIT_LIMIT_MS });
  for (let i = 0; i < count; i++) {
    const { data } = await writer.acquireFrameAsync(size);
    const noise = new Uint8Array(65_536);
    for (let at = 0; at < size; at += noise.length)
      data.set(crypto.getRandomValues(noise).subarray(0, size - at), at);
    writer.commitFrame();
  }
}

describe("large frames", () => {
  test.each(["zstd", "none"])("take at most six times their size and 128 MiB (%s)", async (compression) => {
    const [name, path] = [uniqueName(), newPath()];
    const size = 256 * MIB;
    const options = [
      "--buffer-size",
      `${2 * size + 1024}`,
      "--compression",
      compression,
      "--timeout-ms",
      "0",
    ];
    await using child = Child.cli(["record", name, "-o", path, ...options, "--json-output"]);
    const peak = peakOf(child);
    await bufferMade(name);
    await writeLarge(name, size, 6);
    const { code, document } = await child.report();
    expect([code, document.frames_written]).toEqual([0, 6]);
    const bytes = await peak;
    console.log(`${compression}: ${Math.round(bytes / MIB)} MiB for frames of ${size / MIB} MiB`);
    expect(bytes).toBeLessThan(6 * size + 128 * MIB);
    rmSync(path);
  });

  test("of 1 GiB are recorded and replayed, and larger ones are refused", async () => {
    const [name, path] = [uniqueName(), newPath()];
    const options = ["--buffer-size", `${GIB + 4096}`, "--timeout-ms", "0", "--compression", "none"];
    await using child = Child.cli(["record", name, "-o", path, ...options, "--json-output"]);
    await bufferMade(name);
    let hash: number | bigint;
    {
      using writer = await Writer.connect(name, {
        connectTimeoutMs: WAIT_LIMIT_MS,
        writeTimeout: WAIT_LIMIT_MS,
      });
      const slot = writer.acquireFrame(GIB);
      for (let at = 0; at < GIB; at += MIB) slot.data.fill(at / MIB, at, at + MIB);
      hash = Bun.hash(slot.data);
      writer.commitFrame();
      await writer.acquireFrameAsync(GIB + 1);
      writer.commitFrame();
      const { code, document } = await child.report();
      expect([code, document.error.code, document.frames_written]).toEqual([3, "FRAME_TOO_LARGE", 1]);
    }
    using reader = new Reader(name, { payloadSize: GIB + 4096 });
    const replaying = runJson("replay", path, "--timeout-ms", "0");
    using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
    expect([frame.size, Bun.hash(frame.data)]).toEqual([GIB, hash]);
    expect((await replaying).document).toMatchObject({ frames_written: 1, truncated: false });
    rmSync(path);
  });

  test("and small ones are flat in memory, however many there are", async () => {
    const [name, path] = [uniqueName(), newPath()];
    await using child = Child.cli(["record", name, "-o", path, "--buffer-size", "16MiB", "--json-output"]);
    const peak = peakOf(child);
    await bufferMade(name);
    const written = await runJson("writer", name, "-n", "5M", "-s", "100");
    expect(written.code).toBe(0);
    expect((await child.report()).document.frames_written).toBe(5_000_000);
    const bytes = await peak;
    console.log(`${Math.round(bytes / MIB)} MiB for 5 million frames of 100 bytes`);
    expect(bytes).toBeLessThan(128 * MIB);
    expect((await contentsOf(path)).messages).toHaveLength(5_000_000);
    rmSync(path);
  });
});
