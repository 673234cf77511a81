import { describe, expect, spyOn, test } from "bun:test";
import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { OiebWord } from "../../../src/core/buffer/oieb.ts";
import {
  ClosedError,
  CorruptBufferError,
  Frame,
  type FrameBatch,
  Reader,
  ReaderAlreadyConnectedError,
  SequenceError,
  Writer,
  WriterDeadError,
} from "../../../src/core/index.ts";
import { Code } from "../../../src/native/codes.ts";
import { Role, SharedMemory } from "../../../src/native/memory.ts";
import { Semaphore } from "../../../src/native/semaphore.ts";
import { bytesOf, eventually, rejectionOf, thrownBy, uniqueName } from "../../support/buffers.ts";

/** A process id that no process has: that of a child that has been waited for. */
const deadPid = Bun.spawnSync(["true"]).pid;

const SMALL = { metadataSize: 64, payloadSize: 4096 };

/** A reader and a writer of one new buffer. */
function pair(config = SMALL): { reader: Reader; writer: Writer } & Disposable {
  const reader = new Reader(uniqueName(), config);
  const writer = new Writer(reader.name, { writeTimeout: 0 });
  return {
    reader,
    writer,
    [Symbol.dispose]() {
      writer.close();
      reader.close();
    },
  };
}

describe("a reader", () => {
  test("makes shared memory, two semaphores and a lock, and removes them when it closes", () => {
    const reader = new Reader(uniqueName(), SMALL);
    const files = [
      `/dev/shm/${reader.name}`,
      `/dev/shm/sem.sem-w-${reader.name}`,
      `/dev/shm/sem.sem-r-${reader.name}`,
    ];
    expect(statSync(files[0] as string).size).toBe(128 + 64 + 4096);
    for (const file of files.slice(1)) expect(statSync(file).size).toBe(32);
    expect(statSync(`/tmp/zerobuffer/${reader.name}.lock`).isFile()).toBe(true);
    reader.close();
    for (const file of files) expect(() => statSync(file)).toThrow();
  });

  test("gives the buffer the permissions it was asked for, whatever the umask", () => {
    const umask = process.umask(0o077);
    try {
      using reader = new Reader(uniqueName(), { ...SMALL, mode: 0o664 });
      for (const file of [reader.name, `sem.sem-w-${reader.name}`, `sem.sem-r-${reader.name}`]) {
        expect(statSync(`/dev/shm/${file}`).mode & 0o777).toBe(0o664);
      }
      using other = new Reader(uniqueName(), SMALL);
      expect(statSync(`/dev/shm/${other.name}`).mode & 0o777).toBe(0o600);
    } finally {
      process.umask(umask);
    }
  });

  test("is refused where another one lives, which goes on undisturbed", () => {
    using both = pair();
    const error = thrownBy(() => new Reader(both.reader.name, SMALL)) as ReaderAlreadyConnectedError;
    expect(error).toBeInstanceOf(ReaderAlreadyConnectedError);
    expect(error.message).toContain(`process ${process.pid}`);
    both.writer.writeFrame(bytesOf(1, 10));
    using frame = both.reader.readFrame(0);
    expect(frame.sequence).toBe(1);
  });

  test("reports nothing where there is nothing, at once or after the timeout", () => {
    using reader = new Reader(uniqueName(), SMALL);
    expect(reader.tryReadFrame()).toBe(Frame.invalid);
    expect(reader.readFrame(0).isValid).toBe(false);
    const start = performance.now();
    expect(reader.readFrame(120).isValid).toBe(false);
    expect(performance.now() - start).toBeGreaterThanOrEqual(119);
    expect(reader.isWriterConnected()).toBe(false);
    expect(reader.getMetadata().length).toBe(0);
  });

  test("counts frames and bytes", () => {
    using both = pair();
    for (const size of [1, 10, 100]) both.writer.writeFrame(bytesOf(1, size));
    for (let i = 0; i < 3; i++) both.reader.readFrame(0).release();
    expect([both.reader.framesRead, both.reader.bytesRead]).toEqual([3, 111]);
    expect([both.writer.framesWritten, both.writer.bytesWritten]).toEqual([3, 111]);
  });

  test("delivers everything of a writer that has left, reports it once, and goes on to the next", () => {
    using reader = new Reader(uniqueName(), SMALL);
    for (let round = 0; round < 3; round++) {
      const writer = new Writer(reader.name);
      writer.setMetadata(bytesOf(round + 1, 5));
      for (let i = 1; i <= 3; i++) writer.writeFrame(bytesOf(i, 100));
      writer.close();
      expect(reader.isWriterConnected()).toBe(true);
      for (let i = 1; i <= 3; i++) {
        using frame = reader.readFrame(0);
        expect(frame.sequence).toBe(i);
        expect(Buffer.compare(frame.data, bytesOf(i, 100))).toBe(0);
      }
      expect(reader.isWriterConnected(1000)).toBe(false);
      const error = thrownBy(() => reader.readFrame(1000)) as WriterDeadError;
      expect(error).toBeInstanceOf(WriterDeadError);
      expect(error.reason).toBe("left");
      expect(reader.getMetadata()).toEqual(bytesOf(round + 1, 5));
      expect(reader.readFrame(0).isValid).toBe(false);
      expect(reader.getMetadata().length).toBe(0);
    }
  });

  test("notices a writer that came and left without a frame", () => {
    using reader = new Reader(uniqueName(), SMALL);
    new Writer(reader.name).close();
    expect(reader.isWriterConnected(1000)).toBe(false);
    expect(thrownBy(() => reader.readFrame(1000))).toBeInstanceOf(WriterDeadError);
  });

  test("recovers a frame whose post was lost", () => {
    using both = pair();
    both.writer.writeFrame(bytesOf(1, 10));
    const written = Semaphore.open(both.reader.name, Role.WRITER) as Semaphore;
    stealToken(both.reader.name);
    expect(written.value).toBe(0);
    written.close();
    using frame = both.reader.readFrame(1000);
    expect(frame.sequence).toBe(1);
  });

  test("ignores tokens that stand for no frame", () => {
    using both = pair();
    const written = Semaphore.open(both.reader.name, Role.WRITER) as Semaphore;
    written.post(1000);
    written.close();
    expect(both.reader.readFrame(50).isValid).toBe(false);
    both.writer.writeFrame(bytesOf(1, 10));
    using frame = both.reader.readFrame(0);
    expect(frame.sequence).toBe(1);
    expect(both.reader.readFrame(10).isValid).toBe(false);
  });

  test("refuses a frame out of sequence for good, after delivering those before it", () => {
    using both = pair();
    for (let i = 1; i <= 3; i++) both.writer.writeFrame(bytesOf(i, 100));
    editPayload(both.reader.name, (payload) => payload.setBigUint64(2 * 116 + 8, 9n, true));
    for (let i = 1; i <= 2; i++) both.reader.readFrame(0).release();
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = thrownBy(() => both.reader.readFrame(0)) as SequenceError;
      expect(error).toBeInstanceOf(SequenceError);
      expect(error.message).toBe(
        `Buffer "${both.reader.name}" at position 232: expected frame 3, found frame 9.`,
      );
    }
  });

  for (const [what, size] of [
    ["runs past the end", 4096n],
    ["would overflow", 2n ** 64n - 16n],
    ["is empty", 0n],
  ] as const) {
    test(`refuses a frame that ${what}`, () => {
      using both = pair();
      both.writer.writeFrame(bytesOf(1, 100));
      editPayload(both.reader.name, (payload) => payload.setBigUint64(0, size, true));
      const error = thrownBy(() => both.reader.readFrame(0));
      expect(error).toBeInstanceOf(CorruptBufferError);
      expect((error as Error).message).toContain("at position 0");
    });
  }

  describe("whose writer's metadata lies about its length", () => {
    const lie = (reader: Reader, length: number) => {
      const memory = SharedMemory.open(reader.name) as SharedMemory;
      memory.bytes(128, 8)[0] = length;
      memory.close();
    };

    test("takes it for metadata that is not there yet, and refuses it if it is no better a slice later", async () => {
      using both = pair();
      both.writer.setMetadata(bytesOf(1, 20));
      lie(both.reader, 21);
      for (let attempt = 0; attempt < 2; attempt++) expect(both.reader.getMetadata()).toHaveLength(0);
      await Bun.sleep(101);
      for (let attempt = 0; attempt < 2; attempt++) {
        expect(thrownBy(() => both.reader.getMetadata())).toBeInstanceOf(CorruptBufferError);
      }
    });

    test("takes it as it is once that is true", async () => {
      using both = pair();
      both.writer.setMetadata(bytesOf(1, 20));
      lie(both.reader, 21);
      expect(both.reader.getMetadata()).toHaveLength(0);
      lie(both.reader, 20);
      expect(both.reader.getMetadata()).toEqual(bytesOf(1, 20));
      // The slice begins anew.
      await Bun.sleep(101);
      lie(both.reader, 21);
      expect(both.reader.getMetadata()).toHaveLength(0);
    });

    test("looks a few times at the most, however the writer goes on", () => {
      using reader = new Reader(uniqueName(), SMALL);
      const looks = spyOn(SharedMemory.prototype, "readMetadata").mockReturnValue(Code.AGAIN);
      try {
        expect(reader.getMetadata()).toHaveLength(0);
        expect(looks.mock.calls.length).toBeLessThanOrEqual(3);
      } finally {
        looks.mockRestore();
      }
    });
  });

  test.each([Number.NaN, -1, "5", null])(
    "refuses %p as a timeout, whether there is a frame or not",
    async (bad) => {
      using both = pair();
      const timeoutMs = bad as number;
      for (let frames = 0; frames < 2; frames++) {
        for (const use of [
          () => both.reader.readFrame(timeoutMs),
          () => both.reader.readFrames(1, timeoutMs),
          () => both.reader.isWriterConnected(timeoutMs),
          () => both.reader.frames({ timeoutMs }),
        ]) {
          expect(thrownBy(use)).toBeInstanceOf(RangeError);
        }
        for (const use of [
          both.reader.readFrameAsync(timeoutMs),
          both.reader.readFramesAsync(1, timeoutMs),
          both.reader.isWriterConnectedAsync(timeoutMs),
        ]) {
          expect(await rejectionOf(use)).toBeInstanceOf(RangeError);
        }
        for (let count = 0; count < 10; count++) both.writer.writeFrame(bytesOf(1, 10));
        // The others are there already, without a look at the ring.
        both.reader.readFrame(0).release();
      }
      expect(both.reader.framesRead).toBe(2);
    },
  );

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "5", null])(
    "refuses to take %p frames, whether there are any or not",
    async (bad) => {
      using both = pair();
      const most = bad as number;
      for (let frames = 0; frames < 2; frames++) {
        expect(thrownBy(() => both.reader.readFrames(most, 0))).toBeInstanceOf(RangeError);
        expect(thrownBy(() => both.reader.tryReadFrames(most))).toBeInstanceOf(RangeError);
        expect(await rejectionOf(both.reader.readFramesAsync(most, 0))).toBeInstanceOf(RangeError);
        for (let count = 0; count < 10; count++) both.writer.writeFrame(bytesOf(1, 10));
        both.reader.readFrame(0).release();
      }
    },
  );

  test("says that its buffer was removed, also while it waits for its first writer", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    unlinkSync(`/dev/shm/${reader.name}`);
    expect(thrownBy(() => reader.isWriterConnected(60_000))).toMatchObject({ code: "CORRUPT_BUFFER" });
    expect(await rejectionOf(reader.isWriterConnectedAsync(60_000))).toMatchObject({
      code: "CORRUPT_BUFFER",
    });
  });

  test("reports shared memory that was truncated under it, and the process lives", async () => {
    const reader = new Reader(uniqueName(), SMALL);
    const writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 100));
    const frame = reader.readFrame(0);
    await Bun.write(`/dev/shm/${reader.name}`, "");
    expect(frame.data[0]).toBe(0);
    expect(thrownBy(() => reader.readFrame(300))).toBeInstanceOf(CorruptBufferError);
    expect(thrownBy(() => writer.writeFrame(bytesOf(1, 100)))).toBeInstanceOf(CorruptBufferError);
    writer.close();
    reader.close();
  });

  test("refuses everything once it is closed, and closing again does nothing", async () => {
    const reader = new Reader(uniqueName(), SMALL);
    reader.close();
    reader.close();
    for (const use of [() => reader.readFrame(0), () => reader.tryReadFrame(), () => reader.getMetadata()]) {
      expect(thrownBy(use)).toBeInstanceOf(ClosedError);
    }
    expect(await rejectionOf(reader.readFrameAsync(0))).toBeInstanceOf(ClosedError);
  });
});

describe("the metadata of a writer that came, and is gone, before its predecessor's departure was taken note of", () => {
  test.each([
    ["has left", false],
    ["has died", true],
  ])("and %s stays until all its frames are read", (_, died) => {
    using reader = new Reader(uniqueName(), SMALL);
    const first = new Writer(reader.name);
    first.setMetadata(Buffer.from("first"));
    first.close();
    expect(thrownBy(() => reader.readFrame(1000))).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
    const second = new Writer(reader.name);
    second.setMetadata(Buffer.from("second"));
    second.writeFrame(bytesOf(1, 10));
    second.close();
    if (died) editWord(reader.name, OiebWord.writerPid, () => BigInt(deadPid));
    reader.readFrame(0).release();
    expect(Buffer.from(reader.getMetadata()).toString()).toBe("second");
    const reason = died ? "died" : "left";
    expect(thrownBy(() => reader.readFrame(1000))).toMatchObject({ code: "WRITER_DEAD", reason });
    expect(Buffer.from(reader.getMetadata()).toString()).toBe("second");
    expect(reader.readFrame(0).isValid).toBe(false);
    expect(reader.getMetadata()).toHaveLength(0);
  });
});

describe("a departure", () => {
  test("is reported once, also where the token of the writer's close comes after the report", () => {
    using reader = new Reader(uniqueName(), SMALL);
    const token = Semaphore.open(reader.name, Role.WRITER) as Semaphore;
    const expectDeparture = () =>
      expect(() => reader.readFrame(0)).toThrow(
        expect.objectContaining({ code: "WRITER_DEAD", reason: "left" }),
      );
    for (let round = 0; round < 3; round++) {
      const writer = new Writer(reader.name);
      expect(reader.isWriterConnected()).toBe(true);
      writer.writeFrame(bytesOf(1, 10));
      reader.readFrame(0).release();
      writer.close();
      takeTokens(reader.name);
      expectDeparture();
      token.post();
      for (let tries = 0; tries < 3; tries++) expect(reader.readFrame(0).isValid).toBe(false);
      expect(reader.isWriterConnected(0)).toBe(false);
    }
    // One that has written nothing is missed by nobody either.
    new Writer(reader.name).close();
    expectDeparture();
    expect(reader.readFrame(0).isValid).toBe(false);
    token.close();
  });

  test("ends what is known of the metadata", () => {
    using reader = new Reader(uniqueName(), SMALL);
    const texts = ["first", undefined, "first", "second"];
    for (const text of texts) {
      const writer = new Writer(reader.name);
      if (text !== undefined) writer.setMetadata(Buffer.from(text));
      // Nobody has looked since the last one left.
      expect(Buffer.from(reader.getMetadata()).toString()).toBe(text ?? "");
      writer.close();
    }
  });
});

describe("a wrap that a dead writer of another implementation left half done", () => {
  /** A reader that holds the only frame of a writer that died after it had subtracted the waste of a wrap. */
  function afterHalfAWrap(): { reader: Reader; frame: Frame } {
    const reader = new Reader(uniqueName(), SMALL);
    const writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 100));
    const frame = reader.readFrame(0);
    writer.close();
    editPayload(reader.name, (payload) => {
      payload.setBigUint64(116, 0n, true);
      payload.setBigUint64(124, 0n, true);
    });
    editWord(reader.name, OiebWord.payloadFreeBytes, (free) => free - BigInt(SMALL.payloadSize - 116));
    editWord(reader.name, OiebWord.writerPid, () => BigInt(deadPid));
    return { reader, frame };
  }

  test.each(["before", "after"])(
    "keeps no next writer away, though a frame is released only %s that one is awaited",
    (when) => {
      const { reader, frame } = afterHalfAWrap();
      using _reader = reader;
      expect(thrownBy(() => reader.readFrame(0))).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
      if (when === "before") frame.release();
      expect(reader.readFrame(0).isValid).toBe(false);
      frame.release();
      using writer = new Writer(reader.name);
      writer.writeFrame(bytesOf(1, 4080));
      expect(reader.readFrame(1000).toArray()).toEqual(bytesOf(1, 4080));
    },
  );

  test("is not touched once a next writer of such an implementation has come", () => {
    const { reader, frame } = afterHalfAWrap();
    using _reader = reader;
    expect(thrownBy(() => reader.readFrame(0))).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
    editWord(reader.name, OiebWord.writerPid, () => 1n);
    frame.release();
    expect(wordOf(reader.name, OiebWord.payloadFreeBytes)).toBe(116n);
    expect(wordOf(reader.name, OiebWord.writerPid)).toBe(1n);
  });
});

describe("a frame", () => {
  test("cannot be touched after its release", () => {
    using both = pair();
    both.writer.writeFrame(bytesOf(1, 10));
    const frame = both.reader.readFrame(0);
    const copy = frame.toArray();
    frame.release();
    frame.release();
    expect(thrownBy(() => frame.data)).toBeInstanceOf(ClosedError);
    expect(thrownBy(() => frame.toArray())).toBeInstanceOf(ClosedError);
    expect(frame.isValid).toBe(true);
    expect(copy).toEqual(bytesOf(1, 10));
  });

  test("leaves a view of length 0 behind when its reader is closed", () => {
    const both = pair();
    both.writer.writeFrame(bytesOf(1, 10));
    const frame = both.reader.readFrame(0);
    const view = frame.data;
    const slot = both.writer.acquireFrame(100).data;
    both[Symbol.dispose]();
    expect([view.length, slot.length]).toEqual([0, 0]);
    expect(view[0]).toBeUndefined();
    expect(thrownBy(() => frame.data)).toBeInstanceOf(ClosedError);
    frame.release();
  });

  test("whose buffer the program has transferred keeps no reader from closing, and its bytes can still be read", () => {
    const both = pair();
    both.writer.writeFrame(bytesOf(1, 10));
    const start = both.reader.readFrame(0).data;
    const { byteOffset } = start;
    const kept = new Uint8Array((start.buffer as ArrayBuffer).transfer(), byteOffset, 10);
    both[Symbol.dispose]();
    expect(Buffer.compare(kept, bytesOf(1, 10))).toBe(0);
    // The name is free again.
    new Reader(both.reader.name, SMALL).close();
  });

  test("may have nearly 4 GiB, wherever in the memory it lies", () => {
    const name = uniqueName();
    const path = `/dev/shm/${name}`;
    const gibibyte = 2 ** 30;
    writeFileSync(path, "");
    try {
      // Nothing of it takes memory but what is touched.
      truncateSync(path, 8 * gibibyte);
      const memory = SharedMemory.open(name) as SharedMemory;
      const offset = 2 * gibibyte - 100;
      const whole = memory.bytes(offset, 4 * gibibyte - 1);
      const last = memory.bytes(offset + whole.length - 1, 1);
      last[0] = 7;
      expect([whole[0], whole.at(-1)]).toEqual([0, 7]);
      memory.close();
      expect([whole.length, last.length]).toEqual([0, 0]);
    } finally {
      unlinkSync(path);
    }
  });

  test("can be changed in place", () => {
    using both = pair();
    both.writer.writeFrame(bytesOf(1, 10));
    using frame = both.reader.readFrame(0);
    frame.getMutableSpan().fill(7);
    expect(frame.toArray()).toEqual(new Uint8Array(10).fill(7));
  });

  test("that found nothing is empty and harmless", () => {
    expect([Frame.invalid.isValid, Frame.invalid.size, Frame.invalid.data.length]).toEqual([false, 0, 0]);
    Frame.invalid.release();
  });

  test("may be one of thousands that are held at once, and released in reverse", () => {
    using both = pair({ metadataSize: 0, payloadSize: 64 * 1024 });
    const held: Frame[] = [];
    while (both.writer.tryWriteFrame(bytesOf(both.writer.framesWritten + 1, 8))) {
      held.push(both.reader.readFrame(0));
    }
    expect(held.length).toBe(Math.floor((64 * 1024) / 24));
    for (const frame of held.reverse()) {
      expect(frame.data).toEqual(bytesOf(frame.sequence, 8));
      both.reader.releaseFrame(frame);
    }
    both.writer.writeFrame(new Uint8Array(64 * 1024 - 16));
    both.reader.readFrame(0).release();
  });
});

describe("asynchronous reading", () => {
  test("that has just begun ends when a microtask from before closes the reader", async () => {
    const reader = new Reader(uniqueName(), SMALL);
    queueMicrotask(() => reader.close());
    expect(await rejectionOf(reader.readFrameAsync(1000))).toBeInstanceOf(ClosedError);
  });

  test("waits for a frame while timers keep firing", async () => {
    using both = pair();
    let ticks = 0;
    const timer = setInterval(() => ++ticks, 2);
    const reading = both.reader.readFrameAsync(10_000);
    await eventually(() => ticks >= 20);
    both.writer.writeFrame(bytesOf(1, 10));
    using frame = await reading;
    clearInterval(timer);
    expect(frame.data).toEqual(bytesOf(1, 10));
  });

  test("lets timers fire while frames never cease", async () => {
    using both = pair();
    let fired = false;
    setTimeout(() => {
      fired = true;
    }, 1);
    for (let count = 0; !fired && count < 10_000_000; count++) {
      both.writer.writeFrame(bytesOf(1, 1));
      (await both.reader.readFrameAsync(1000)).release();
    }
    expect(fired).toBe(true);
  });

  test("returns an invalid frame after the timeout", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    const start = performance.now();
    expect((await reader.readFrameAsync(0)).isValid).toBe(false);
    expect((await reader.readFrameAsync(150)).isValid).toBe(false);
    expect(performance.now() - start).toBeGreaterThanOrEqual(149);
  });

  test("rejects with the reason of an abort, and the reader reads on", async () => {
    using both = pair();
    const controller = new AbortController();
    const reading = both.reader.readFrameAsync(10_000, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), 5);
    expect(((await rejectionOf(reading)) as Error).message).toBe("enough");
    expect(await rejectionOf(both.reader.readFrameAsync(0, { signal: controller.signal }))).toBe(
      controller.signal.reason,
    );
    both.writer.writeFrame(bytesOf(1, 10));
    using frame = await both.reader.readFrameAsync(1000);
    expect(frame.sequence).toBe(1);
  });

  test("lasts no longer than asked, however long the wait was that was given up before", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    const durations: number[] = [];
    for (let round = 0; round < 5; round++) {
      const abandoned = reader.readFrameAsync(60_000, { signal: AbortSignal.timeout(1) });
      await rejectionOf(abandoned);
      const start = performance.now();
      expect((await reader.readFrameAsync(5)).isValid).toBe(false);
      durations.push(performance.now() - start);
    }
    // A busy machine makes some of them longer, a wait of the other length all of them.
    expect(Math.min(...durations)).toBeLessThan(100);
  });

  describe("that waits when the reader is closed", () => {
    const { signal } = new AbortController();
    const waits: [string, (reader: Reader) => Promise<unknown>][] = [
      ["a frame", (reader) => reader.readFrameAsync(Number.POSITIVE_INFINITY)],
      ["a frame that can be aborted", (reader) => reader.readFrameAsync(600_000, { signal })],
      ["frames", (reader) => reader.readFramesAsync(10, 600_000)],
      ["the next frame of a loop", (reader) => reader.frames().next()],
      ["a writer", (reader) => reader.isWriterConnectedAsync(600_000)],
      ["a writer, and can be aborted", (reader) => reader.isWriterConnectedAsync(600_000, { signal })],
    ];
    const expectClosed = async (reader: Reader, readings: Promise<unknown>[]) => {
      reader.close();
      for (const reading of readings) {
        expect(await reading).toBeInstanceOf(ClosedError);
        expect(await reading).toMatchObject({ code: "CLOSED", buffer: reader.name });
      }
    };

    test.each(waits)("for %s rejects, in the same turn of the event loop or later", async (_, wait) => {
      for (const pause of [() => undefined, () => Promise.resolve(), () => Bun.sleep(30)]) {
        const reader = new Reader(uniqueName(), SMALL);
        const readings = [1, 2, 3].map(() => rejectionOf(wait(reader)));
        await pause();
        await expectClosed(reader, readings);
      }
    });

    test("for all of that at once rejects", async () => {
      const reader = new Reader(uniqueName(), SMALL);
      const readings = [...waits, ...waits].map(([, wait]) => rejectionOf(wait(reader)));
      await Bun.sleep(30);
      await expectClosed(reader, readings);
    });

    test("for its turn of the event loop with a frame at hand rejects", async () => {
      const both = pair({ metadataSize: 0, payloadSize: 1024 * 1024 });
      while (both.writer.tryWriteFrame(bytesOf(1, 8)));
      const readings: Promise<unknown>[] = [];
      const start = performance.now();
      while (performance.now() - start < 50) {
        readings.push(both.reader.readFrameAsync(0).catch((error: unknown) => error));
      }
      both[Symbol.dispose]();
      const closed = (await Promise.all(readings)).filter((outcome) => outcome instanceof Error);
      expect(closed.length).toBeGreaterThan(0);
      for (const error of closed) expect(error).toMatchObject({ code: "CLOSED", buffer: both.reader.name });
    });

    test("ends the loop that it is part of", async () => {
      const reader = new Reader(uniqueName(), SMALL);
      const frames = reader.frames();
      const first = rejectionOf(frames.next());
      reader.close();
      expect(await first).toMatchObject({ code: "CLOSED" });
      expect(await frames.next()).toMatchObject({ done: true });
    });
  });

  test("serves several calls at once in their order", async () => {
    using both = pair();
    const readings = [1, 2, 3, 4].map(() => both.reader.readFrameAsync(5000));
    for (let i = 1; i <= 4; i++) {
      both.writer.writeFrame(bytesOf(i, 10));
      await Bun.sleep(1);
    }
    const frames = await Promise.all(readings);
    expect(frames.map((frame) => frame.sequence)).toEqual([1, 2, 3, 4]);
    for (const frame of frames) frame.release();
  });

  test("gives a frame to one of several calls that wake at once, and nothing to the others", async () => {
    for (let round = 0; round < 20; round++) {
      using both = pair();
      const readings = [1, 2, 3, 4].map(() => both.reader.readFrameAsync(30_000));
      for (let i = 1; i <= 4; i++) {
        both.writer.writeFrame(bytesOf(i, 10));
        await Bun.sleep(0);
      }
      const frames = await Promise.all(readings);
      expect(frames.map((frame) => frame.sequence)).toEqual([1, 2, 3, 4]);
    }
  });

  test("lets nobody go before those who wait already", async () => {
    using both = pair();
    const first = both.reader.readFrameAsync(10_000);
    both.writer.writeFrame(bytesOf(1, 10));
    const second = both.reader.readFrameAsync(10_000);
    both.writer.writeFrame(bytesOf(2, 10));
    const frames = await Promise.all([first, second]);
    expect(frames.map((frame) => frame.sequence)).toEqual([1, 2]);
    for (const frame of frames) frame.release();
  });

  test("gives up at its own time, whoever waits longer before it", async () => {
    using both = pair();
    const patient = both.reader.readFrameAsync(60_000);
    expect((await both.reader.readFrameAsync(1)).isValid).toBe(false);
    expect((await both.reader.readFramesAsync(1, 0)).length).toBe(0);
    both.writer.writeFrame(bytesOf(1, 10));
    expect((await patient).sequence).toBe(1);
  });

  test("of several calls goes on when some of them are aborted", async () => {
    using both = pair();
    const controllers = [1, 2, 3].map(() => new AbortController());
    const readings = controllers.map(({ signal }) => both.reader.readFrameAsync(60_000, { signal }));
    controllers[1]?.abort(new Error("the second"));
    expect(await rejectionOf(readings[1] as Promise<Frame>)).toMatchObject({ message: "the second" });
    controllers[0]?.abort(new Error("the first"));
    expect(await rejectionOf(readings[0] as Promise<Frame>)).toMatchObject({ message: "the first" });
    both.writer.writeFrame(bytesOf(1, 10));
    expect((await readings[2])?.sequence).toBe(1);
  });

  test("tells all calls that wait of a departure", async () => {
    using both = pair();
    const readings = [1, 2, 3].map(() => rejectionOf(both.reader.readFrameAsync(60_000)));
    both.writer.close();
    for (const reading of readings) {
      expect(await reading).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
    }
    // And then goes on to the next one.
    const next = both.reader.readFrameAsync(60_000);
    using writer = new Writer(both.reader.name);
    writer.writeFrame(bytesOf(1, 10));
    expect((await next).sequence).toBe(1);
  });

  test("gets at once what a call that does not wait leaves", async () => {
    using both = pair();
    let waited: Frame | undefined;
    void both.reader.readFrameAsync(Number.POSITIVE_INFINITY).then((frame) => {
      waited = frame;
    });
    await Bun.sleep(5);
    for (let sequence = 1; sequence <= 2; sequence++) both.writer.writeFrame(bytesOf(sequence, 10));
    expect(both.reader.readFrame(0).sequence).toBe(1);
    // Its token is gone: nothing but this call can have told.
    await new Promise(setImmediate);
    expect(waited?.sequence).toBe(2);
  });

  test("mixed with calls that block loses no frame, and hands none out twice", async () => {
    using both = pair({ metadataSize: 0, payloadSize: 8192 });
    const { reader, writer } = both;
    const total = 3000;
    const taken: number[] = [];
    const take = (frame: Frame) => {
      if (frame.isValid) taken.push(frame.sequence);
      frame.release();
    };
    const takeBatch = (batch: FrameBatch) => {
      for (let i = 0; i < batch.length; i++) taken.push(batch.sequenceOf(i));
      batch.release();
    };
    const waiting = new Set<Promise<void>>();
    const begin = (reading: Promise<void>) => {
      const settled = reading
        .catch((error: unknown) => expect(error).toMatchObject({ code: "WRITER_DEAD" }))
        .then(() => void waiting.delete(settled));
      waiting.add(settled);
    };
    const calls = [
      () => begin(reader.readFrameAsync(5).then(take)),
      () => begin(reader.readFrameAsync(60_000).then(take)),
      () => begin(reader.readFramesAsync(3, 60_000).then(takeBatch)),
      () => begin(reader.isWriterConnectedAsync(1).then((found) => expect(found).toBe(true))),
      () => take(reader.readFrame(0)),
      () => take(reader.readFrame(1)),
      () => take(reader.tryReadFrame()),
      () => takeBatch(reader.readFrames(5, 0)),
      () => takeBatch(reader.tryReadFrames(2)),
      () => expect(reader.isWriterConnected(0)).toBe(true),
      () => Bun.sleep(0),
    ];
    let seed = 1;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let written = 0; written < total; ) {
      for (let count = random(5); count > 0 && written < total; count--) {
        if (writer.tryWriteFrame(bytesOf(written + 1, 8))) written++;
      }
      await calls[random(calls.length)]?.();
    }
    while (taken.length < total) {
      takeBatch(reader.tryReadFrames());
      await Bun.sleep(0);
    }
    // Some wait for more.
    writer.close();
    await Promise.all(waiting);
    expect(taken.toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i + 1));
  });

  test("as a loop ends when the writer has left", async () => {
    using both = pair();
    const sequences: number[] = [];
    setTimeout(() => {
      for (let i = 1; i <= 100; i++) both.writer.writeFrame(bytesOf(i, 10));
      both.writer.close();
    }, 5);
    for await (using frame of both.reader.frames()) sequences.push(frame.sequence);
    expect(sequences).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  test("as a loop ends when no frame has come for its timeout, and on an abort throws its reason", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    for await (const _ of reader.frames({ timeoutMs: 20 })) throw new Error("a frame?");
    const loop = async () => {
      for await (const _ of reader.frames({ signal: AbortSignal.timeout(20) })) throw new Error("a frame?");
    };
    expect(((await rejectionOf(loop())) as Error).name).toBe("TimeoutError");
  });

  test("finds a writer without blocking", async () => {
    using reader = new Reader(uniqueName(), SMALL);
    expect(await reader.isWriterConnectedAsync(20)).toBe(false);
    const waiting = reader.isWriterConnectedAsync(10_000);
    using _writer = new Writer(reader.name);
    expect(await waiting).toBe(true);
  });
});

/** Takes a token as a third party would. */
function stealToken(name: string): void {
  const value = new Int32Array(1);
  const descriptor = openSync(`/dev/shm/sem.sem-w-${name}`, "r+");
  readSync(descriptor, value, 0, 4, 0);
  value[0] = (value[0] as number) - 1;
  writeSync(descriptor, value, 0, 4, 0);
  closeSync(descriptor);
}

function editPayload(name: string, edit: (payload: DataView) => void): void {
  const memory = SharedMemory.open(name) as SharedMemory;
  const payload = memory.bytes(128 + SMALL.metadataSize, SMALL.payloadSize);
  edit(new DataView(payload.buffer, payload.byteOffset, payload.length));
  memory.close();
}

/** Changes a word of the control block, as a peer that breaks the rules or has other ones would. */
function editWord(name: string, word: number, change: (now: bigint) => bigint): void {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(change(wordOf(name, word)));
  const file = openSync(`/dev/shm/${name}`, "r+");
  writeSync(file, bytes, 0, 8, 8 * word);
  closeSync(file);
}

function wordOf(name: string, word: number): bigint {
  return readFileSync(`/dev/shm/${name}`).readBigUInt64LE(8 * word);
}

/** Takes all tokens of written frames away. */
function takeTokens(name: string): void {
  const file = openSync(`/dev/shm/sem.sem-w-${name}`, "r+");
  writeSync(file, new Uint8Array(4), 0, 4, 0);
  closeSync(file);
}
