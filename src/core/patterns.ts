// The test patterns: what byte i of frame k holds, for writing it and for checking what was read.

import { mersenne } from "pure-rand/generator/mersenne";

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

/** After this many bytes the sequential pattern repeats itself, and after as many frames. */
const SEQUENTIAL_PERIOD = 256;

/** Frames of up to this many bytes are laid out end to end. */
const MAX_RUN_FRAME_SIZE = 4096;

/**
 * The frames of one pattern, to be written or to be compared with what was read.
 *
 * All frames are cut from one table, which grows to the largest size asked for (by half as much again at
 * least) and is never larger than 1.5 times that plus 256 bytes. `sequential`, `zero` and `ones` cost a
 * look-up a frame, and one view where the size changes; `random` seeds and runs its generator for each frame.
 */
export class PatternFrames {
  readonly pattern: Pattern;
  /** Any frame of up to `#capacity` bytes starts in the first period of this table and lies within it. */
  #table = new Uint8Array(0);
  #capacity = 0;
  /** The view lent last for each place in the table where a frame can start: 256 at the most. */
  #views: (Uint8Array | undefined)[] = [];
  /** The frames of one period and one size, once several were asked for. */
  #run: Uint8Array = new Uint8Array(0);

  constructor(pattern: Pattern) {
    this.pattern = pattern;
  }

  /**
   * The bytes of one frame.
   * @param index Frame number, a whole number from 0 to 2^53 - 1.
   * @param size Bytes, a whole number from 0.
   * @returns A view of `size` bytes that is lent: not to be written to, and valid until the next call on this
   *   object.
   */
  frame(index: number, size: number): Uint8Array {
    const start = this.pattern === "sequential" ? index % SEQUENTIAL_PERIOD : 0;
    const lent = this.#views[start];
    const view = lent?.length === size ? lent : this.#cut(start, size);
    if (this.pattern === "random") fillRandom(view, index);
    return view;
  }

  /**
   * Frames of one size that follow one another, end to end.
   * @param index Number of the first frame.
   * @param size Bytes of each, a whole number from 1.
   * @param most How many at the most, a whole number from 1.
   * @returns 1 to `most` frames, lent as those of {@link frame}; more than one only of a size up to 4096 bytes.
   */
  run(index: number, size: number, most: number): Uint8Array {
    if (most === 1 || size > MAX_RUN_FRAME_SIZE || this.pattern === "random") return this.frame(index, size);
    if (this.#run.length !== SEQUENTIAL_PERIOD * size) this.#run = this.#layOut(size);
    const first = index % SEQUENTIAL_PERIOD;
    return this.#run.subarray(first * size, Math.min(first + most, SEQUENTIAL_PERIOD) * size);
  }

  /** A period of frames, end to end. */
  #layOut(size: number): Uint8Array {
    const run = new Uint8Array(SEQUENTIAL_PERIOD * size);
    for (let index = 0; index < SEQUENTIAL_PERIOD; index++) run.set(this.frame(index, size), index * size);
    return run;
  }

  /**
   * Whether `data` is, byte for byte, the frame of its size.
   * @param index Frame number, a whole number from 0 to 2^53 - 1.
   */
  matches(index: number, data: Uint8Array): boolean {
    return Buffer.compare(this.frame(index, data.length), data) === 0;
  }

  #cut(start: number, size: number): Uint8Array {
    if (size > this.#capacity) this.#grow(size);
    const view = this.#table.subarray(start, start + size);
    this.#views[start] = view;
    return view;
  }

  #grow(size: number): void {
    this.#capacity = Math.max(size, Math.floor(this.#capacity * 1.5));
    this.#table = tableOf(this.pattern, this.#capacity);
    // Views of the table before would keep it in memory.
    this.#views = [];
  }
}

function tableOf(pattern: Pattern, capacity: number): Uint8Array<ArrayBuffer> {
  if (pattern === "ones") return new Uint8Array(capacity).fill(0xff);
  if (pattern !== "sequential") return new Uint8Array(capacity);
  const table = new Uint8Array(SEQUENTIAL_PERIOD + capacity);
  for (let value = 0; value < SEQUENTIAL_PERIOD; value++) table[value] = value;
  for (let filled = SEQUENTIAL_PERIOD; filled < table.length; filled *= 2) {
    table.copyWithin(filled, 0, filled);
  }
  return table;
}

function fillRandom(target: Uint8Array, index: number): void {
  // The generator takes its seed modulo 2^32, as the pattern wants it.
  const generator = mersenne(index);
  for (let i = 0; i < target.length; i++) target[i] = generator.next() >>> 24;
}
