// Keeps the memory of a bridge small: a NATS client copies every message, and nothing else would make the runtime collect the
// copies before there are hundreds of megabytes.

import { edenGC, gcAndSweep } from "bun:jsc";

/** How many bytes of messages may pass between two collections of new copies. One takes about 1 ms. */
const MOST_BYTES = 16 * 2 ** 20;

/** How many bytes of older copies may stay. Only a collection of everything frees them, and takes several times as long. */
export const MOST_OLD_BYTES = { sent: 8 * 2 ** 20, received: 32 * 2 ** 20 };

/** Collects the copies of messages. */
export class Garbage {
  readonly #mostOldBytes: number;
  #bytes = 0;
  /** The least size of the heap since everything was collected. Mapped rings are part of it. */
  #least = 0;

  constructor(mostOldBytes: number) {
    this.#mostOldBytes = mostOldBytes;
  }

  /** Notes that a message of this many bytes will be copied: what was copied before may not be needed any more. */
  note(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < MOST_BYTES) return;
    this.#bytes = 0;
    const size = edenGC();
    this.#least = Math.min(this.#least, size);
    if (size - this.#least > this.#mostOldBytes) this.#least = gcAndSweep();
  }
}
