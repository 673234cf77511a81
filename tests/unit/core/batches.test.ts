import { describe, expect, test } from "bun:test";
import {
  BufferFullError,
  ClosedError,
  FrameBatch,
  FrameTooLargeError,
  InvalidFrameSizeError,
  Reader,
  type WaitMode,
  Writer,
  WriterDeadError,
} from "../../../src/core/index.ts";
import { bytesOf, rejectionOf, thrownBy, uniqueName } from "../../support/buffers.ts";

function connected(payloadSize: number) {
  const reader = new Reader(uniqueName(), { metadataSize: 0, payloadSize });
  const writer = new Writer(reader.name, { writeTimeout: 0 });
  const stack = new DisposableStack();
  stack.use(reader);
  stack.use(writer);
  return { reader, writer, [Symbol.dispose]: () => stack.dispose() };
}

describe("writing frames together", () => {
  test("makes a frame of each piece, the last one shorter", () => {
    using ends = connected(64 * 1024);
    ends.writer.writeFrames(bytesOf(1, 250), 100);
    expect([ends.writer.framesWritten, ends.writer.bytesWritten]).toEqual([3, 250]);
    const sizes = [1, 2, 3].map((sequence) => {
      using frame = ends.reader.readFrame(0);
      expect(frame.sequence).toBe(sequence);
      expect(frame.data).toEqual(bytesOf(1, 250).subarray(100 * (sequence - 1), 100 * sequence));
      return frame.size;
    });
    expect(sizes).toEqual([100, 100, 50]);
    expect(ends.reader.tryReadFrame().isValid).toBe(false);
  });

  test("of more than one call takes at once writes them all", () => {
    using ends = connected(1024 * 1024);
    ends.writer.writeFrames(new Uint8Array(200 * 1000), 1000);
    expect(ends.writer.framesWritten).toBe(200);
    for (let read = 0; read < 200; ) {
      using batch = ends.reader.readFrames(1000, 0);
      read += batch.length;
      expect(batch.length).toBeGreaterThan(0);
    }
  });

  test("writes as many as there is room for, and says how many where it waits in vain", () => {
    using ends = connected(1024);
    expect(ends.writer.tryWriteFrames(new Uint8Array(2000), 100)).toBe(800);
    expect(ends.writer.tryWriteFrames(new Uint8Array(2000), 100)).toBe(0);
    ends.reader.readFrame(0).release();
    const error = thrownBy(() => ends.writer.writeFrames(new Uint8Array(300), 100));
    expect(error).toBeInstanceOf(BufferFullError);
    expect(ends.writer.framesWritten).toBe(9);
    // Of the first seven one look has brought; the last one came later.
    using seven = ends.reader.readFrames(64, 0);
    using one = ends.reader.readFrames(64, 0);
    expect([seven.length, one.length]).toEqual([7, 1]);
  });

  test("without blocking goes on when there is room, between the writes before and after", async () => {
    using ends = connected(1024);
    ends.writer.writeTimeout = 10_000;
    const data = bytesOf(5, 2000);
    const writes = Promise.all([
      ends.writer.writeFramesAsync(data, 100),
      ends.writer.writeFrameAsync(bytesOf(9, 10)),
    ]);
    const read: Uint8Array[] = [];
    while (read.length < 21) {
      using batch = await ends.reader.readFramesAsync(3);
      for (let i = 0; i < batch.length; i++) read.push(batch.dataOf(i).slice());
    }
    await writes;
    expect(Buffer.concat(read)).toEqual(Buffer.concat([data, bytesOf(9, 10)]));
    const full = ends.writer.writeFramesAsync(data, 100, { signal: AbortSignal.timeout(10) });
    expect(((await rejectionOf(full)) as Error).name).toBe("TimeoutError");
    expect(ends.writer.framesWritten).toBe(29);
  });

  test("refuses what cannot be frames before it writes any", () => {
    using ends = connected(1024);
    const { writer } = ends;
    const refusal = (data: Uint8Array, frameSize: number) =>
      thrownBy(() => writer.writeFrames(data, frameSize));
    expect(refusal(new Uint8Array(0), 10)).toBeInstanceOf(InvalidFrameSizeError);
    expect(refusal(new Uint8Array(10), 0)).toBeInstanceOf(InvalidFrameSizeError);
    expect(refusal(new Uint8Array(10), 1.5)).toBeInstanceOf(InvalidFrameSizeError);
    expect(refusal(new Uint8Array(4000), 1009)).toBeInstanceOf(FrameTooLargeError);
    expect(refusal([1, 2, 3] as never, 1)).toBeInstanceOf(TypeError);
    expect(writer.framesWritten).toBe(0);
    writer.close();
    expect(refusal(new Uint8Array(10), 10)).toBeInstanceOf(ClosedError);
  });
});

describe("reading frames together", () => {
  test("takes what is there, up to the number asked for, and then what is left", () => {
    using ends = connected(4096);
    ends.writer.writeFrames(bytesOf(1, 100), 10);
    expect(ends.reader.readFrames(4, 0).length).toBe(4);
    expect(ends.reader.readFrame(0).sequence).toBe(5);
    const rest = ends.reader.readFrames(64, 0);
    expect([rest.length, rest.size, rest.sequenceOf(0), rest.sizeOf(4)]).toEqual([5, 50, 6, 10]);
    expect(ends.reader.tryReadFrames()).toBe(FrameBatch.empty);
    expect([ends.reader.framesRead, ends.reader.bytesRead]).toEqual([10, 100]);
  });

  test("gives space back when it is released, the first frames before the others", () => {
    using ends = connected(1024);
    ends.writer.writeFrames(new Uint8Array(800), 100);
    const batch = ends.reader.readFrames(64, 0);
    expect(ends.writer.tryWriteFrame(new Uint8Array(100))).toBe(false);
    batch.release(2);
    expect(ends.writer.tryWriteFrames(new Uint8Array(300), 100)).toBe(200);
    expect(thrownBy(() => batch.dataOf(1))).toBeInstanceOf(ClosedError);
    expect(batch.dataOf(2).length).toBe(100);
    expect(thrownBy(() => batch.copyTo(new Uint8Array(800)))).toBeInstanceOf(ClosedError);
    for (const count of [2.5, Number.NaN, -1]) {
      expect(thrownBy(() => batch.release(count))).toBeInstanceOf(RangeError);
    }
    batch.release();
    batch.release();
    expect(ends.writer.tryWriteFrames(new Uint8Array(1000), 100)).toBe(600);
  });

  test("refuses numbers of frames that are none, targets too small and bytes after the end", () => {
    using ends = connected(1024);
    ends.writer.writeFrames(new Uint8Array(20), 10);
    expect(thrownBy(() => ends.reader.readFrames(0))).toBeInstanceOf(RangeError);
    expect(thrownBy(() => ends.reader.tryReadFrames(1.5))).toBeInstanceOf(RangeError);
    const batch = ends.reader.readFrames();
    expect(thrownBy(() => batch.sizeOf(2))).toBeInstanceOf(RangeError);
    expect(thrownBy(() => batch.dataOf(-1))).toBeInstanceOf(RangeError);
    for (const index of [1 / 3, Number.NaN]) {
      expect(thrownBy(() => batch.sequenceOf(index))).toBeInstanceOf(RangeError);
    }
    expect(thrownBy(() => batch.copyTo(new Uint8Array(19)))).toBeInstanceOf(RangeError);
    const view = batch.dataOf(0);
    ends.reader.close();
    expect(view.length).toBe(0);
    expect(thrownBy(() => batch.dataOf(0))).toBeInstanceOf(ClosedError);
    batch.release();
  });

  test("delivers everything of a writer that has left, and then says so", async () => {
    using ends = connected(4096);
    ends.writer.writeFrames(new Uint8Array(100), 10);
    ends.writer.close();
    expect((await ends.reader.readFramesAsync(6)).length).toBe(6);
    expect(ends.reader.readFrames(6).length).toBe(4);
    expect(await rejectionOf(ends.reader.readFramesAsync())).toBeInstanceOf(WriterDeadError);
  });

  test("returns an empty batch after the timeout", async () => {
    using ends = connected(4096);
    expect(ends.reader.readFrames(1, 0)).toBe(FrameBatch.empty);
    expect((await ends.reader.readFramesAsync(1, 5)).length).toBe(0);
    expect([FrameBatch.empty.length, FrameBatch.empty.size]).toEqual([0, 0]);
    FrameBatch.empty.release();
  });
});

describe("a ring that is larger than what stays in the caches", () => {
  const MIB = 1024 * 1024;

  test("goes on where its reader is behind, and starts again where it is not", () => {
    using ends = connected(24 * MIB);
    const frame = new Uint8Array(MIB);
    const seen: number[] = [];
    const take = (count: number) => {
      for (let i = 0; i < count; i++) {
        using one = ends.reader.readFrame(0);
        seen.push(one.data[0]!);
      }
    };
    for (let i = 0; i < 20; i++) ends.writer.writeFrame(frame.fill(i));
    take(20);
    for (let i = 20; i < 100; i++) {
      ends.writer.writeFrame(frame.fill(i));
      if (ends.writer.framesWritten - ends.reader.framesRead === 3) take(3);
    }
    take(ends.writer.framesWritten - ends.reader.framesRead);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});

describe("ways of waiting", () => {
  for (const wait of ["adaptive", "spin", "block"] as const) {
    test(`${wait}: a wait ends when a frame comes, when there is room, and when its time is up`, async () => {
      using reader = new Reader(uniqueName(), { metadataSize: 0, payloadSize: 128 }, { wait });
      using writer = new Writer(reader.name, { writeTimeout: 5, wait });
      const start = performance.now();
      expect(reader.readFrame(20).isValid).toBe(false);
      expect(performance.now() - start).toBeGreaterThanOrEqual(19);
      const reading = reader.readFrameAsync();
      writer.writeFrame(new Uint8Array(100));
      using frame = await reading;
      expect(frame.size).toBe(100);
      expect(thrownBy(() => writer.writeFrame(new Uint8Array(100)))).toBeInstanceOf(BufferFullError);
      const writing = writer.writeFrameAsync(new Uint8Array(1));
      frame.release();
      await writing;
    });
  }

  test("that do not exist are refused before anything is made", () => {
    const name = uniqueName();
    const wait = "sleep" as WaitMode;
    expect(thrownBy(() => new Reader(name, {}, { wait }))).toBeInstanceOf(RangeError);
    using _reader = new Reader(name, { payloadSize: 1024 });
    expect(thrownBy(() => new Writer(name, { wait }))).toBeInstanceOf(RangeError);
    new Writer(name).close();
  });
});
