// The metadata that a reader gets from its writer.

import { Code } from "../native/codes.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import { CorruptBufferError } from "./errors.ts";
import { SLICE_MS } from "./writer-watch.ts";

/** How often metadata that contradicts itself is read in a row. A writer that replaces it is usually done by then. */
const LOOKS = 3;

/** Reads the metadata of one buffer. */
export class ReceivedMetadata {
  readonly #buffer: SharedBuffer;
  /** When the metadata was first seen to contradict itself. */
  #contradictedAt: number | undefined;

  constructor(buffer: SharedBuffer) {
    this.#buffer = buffer;
  }

  /** A copy; empty if there is none. Throws CorruptBufferError if it contradicts itself, and did so 100 ms ago or earlier. */
  read(): Uint8Array {
    const { name, memory, sizes } = this.#buffer;
    const target = new Uint8Array(sizes.metadataSize);
    let length: number = Code.AGAIN;
    for (let looks = 0; length === Code.AGAIN && looks < LOOKS; looks++) length = memory.readMetadata(target);
    if (length >= 0) {
      this.#contradictedAt = undefined;
      return target.slice(0, length);
    }
    const now = performance.now();
    this.#contradictedAt ??= now;
    if (length === Code.AGAIN && now - this.#contradictedAt < SLICE_MS) return new Uint8Array(0);
    throw new CorruptBufferError(`The metadata of buffer "${name}" contradicts its own length.`, {
      buffer: name,
      hint: "Close both sides and start the reader again.",
    });
  }
}
