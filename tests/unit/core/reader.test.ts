import { describe, expect, test } from "bun:test";
import {
  closeSync,
  openSync,
  readSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import {
  ClosedError,
  CorruptBufferError,
  Frame,
  Reader,
  ReaderAlreadyConnectedError,
  SequenceError,
  Writer,
  WriterDeadError,
} from "../../../src/core/index.ts";
import { Role, SharedMemory } from "../../../src/native/memory.ts";
import { Semaphore } from "../../../src/native/semaphore.ts";
import { bytesOf, eventually, rejectionOf, thrownBy, uniqueName } from "../../support/buffers.ts";

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
        `Buffer "${both.reader.name}" at position 232: frame 3 had to follow, and there is frame 9.`,
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

  test("refuses metadata that lies about its length", () => {
    using both = pair();
    both.writer.setMetadata(bytesOf(1, 20));
    const memory = SharedMemory.open(both.reader.name) as SharedMemory;
    memory.bytes(128, 8)[0] = 21;
    memory.close();
    expect(thrownBy(() => both.reader.getMetadata())).toBeInstanceOf(CorruptBufferError);
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

  test("rejects when the reader is closed meanwhile", async () => {
    const reader = new Reader(uniqueName(), SMALL);
    const reading = rejectionOf(reader.readFrameAsync(10_000));
    await Bun.sleep(5);
    reader.close();
    expect(await reading).toBeInstanceOf(ClosedError);
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

/** Takes all tokens of written frames away. */
function takeTokens(name: string): void {
  const file = openSync(`/dev/shm/sem.sem-w-${name}`, "r+");
  writeSync(file, new Uint8Array(4), 0, 4, 0);
  closeSync(file);
}
