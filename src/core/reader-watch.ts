// What a writer knows of the reader of its buffer.

import { Role } from "../native/memory.ts";
import type { RingWriter } from "../native/ring.ts";
import { writerAlreadyConnected } from "./buffer/connect.ts";
import { hasLeftLock } from "./buffer/locks.ts";
import { Peer } from "./buffer/presence.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import { CorruptBufferError, ReaderDeadError } from "./errors.ts";

/** How often the writer of a buffer without a reader looks for one; the first frame that a reader releases ends the wait. */
const READER_LOOK_MS = 20;

/** Tells whether the reader is there, and what has become of it. */
export class ReaderWatch {
  readonly #buffer: SharedBuffer;
  readonly #ring: RingWriter;
  readonly #reader: Peer;
  readonly #onRoleLost: () => void;
  /** Called at the end of every {@link check}, also if that throws. */
  onLook: (() => void) | undefined;
  /** The reader at the last check; 0 until a reader adopts a buffer that this writer made. */
  #readerPid: bigint;

  /** @param onRoleLost ends the writer, whose place another one has taken. */
  constructor(buffer: SharedBuffer, ring: RingWriter, readerPid: bigint, onRoleLost: () => void) {
    this.#buffer = buffer;
    this.#onRoleLost = onRoleLost;
    this.#ring = ring;
    this.#reader = new Peer(buffer.memory, Role.READER, {
      isHolder: true,
      hasLeftLock: () => hasLeftLock(buffer.name),
    });
    this.#readerPid = readerPid;
  }

  /** Whether there is a reader that is not known to be gone. */
  isConnected(): boolean {
    const oieb = this.#buffer.loadOieb();
    return oieb.readerPid !== 0n && this.#reader.judge(oieb) !== "dead";
  }

  /**
   * Waits up to `timeoutMs` for the reader that adopts a buffer which this writer made: whether it has come. False also when
   * it has come and gone.
   *
   * @param sleep waits for a released frame, for a time in milliseconds at the most.
   * @throws CorruptBufferError if another program has removed the buffer instead of adopting it.
   */
  async awaitConnection(timeoutMs: number, sleep: (milliseconds: number) => Promise<void>): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (this.isConnected()) return true;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || !this.checkAwaited()) return false;
      await sleep(Math.min(READER_LOOK_MS, leftMs));
    }
  }

  /** Whether no reader has adopted the buffer that this writer made. One that came and left has removed it. */
  isAwaited(readerPid = this.#buffer.loadOieb().readerPid): boolean {
    return readerPid === 0n && this.#readerPid === 0n && this.#buffer.memory.isNamed;
  }

  /**
   * Lets writing go on, also for a reader that has just adopted the buffer.
   *
   * @throws ReaderDeadError if the reader has gone, CorruptBufferError if the buffer was removed while it lives,
   *   WriterAlreadyConnectedError if another writer has taken this one's place, which it then gives up.
   */
  check(): void {
    try {
      this.#check();
    } finally {
      this.onLook?.();
    }
  }

  #check(): void {
    const { name, memory } = this.#buffer;
    this.#keepRole();
    // In this order: a reader that leaves stores 0 first, and removes the names later.
    const { isNamed } = memory;
    const oieb = this.#buffer.loadOieb();
    const { readerPid } = oieb;
    const isThere = readerPid !== 0n && this.#reader.judge(oieb) !== "dead";
    if (!isThere && !this.isAwaited(readerPid)) {
      this.#checkReplaced();
      throw this.#departure(readerPid);
    }
    this.#readerPid = readerPid;
    this.#ring.confirmPeer(readerPid);
    if (isNamed) return;
    throw new CorruptBufferError(`Buffer "${name}" was removed while its reader lives.`, {
      buffer: name,
      hint: "Somebody removed or replaced its shared memory: start its reader again.",
    });
  }

  /** A v1 writer that is refused stores 0 for the pid of this one, and one that cannot see this one takes its place. */
  #keepRole(): void {
    const { name, memory } = this.#buffer;
    if (memory.restore(Role.WRITER, process.pid)) return;
    const error = writerAlreadyConnected(name, this.#buffer.loadOieb().writerPid);
    this.#onRoleLost();
    throw error;
  }

  /** As {@link isAwaited}. Throws CorruptBufferError if another program has removed the buffer instead of adopting it. */
  checkAwaited(): boolean {
    if (this.isAwaited()) return true;
    this.#checkReplaced();
    return false;
  }

  #checkReplaced(): void {
    const { name, memory, released } = this.#buffer;
    const { readerPid, payloadReadCount } = this.#buffer.loadOieb();
    // A reader that has adopted it posts a token at its end.
    const hadReader =
      readerPid !== 0n || this.#readerPid !== 0n || payloadReadCount > 0 || released.value > 0;
    if (!hadReader && !memory.isNamed) throw replaced(name);
  }

  #departure(readerPid: bigint): ReaderDeadError {
    const { name } = this.#buffer;
    // It may have left, and its process ended, since the pid was loaded.
    const left = this.#buffer.loadOieb().readerPid === 0n;
    const what = left ? "its reader has left" : `its reader (process ${readerPid}) is dead`;
    return new ReaderDeadError(
      left ? "left" : "died",
      `Buffer "${name}" takes no frames any more: ${what}.`,
      { buffer: name, hint: "Start its reader again, then the writer." },
    );
  }
}

/** The error of a writer that has made a buffer which another program has removed instead of adopting it. */
function replaced(buffer: string): CorruptBufferError {
  return new CorruptBufferError(`Buffer "${buffer}" was removed before a reader has adopted it.`, {
    buffer,
    hint: "A reader of another implementation removes the buffer and makes its own: start that one first, and leave `create` out.",
  });
}
