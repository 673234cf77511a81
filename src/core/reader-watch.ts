// What a writer knows of the reader of its buffer.

import { Role } from "../native/memory.ts";
import type { RingWriter } from "../native/ring.ts";
import { describeAbsentReader } from "./buffer/connect.ts";
import { Peer } from "./buffer/presence.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import { CorruptBufferError, ReaderDeadError } from "./errors.ts";

/** Tells whether the reader is there, and what has become of it. */
export class ReaderWatch {
  readonly #buffer: SharedBuffer;
  readonly #ring: RingWriter;
  readonly #reader: Peer;
  /** The reader at the last check; 0 until a reader adopts a buffer that this writer made. */
  #readerPid: bigint;

  constructor(buffer: SharedBuffer, ring: RingWriter, readerPid: bigint) {
    this.#buffer = buffer;
    this.#ring = ring;
    this.#reader = new Peer(buffer.memory, Role.READER);
    this.#readerPid = readerPid;
  }

  /** Whether the reader's process lives and has the buffer open. */
  isConnected(): boolean {
    return this.#reader.isAlive(this.#buffer.loadOieb().readerPid);
  }

  /** Whether no reader has adopted the buffer that this writer made. One that came and left has removed it. */
  isAwaited(readerPid = this.#buffer.loadOieb().readerPid): boolean {
    return readerPid === 0n && this.#readerPid === 0n && this.#buffer.memory.isNamed;
  }

  /**
   * Lets writing go on, also for a reader that has just adopted the buffer.
   *
   * @throws ReaderDeadError if the reader has gone, CorruptBufferError if the buffer was removed while it lives.
   */
  check(): void {
    const { name, memory } = this.#buffer;
    const { readerPid } = this.#buffer.loadOieb();
    if (!this.#reader.isAlive(readerPid) && !this.isAwaited(readerPid)) throw this.#departure(readerPid);
    this.#readerPid = readerPid;
    this.#ring.confirmPeer(readerPid);
    if (memory.isNamed) return;
    throw new CorruptBufferError(`Buffer "${name}" was removed while its reader lives.`, {
      buffer: name,
      hint: "Somebody removed or replaced its shared memory: start its reader again.",
    });
  }

  #departure(readerPid: bigint): ReaderDeadError {
    const { name } = this.#buffer;
    // It may have left, and its process ended, since the pid was loaded.
    const left = this.#buffer.loadOieb().readerPid === 0n;
    const what = left ? "its reader has left" : describeAbsentReader(name, readerPid);
    return new ReaderDeadError(
      left ? "left" : "died",
      `Buffer "${name}" takes no frames any more: ${what}.`,
      { buffer: name, hint: "Start its reader again, then the writer." },
    );
  }
}
