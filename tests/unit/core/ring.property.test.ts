// Random sequences of what a writer and a reader can do, against a model that is a list.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { BufferFullError, FrameTooLargeError, Reader, Writer } from "../../../src/core/index.ts";
import { uniqueName } from "../../support/buffers.ts";

type Operation =
  | { kind: "write"; size: number }
  | { kind: "write-frames"; size: number; count: number; last: number }
  | { kind: "fill"; size: number; keep: boolean }
  | { kind: "read" }
  | { kind: "read-frames"; most: number }
  | { kind: "release"; which: number }
  | { kind: "reconnect" };

interface Written {
  sequence: number;
  size: number;
  seed: number;
}

const operations = (payloadSize: number): fc.Arbitrary<Operation[]> => {
  const size = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 1, max: Math.ceil(payloadSize / 4) }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: payloadSize + 8 }) },
    { weight: 1, arbitrary: fc.integer({ min: Math.max(1, payloadSize - 40), max: payloadSize - 16 }) },
  );
  return fc.array(
    fc.oneof(
      { weight: 6, arbitrary: size.map((size): Operation => ({ kind: "write", size })) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("fill" as const), size, keep: fc.boolean() }) },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("write-frames" as const),
          size,
          count: fc.nat({ max: 80 }),
          last: fc.integer({ min: 1, max: payloadSize }),
        }),
      },
      { weight: 6, arbitrary: fc.constant<Operation>({ kind: "read" }) },
      {
        weight: 4,
        arbitrary: fc.integer({ min: 1, max: 70 }).map((most): Operation => ({ kind: "read-frames", most })),
      },
      { weight: 6, arbitrary: fc.nat({ max: 1000 }).map((which): Operation => ({ kind: "release", which })) },
      { weight: 1, arbitrary: fc.constant<Operation>({ kind: "reconnect" }) },
    ),
    { minLength: 1, maxLength: 120 },
  );
};

const scenario = fc
  .integer({ min: 1, max: 40 })
  .map((units) => units * 64)
  .chain((payloadSize) =>
    fc.record({ payloadSize: fc.constant(payloadSize), operations: operations(payloadSize) }),
  );

function fillBytes(target: Uint8Array, seed: number): void {
  for (let i = 0; i < target.length; i++) target[i] = (seed * 31 + i * 7) & 0xff;
}

function expectBytes(data: Uint8Array, { size, seed }: Written): void {
  const expected = new Uint8Array(size);
  fillBytes(expected, seed);
  expect(Buffer.compare(data, expected)).toBe(0);
}

/** Frames that the reader holds: one, or what is left of a batch. */
interface Held {
  written: Written[];
  /** The bytes of one of them. */
  dataOf(index: number): Uint8Array;
  /** Gives the first `count` of them back. */
  release(count: number): void;
}

/** The buffer, and beside it what it must hold: frames in flight in order, frames held by the reader. */
class Model {
  readonly reader: Reader;
  writer: Writer;
  readonly payloadSize: number;
  readonly inFlight: Written[] = [];
  readonly held: Held[] = [];
  #seed = 0;
  #sequence = 0;

  constructor(payloadSize: number) {
    const name = uniqueName();
    this.payloadSize = payloadSize;
    this.reader = new Reader(name, { metadataSize: 0, payloadSize });
    this.writer = this.#connect();
  }

  #connect(): Writer {
    return new Writer(this.reader.name, { writeTimeout: 0 });
  }

  apply(operation: Operation): void {
    switch (operation.kind) {
      case "write":
        this.#write(operation.size, (data) => this.writer.writeFrame(data));
        break;
      case "write-frames":
        this.#writeFrames(operation);
        break;
      case "fill":
        if (operation.keep) this.#write(operation.size, (data) => this.#writeInPlace(data));
        else this.#giveUp(operation.size);
        break;
      case "read":
        this.#read();
        break;
      case "read-frames":
        this.#readFrames(operation.most);
        break;
      case "release":
        this.#release(operation.which);
        break;
      case "reconnect":
        this.#reconnect();
        break;
    }
  }

  #writeInPlace(data: Uint8Array): void {
    const slot = this.writer.acquireFrame(data.length);
    expect(slot.sequence).toBe(this.#sequence + 1);
    slot.data.set(data);
    this.writer.commitFrame();
  }

  #write(size: number, write: (data: Uint8Array) => void): void {
    const data = new Uint8Array(size);
    const seed = this.#seed++;
    fillBytes(data, seed);
    try {
      write(data);
    } catch (error) {
      this.#checkRefusal(error, size);
      return;
    }
    expect(size).toBeLessThanOrEqual(this.payloadSize - 16);
    this.inFlight.push({ sequence: ++this.#sequence, size, seed });
  }

  /** As many as there is room for of `count` frames, the last of them shorter or not, end to end. */
  #writeFrames({ size, count, last }: { size: number; count: number; last: number }): void {
    const sizes = [...Array.from({ length: count }, () => size), Math.min(last, size)];
    const seeds = sizes.map(() => this.#seed++);
    const frames = sizes.map((size, i) => {
      const data = new Uint8Array(size);
      fillBytes(data, seeds[i]!);
      return data;
    });
    const before = this.writer.framesWritten;
    let bytes = 0;
    try {
      bytes = this.writer.tryWriteFrames(Buffer.concat(frames), size);
    } catch (error) {
      expect(error).toBeInstanceOf(FrameTooLargeError);
      expect(size).toBeGreaterThan(this.payloadSize - 16);
    }
    let written = 0;
    for (let left = bytes; left > 0; written++) {
      left -= sizes[written]!;
      this.inFlight.push({ sequence: ++this.#sequence, size: sizes[written]!, seed: seeds[written]! });
    }
    expect(this.writer.framesWritten - before).toBe(written);
    const isRingEmpty = this.inFlight.length + this.held.length === 0;
    if (size <= this.payloadSize - 16) expect(isRingEmpty).toBe(false);
  }

  #giveUp(size: number): void {
    try {
      this.writer.acquireFrame(size).data.fill(0xee);
      this.writer.cancelFrame();
    } catch (error) {
      this.#checkRefusal(error, size);
    }
  }

  /** A frame that fits at all is refused only while others take its place. */
  #checkRefusal(error: unknown, size: number): void {
    if (size > this.payloadSize - 16) {
      expect(error).toBeInstanceOf(FrameTooLargeError);
      return;
    }
    expect(error).toBeInstanceOf(BufferFullError);
    expect(this.inFlight.length + this.held.length).toBeGreaterThan(0);
  }

  #read(): void {
    const frame = this.reader.tryReadFrame();
    const written = this.inFlight.shift();
    expect(frame.isValid).toBe(written !== undefined);
    if (written === undefined) return;
    expect({ size: frame.size, sequence: frame.sequence }).toEqual({
      size: written.size,
      sequence: written.sequence,
    });
    this.#hold({ written: [written], dataOf: () => frame.data, release: () => frame.release() });
  }

  /** What is there, up to `most`: the frames that one look brings, of which there may be more. */
  #readFrames(most: number): void {
    const batch = this.reader.tryReadFrames(most);
    expect(batch.length).toBeLessThanOrEqual(most);
    expect(batch.length > 0).toBe(this.inFlight.length > 0);
    const written = this.inFlight.splice(0, batch.length);
    expect(batch.size).toBe(written.reduce((sum, { size }) => sum + size, 0));
    expect(written.map((_, i) => [batch.sizeOf(i), batch.sequenceOf(i)])).toEqual(
      written.map(({ size, sequence }) => [size, sequence]),
    );
    const copy = new Uint8Array(batch.size);
    batch.copyTo(copy);
    let start = 0;
    for (const one of written) {
      expectBytes(copy.subarray(start, start + one.size), one);
      start += one.size;
    }
    let released = 0;
    if (batch.length > 0) {
      this.#hold({
        written,
        dataOf: (i) => batch.dataOf(released + i),
        release: (count) => {
          released += count;
          batch.release(released);
        },
      });
    }
  }

  #hold(held: Held): void {
    held.written.forEach((one, i) => {
      expectBytes(held.dataOf(i), one);
    });
    this.held.push(held);
  }

  /** All of what is held together, or the first half of it. */
  #release(which: number): void {
    const index = which % this.held.length;
    const held = this.held[index];
    if (held === undefined) return;
    held.written.forEach((one, i) => {
      expectBytes(held.dataOf(i), one);
    });
    const count = which % 2 === 0 ? held.written.length : Math.ceil(held.written.length / 2);
    held.release(count);
    held.written.splice(0, count);
    if (held.written.length === 0) this.held.splice(index, 1);
  }

  /** A new writer starts at 1; it can come once the ring is empty. */
  #reconnect(): void {
    if (this.inFlight.length + this.held.length > 0) return;
    this.writer.close();
    this.writer = this.#connect();
    this.#sequence = 0;
  }

  finish(): void {
    while (this.inFlight.length > 0) this.#read();
    while (this.held.length > 0) this.#release(0);
    const largest = this.payloadSize - 16;
    this.#write(largest, (data) => this.writer.writeFrame(data));
    this.#read();
    this.#release(0);
    this.writer.close();
    this.reader.close();
  }
}

test("whatever is written, read, held and released in any order arrives whole and in order", () => {
  fc.assert(
    fc.property(scenario, ({ payloadSize, operations }) => {
      const model = new Model(payloadSize);
      try {
        for (const operation of operations) model.apply(operation);
        model.finish();
      } finally {
        model.writer.close();
        model.reader.close();
      }
    }),
    { numRuns: 1000 },
  );
}, 120_000);
