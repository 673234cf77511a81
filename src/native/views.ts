// Views of shared memory: made when they are needed, and detached before the memory is unmapped.

import { native } from "./library.ts";
import { type Address, lendMemory } from "./symbols.ts";

/**
 * Windows start at multiples of this, in bytes, and are up to twice as long: 4 GiB, the most that a view can have. A
 * view that does not fit in its window gets a window of its own.
 */
const WINDOW_STRIDE = 2 ** 31;
const WINDOW_SIZE = 2 ** 32;

/** How many views are kept for use again: for a small frame, a new view costs more than everything else. */
const CACHE_SIZE = 2 ** 13;
const CACHE_SHIFT = 32 - 13;

/**
 * All views of one mapping. A view is part of a window: an ArrayBuffer over a part of the mapping. The memory stays
 * mapped as long as one of its windows can be reached, in this thread or in one that it was transferred to.
 */
export class MemoryViews {
  readonly #memory: Address;
  readonly #memorySize: number;
  /** The windows by their start, in bytes. */
  readonly #windows = new Map<number, ArrayBuffer>();
  readonly #cache: (Uint8Array | undefined)[] = new Array(CACHE_SIZE).fill(undefined);
  readonly #cachedOffsets = new Float64Array(CACHE_SIZE);

  /** @param memorySize in bytes. */
  constructor(memory: Address, memorySize: number) {
    this.#memory = memory;
    this.#memorySize = memorySize;
  }

  /** A view of `size` bytes, up to 4 GiB, at `offset`, in bytes from the start of the memory. */
  bytes(offset: number, size: number): Uint8Array {
    // Fibonacci hashing spreads offsets that are multiples of a frame's size.
    const slot = Math.imul(offset, 0x9e3779b1) >>> CACHE_SHIFT;
    const cached = this.#cache[slot];
    if (cached !== undefined && this.#cachedOffsets[slot] === offset && cached.length === size) return cached;
    return this.#open(offset, size, slot);
  }

  #open(offset: number, size: number, slot: number): Uint8Array {
    let start = offset - (offset % WINDOW_STRIDE);
    if (offset + size > start + WINDOW_SIZE) start = offset;
    const view = new Uint8Array(this.#windowAt(start), offset - start, size);
    this.#cache[slot] = view;
    this.#cachedOffsets[slot] = offset;
    return view;
  }

  #windowAt(start: number): ArrayBuffer {
    const known = this.#windows.get(start);
    // The program may have transferred a window, for example to a Worker. That detaches it here.
    if (known !== undefined && !known.detached) return known;
    const window = lendMemory(native, this.#memory, start, Math.min(WINDOW_SIZE, this.#memorySize - start));
    this.#windows.set(start, window);
    return window;
  }

  /** Detaches all windows that can be detached. Their views have length 0 from then on. */
  detach(): void {
    for (const window of this.#windows.values()) {
      if (!window.detached) detach(window);
    }
  }
}

/**
 * Detaches a window, unless Bun has pinned it: an asynchronous operation, such as fs.write or zlib.deflate, works on
 * it.
 *
 * `transfer(0)` would not do. Of a pinned window it copies everything, and then leaves the window attached: 0.3 s for
 * 512 MiB, 1.5 s the first time. A byte stream takes the buffer of a chunk over in 0.03 ms; it refuses a pinned one,
 * and copies nothing.
 */
function detach(window: ArrayBuffer): void {
  try {
    const start = (controller: ReadableByteStreamController) =>
      controller.enqueue(new Uint8Array(window, 0, 1));
    const stream = new ReadableStream({ type: "bytes", start });
    // The stream's chunk now has the bytes of the window. Detach it too: the memory is then free to be unmapped,
    // without a garbage collection.
    const { value } = Bun.peek(stream.getReader().read()) as { value?: Uint8Array };
    (value?.buffer as ArrayBuffer | undefined)?.transfer(0);
  } catch {
    // It is pinned. It is collected when the operation has ended.
  }
}
