// Views of shared memory: made at the first look, cut off before the memory goes.

import { native } from "./library.ts";
import { type Address, lendMemory } from "./symbols.ts";

/**
 * Windows onto the memory start at multiples of this and are up to twice as long, which is what a view can have. A view
 * that reaches beyond the end of its window has a window of its own.
 */
const WINDOW_STRIDE = 2 ** 31;
const WINDOW_LENGTH = 2 ** 32;

/** How many views are kept for use again: making one costs more than everything else about a small frame. */
const CACHE_SIZE = 2 ** 13;
const CACHE_SHIFT = 32 - 13;

/**
 * All views of one mapping. Each lies in a window, an ArrayBuffer over a part of the mapping, which stays mapped as long as
 * one of its windows can be reached: by a view that could not be cut off, or by a thread that a window was transferred to.
 */
export class MemoryViews {
  readonly #memory: Address;
  readonly #memorySize: number;
  /** By where they start, in bytes. */
  readonly #windows = new Map<number, ArrayBuffer>();
  readonly #cache: (Uint8Array | undefined)[] = new Array(CACHE_SIZE).fill(undefined);
  readonly #cachedOffsets = new Float64Array(CACHE_SIZE);

  /** @param memorySize in bytes. */
  constructor(memory: Address, memorySize: number) {
    this.#memory = memory;
    this.#memorySize = memorySize;
  }

  /** A view of `size` bytes, up to 4 GiB, from `offset` on, in bytes from the start of the memory. */
  bytes(offset: number, size: number): Uint8Array {
    // Fibonacci hashing spreads offsets that are multiples of a frame's size.
    const slot = Math.imul(offset, 0x9e3779b1) >>> CACHE_SHIFT;
    const cached = this.#cache[slot];
    if (cached !== undefined && this.#cachedOffsets[slot] === offset && cached.length === size) return cached;
    return this.#open(offset, size, slot);
  }

  #open(offset: number, size: number, slot: number): Uint8Array {
    let start = offset - (offset % WINDOW_STRIDE);
    if (offset + size > start + WINDOW_LENGTH) start = offset;
    const view = new Uint8Array(this.#windowAt(start), offset - start, size);
    this.#cache[slot] = view;
    this.#cachedOffsets[slot] = offset;
    return view;
  }

  #windowAt(start: number): ArrayBuffer {
    const known = this.#windows.get(start);
    // One that the program has transferred, as to a Worker, is detached: here another one takes its place.
    if (known !== undefined && !known.detached) return known;
    const length = Math.min(WINDOW_LENGTH, this.#memorySize - start);
    const window = lendMemory(native, this.#memory, start, length);
    this.#windows.set(start, window);
    return window;
  }

  /** Cuts off every view that can be: it has length 0 from then on. Others keep their bytes, and the memory mapped. */
  detach(): void {
    for (const window of this.#windows.values()) {
      if (!window.detached) detach(window);
    }
  }
}

/**
 * Detaches a window, unless Bun has pinned it for an asynchronous operation that works on its bytes, such as fs.write or
 * zlib.deflate.
 *
 * `window.transfer(0)` is no way to do it: of a pinned window it first copies everything, which takes 0.3 s for 512 MiB and
 * 1.5 s where the memory for the copy is new, and then leaves the window as it was. A byte stream takes the buffer of its
 * chunks over in 0.03 ms, and refuses one that is pinned without a copy.
 */
function detach(window: ArrayBuffer): void {
  try {
    const start = (controller: ReadableByteStreamController) =>
      controller.enqueue(new Uint8Array(window, 0, 1));
    const stream = new ReadableStream({ type: "bytes", start });
    // The chunk that comes out has what was the window's. Nothing else has, so that it ends here, and with it the window's
    // hold on the memory, rather than at a garbage collection.
    const { value } = Bun.peek(stream.getReader().read()) as { value?: Uint8Array };
    (value?.buffer as ArrayBuffer | undefined)?.transfer(0);
  } catch {
    // It is pinned: it ends when the operation is over and nothing refers to it any more.
  }
}
