// Requests of a duplex channel that their client has taken back (docs/protocol.md, section 9.5).

import { OiebFlag } from "../../native/memory.ts";
import { OIEB_SIZE } from "../config.ts";
import type { SharedBuffer } from "./shared-buffer.ts";

/** Words of the table: ZB_CANCELLATION_WORDS. */
const CANCELLATION_WORDS = 1024;

/** Size of the table in bytes. */
export const CANCELLATION_TABLE_SIZE = 8 * CANCELLATION_WORDS;

/** Where the table begins, in multiples of this many bytes. */
const ALIGNMENT = 64;

/**
 * What the flags of a buffer say of cancellations: of one for requests that its server heeds them, of one for responses that
 * its client has made a table for them. Null: nothing.
 */
export function cancellationOf(flags: bigint): "heeded" | "table" | null {
  if ((flags & OiebFlag.CANCELLATION) === 0n) return null;
  return (flags & OiebFlag.ANY_SEQUENCE) === 0n ? "heeded" : "table";
}

/** The table behind the ring of a response buffer: the client writes it, the server reads it. */
export class Cancellations {
  readonly #buffer: SharedBuffer;
  readonly #table: number;
  /** The halves of the words, the lower one first. It has length 0 once the memory is closed. */
  readonly #halves: Int32Array;

  private constructor(buffer: SharedBuffer, table: number) {
    this.#buffer = buffer;
    this.#table = table;
    const { buffer: window, byteOffset } = buffer.memory.bytes(table, CANCELLATION_TABLE_SIZE);
    this.#halves = new Int32Array(window, byteOffset, 2 * CANCELLATION_WORDS);
  }

  /** The table of a buffer; undefined if it has none, or if it does not lie in the memory as it should. */
  static of(buffer: SharedBuffer): Cancellations | undefined {
    const { memory, sizes } = buffer;
    if (cancellationOf(buffer.loadOieb().flags) !== "table") return undefined;
    const table = OIEB_SIZE + sizes.metadataSize + sizes.payloadSize;
    const isInMemory = table % ALIGNMENT === 0 && table + CANCELLATION_TABLE_SIZE <= memory.size;
    return isInMemory ? new Cancellations(buffer, table) : undefined;
  }

  /** Takes a request back, and wakes the server. */
  store(sequence: number): void {
    this.#buffer.memory.storeCancellation(this.#table, sequence);
    this.#buffer.released.post();
  }

  /** Whether the client has taken a request back. */
  has(sequence: number): boolean {
    // Every request is looked for twice, and hardly ever found: half of a word tells that without a foreign call.
    const half = this.#halves[2 * (sequence & (CANCELLATION_WORDS - 1))];
    if (half !== undefined && half !== (sequence | 0)) return false;
    return this.#buffer.memory.hasCancellation(this.#table, sequence);
  }
}
