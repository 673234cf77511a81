import { describe, expect, test } from "bun:test";
import { OiebWord } from "../../../src/core/buffer/oieb.ts";
import {
  BufferFullError,
  BufferNotFoundError,
  ClosedError,
  CorruptBufferError,
  FrameTooLargeError,
  InvalidFrameSizeError,
  MetadataAlreadyWrittenError,
  MetadataTooLargeError,
  PeerTimeoutError,
  Reader,
  ReaderDeadError,
  Writer,
  WriterAlreadyConnectedError,
} from "../../../src/core/index.ts";
import { cleanBuffer } from "../../../src/core/inspection.ts";
import { SharedMemory } from "../../../src/native/memory.ts";
import { Semaphore } from "../../../src/native/semaphore.ts";
import { bytesOf, rejectionOf, setField, thrownBy, uniqueName } from "../../support/buffers.ts";

const SMALL = { metadataSize: 64, payloadSize: 4096 };

describe("connecting", () => {
  test("finds no buffer where there is none, once or until the timeout", async () => {
    const name = uniqueName();
    const error = thrownBy(() => new Writer(name)) as BufferNotFoundError;
    expect(error).toBeInstanceOf(BufferNotFoundError);
    expect([error.code, error.buffer, error.message]).toEqual([
      "BUFFER_NOT_FOUND",
      name,
      `There is no buffer "${name}".`,
    ]);
    const start = performance.now();
    expect(thrownBy(() => new Writer(name, { connectTimeoutMs: 60 }))).toBeInstanceOf(BufferNotFoundError);
    expect(performance.now() - start).toBeGreaterThanOrEqual(59);
    expect(await rejectionOf(Writer.connect(name, { connectTimeoutMs: 20 }))).toBeInstanceOf(
      BufferNotFoundError,
    );
  });

  test("waits for its reader without blocking", async () => {
    const name = uniqueName();
    const connecting = Writer.connect(name, { connectTimeoutMs: 10_000 });
    using reader = new Reader(name, SMALL);
    using writer = await connecting;
    expect(writer.config).toEqual(SMALL);
    expect(writer.isReaderConnected()).toBe(true);
    expect(reader.isWriterConnected()).toBe(true);
  });

  test("ends with the reason of an abort", async () => {
    const connecting = Writer.connect(uniqueName(), {
      connectTimeoutMs: 10_000,
      signal: AbortSignal.timeout(10),
    });
    expect(((await rejectionOf(connecting)) as Error).name).toBe("TimeoutError");
  });

  test("takes nobody's place where its options are refused", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    const connect = Writer.connect as (name: string, options: object) => Promise<Writer>;
    for (const options of [{ wait: "now" }, { writeTimeout: -1 }, { connectTimeoutMs: Number.NaN }]) {
      expect(await rejectionOf(connect(reader.name, options))).toBeInstanceOf(RangeError);
    }
    new Writer(reader.name).close();
  });

  test("is refused while another writer is there, which goes on undisturbed", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using first = new Writer(reader.name);
    const error = thrownBy(
      () => new Writer(reader.name, { connectTimeoutMs: 5000 }),
    ) as WriterAlreadyConnectedError;
    expect(error).toBeInstanceOf(WriterAlreadyConnectedError);
    expect(error.message).toContain(`process ${process.pid}`);
    first.writeFrame(bytesOf(1, 5));
    using frame = reader.readFrame(0);
    expect(frame.data).toEqual(bytesOf(1, 5));
  });

  test("waits until what an earlier writer left has been read and released", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using first = new Writer(reader.name);
    first.writeFrame(bytesOf(1, 5));
    first.close();
    expect(thrownBy(() => new Writer(reader.name, { connectTimeoutMs: 20 }))).toBeInstanceOf(
      PeerTimeoutError,
    );
    const frame = reader.readFrame(0);
    expect(thrownBy(() => new Writer(reader.name))).toBeInstanceOf(PeerTimeoutError);
    frame.release();
    using second = new Writer(reader.name);
    second.writeFrame(bytesOf(1, 7));
    using next = reader.readFrame(1000);
    expect([next.sequence, next.size]).toEqual([1, 7]);
  });

  for (const [what, edit] of [
    ["a control block of another size", (oieb) => oieb.setUint32(0, 256, true)],
    ["another major version", (oieb) => oieb.setUint8(4, 2)],
    ["a payload beyond its end", (oieb) => oieb.setBigUint64(32, 8192n, true)],
    ["sizes that overflow", (oieb) => oieb.setBigUint64(8, 2n ** 64n - 64n, true)],
    ["more free bytes than it has", (oieb) => oieb.setBigUint64(40, 4097n, true)],
    ["a write position past its end", (oieb) => oieb.setBigUint64(48, 4097n, true)],
    ["a ring without room for a frame", (oieb) => oieb.setBigUint64(32, 16n, true)],
  ] as [string, (oieb: DataView) => void][]) {
    test(`refuses a buffer that claims ${what}`, () => {
      using reader = new Reader(uniqueName(), SMALL);
      editOieb(reader.name, edit);
      const error = thrownBy(() => new Writer(reader.name)) as CorruptBufferError;
      expect(error).toBeInstanceOf(CorruptBufferError);
      expect(error.buffer).toBe(reader.name);
    });
  }

  test("takes the place of a pid without a lock once its reader, which alone has the memory open, has taken that away", () => {
    using reader = new Reader(uniqueName(), SMALL);
    for (const pid of [
      BigInt(process.pid),
      2n ** 22n + 1n,
      2n ** 32n + BigInt(process.ppid),
      2n ** 64n - 1n,
      BigInt(process.ppid),
    ]) {
      editOieb(reader.name, (oieb) => oieb.setBigUint64(80, pid, true));
      expect(thrownBy(() => new Writer(reader.name))).toMatchObject({
        code: "WRITER_ALREADY_CONNECTED",
        message: expect.stringContaining("not visible from here"),
      });
      expect(thrownBy(() => reader.readFrame(200))).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
      new Writer(reader.name).close();
      expect(thrownBy(() => reader.readFrame(200))).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
    }
  });

  test("finds the reader by its lock, whatever pid somebody has stored for it", () => {
    using reader = new Reader(uniqueName(), SMALL);
    for (const pid of [2n ** 32n + BigInt(process.pid), 2n ** 64n - 1n, BigInt(process.ppid)]) {
      editOieb(reader.name, (oieb) => oieb.setBigUint64(88, pid, true));
      new Writer(reader.name).close();
    }
    editOieb(reader.name, (oieb) => oieb.setBigUint64(88, BigInt(process.pid), true));
  });
});

describe("writing", () => {
  test("refuses sizes that can never be right, before anything happens", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    const error = thrownBy(() => writer.writeFrame(new Uint8Array(4081))) as FrameTooLargeError;
    expect(error).toBeInstanceOf(FrameTooLargeError);
    expect(error.hint).toContain("4097");
    for (const size of [0, -1, 1.5, Number.NaN]) {
      expect(thrownBy(() => writer.acquireFrame(size))).toBeInstanceOf(InvalidFrameSizeError);
    }
    expect(thrownBy(() => writer.writeFrame(new Uint8Array(0)))).toBeInstanceOf(InvalidFrameSizeError);
    for (const wrong of ["text", [1], undefined, new Float64Array(4)]) {
      expect(thrownBy(() => writer.writeFrame(wrong as unknown as Uint8Array))).toBeInstanceOf(TypeError);
    }
    writer.writeFrame(bytesOf(1, 4080));
    using frame = reader.readFrame(0);
    expect([frame.sequence, frame.size]).toEqual([1, 4080]);
  });

  test("reports a full buffer after its timeout and has written nothing", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name, { writeTimeout: 0 });
    for (let i = 1; i <= 4; i++) writer.writeFrame(bytesOf(i, 1008));
    const error = thrownBy(() => writer.writeFrame(bytesOf(5, 1008))) as BufferFullError;
    expect(error).toBeInstanceOf(BufferFullError);
    expect(error.reason).toBe("timeout");
    expect(writer.tryWriteFrame(bytesOf(5, 1008))).toBe(false);
    expect(writer.waits).toBe(1);
    writer.writeTimeout = 120;
    for (const write of [
      () => rejectionOf(writer.writeFrameAsync(bytesOf(5, 1008))),
      async () => thrownBy(() => writer.writeFrame(bytesOf(5, 1008))),
    ]) {
      const start = performance.now();
      expect(await write()).toBeInstanceOf(BufferFullError);
      expect(performance.now() - start).toBeGreaterThanOrEqual(119);
    }
    expect(writer.framesWritten).toBe(4);
    for (let i = 1; i <= 4; i++) reader.readFrame(0).release();
    expect(reader.tryReadFrame().isValid).toBe(false);
  });

  test("keeps the order of asynchronous writes that wait for room", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    const count = 50;
    const writes = Array.from({ length: count }, (_, i) =>
      writer.writeFrameAsync(bytesOf(i + 1, 1 + (i % 7) * 100)),
    );
    for (let i = 1; i <= count; i++) {
      using frame = await reader.readFrameAsync(5000);
      expect(frame.sequence).toBe(i);
      expect(Buffer.compare(frame.data, bytesOf(i, 1 + ((i - 1) % 7) * 100))).toBe(0);
    }
    await Promise.all(writes);
  });

  test("gives up an asynchronous write that is aborted, and only that", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 4080));
    const controller = new AbortController();
    const first = rejectionOf(writer.writeFrameAsync(bytesOf(9, 10), { signal: controller.signal }));
    const second = writer.writeFrameAsync(bytesOf(2, 20));
    controller.abort(new Error("enough"));
    expect(((await first) as Error).message).toBe("enough");
    reader.readFrame(0).release();
    await second;
    using frame = reader.readFrame(1000);
    expect([frame.sequence, frame.size]).toEqual([2, 20]);
  });

  test("keeps their order also where one that waits for its turn is aborted", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 4080));
    const waiting = writer.writeFrameAsync(bytesOf(2, 2000));
    const controller = new AbortController();
    const aborted = rejectionOf(writer.writeFrameAsync(bytesOf(9, 10), { signal: controller.signal }));
    controller.abort();
    await aborted;
    await Bun.sleep(0);
    reader.readFrame(0).release();
    const last = writer.writeFrameAsync(bytesOf(3, 3000));
    for (const [i, size] of [2000, 3000].entries()) {
      using frame = await reader.readFrameAsync(5000);
      expect([frame.sequence, frame.toArray()]).toEqual([i + 2, bytesOf(i + 2, size)]);
    }
    await Promise.all([waiting, last]);
  });

  test("in place shows nothing before the commit and nothing after a cancellation", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    expect(thrownBy(() => writer.commitFrame())).toBeInstanceOf(ClosedError);
    const slot = writer.acquireFrame(100);
    expect(slot.sequence).toBe(1);
    expect(thrownBy(() => writer.acquireFrame(100))).toBeInstanceOf(ClosedError);
    slot.data.set(bytesOf(1, 100));
    expect(reader.tryReadFrame().isValid).toBe(false);
    writer.cancelFrame();
    expect(writer.acquireFrame(10).sequence).toBe(1);
    writer.commitFrame();
    using frame = reader.readFrame(0);
    expect([frame.sequence, frame.size]).toEqual([1, 10]);
    expect(writer.framesWritten).toBe(1);
  });

  test("in place only if there is room now says so", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 3000));
    expect(writer.tryAcquireFrame(3000)).toBeUndefined();
    expect(writer.waits).toBe(1);
    writer.writeFrame(bytesOf(2, 100));
    for (let i = 1; i <= 2; i++) reader.readFrame(0).release();
    const slot = writer.tryAcquireFrame(3000);
    expect([slot?.sequence, slot?.data.length]).toEqual([3, 3000]);
    expect(thrownBy(() => writer.tryAcquireFrame(1))).toBeInstanceOf(ClosedError);
    writer.cancelFrame();
    expect(thrownBy(() => writer.tryAcquireFrame(4081))).toBeInstanceOf(FrameTooLargeError);
  });

  test("is tried for as long as the caller says, and then nothing was written", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 3000));
    const attempts: (() => unknown)[] = [
      () => writer.tryWriteFrame(bytesOf(2, 3000), 20),
      () => writer.tryWriteFrames(bytesOf(2, 3000), 1500, 20),
      () => writer.tryAcquireFrame(3000, 20),
    ];
    const results = attempts.map((attempt) => {
      const start = performance.now();
      const result = attempt();
      expect(performance.now() - start).toBeGreaterThanOrEqual(19);
      return result;
    });
    expect(results).toEqual([false, 0, undefined]);
    for (const timeoutMs of [-1, Number.NaN]) {
      expect(thrownBy(() => writer.tryWriteFrame(bytesOf(2, 10), timeoutMs))).toBeInstanceOf(RangeError);
      expect(thrownBy(() => writer.tryWriteFrames(bytesOf(2, 10), 5, timeoutMs))).toBeInstanceOf(RangeError);
      expect(thrownBy(() => writer.tryAcquireFrame(10, timeoutMs))).toBeInstanceOf(RangeError);
    }
    expect([writer.framesWritten, writer.bytesWritten]).toEqual([1, 3000]);
  });

  test("is tried for that long by all frames together", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    // Room for two of them: the third one has what is left of the time.
    expect(writer.tryWriteFrames(bytesOf(1, 6000), 1500, 20)).toBe(3000);
    expect(writer.framesWritten).toBe(2);
    for (let i = 1; i <= 2; i++) reader.readFrame(0).release();
    expect(writer.tryWriteFrames(bytesOf(1, 3000), 1500, 20)).toBe(3000);
  });

  test("in place waits for room without blocking, in the order of asynchronous writes", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 4080));
    const second = writer.writeFrameAsync(bytesOf(2, 20));
    const third = writer.acquireFrameAsync(30);
    reader.readFrame(0).release();
    await second;
    const slot = await third;
    expect([slot.sequence, slot.data.length]).toEqual([3, 30]);
    slot.data.set(bytesOf(3, 30));
    writer.commitFrame();
    for (const [sequence, size] of [
      [2, 20],
      [3, 30],
    ] as const) {
      using frame = reader.readFrame(0);
      expect([frame.sequence, frame.data]).toEqual([sequence, bytesOf(sequence, size)]);
    }
    const atOnce = await writer.acquireFrameAsync(40);
    expect(atOnce.sequence).toBe(4);
  });

  test("in place gives up after the timeout or when it is aborted, and has acquired nothing", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name, { writeTimeout: 30 });
    writer.writeFrame(bytesOf(1, 4080));
    expect(await rejectionOf(writer.acquireFrameAsync(10))).toBeInstanceOf(BufferFullError);
    writer.writeTimeout = Number.POSITIVE_INFINITY;
    const controller = new AbortController();
    const acquiring = rejectionOf(writer.acquireFrameAsync(10, { signal: controller.signal }));
    controller.abort(new Error("enough"));
    expect(((await acquiring) as Error).message).toBe("enough");
    reader.readFrame(0).release();
    writer.writeFrame(bytesOf(2, 20));
    expect(reader.readFrame(0).sequence).toBe(2);
  });

  test("sends metadata once, and only what fits", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    for (const size of [0, 57]) {
      expect(thrownBy(() => writer.setMetadata(bytesOf(1, size)))).toBeInstanceOf(MetadataTooLargeError);
    }
    writer.setMetadata(bytesOf(1, 56));
    expect(reader.getMetadata()).toEqual(bytesOf(1, 56));
    expect(thrownBy(() => writer.setMetadata(bytesOf(1, 1)))).toBeInstanceOf(MetadataAlreadyWrittenError);
    using without = new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 });
    using plain = new Writer(without.name);
    expect((thrownBy(() => plain.setMetadata(bytesOf(1, 1))) as Error).message).toContain("takes none");
  });

  test("learns at its next write that the reader has left", () => {
    const reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    reader.close();
    const error = thrownBy(() => writer.writeFrame(bytesOf(1, 1))) as ReaderDeadError;
    expect(error).toBeInstanceOf(ReaderDeadError);
    expect(error.reason).toBe("left");
    expect(writer.isReaderConnected()).toBe(false);
  });

  test("learns it also where the reader has read everything before", () => {
    const reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 100));
    reader.readFrame(0).release();
    reader.close();
    expect(thrownBy(() => writer.writeFrame(bytesOf(2, 100)))).toBeInstanceOf(ReaderDeadError);
    expect(writer.framesWritten).toBe(1);
  });

  test("learns that the reader has left also where that has given back too little room", async () => {
    const reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name, { writeTimeout: Number.POSITIVE_INFINITY });
    writer.writeFrame(bytesOf(1, 100));
    writer.writeFrame(bytesOf(2, 3900));
    reader.readFrame(0).release();
    const waiting = rejectionOf(writer.writeFrameAsync(bytesOf(3, 1000)));
    reader.close();
    expect(await waiting).toBeInstanceOf(ReaderDeadError);
    expect(thrownBy(() => writer.tryWriteFrame(bytesOf(3, 1000)))).toBeInstanceOf(ReaderDeadError);
  });

  test("can ask for the reader without a frame to write", () => {
    const reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.checkReader();
    reader.close();
    const error = thrownBy(() => writer.checkReader()) as ReaderDeadError;
    expect(error).toBeInstanceOf(ReaderDeadError);
    expect(error.reason).toBe("left");
  });

  test("refuses everything once it is closed, also what waits", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    const writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 4080));
    const waiting = rejectionOf(writer.writeFrameAsync(bytesOf(2, 10)));
    await Bun.sleep(2);
    writer.close();
    writer.close();
    expect(await waiting).toBeInstanceOf(ClosedError);
    for (const use of [
      () => writer.writeFrame(bytesOf(1, 1)),
      () => writer.isReaderConnected(),
      () => writer.checkReader(),
      () => writer.tryAcquireFrame(1),
    ]) {
      expect(thrownBy(use)).toBeInstanceOf(ClosedError);
    }
    expect([writer.framesWritten, writer.bytesWritten, writer.waits]).toEqual([1, 4080, 1]);
  });
});

describe("a writer that knows what it will write", () => {
  test.each([
    ["a frame", { frameSize: 4081 }, FrameTooLargeError],
    ["metadata", { metadata: bytesOf(1, 57) }, MetadataTooLargeError],
    ["no metadata", { metadata: new Uint8Array(0) }, MetadataTooLargeError],
  ])("is refused before the reader sees it where %s does not fit", async (_, options, refusal) => {
    using reader = new Reader(uniqueName(), SMALL);
    expect(thrownBy(() => new Writer(reader.name, options))).toBeInstanceOf(refusal);
    expect(await rejectionOf(Writer.connect(reader.name, options))).toBeInstanceOf(refusal);
    // A reader that has seen one come and go throws.
    expect(reader.tryReadFrame().isValid).toBe(false);
    expect(thrownBy(() => new Writer(uniqueName(), { ...options, create: SMALL }))).toBeInstanceOf(refusal);
  });

  test("sends its metadata at once, and takes frames of that size", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name, { frameSize: 4080, metadata: bytesOf(1, 56) });
    expect(reader.getMetadata()).toEqual(bytesOf(1, 56));
    expect(thrownBy(() => writer.setMetadata(bytesOf(1, 1)))).toBeInstanceOf(MetadataAlreadyWrittenError);
    writer.writeFrame(bytesOf(1, 4080));
  });

  test("refuses sizes that are none", () => {
    for (const frameSize of [0, -1, 1.5, Number.NaN]) {
      expect(thrownBy(() => new Writer(uniqueName(), { frameSize }))).toBeInstanceOf(RangeError);
    }
    const metadata = "text" as unknown as Uint8Array;
    expect(thrownBy(() => new Writer(uniqueName(), { metadata }))).toBeInstanceOf(TypeError);
  });
});

describe("the end of a writer", () => {
  test("reconnect goes on with the next reader, with the same options and metadata", async () => {
    const name = uniqueName();
    const first = new Reader(name, SMALL);
    const writer = new Writer(name, { writeTimeout: 7, frameSize: 100 });
    writer.setMetadata(bytesOf(1, 10));
    first.close();
    expect(thrownBy(() => writer.writeFrame(bytesOf(1, 10)))).toBeInstanceOf(ReaderDeadError);
    const connecting = writer.reconnect();
    expect(thrownBy(() => writer.writeFrame(bytesOf(1, 10)))).toBeInstanceOf(ClosedError);
    using second = new Reader(name, SMALL);
    using next = await connecting;
    expect(next.writeTimeout).toBe(7);
    expect(second.getMetadata()).toEqual(bytesOf(1, 10));
    next.writeFrame(bytesOf(1, 10));
    using frame = second.readFrame(0);
    expect([frame.sequence, frame.toArray()]).toEqual([1, bytesOf(1, 10)]);
    // The next one is too small for what it will write.
    second.close();
    using _third = new Reader(name, { payloadSize: 64 });
    expect(await rejectionOf(next.reconnect())).toBeInstanceOf(FrameTooLargeError);
  });

  test("reconnect sends other metadata to the same reader, and gives up as it is told to", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    const writer = new Writer(reader.name, { metadata: bytesOf(1, 10) });
    using next = await writer.reconnect({ metadata: bytesOf(2, 20) });
    expect(reader.getMetadata()).toEqual(bytesOf(2, 20));
    reader.close();
    expect(await rejectionOf(next.reconnect({ connectTimeoutMs: 20 }))).toBeInstanceOf(BufferNotFoundError);
    expect(await rejectionOf(next.reconnect({ signal: AbortSignal.abort("stop") }))).toBe("stop");
  });

  test("abort tells the reader that not all has come", () => {
    using reader = new Reader(uniqueName(), SMALL);
    const writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 10));
    writer.abort();
    writer.close();
    {
      using frame = reader.readFrame(0);
      expect(frame.toArray()).toEqual(bytesOf(1, 10));
    }
    expect(thrownBy(() => reader.readFrame())).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
    // Its place is free again.
    using next = new Writer(reader.name);
    next.writeFrame(bytesOf(1, 20));
    using frame = reader.readFrame(0);
    expect(frame.toArray()).toEqual(bytesOf(1, 20));
  });
});

describe("a writer that makes the buffer", () => {
  test("says that another program has removed it, and, of a reader that came and went unseen, that it has left", () => {
    const removed = uniqueName();
    using waiting = new Writer(removed, { create: SMALL });
    const memory = SharedMemory.look(removed, "write") as SharedMemory;
    memory.unlink();
    memory.close();
    expect(thrownBy(() => waiting.checkReader())).toMatchObject({
      code: "CORRUPT_BUFFER",
      message: expect.stringContaining("before a reader has adopted it"),
    });
    waiting.close();
    cleanBuffer(removed);

    const adopted = uniqueName();
    using left = new Writer(adopted, { create: SMALL });
    new Reader(adopted).close();
    expect(thrownBy(() => left.checkReader())).toMatchObject({ code: "READER_DEAD", reason: "left" });
  });

  test("queues frames for a reader that comes later and adopts it, whatever sizes that one asks for", () => {
    const name = uniqueName();
    using writer = new Writer(name, { create: SMALL });
    for (let i = 1; i <= 3; i++) writer.writeFrame(bytesOf(i, 100));
    expect(writer.isReaderConnected()).toBe(false);
    using reader = new Reader(name, { metadataSize: 128, payloadSize: 65536 });
    expect(reader.config).toEqual(SMALL);
    for (let i = 1; i <= 4; i++) {
      if (i === 4) writer.writeFrame(bytesOf(4, 100));
      using frame = reader.readFrame(0);
      expect(frame.data).toEqual(bytesOf(i, 100));
    }
    expect(writer.isReaderConnected()).toBe(true);
    writer.close();
    reader.close();
    expect(SharedMemory.open(name)).toBeNumber();
  });

  test("loses one that a reader has had to the next reader, which would miss the frames that were read", () => {
    const name = uniqueName();
    using writer = new Writer(name, { create: SMALL });
    writer.writeFrame(bytesOf(1, 100));
    // A reader was killed when it had given its place up, and before it removed the names.
    setField(name, 8 * OiebWord.payloadReadCount, 1n);
    using reader = new Reader(name, { metadataSize: 128, payloadSize: 65536 });
    expect(reader.config.payloadSize).toBe(65536);
    expect(reader.readFrame(0).isValid).toBe(false);
    expect(thrownBy(() => writer.checkReader())).toMatchObject({ code: "READER_DEAD" });
  });

  test("connects as usual where there is a buffer", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name, { create: { metadataSize: 0, payloadSize: 64 } });
    expect(writer.config).toEqual(SMALL);
  });

  test("waits for the reader that adopts it", async () => {
    const name = uniqueName();
    using writer = new Writer(name, { create: SMALL });
    writer.checkReader();
    expect(await writer.isReaderConnectedAsync()).toBe(false);
    const start = performance.now();
    expect(await writer.isReaderConnectedAsync(30)).toBe(false);
    expect(performance.now() - start).toBeGreaterThanOrEqual(29);
    const signal = AbortSignal.timeout(10);
    const aborted = await rejectionOf(writer.isReaderConnectedAsync(60_000, { signal }));
    expect((aborted as Error).name).toBe("TimeoutError");
    const coming = writer.isReaderConnectedAsync(60_000);
    using _reader = new Reader(name);
    expect(await coming).toBe(true);
  });

  test("knows one that adopted it and left between two looks", async () => {
    const name = uniqueName();
    using writer = new Writer(name, { create: SMALL });
    writer.writeFrame(bytesOf(1, 100));
    const coming = writer.isReaderConnectedAsync(Number.POSITIVE_INFINITY);
    const reader = new Reader(name);
    reader.readFrame(0).release();
    reader.close();
    expect(await coming).toBe(false);
    const error = thrownBy(() => writer.checkReader()) as ReaderDeadError;
    expect(error).toBeInstanceOf(ReaderDeadError);
    expect(error.reason).toBe("left");
    using next = new Writer(name, { create: SMALL });
    writer.close();
    next.writeFrame(bytesOf(1, 200));
    using second = new Reader(name);
    expect(second.readFrame(0).size).toBe(200);
  });

  test("removes it if nobody has adopted it by the time it closes", () => {
    const name = uniqueName();
    const writer = new Writer(name, { create: SMALL });
    writer.writeFrame(bytesOf(1, 100));
    writer.close();
    expect(SharedMemory.open(name)).toBeNumber();
    expect(Semaphore.open(name, 0)).toBeNumber();
  });
});

function editOieb(name: string, edit: (oieb: DataView) => void): void {
  const memory = SharedMemory.open(name) as SharedMemory;
  const oieb = memory.bytes(0, 128);
  edit(new DataView(oieb.buffer, 0, 128));
  memory.close();
}
