import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { McapRecordBuilder, McapStreamReader } from "@mcap/core";
import type { RecordingPlan } from "../../../../src/commands/recording/plan.ts";
import { RecordingFiles } from "../../../../src/commands/recording/recording-files.ts";
import { pseudoRandom, thrownBy } from "../../../support/buffers.ts";
import { contentsOf } from "../../../support/recordings.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-recording-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
function planOf(changes: Partial<RecordingPlan> = {}): RecordingPlan {
  return {
    path: join(directory, `${++files}.mcap`),
    ...{ force: false, compression: "zstd", splitSize: 2 ** 34, splitNs: undefined },
    ...{ topics: ["left", "right"], encoding: "raw", schemaName: undefined, library: "test" },
    ...changes,
  };
}

/** Message records: for each the channel, the time, and the bytes. */
function records(...messages: [channelId: number, logTime: bigint, data: Uint8Array][]): Uint8Array {
  const builder = new McapRecordBuilder();
  for (const [i, [channelId, logTime, data]] of messages.entries())
    builder.writeMessage({ channelId, logTime, publishTime: logTime + 1n, sequence: i + 1, data });
  return builder.buffer;
}

const bytes = (text: string) => Buffer.from(text);

describe("a recording", () => {
  test("is what other readers read, with its metadata, its channels and all checksums", async () => {
    const plan = planOf({ schemaName: "Image" });
    const recording = new RecordingFiles(plan);
    recording.addMetadata(1, bytes('{"width":640}'), 5n);
    recording.addChunk(records([0, 10n, bytes("a")], [1, 11n, bytes("bb")], [0, 12n, pseudoRandom(5000)]));
    recording.addMetadata(0, new Uint8Array([0xff, 0]), 13n);
    recording.addChunk(records([1, 14n, new Uint8Array(100_000)]));
    recording.end();
    const { compressions, encodings, messages, metadata, schemas } = await contentsOf(plan.path);
    expect(
      messages.map(({ topic, logTime, publishTime, sequence, data }) => [
        topic,
        logTime,
        publishTime,
        sequence,
        data.length,
      ]),
    ).toEqual([
      ["left", 10n, 11n, 1, 1],
      ["right", 11n, 12n, 2, 2],
      ["left", 12n, 13n, 3, 5000],
      ["right", 14n, 15n, 1, 100_000],
    ]);
    // What does not become smaller is not compressed.
    expect(compressions).toEqual(["", "zstd"]);
    expect(encodings).toEqual(["raw", "raw"]);
    expect(schemas).toEqual(["Image"]);
    expect(metadata.map(({ name, metadata }) => [name, Object.fromEntries(metadata)])).toEqual([
      ["zerobuffer", { topic: "right", time: "5", size: "13", text: '{"width":640}' }],
      ["zerobuffer", { topic: "left", time: "13", size: "2", base64: "/wA=" }],
    ]);
    expect(recording.written).toEqual({ files: [plan.path], bytes: readFileSync(plan.path).length });
  });

  test("ends its data with a checksum of all of it", () => {
    const plan = planOf();
    const recording = new RecordingFiles(plan);
    recording.addChunk(records([0, 1n, pseudoRandom(100)]));
    recording.end();
    const content = readFileSync(plan.path);
    const reader = new McapStreamReader({
      decompressHandlers: { zstd: (data) => Bun.zstdDecompressSync(data) },
    });
    let dataEnd = -1;
    let crc = 0;
    for (let at = 0; dataEnd < 0; at++) {
      reader.append(content.subarray(at, at + 1));
      for (let record = reader.nextRecord(); record !== undefined; record = reader.nextRecord()) {
        if (record.type === "DataEnd") [dataEnd, crc] = [at + 1 - 13, record.dataSectionCrc];
      }
    }
    expect(crc).toBe(crc32(content.subarray(0, dataEnd)));
    expect(crc).not.toBe(0);
  });

  test("without frames is a file, too", async () => {
    const plan = planOf();
    new RecordingFiles(plan).end();
    expect((await contentsOf(plan.path)).messages).toEqual([]);
  });

  test("is not compressed unless asked for", async () => {
    const plan = planOf({ compression: "none" });
    const recording = new RecordingFiles(plan);
    recording.addChunk(records([0, 1n, new Uint8Array(10_000)]));
    recording.end();
    expect((await contentsOf(plan.path)).compressions).toEqual([""]);
    expect(readFileSync(plan.path).length).toBeGreaterThan(10_000);
  });
});

describe("the next file of a recording", () => {
  const parts = (plan: RecordingPlan) =>
    readdirSync(directory)
      .filter((name) => join(directory, name).startsWith(plan.path.replace(".mcap", "")))
      .sort();

  test("begins where the size would be exceeded, with the metadata of its frames", async () => {
    const plan = planOf({ splitSize: 25_000, compression: "none" });
    const recording = new RecordingFiles(plan);
    recording.addMetadata(0, bytes("old"), 0n);
    recording.addMetadata(0, bytes("new"), 0n);
    for (let i = 0; i < 6; i++) recording.addChunk(records([0, BigInt(i), pseudoRandom(10_000)]));
    recording.end();
    const paths = recording.written.files;
    const base = plan.path.replace(/\.mcap$/, "");
    expect(paths).toEqual([plan.path, `${base}-0001.mcap`, `${base}-0002.mcap`]);
    const contents = await Promise.all(paths.map(contentsOf));
    expect(contents.map(({ messages }) => messages.map(({ logTime }) => Number(logTime)))).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    expect(contents.map(({ metadata }) => metadata.map((record) => record.metadata.get("text")))).toEqual([
      ["old", "new"],
      ["new"],
      ["new"],
    ]);
    expect(recording.written.bytes).toBe(paths.reduce((sum, path) => sum + readFileSync(path).length, 0));
    for (const path of paths) expect(readFileSync(path).length).toBeLessThan(25_000 + 1000);
  });

  test("begins after the time", async () => {
    const plan = planOf({ splitNs: 100n });
    const recording = new RecordingFiles(plan);
    for (const time of [1000n, 1099n, 1100n, 1199n, 1500n])
      recording.addChunk(records([0, time, bytes("x")]));
    recording.end();
    const contents = await Promise.all(recording.written.files.map(contentsOf));
    expect(contents.map(({ messages }) => messages.map(({ logTime }) => logTime))).toEqual([
      [1000n, 1099n],
      [1100n, 1199n],
      [1500n],
    ]);
  });

  test("has at least one chunk, however small a file is to be", () => {
    const plan = planOf({ splitSize: 1 });
    const recording = new RecordingFiles(plan);
    for (let i = 0; i < 3; i++) recording.addChunk(records([0, 1n, bytes("x")]));
    recording.end();
    expect(parts(plan)).toHaveLength(3);
  });
});

describe("a file that exists", () => {
  test("is refused, and stays as it is", () => {
    const plan = planOf();
    writeFileSync(plan.path, "precious");
    expect(thrownBy(() => new RecordingFiles(plan))).toMatchObject({
      code: "USAGE",
      message: `File ${plan.path} exists.`,
    });
    expect(readFileSync(plan.path, "utf8")).toBe("precious");
  });

  test("is replaced if that is asked for", async () => {
    const plan = planOf({ force: true });
    writeFileSync(plan.path, pseudoRandom(100_000));
    const recording = new RecordingFiles(plan);
    recording.addChunk(records([0, 1n, bytes("x")]));
    recording.end();
    expect((await contentsOf(plan.path)).messages).toHaveLength(1);
  });

  test("in a directory that does not exist is an error that says so", () => {
    const path = join(directory, "missing", "a.mcap");
    expect(thrownBy(() => new RecordingFiles(planOf({ path })))).toMatchObject({
      code: "IO_ERROR",
      hint: "Check the path.",
    });
    expect(existsSync(path)).toBe(false);
  });
});
