import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { Opcode } from "@mcap/core";
import fc from "fast-check";
import { CommandError } from "../../../../src/cli/failure.ts";
import { openSource } from "../../../../src/commands/recording/byte-source.ts";
import { McapReader, type TimeRange } from "../../../../src/commands/recording/mcap-reader.ts";
import { pseudoRandom, rejectionOf } from "../../../support/buffers.ts";
import { type ForeignMessage, foreignFile, rawChunk, rawRecord, START } from "../../../support/recordings.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-reader-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const { signal } = new AbortController();
const everything: TimeRange = { excludes: () => false };

/** What a file holds, as far as it can be read. */
async function readAll(content: Uint8Array, range = everything) {
  const path = join(directory, "file.mcap");
  writeFileSync(path, content);
  using reader = await McapReader.open(await openSource(path, signal), path, range);
  const messages: (readonly [topic: string, logTime: bigint, hash: number | bigint])[] = [];
  const metadata: (readonly [topic: string, text: string])[] = [];
  for (let item = await reader.next(); item !== undefined; item = await reader.next()) {
    if (item.kind === "metadata") metadata.push([item.topic, Buffer.from(item.bytes).toString()]);
    else messages.push([item.channel.topic, item.message.logTime, Bun.hash(item.message.data)]);
  }
  return {
    messages,
    metadata,
    isTruncated: reader.isTruncated,
    topics: [...reader.channels.values()].map(({ topic }) => topic),
  };
}

const zstd = (data: Uint8Array) => ({ compression: "zstd", compressedData: Bun.zstdCompressSync(data) });

const sent: readonly ForeignMessage[] = Array.from({ length: 60 }, (_, i) => ({
  topic: ["/camera", "/lidar", "/tf"][i % 3] ?? "",
  logTime: 1000n + BigInt(i),
  data: pseudoRandom(1 + ((i * 37) % 900)),
}));
const expected = sent.map(({ data, logTime, topic }) => [topic, logTime, Bun.hash(data)] as const);

describe("a file of another program is read", () => {
  test.each([
    ["in compressed chunks", { chunkSize: 2000, compressChunk: zstd }],
    ["in chunks that are not compressed", { chunkSize: 2000 }],
    ["without chunks", { useChunks: false }],
    ["without offsets of its summary", { chunkSize: 2000, useSummaryOffsets: false }],
  ])("%s", async (_, options) => {
    const { isTruncated, messages, metadata, topics } = await readAll(await foreignFile(sent, options));
    expect(messages).toEqual(expected);
    expect([isTruncated, metadata]).toEqual([false, []]);
    expect(topics).toEqual(["/camera", "/lidar", "/tf"]);
  });

  test("with the chunks left out that are not wanted, even if they define the channels", async () => {
    const asked: (readonly [bigint, bigint])[] = [];
    const range = {
      excludes(first: bigint, last: bigint) {
        asked.push([first, last]);
        return last < 1030n;
      },
    };
    const { messages } = await readAll(
      await foreignFile(sent, { chunkSize: 2000, compressChunk: zstd }),
      range,
    );
    expect(asked.length).toBeGreaterThan(5);
    expect(messages.length).toBeLessThan(45);
    expect(messages).toEqual(expected.slice(-messages.length));
  });

  test("and what other programs add to it is skipped", async () => {
    const file = await foreignFile(sent, { chunkSize: 2000 });
    const own = rawRecord(0x90, new Uint8Array(300));
    const at = START.length;
    const withOwn = Buffer.concat([START, own, rawRecord(0x33, own), file.subarray(8 + 9 + Number(file[9]))]);
    expect(withOwn.subarray(0, at)).toEqual(Buffer.from(START));
    expect((await readAll(withOwn)).messages).toEqual(expected);
  });
});

describe("a file that was cut off", () => {
  test("anywhere gives its whole chunks, and says that it ends early", async () => {
    const file = await foreignFile(sent, { chunkSize: 4000, compressChunk: zstd });
    const whole = await readAll(file);
    expect(whole.messages).toHaveLength(60);
    let most = 0;
    for (let length = 8; length < file.length; length += 7) {
      const { isTruncated, messages } = await readAll(file.subarray(0, length));
      expect(messages).toEqual(expected.slice(0, messages.length));
      expect(messages.length).toBeGreaterThanOrEqual(most);
      // Without its summary it has all its messages.
      expect(isTruncated || messages.length === 60).toBe(true);
      most = messages.length;
    }
    expect(most).toBe(60);
  });

  test("in front of its end has all its messages", async () => {
    const file = await foreignFile(sent);
    expect(await readAll(file.subarray(0, file.length - 8))).toMatchObject({
      messages: expected,
      isTruncated: false,
    });
  });
});

describe("a hostile file", () => {
  const file = async (...parts: Uint8Array[]) => await rejectionOf(readAll(Buffer.concat([START, ...parts])));
  const peakMiB = () => process.resourceUsage().maxRSS / 1024;

  test.each([
    ["is empty", new Uint8Array(0), "it is empty"],
    ["has a few bytes", Buffer.from([0x89, 0x4d]), "it is no MCAP file"],
    ["is garbage", pseudoRandom(5000), "it is no MCAP file"],
    [
      "begins with another record",
      Buffer.concat([START.subarray(0, 8), rawRecord(5, new Uint8Array(30))]),
      "it is damaged before byte 17",
    ],
    ["goes on with zeros", Buffer.concat([START, new Uint8Array(100)]), "it is damaged before byte 34"],
  ])("that %s is refused", async (_, content, reason) => {
    const error = (await rejectionOf(readAll(content))) as CommandError;
    expect(error).toBeInstanceOf(CommandError);
    expect([error.code, error.message]).toEqual(["IO_ERROR", expect.stringContaining(reason)]);
    expect(error.hint).toBeTruthy();
  });

  test("whose records claim more than there is costs no memory", async () => {
    const before = peakMiB();
    for (const opcode of [
      Opcode.HEADER,
      Opcode.CHANNEL,
      Opcode.MESSAGE,
      Opcode.CHUNK,
      Opcode.METADATA,
      Opcode.ATTACHMENT,
    ]) {
      for (const length of [2n ** 31n, 2n ** 45n, 2n ** 63n, 2n ** 64n - 1n]) {
        expect(await file(rawRecord(opcode, new Uint8Array(50), length))).toMatchObject({ code: "IO_ERROR" });
      }
      // This may have been cut off.
      const cut = Buffer.concat([START, rawRecord(opcode, new Uint8Array(50), 2n ** 30n)]);
      expect(await readAll(cut)).toMatchObject({ messages: [], isTruncated: true });
    }
    expect(peakMiB() - before).toBeLessThan(64);
  });

  test("whose fields claim more than their record has is refused", async () => {
    for (const opcode of [Opcode.CHANNEL, Opcode.METADATA, Opcode.MESSAGE, Opcode.CHUNK])
      expect(await file(rawRecord(opcode, Buffer.alloc(40, 0xff)))).toMatchObject({ code: "IO_ERROR" });
    const inside = rawRecord(Opcode.MESSAGE, new Uint8Array(30), 2n ** 45n);
    expect(await file(rawChunk(inside))).toMatchObject({ code: "IO_ERROR" });
    expect(await file(rawChunk(Buffer.from(inside.subarray(0, 20))))).toMatchObject({ code: "IO_ERROR" });
  });

  test("whose chunk inflates to more than it claims is refused before it does", async () => {
    const bomb = Bun.zstdCompressSync(new Uint8Array(2 ** 29));
    expect(bomb.length).toBeLessThan(50_000);
    Bun.gc(true);
    const before = peakMiB();
    for (const size of [0n, 100n, 2n ** 20n])
      expect(await file(rawChunk(bomb, { compression: "zstd", size }))).toMatchObject({ code: "IO_ERROR" });
    for (const size of [2n ** 31n, 2n ** 45n, 2n ** 64n - 1n])
      expect(await file(rawChunk(bomb, { compression: "zstd", size }))).toMatchObject({ code: "IO_ERROR" });
    expect(peakMiB() - before).toBeLessThan(64);
  });

  test("whose chunk is not what its checksum says is refused", async () => {
    const channel = Buffer.alloc(16);
    const records = rawRecord(Opcode.CHANNEL, channel);
    for (const [data, compression] of [
      [records, ""],
      [Bun.zstdCompressSync(records), "zstd"],
    ] as const) {
      const fields = { compression, size: BigInt(records.length) };
      expect(await file(rawChunk(data, { ...fields, crc: 1 }))).toMatchObject({ code: "IO_ERROR" });
      const right = Buffer.concat([START, rawChunk(data, { ...fields, crc: crc32(records) })]);
      expect((await readAll(right)).topics).toEqual([""]);
    }
  });

  test("whose messages have no channel, or whose channel changes, is refused", async () => {
    expect(await file(rawRecord(Opcode.MESSAGE, new Uint8Array(30)))).toMatchObject({ code: "IO_ERROR" });
    const channel = (topic: string) => {
      const content = Buffer.alloc(16 + topic.length);
      content.writeUInt32LE(topic.length, 4);
      content.write(topic, 8);
      return rawRecord(Opcode.CHANNEL, content);
    };
    expect(await file(channel("a"), channel("b"))).toMatchObject({ code: "IO_ERROR" });
  });

  test("with chunks that this program does not know says what to do", async () => {
    const lz4 = (data: Uint8Array) => ({ compression: "lz4", compressedData: data });
    const error = await rejectionOf(readAll(await foreignFile(sent, { compressChunk: lz4 })));
    expect(error).toMatchObject({
      code: "IO_ERROR",
      message: expect.stringContaining("its chunks are compressed with lz4"),
      hint: expect.stringContaining("mcap compress --compression zstd"),
    });
    const other = (data: Uint8Array) => ({ compression: "brotli", compressedData: data });
    expect(await rejectionOf(readAll(await foreignFile(sent, { compressChunk: other })))).toMatchObject({
      code: "IO_ERROR",
    });
  });

  test("with any bytes changed gives frames or an error, and nothing else", async () => {
    const original = await foreignFile(sent.slice(0, 12), { chunkSize: 1500, compressChunk: zstd });
    const changes = fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(changes, async (changed) => {
        const damaged = Buffer.from(original);
        for (const [at, value] of changed) damaged[at] = value;
        try {
          const { messages } = await readAll(damaged);
          expect(messages.length).toBeLessThanOrEqual(12);
        } catch (error) {
          expect(error).toMatchObject({ code: "IO_ERROR" });
        }
      }),
      { numRuns: 400 },
    );
  });
});
