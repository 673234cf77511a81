// Keeps the memory of a bridge small: a NATS client copies every message, and nothing else would make the runtime collect the
// copies before there are hundreds of megabytes.

import { gcAndSweep } from "bun:jsc";

/** How many bytes of messages may pass between two collections: one costs about 3 ms, which the reused memory makes up for. */
const MOST_BYTES = 20 * 2 ** 20;

/** Collects the copies of messages. */
export class Garbage {
  #bytes = 0;

  /** Notes that a message of this many bytes was copied. */
  note(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < MOST_BYTES) return;
    this.#bytes = 0;
    gcAndSweep();
  }
}
