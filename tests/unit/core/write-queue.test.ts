// What waits to be written: its order, the frame that is acquired meanwhile, and its end.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type AcquiredFrame,
  BufferFullError,
  ClosedError,
  Reader,
  ReaderDeadError,
  Writer,
} from "../../../src/core/index.ts";
import { bytesOf, listenersOn, rejectionOf, thrownBy, uniqueName } from "../../support/buffers.ts";

const SIZES = { metadataSize: 64, payloadSize: 4096 };

interface Ends extends Disposable {
  readonly reader: Reader;
  readonly writer: Writer;
}

function connected(writeTimeout = Number.POSITIVE_INFINITY): Ends {
  const reader = new Reader(uniqueName(), SIZES);
  const writer = new Writer(reader.name, { writeTimeout });
  const stack = new DisposableStack();
  stack.use(reader);
  stack.use(writer);
  return { reader, writer, [Symbol.dispose]: () => stack.dispose() };
}

/** Fills the ring with one frame, so that every write has to wait until it is released. */
function fill({ reader, writer }: Ends): { release(): void } {
  writer.writeFrame(new Uint8Array(writer.maxFrameSize));
  return reader.readFrame(0);
}

/** Sizes of the frames that have been written, in order; each holds the bytes that tell its size. */
function sizesRead(reader: Reader): number[] {
  const sizes: number[] = [];
  for (;;) {
    using frame = reader.tryReadFrame();
    if (!frame.isValid) return sizes;
    expect(frame.data).toEqual(bytesOf(frame.size, frame.size));
    sizes.push(frame.size);
  }
}

const sized = (size: number) => bytesOf(size, size);

/** Frames of `size` bytes that lie end to end, the last one of `last` bytes. */
const framesOf = (count: number, size: number, last: number) =>
  Buffer.concat([...Array.from({ length: count }, () => sized(size)), sized(last)]);

/** Resolves when everything that was ready to go on has done so. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

/** Each way to write that does not block, by its name; the frame has 100 bytes. */
const asynchronous: [string, (writer: Writer, signal?: AbortSignal) => Promise<unknown>][] = [
  ["writeFrameAsync", (writer, signal) => writer.writeFrameAsync(sized(100), { signal })],
  ["writeFramesAsync", (writer, signal) => writer.writeFramesAsync(sized(100), 100, { signal })],
  ["acquireFrameAsync", (writer, signal) => writer.acquireFrameAsync(100, { signal })],
];

/** Each way to write at once. */
const blocking: [string, (writer: Writer) => unknown][] = [
  ["writeFrame", (writer) => writer.writeFrame(sized(100))],
  ["tryWriteFrame", (writer) => writer.tryWriteFrame(sized(100))],
  ["writeFrames", (writer) => writer.writeFrames(sized(100), 10)],
  ["tryWriteFrames", (writer) => writer.tryWriteFrames(sized(100), 10)],
  ["acquireFrame", (writer) => writer.acquireFrame(100)],
  ["tryAcquireFrame", (writer) => writer.tryAcquireFrame(100)],
];

/** Fills and publishes what an asynchronous call has acquired, if that is what it did. */
function commit(writer: Writer, outcome: unknown): void {
  if (outcome === undefined) return;
  (outcome as AcquiredFrame).data.set(sized((outcome as AcquiredFrame).data.length));
  writer.commitFrame();
}

describe("while a frame is acquired", () => {
  test.each(asynchronous)("%s waits for its commit", async (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    const slot = writer.acquireFrame(200);
    const writing = write(writer);
    await turn();
    expect(writer.framesWritten).toBe(0);
    slot.data.set(sized(200));
    writer.commitFrame();
    commit(writer, await writing);
    expect(sizesRead(reader)).toEqual([200, 100]);
    expect(writer.framesWritten).toBe(2);
  });

  test.each(asynchronous)("%s waits for its cancellation", async (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    writer.acquireFrame(200).data.fill(0xee);
    const writing = write(writer);
    writer.cancelFrame();
    commit(writer, await writing);
    expect(sizesRead(reader)).toEqual([100]);
  });

  test.each(asynchronous)("%s that has waited for room before goes on after the commit", async (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    const filling = fill(ends);
    const batch = writer.writeFramesAsync(framesOf(12, 250, 60), 250);
    const writing = write(writer);
    filling.release();
    // Before the batch has noticed.
    const slot = writer.acquireFrame(200);
    await writer.waitForRoom(undefined);
    await turn();
    slot.data.set(sized(200));
    writer.commitFrame();
    const read = sizesRead(reader);
    await batch;
    commit(writer, await writing);
    read.push(...sizesRead(reader));
    expect(read).toEqual([200, ...Array.from({ length: 12 }, () => 250), 60, 100]);
    expect(writer.framesWritten).toBe(1 + read.length);
  });

  test.each(asynchronous)("%s can be aborted, and the next ones keep their order", async (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    const slot = writer.acquireFrame(200);
    const controller = new AbortController();
    const before = writer.writeFrameAsync(sized(30));
    const aborted = rejectionOf(write(writer, controller.signal));
    const after = writer.writeFrameAsync(sized(40));
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await aborted).toBe(reason);
    slot.data.set(sized(200));
    writer.commitFrame();
    await Promise.all([before, after]);
    expect(sizesRead(reader)).toEqual([200, 30, 40]);
  });

  test.each(blocking)("%s throws, since it would wait for its own thread", (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    const slot = writer.acquireFrame(200);
    const error = thrownBy(() => write(writer)) as ClosedError;
    expect(error).toBeInstanceOf(ClosedError);
    expect(error).toMatchObject({ code: "CLOSED", buffer: reader.name });
    expect(error.hint).toContain("commitFrame()");
    slot.data.set(sized(200));
    writer.commitFrame();
    expect(sizesRead(reader)).toEqual([200]);
  });

  test("several frames are acquired one after another", async () => {
    using ends = connected();
    const { reader, writer } = ends;
    const use = async (size: number) => {
      const slot = await writer.acquireFrameAsync(size);
      await turn();
      slot.data.set(sized(size));
      writer.commitFrame();
      return slot.sequence;
    };
    expect(await Promise.all([10, 20, 30].map(use))).toEqual([1, 2, 3]);
    expect(sizesRead(reader)).toEqual([10, 20, 30]);
  });

  test("the time of a write that waits for the commit has not begun", async () => {
    using ends = connected(25);
    const { reader, writer } = ends;
    const filling = fill(ends);
    const writing = writer.writeFrameAsync(sized(100));
    filling.release();
    const slot = writer.acquireFrame(4000);
    await Bun.sleep(40);
    slot.data.set(sized(4000));
    writer.commitFrame();
    // There is no room for it: now it begins.
    reader.readFrame(0).release();
    await writing;
    expect(sizesRead(reader)).toEqual([100]);
  });

  test("its number stays what it was given", () => {
    using ends = connected();
    const { writer } = ends;
    const slot = writer.acquireFrame(10);
    expect(thrownBy(() => (writer.nextSequence = 7))).toBeInstanceOf(ClosedError);
    expect(writer.nextSequence).toBe(slot.sequence);
  });

  test("metadata can be sent", () => {
    using ends = connected();
    const { reader, writer } = ends;
    writer.acquireFrame(200).data.set(sized(200));
    writer.setMetadata(sized(5));
    writer.commitFrame();
    expect(reader.getMetadata()).toEqual(sized(5));
    expect(sizesRead(reader)).toEqual([200]);
  });
});

describe("a write that waits", () => {
  test("goes on at once when a larger one before it is aborted", async () => {
    using ends = connected();
    const { reader, writer } = ends;
    writer.writeFrame(sized(3000));
    const controller = new AbortController();
    const large = rejectionOf(writer.writeFrameAsync(sized(4000), { signal: controller.signal }));
    const small = writer.writeFrameAsync(sized(50));
    await turn();
    controller.abort();
    expect(writer.framesWritten).toBe(2);
    await Promise.all([large, small]);
    expect(sizesRead(reader)).toEqual([3000, 50]);
  });

  test("has its time from its own turn on, also after a longer wait of another one", async () => {
    using ends = connected();
    const { writer } = ends;
    fill(ends);
    const controller = new AbortController();
    const first = rejectionOf(writer.writeFrameAsync(sized(10), { signal: controller.signal }));
    writer.writeTimeout = 30;
    const second = rejectionOf(writer.writeFrameAsync(sized(20)));
    await turn();
    const start = performance.now();
    controller.abort();
    expect(await second).toBeInstanceOf(BufferFullError);
    // Not only when the slice of the first one is over.
    expect(performance.now() - start).toBeWithin(29, 200);
    await first;
  });

  test("leaves no listener on its signal, however it ends", async () => {
    using ends = connected(0);
    const { writer } = ends;
    const controller = new AbortController();
    const { signal } = controller;
    const listeners = listenersOn(signal);
    const filling = fill(ends);
    for (const [, write] of asynchronous) {
      expect(await rejectionOf(write(writer, signal))).toBeInstanceOf(BufferFullError);
    }
    writer.writeTimeout = 60_000;
    const writes = asynchronous.map(([, write]) => write(writer, signal));
    filling.release();
    await Promise.all(writes);
    expect(listeners()).toBe(0);
  });

  test("of frames lets the event loop have its turn, however much room there is", async () => {
    using reader = new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 * 1024 * 1024 });
    using writer = new Writer(reader.name);
    const data = new Uint8Array(32 * 1024 * 1024);
    let isOver = false;
    const writing = writer.writeFramesAsync(data, 16).then(() => {
      isOver = true;
    });
    await turn();
    expect(isOver).toBe(false);
    await writing;
    expect(writer.bytesWritten).toBe(data.length);
  });

  test("learns that the reader has left, and so do those behind it", async () => {
    const reader = new Reader(uniqueName(), SIZES);
    using writer = new Writer(reader.name, { writeTimeout: Number.POSITIVE_INFINITY });
    writer.writeFrame(new Uint8Array(writer.maxFrameSize));
    const writes = asynchronous.map(([, write]) => rejectionOf(write(writer)));
    reader.close();
    for (const error of await Promise.all(writes)) expect(error).toBeInstanceOf(ReaderDeadError);
  });
});

describe("close", () => {
  const closed = (buffer: string) => ({ name: "ClosedError", code: "CLOSED", buffer });

  test.each(asynchronous)("ends %s that waits for room, and those behind it", async (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    fill(ends);
    const writes = [write, ...asynchronous.map(([, write]) => write)].map((write) =>
      rejectionOf(write(writer)),
    );
    await turn();
    writer.close();
    for (const error of await Promise.all(writes)) expect(error).toMatchObject(closed(reader.name));
  });

  test.each(asynchronous)("ends %s in the middle of a batch", async (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    const batch = rejectionOf(writer.writeFramesAsync(new Uint8Array(10_000), 1000));
    const behind = rejectionOf(write(writer));
    expect(writer.framesWritten).toBe(4);
    writer.close();
    expect(await batch).toMatchObject(closed(reader.name));
    expect(await behind).toMatchObject(closed(reader.name));
  });

  test.each(asynchronous)("ends %s that waits for a commit", async (_, write) => {
    using ends = connected();
    const { reader, writer } = ends;
    const { data } = writer.acquireFrame(200);
    const writing = rejectionOf(write(writer));
    writer.close();
    expect(await writing).toMatchObject(closed(reader.name));
    expect(data.length).toBe(0);
    expect(thrownBy(() => writer.commitFrame())).toMatchObject(closed(reader.name));
  });

  test("ends a wait for room and a wait for the reader", async () => {
    using writer = new Writer(uniqueName(), { create: SIZES });
    const waits = [
      writer.isReaderConnectedAsync(Number.POSITIVE_INFINITY),
      writer.isReaderConnectedAsync(Number.POSITIVE_INFINITY),
      writer.waitForRoom(undefined),
      writer.waitForRoom(AbortSignal.timeout(60_000)),
    ].map(rejectionOf);
    await turn();
    writer.close();
    for (const error of await Promise.all(waits)) expect(error).toMatchObject(closed(writer.name));
  });
});

type Step =
  | { kind: "write" | "fill" | "write-now" | "fill-now"; size: number }
  | { kind: "batch"; size: number; count: number }
  | { kind: "abort" | "commit" | "cancel" | "read" | "turn" };

const size = fc.integer({ min: 2, max: 300 });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constantFrom("write", "fill", "write-now", "fill-now"), size }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("batch"), size, count: fc.integer({ min: 1, max: 8 }) }),
  },
  { weight: 7, arbitrary: fc.record({ kind: fc.constantFrom("abort", "commit", "cancel", "read", "turn") }) },
) as fc.Arbitrary<Step>;

/** Bytes that tell the number of the call that writes them. */
function numbered(call: number, size: number): Uint8Array {
  const data = bytesOf(call, size);
  new DataView(data.buffer).setUint16(0, call);
  return data;
}

/** Does steps, and holds what arrives against what was asked for. */
class Mixture {
  readonly #reader = new Reader(uniqueName(), { metadataSize: 0, payloadSize: 1024 });
  readonly #writer = new Writer(this.#reader.name, { writeTimeout: Number.POSITIVE_INFINITY });
  /** What can be aborted of the asynchronous calls that are not over, by number. */
  readonly #open = new Map<number, AbortController>();
  /** How many frames of each asynchronous call have to arrive, in the order of the calls; and of those at once. */
  readonly #promised = new Map<number, number>();
  readonly #atOnce = new Set<number>();
  readonly #arrived: number[] = [];
  #calls = 0;
  #slot: { call: number; data: Uint8Array } | undefined;

  async run(steps: Step[]): Promise<void> {
    try {
      for (const step of steps) await this.#do(step);
      while (this.#open.size > 0) {
        this.#commit();
        this.#read();
        await turn();
      }
      this.#commit();
      while (this.#arrived.length < this.#writer.framesWritten) expect(this.#read()).toBe(true);
      expect(this.#read()).toBe(false);
      const expected = [...this.#promised].flatMap(([call, frames]) =>
        Array.from({ length: frames }, () => call),
      );
      expect(this.#arrived.filter((call) => !this.#atOnce.has(call))).toEqual(expected);
      expect(this.#arrived.filter((call) => this.#atOnce.has(call))).toEqual([...this.#atOnce]);
    } finally {
      this.#writer.close();
      this.#reader.close();
    }
  }

  async #do(step: Step): Promise<void> {
    const call = ++this.#calls;
    switch (step.kind) {
      case "write":
        return this.#start(1, (signal) =>
          this.#writer.writeFrameAsync(numbered(call, step.size), { signal }),
        );
      case "fill":
        return this.#start(1, (signal) => this.#writer.acquireFrameAsync(step.size, { signal }));
      case "batch": {
        const frames = Array.from({ length: step.count }, () => numbered(call, step.size));
        return this.#start(step.count, () => this.#writer.writeFramesAsync(Buffer.concat(frames), step.size));
      }
      case "write-now":
        return this.#now(() => {
          if (this.#writer.tryWriteFrame(numbered(call, step.size))) this.#atOnce.add(call);
        });
      case "fill-now":
        return this.#now(() => {
          const slot = this.#writer.tryAcquireFrame(step.size);
          if (slot !== undefined) this.#slot = { call, data: slot.data };
        });
      case "commit":
        return this.#commit();
      case "cancel":
        if (this.#slot === undefined) return;
        this.#promised.delete(this.#slot.call);
        this.#slot = undefined;
        return this.#writer.cancelFrame();
      case "abort":
        return [...this.#open.values()].at(-1)?.abort();
      case "read":
        return void this.#read();
      case "turn":
        return await turn();
    }
  }

  #start(frames: number, write: (signal: AbortSignal) => Promise<unknown>): void {
    const call = this.#calls;
    const controller = new AbortController();
    this.#open.set(call, controller);
    this.#promised.set(call, frames);
    void write(controller.signal)
      .then(
        (slot) => {
          if (slot !== undefined) this.#slot = { call, data: (slot as AcquiredFrame).data };
        },
        () => this.#promised.delete(call),
      )
      .then(() => this.#open.delete(call));
  }

  /** What does not wait is refused while a frame is acquired. */
  #now(write: () => void): void {
    if (this.#writer.queue.acquiredSize === 0) write();
    else expect(thrownBy(write)).toBeInstanceOf(ClosedError);
  }

  #commit(): void {
    if (this.#slot === undefined) return;
    const { call, data } = this.#slot;
    this.#slot = undefined;
    if (!this.#promised.has(call)) this.#atOnce.add(call);
    data.set(numbered(call, data.length));
    this.#writer.commitFrame();
  }

  #read(): boolean {
    using frame = this.#reader.tryReadFrame();
    if (!frame.isValid) return false;
    const call = Buffer.from(frame.toArray()).readUint16BE();
    expect(frame.data).toEqual(numbered(call, frame.size));
    expect(frame.sequence).toBe(this.#arrived.push(call));
    return true;
  }
}

test("whatever is mixed, every frame arrives whole, and those of asynchronous writes in the order of the calls", async () => {
  const steps = fc.array(step, { minLength: 1, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(steps, (steps) => new Mixture().run(steps)),
    { numRuns: 200 },
  );
}, 60_000);

test("a wait for room ends when another wait, for what a source shares, has taken its token", async () => {
  using source = new Reader(uniqueName(), SIZES, { allowPayloadSharing: true });
  using reader = new Reader(uniqueName(), SIZES, { allowPayloadSharing: true });
  using writer = new Writer(reader.name);
  expect(writer.shareFrom(source.sharing)).toBe(process.platform === "linux");
  let waits = true;
  void writer.queue.waitForRoom(Number.POSITIVE_INFINITY, undefined).then(() => {
    waits = false;
  });
  writer.queue.retry();
  await turn();
  expect(waits).toBe(false);
});
