// Random sequences of what a writer and a reader can do, against a model that is a list.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { BufferFullError, type Frame, FrameTooLargeError, Reader, Writer } from "../../src/core/index.ts";
import { leavesNothingBehind, uniqueName } from "../support/buffers.ts";

leavesNothingBehind();

type Operation =
  | { kind: "write"; size: number }
  | { kind: "fill"; size: number; keep: boolean }
  | { kind: "read" }
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
      { weight: 6, arbitrary: fc.constant<Operation>({ kind: "read" }) },
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

/** The buffer, and beside it what it must hold: frames in flight in order, frames held by the reader. */
class Model {
  readonly reader: Reader;
  writer: Writer;
  readonly payloadSize: number;
  readonly inFlight: Written[] = [];
  readonly held: { frame: Frame; written: Written }[] = [];
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
      case "fill":
        if (operation.keep) this.#write(operation.size, (data) => this.#writeInPlace(data));
        else this.#giveUp(operation.size);
        break;
      case "read":
        this.#read();
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
    expectBytes(frame.data, written);
    this.held.push({ frame, written });
  }

  #release(which: number): void {
    if (this.held.length === 0) return;
    const [one] = this.held.splice(which % this.held.length, 1);
    if (one === undefined) return;
    expectBytes(one.frame.data, one.written);
    one.frame.release();
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
