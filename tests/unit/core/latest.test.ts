import { describe, expect, test } from "bun:test";
import { Reader, Writer } from "../../../src/core/index.ts";
import { bytesOf, fieldOf, rejectionOf, thrownBy, uniqueName } from "../../support/buffers.ts";

const SIZES = { payloadSize: 64 * 1024, metadataSize: 0 };

describe("the newest frame", () => {
  test.each([1, 2, 63, 64, 65, 200, 1000])(
    "of %d is handed out, and the others are released and counted",
    (frames) => {
      using reader = new Reader(uniqueName(), SIZES);
      using writer = new Writer(reader.name);
      for (let round = 0; round < 3; round++) {
        for (let i = 1; i <= frames; i++) writer.writeFrame(bytesOf(round * frames + i, 20));
        using frame = reader.readLatest(0);
        expect(frame.sequence).toBe((round + 1) * frames);
        expect(frame.toArray()).toEqual(bytesOf(frame.sequence, 20));
        // All space but its own has come back.
        expect(fieldOf(reader.name, 40)).toBe(BigInt(SIZES.payloadSize - 16 - 20));
      }
      expect([reader.framesRead, reader.framesSkipped, reader.bytesRead]).toEqual([3, 3 * (frames - 1), 60]);
      // Everything has come back: a frame as large as the ring fits.
      writer.writeFrame(new Uint8Array(SIZES.payloadSize - 16));
    },
  );

  test("comes after frames that are held, which stay as they are", () => {
    using reader = new Reader(uniqueName(), SIZES);
    using writer = new Writer(reader.name);
    for (let i = 1; i <= 10; i++) writer.writeFrame(bytesOf(i, 20));
    using first = reader.readFrame(0);
    using latest = reader.readLatest(0);
    expect([first.sequence, latest.sequence, reader.framesSkipped]).toEqual([1, 10, 8]);
    expect(first.toArray()).toEqual(bytesOf(1, 20));
    for (let i = 11; i <= 12; i++) writer.writeFrame(bytesOf(i, 20));
    using next = reader.readFrame(0);
    expect(next.sequence).toBe(11);
  });

  test("is awaited where there is none, and is invalid after the timeout", async () => {
    using reader = new Reader(uniqueName(), SIZES);
    using writer = new Writer(reader.name);
    expect(reader.readLatest(5).isValid).toBe(false);
    expect((await reader.readLatestAsync(5)).isValid).toBe(false);
    const waiting = reader.readLatestAsync(10_000);
    writer.writeFrame(bytesOf(1, 20));
    writer.writeFrame(bytesOf(2, 20));
    using frame = await waiting;
    expect(frame.isValid).toBe(true);
    const aborted = AbortSignal.abort("stop");
    expect(await rejectionOf(reader.readLatestAsync(0, { signal: aborted }))).toBe("stop");
    for (const timeoutMs of [-1, Number.NaN]) {
      expect(thrownBy(() => reader.readLatest(timeoutMs))).toBeInstanceOf(RangeError);
      expect(await rejectionOf(reader.readLatestAsync(timeoutMs))).toBeInstanceOf(RangeError);
    }
  });

  test("is that of a writer that has left, whose departure is told then", async () => {
    using reader = new Reader(uniqueName(), SIZES);
    const writer = new Writer(reader.name);
    for (let i = 1; i <= 5; i++) writer.writeFrame(bytesOf(i, 20));
    writer.close();
    {
      using frame = reader.readLatest();
      expect(frame.sequence).toBe(5);
    }
    expect(await rejectionOf(reader.readLatestAsync())).toMatchObject({ reason: "left" });
  });

  test("is each one of frames({ latest: true })", async () => {
    using reader = new Reader(uniqueName(), SIZES);
    const writer = new Writer(reader.name);
    for (let i = 1; i <= 5; i++) writer.writeFrame(bytesOf(i, 20));
    const seen: number[] = [];
    for await (using frame of reader.frames({ latest: true })) {
      seen.push(frame.sequence);
      if (frame.sequence === 5) {
        for (let i = 6; i <= 9; i++) writer.writeFrame(bytesOf(i, 20));
        writer.close();
      }
    }
    expect(seen).toEqual([5, 9]);
    expect([reader.framesRead, reader.framesSkipped]).toEqual([2, 7]);
  });

  test("is handed out although the one after it is refused", () => {
    using reader = new Reader(uniqueName(), SIZES);
    using writer = new Writer(reader.name);
    for (let i = 1; i <= 64; i++) writer.writeFrame(bytesOf(i, 20));
    writer.nextSequence = 99;
    writer.writeFrame(bytesOf(99, 20));
    using frame = reader.readLatest(0);
    expect(frame.sequence).toBe(64);
    expect(thrownBy(() => reader.readLatest(0))).toMatchObject({ code: "SEQUENCE_ERROR" });
  });
});
