import { describe, expect, test } from "bun:test";
import {
  copyInPieces,
  PIECE_SIZE,
  TRANSFORMS,
  transformFor,
  transformInPieces,
} from "../../../src/frames/transforms.ts";

/** All short sizes, and some on both sides of where words begin to be used. */
const SIZES = [...Array(40).keys(), 511, ...Array.from({ length: 18 }, (_, i) => 512 + i), 4096, 100_003];

const GUARD = 0xa5;
const MARGIN = 16;

const source = (size: number) => Uint8Array.from({ length: size }, (_, i) => (i * 167 + 13) & 0xff);

const expected = {
  none: (bytes: Uint8Array) => bytes,
  reverse: (bytes: Uint8Array) => bytes.toReversed(),
  xor: (bytes: Uint8Array, key: number) => bytes.map((byte) => byte ^ key),
};

describe.each(TRANSFORMS)("the transform %p", (name) => {
  test.each([0, 1, 90, 255])("changes every byte of the frame and none beside it, with key %p", (key) => {
    const transform = transformFor(name, key);
    for (const size of SIZES) {
      const before = source(size);
      for (let offset = 0; offset < 8; offset++) {
        const memory = new Uint8Array(2 * MARGIN + size).fill(GUARD);
        const frame = memory.subarray(MARGIN + offset, MARGIN + offset + size);
        frame.set(before);
        transform(frame);
        const wanted = new Uint8Array(memory.length).fill(GUARD);
        wanted.set(expected[name](before, key), MARGIN + offset);
        if (Buffer.compare(memory, wanted) !== 0) throw new Error(`wrong: ${size} bytes at ${offset}`);
      }
    }
  });

  test("twice gives the frame back", () => {
    const transform = transformFor(name, 99);
    const frame = source(1001);
    transform(frame);
    transform(frame);
    expect(Buffer.compare(frame, source(1001))).toBe(0);
  });

  test("of a large frame is the same in pieces, with a turn of the event loop after each", async () => {
    for (const size of [1, PIECE_SIZE, PIECE_SIZE + 1, 2 * PIECE_SIZE + 12_345, 5 * PIECE_SIZE + 3]) {
      const frame = source(size);
      let turns = 0;
      await transformInPieces(frame, { transform: name, xorKey: 90 }, async () => {
        turns++;
      });
      // Reversed, two pieces change places at a time.
      expect(turns).toBeGreaterThanOrEqual(Math.floor((size - 1) / (2 * PIECE_SIZE)));
      expect(Buffer.compare(frame, expected[name](source(size), 90))).toBe(0);
    }
  });
});

test("a large frame is copied in pieces, with a turn of the event loop after each", async () => {
  for (const size of [1, PIECE_SIZE, PIECE_SIZE + 1, 2 * PIECE_SIZE + 12_345]) {
    const before = source(size);
    const copy = new Uint8Array(size);
    let turns = 0;
    await copyInPieces(before, copy, async () => {
      turns++;
    });
    expect(turns).toBe(Math.ceil(size / PIECE_SIZE));
    expect(Buffer.compare(copy, before)).toBe(0);
  }
});
