import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PATTERNS, type Pattern, PatternFrames } from "../../../src/frames/patterns.ts";

const LAST_INDEX = 2 ** 53 - 1;

/** The patterns whose frames are known byte by byte, straight from their definition. */
const DEFINITIONS: [Pattern, (index: bigint, i: number) => number][] = [
  ["sequential", (index, i) => Number((index + BigInt(i)) % 256n)],
  ["zero", () => 0x00],
  ["ones", () => 0xff],
];

/** Top bytes of the first outputs of the C++ standard library's std::mt19937, by seed. */
const MT19937_TOP_BYTES: [seed: number, bytes: number[]][] = [
  [0, [0x8c, 0x97, 0xb7, 0xd8, 0x9a, 0xdb, 0x8b, 0xd8, 0x6c, 0x9f]],
  [1, [0x6a, 0xff, 0xb8, 0xee, 0x00, 0x20, 0x4d, 0xff, 0x25, 0x3c]],
  [5489, [0xd0, 0x22, 0xe7, 0xd5, 0x20, 0xf8, 0xe9, 0x38, 0xa1, 0x4e]],
  [2 ** 32 - 1, [0x18, 0x1c, 0xe9, 0x90, 0xc9, 0x86, 0xc7, 0xc5, 0x04, 0x48]],
];

function defined(definition: (index: bigint, i: number) => number, index: number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => definition(BigInt(index), i));
}

function flip(data: Uint8Array, i: number): void {
  data[i] = (data[i] as number) ^ 1;
}

const anyIndex = fc.oneof(fc.nat({ max: 600 }), fc.maxSafeNat());

describe.each(DEFINITIONS)("the pattern %s", (pattern, definition) => {
  test("has the bytes of its definition, whatever sizes and indices were asked for before", () => {
    const requests = fc.array(fc.tuple(anyIndex, fc.nat({ max: 3000 })), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(requests, (asked) => {
        const frames = new PatternFrames(pattern);
        for (const [index, size] of asked) {
          expect(frames.frame(index, size)).toEqual(defined(definition, index, size));
        }
      }),
    );
  });

  test("has them too if the largest frame leaves no room in the table for another start", () => {
    const requests = fc.array(fc.tuple(anyIndex, fc.nat({ max: 3000 })), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(requests, fc.integer({ min: 3000, max: 3300 }), (asked, maxTableSize) => {
        const frames = new PatternFrames(pattern, maxTableSize);
        for (const [index, size] of [...asked, [7, 3000] as const]) {
          expect(frames.frame(index, size)).toEqual(defined(definition, index, size));
        }
      }),
    );
  });

  test("never needs more memory than the longest view has", () => {
    for (const sizes of [[1000], [700, 701], [1, 990, 1000]]) {
      const frames = new PatternFrames(pattern, 1000);
      for (const size of sizes) {
        expect(frames.prepare(9, size)).toBe(true);
        expect(frames.frame(9, size).buffer.byteLength).toBeLessThanOrEqual(1000);
      }
    }
  });

  test("lends the same view again for a frame of the same bytes", () => {
    const frames = new PatternFrames(pattern);
    const lent = Array.from({ length: 256 }, (_, index) => frames.frame(index, 100));
    for (let index = 256; index < 1024; index++) {
      expect(frames.frame(index, 100)).toBe(lent[index % 256] as Uint8Array);
    }
  });
});

describe("the pattern random", () => {
  test.each(MT19937_TOP_BYTES)("holds the top bytes of MT19937 seeded with frame index %i", (seed, bytes) => {
    expect([...new PatternFrames("random").frame(seed, bytes.length)]).toEqual(bytes);
  });

  test("stays with the generator beyond its first state: output 10,000 of seed 5489 is 4,123,659,995", () => {
    expect(new PatternFrames("random").frame(5489, 10_000)[9_999]).toBe(4_123_659_995 >>> 24);
  });

  test("takes the frame index modulo 2^32 as the seed", () => {
    const frames = new PatternFrames("random");
    const ofSeed7 = frames.frame(7, 64).slice();
    const ofLargestSeed = frames.frame(2 ** 32 - 1, 64).slice();
    expect(frames.frame(2 ** 32 + 7, 64)).toEqual(ofSeed7);
    expect(frames.frame(LAST_INDEX, 64)).toEqual(ofLargestSeed);
  });

  test("does not depend on the frames made before", () => {
    const frames = new PatternFrames("random");
    const alone = frames.frame(3, 50).slice();
    frames.frame(4, 5000);
    expect(frames.frame(3, 50)).toEqual(alone);
    expect(frames.frame(3, 20)).toEqual(alone.subarray(0, 20));
  });
});

describe.each(PATTERNS.map((pattern) => [pattern]))("comparing with the pattern %s", (pattern) => {
  test("accepts exactly its frames, of any size and index", () => {
    const frames = new PatternFrames(pattern);
    fc.assert(
      fc.property(anyIndex, fc.nat({ max: 3000 }), (index, size) => {
        const data = new PatternFrames(pattern).frame(index, size).slice();
        expect(frames.matches(index, data)).toBe(true);
      }),
    );
  });

  test("refuses a frame with one byte changed, wherever it is", () => {
    const frames = new PatternFrames(pattern);
    const size = 700;
    const data = frames.frame(9, size).slice();
    for (let i = 0; i < size; i++) {
      flip(data, i);
      expect(frames.matches(9, data)).toBe(false);
      flip(data, i);
    }
    expect(frames.matches(9, data)).toBe(true);
  });

  test("handles data that is larger than every frame before, and empty data", () => {
    const frames = new PatternFrames(pattern);
    const large = new PatternFrames(pattern).frame(300, 70_001).slice();
    expect(frames.matches(300, new Uint8Array(0))).toBe(true);
    expect(frames.matches(300, large.subarray(0, 10))).toBe(true);
    expect(frames.matches(300, large)).toBe(true);
    flip(large, 70_000);
    expect(frames.matches(300, large)).toBe(false);
  });

  test("accepts data that starts anywhere in its memory", () => {
    const frames = new PatternFrames(pattern);
    const memory = new Uint8Array(1100).fill(0x77);
    memory.set(frames.frame(5, 1000), 13);
    expect(frames.matches(5, memory.subarray(13, 1013))).toBe(true);
    expect(frames.matches(5, memory.subarray(12, 1013))).toBe(false);
  });
});

test.each(["sequential", "random"] as const)(
  "a frame of the pattern %s is not taken for its neighbour",
  (pattern) => {
    const frames = new PatternFrames(pattern);
    expect(frames.matches(8, frames.frame(7, 100).slice())).toBe(false);
  },
);

describe.each(PATTERNS.map((pattern) => [pattern]))("the pattern %s made in pieces", (pattern) => {
  test("has the same bytes, whatever was asked for in between", () => {
    const size = 3_000_001;
    const frames = new PatternFrames(pattern);
    let pieces = 1;
    for (; !frames.prepare(9, size); pieces++) if (pieces === 2) frames.frame(10, 100);
    expect(pieces).toBeGreaterThan(5);
    expect(frames.frame(9, size)).toEqual(new PatternFrames(pattern).frame(9, size));
    expect(frames.prepare(9, size)).toBe(true);
  });

  test("is compared in pieces with the same outcome", () => {
    const frames = new PatternFrames(pattern);
    const data = new PatternFrames(pattern).frame(9, 1000).slice();
    expect(frames.matches(9, data, 0, 500)).toBe(true);
    expect(frames.matches(9, data, 500, 1000)).toBe(true);
    flip(data, 500);
    expect(frames.matches(9, data, 0, 500)).toBe(true);
    expect(frames.matches(9, data, 500, 1000)).toBe(false);
  });
});

describe.each(PATTERNS.map((pattern) => [pattern]))("the memory of the pattern %s", (pattern) => {
  test("is one table, no larger than half as much again as the largest frame", () => {
    const frames = new PatternFrames(pattern);
    const sizes = [10, 4000, 1, 4001, 4002, 300, 10_000, 0, 9_999];
    let largest = 0;
    for (const size of sizes) {
      largest = Math.max(largest, size);
      const tables = Array.from({ length: 300 }, (_, index) => frames.frame(index, size).buffer);
      expect(new Set(tables).size).toBe(1);
      expect(tables[0]?.byteLength).toBeLessThanOrEqual(1.5 * largest + 256);
    }
  });

  test("no longer holds the table that a larger one replaced", () => {
    const frames = new PatternFrames(pattern);
    frames.frame(0, 10);
    const table = frames.frame(1, 1000).buffer;
    expect(frames.frame(0, 10).buffer).toBe(table);
  });

  test("is not allocated anew for each of many slowly growing sizes", () => {
    const frames = new PatternFrames(pattern);
    const tables = new Set(Array.from({ length: 1000 }, (_, i) => frames.frame(0, 1000 + i).buffer));
    expect(tables.size).toBeLessThan(10);
  });
});
