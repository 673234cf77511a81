// The test patterns: the bytes of frame k, to write them and to check them.

import { mersenne } from "pure-rand/generator/mersenne";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";

/**
 * The patterns every peer knows. Byte i of frame k, both counted from 0, is
 * - `sequential`: (k + i) mod 256,
 * - `random`: the top byte of output i of MT19937 (the standard 32-bit generator) seeded with k mod 2^32,
 * - `zero`: 0x00,
 * - `ones`: 0xFF.
 */
export const PATTERNS = ["sequential", "random", "zero", "ones"] as const;

/** The name of one of the {@link PATTERNS}. */
export type Pattern = (typeof PATTERNS)[number];

/** The sequential pattern repeats after this many bytes, and after this many frames. */
const SEQUENTIAL_PERIOD = 256;

/** Frames up to this many bytes are stored end to end. */
const MAX_RUN_FRAME_SIZE = 4096;

/** The longest possible view, in bytes. */
const MAX_VIEW_SIZE = 2 ** 32;

/** Making this many bytes takes a few milliseconds at most. */
const PIECE_SIZE = 512 * 1024;

/**
 * The frames of one pattern, to write them or to compare them.
 *
 * All frames are views of one table. It grows to the largest frame asked for, by half at least, and is never larger
 * than 1.5 times that size plus 256 bytes. `sequential`, `zero` and `ones` cost a look-up per frame, and a new view if
 * the size changes; `random` seeds and runs its generator for each frame.
 */
export class PatternFrames {
  readonly pattern: Pattern;
  readonly #maxTableSize: number;
  /** Every frame up to `#capacity` bytes starts in the first period of this table and ends within it. */
  #table = new Uint8Array(0);
  #capacity = 0;
  /** The first byte of the table: `sequential` only. */
  #firstByte = 0;
  /** The number of bytes of the table that are made. */
  #filled = 0;
  /** Makes the following bytes of the frame in the table: `random` only. */
  #generator: RandomGenerator | undefined;
  #frame = -1;
  /** The last view lent for each possible start in the table: 256 at most. */
  #views: (Uint8Array | undefined)[] = [];
  /** The frames of one period and one size, once `run` was called. */
  #run: Uint8Array = new Uint8Array(0);

  /** @param maxTableSize The largest table, and so the largest frame, in bytes. */
  constructor(pattern: Pattern, maxTableSize = MAX_VIEW_SIZE) {
    this.pattern = pattern;
    this.#maxTableSize = maxTableSize;
  }

  /**
   * The bytes of one frame.
   * @param index Frame number, a whole number from 0 to 2^53 - 1.
   * @param size Bytes, a whole number from 0.
   * @returns A view of `size` bytes. It is lent: do not change it, and use it only until the next call on this object.
   */
  frame(index: number, size: number): Uint8Array {
    const start = this.#startOf(index);
    const lent = this.#views[start];
    if (lent?.length !== size) return this.#cut(index, size);
    if (this.pattern === "random") this.#fill(index, size);
    return lent;
  }

  /**
   * Makes the next piece of a frame, before {@link frame} is called with the same parameters: making a large frame at
   * once would block the event loop too long.
   *
   * @returns whether the whole frame is made.
   */
  prepare(index: number, size: number): boolean {
    const end = this.#place(index, size) + size;
    const filled = this.#isInTable(index) ? this.#filled : 0;
    this.#fill(index, Math.min(end, filled + PIECE_SIZE));
    return this.#filled >= end;
  }

  /**
   * Consecutive frames of one size, end to end.
   * @param index Number of the first frame.
   * @param size Bytes of each, a whole number from 1.
   * @param most The most frames to return, a whole number from 1.
   * @returns 1 to `most` frames, lent as by {@link frame}; more than one only up to 4096 bytes each.
   */
  run(index: number, size: number, most: number): Uint8Array {
    if (most === 1 || size > MAX_RUN_FRAME_SIZE || this.pattern === "random") return this.frame(index, size);
    if (this.#run.length !== SEQUENTIAL_PERIOD * size) this.#run = this.#framesOfPeriod(size);
    const first = index % SEQUENTIAL_PERIOD;
    return this.#run.subarray(first * size, Math.min(first + most, SEQUENTIAL_PERIOD) * size);
  }

  /** The frames of one period, end to end. */
  #framesOfPeriod(size: number): Uint8Array {
    const run = new Uint8Array(SEQUENTIAL_PERIOD * size);
    for (let index = 0; index < SEQUENTIAL_PERIOD; index++) run.set(this.frame(index, size), index * size);
    return run;
  }

  /**
   * Whether `data` equals the frame of its size, or its bytes from `start` to `end` equal those of the frame.
   * @param index Frame number, a whole number from 0 to 2^53 - 1.
   */
  matches(index: number, data: Uint8Array, start = 0, end = data.length): boolean {
    const frame = this.frame(index, data.length);
    if (end - start === data.length) return Buffer.compare(frame, data) === 0;
    return Buffer.compare(frame.subarray(start, end), data.subarray(start, end)) === 0;
  }

  #startOf(index: number): number {
    return this.pattern === "sequential" ? ((index % SEQUENTIAL_PERIOD) - this.#firstByte) & 0xff : 0;
  }

  #cut(index: number, size: number): Uint8Array {
    const start = this.#place(index, size);
    const view = this.#table.subarray(start, start + size);
    this.#views[start] = view;
    this.#fill(index, start + size);
    return view;
  }

  /** Makes room for a frame in the table and returns where it starts. */
  #place(index: number, size: number): number {
    if (size > this.#capacity) this.#grow(size);
    const start = this.#startOf(index);
    if (start + size <= this.#table.length) return start;
    // The table has no room for a whole period before the frame: the frame becomes its start.
    this.#firstByte = index % SEQUENTIAL_PERIOD;
    this.#filled = 0;
    this.#views = [];
    return 0;
  }

  #grow(size: number): void {
    const period = this.pattern === "sequential" ? SEQUENTIAL_PERIOD : 0;
    this.#capacity = Math.min(this.#maxTableSize, Math.max(size, Math.floor(this.#capacity * 1.5)));
    this.#table = new Uint8Array(Math.min(this.#maxTableSize, this.#capacity + period));
    this.#firstByte = 0;
    this.#filled = 0;
    this.#frame = -1;
    // Views of the old table would keep it in memory.
    this.#views = [];
  }

  /** Whether the bytes made so far belong to this frame. */
  #isInTable(index: number): boolean {
    return this.pattern !== "random" || this.#frame === index;
  }

  /** Fills the table up to `end`. */
  #fill(index: number, end: number): void {
    if (!this.#isInTable(index)) {
      // The generator takes its seed modulo 2^32, as the pattern requires.
      this.#generator = mersenne(index);
      this.#frame = index;
      this.#filled = 0;
    }
    if (end <= this.#filled) return;
    const table = this.#table;
    if (this.pattern === "ones") table.fill(0xff, this.#filled, end);
    if (this.pattern === "sequential") fillSequential(table, this.#firstByte, this.#filled, end);
    if (this.#generator !== undefined) fillRandom(table, this.#filled, end, this.#generator);
    this.#filled = end;
  }
}

function fillSequential(table: Uint8Array, firstByte: number, start: number, end: number): void {
  let filled = start;
  for (; filled < Math.min(SEQUENTIAL_PERIOD, end); filled++) table[filled] = firstByte + filled;
  while (filled < end) {
    const from = filled % SEQUENTIAL_PERIOD;
    const size = Math.min(filled - from, end - filled);
    table.copyWithin(filled, from, from + size);
    filled += size;
  }
}

function fillRandom(table: Uint8Array, start: number, end: number, generator: RandomGenerator): void {
  for (let i = start; i < end; i++) table[i] = generator.next() >>> 24;
}
