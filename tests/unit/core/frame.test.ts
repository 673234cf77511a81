// Frames in memory that is larger than a view. It holds nothing but what a test touches.

import { expect, test } from "bun:test";
import { closeSync, openSync, truncateSync, unlinkSync, writeFileSync, writeSync } from "node:fs";
import { FrameTooLargeError } from "../../../src/core/errors.ts";
import { Frame, FrameBatch, Lender } from "../../../src/core/frame.ts";
import { SharedMemory } from "../../../src/native/memory.ts";
import type { RingReader } from "../../../src/native/ring.ts";
import { thrownBy, uniqueName } from "../../support/buffers.ts";

const GIB = 2 ** 30;

/** Lends frames of sparse memory of 11 GiB; `set` stores a byte there. */
function largeMemory(): { lender: Lender; set: (offset: number, value: number) => void } & Disposable {
  const name = uniqueName();
  const path = `/dev/shm/${name}`;
  writeFileSync(path, "");
  truncateSync(path, 11 * GIB);
  const file = openSync(path, "r+");
  const memory = SharedMemory.open(name) as SharedMemory;
  const ring = { release: () => false } as unknown as RingReader;
  return {
    lender: new Lender(name, memory, ring, { settle: () => {} }),
    set: (offset, value) => void writeSync(file, Uint8Array.of(value), 0, 1, offset),
    [Symbol.dispose]() {
      memory.close();
      closeSync(file);
      unlinkSync(path);
    },
  };
}

test.each([
  ["begins below 2 GiB and has 2 GiB", 2 * GIB - 1, 2 * GIB],
  ["begins at 4 GiB and has a bit more than 2", 4 * GIB, 2 * GIB + 17],
  ["begins beyond 5 GiB and has nearly 4", 5 * GIB + 1234, 4 * GIB - 1],
  ["begins beyond 6 GiB and has 4", 6 * GIB + 77, 4 * GIB],
])("a frame that %s is viewed whole, alone and in a batch", (_, offset, size) => {
  using large = largeMemory();
  large.set(offset, 1);
  large.set(offset + size - 1, 2);
  using frame = new Frame(large.lender, 0, offset, size, 1);
  using batch = new FrameBatch(large.lender, 0, Float64Array.of(offset, size, 1));
  for (const data of [frame.data, batch.dataOf(0)]) {
    expect([data.length, data[0], data.at(-1)]).toEqual([size, 1, 2]);
  }
});

test.each([3 * GIB, 5 * GIB, 10 * GIB])("a small frame at %d is copied, alone and in a batch", (offset) => {
  using large = largeMemory();
  for (let i = 0; i < 3; i++) large.set(offset + i, i + 1);
  using frame = new Frame(large.lender, 0, offset, 3, 1);
  using batch = new FrameBatch(large.lender, 0, Float64Array.of(offset, 3, 1, offset + 1, 2, 2));
  const target = new Uint8Array(5);
  frame.copyTo(target);
  expect(target).toEqual(Uint8Array.of(1, 2, 3, 0, 0));
  batch.copyTo(target);
  expect(target).toEqual(Uint8Array.of(1, 2, 3, 2, 3));
  expect(frame.toArray()).toEqual(Uint8Array.of(1, 2, 3));
});

test("a frame of more than 4 GiB, which other implementations can write, is refused by name", () => {
  using large = largeMemory();
  using frame = new Frame(large.lender, 0, 128, 4 * GIB + 1, 1);
  using batch = new FrameBatch(large.lender, 0, Float64Array.of(128, 4 * GIB + 1, 1));
  for (const use of [() => frame.data, () => frame.toArray(), () => batch.dataOf(0)]) {
    const error = thrownBy(use) as FrameTooLargeError;
    expect(error).toBeInstanceOf(FrameTooLargeError);
    expect([error.buffer, error.message]).toEqual([
      large.lender.name,
      `A frame of buffer "${large.lender.name}" has 4294967297 bytes. A view has at most 4294967296.`,
    ]);
  }
});
