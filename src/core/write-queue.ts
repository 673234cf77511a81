// Waiting to write: for room, for the writes that came before, and for the commit of an acquired frame.

import { Code } from "../native/codes.ts";
import type { Semaphore } from "../native/semaphore.ts";
import { Waiter } from "../native/waiter.ts";
import { raceAbort } from "../runtime/abort.ts";
import { TurnKeeper } from "../runtime/turn.ts";
import { BufferFullError, type ClosedError } from "./errors.ts";
import { failure } from "./failures.ts";
import type { ReaderWatch } from "./reader-watch.ts";
import type { SharingSource } from "./sharing/source.ts";

/** How long a blocking wait goes on before the reader is checked (docs/protocol.md, section 4). */
const SLICE_MS = 100;

/** The same for a wait in the helper's thread: the end of each slice wakes the event loop. */
const ASYNC_SLICE_MS = 250;

/**
 * Makes one attempt to write, which waits up to `waitUs` microseconds for room. Returns 0 once everything is written,
 * more while a part of it is left, or a negative {@link Code}.
 */
export type Attempt = (waitUs: number) => number;

/** An asynchronous write that waits for its turn, or for room. */
export interface QueuedWrite {
  /** Makes one attempt, as {@link Attempt}, which does not wait. What it throws ends the write. */
  attempt(): number;
  /** How long it waits for room when its turn has come, in milliseconds. */
  readonly timeoutMs: number;
  onWritten(): void;
  onFailed(error: unknown): void;
}

/**
 * The writes of one writer, in order. The queue is held while a frame is acquired: asynchronous writes wait until it is
 * committed or cancelled. Blocking writes come before those that wait.
 */
export class WriteQueue {
  readonly #name: string;
  readonly #released: Semaphore;
  readonly #reader: ReaderWatch;
  readonly #turns = new TurnKeeper();
  readonly #writes = new Set<QueuedWrite>();
  /** Opened by the first asynchronous wait. */
  #waiter: Waiter | undefined;
  #acquiredSize = 0;
  /** The event loop has its turn: the next attempt comes after it. */
  #isTurning = false;
  /** Until when the first write waits for room, by `performance.now()`. Undefined: it has not begun to. */
  #deadline: number | undefined;
  /** The source whose frames are passed on: what its targets release is noted during each wait. */
  #source: SharingSource | undefined;
  /** Ends the calls of {@link waitForRoom} that wait. */
  #endWaits: () => void = () => {};
  #waitsEnded: Promise<void> | undefined;
  /** The write that waits for room in the helper's thread. */
  #waiting: QueuedWrite | undefined;

  constructor(name: string, released: Semaphore, reader: ReaderWatch) {
    this.#name = name;
    this.#released = released;
    this.#reader = reader;
  }

  /** From now on, waits also collect what targets of this source release. */
  collectWith(source: SharingSource): void {
    this.#source = source;
  }

  /** Tries again at once what waits for room: somebody may have taken the token that it waits for. */
  retry(): void {
    this.#endWaits();
    if (this.#waiting !== undefined) this.#advance();
  }

  /** Whether an asynchronous write may be attempted at once. */
  get isFree(): boolean {
    return this.#writes.size === 0 && this.#acquiredSize === 0 && !this.#isTurning;
  }

  /** Size of the acquired frame in bytes; 0: none is acquired. */
  get acquiredSize(): number {
    return this.#acquiredSize;
  }

  /** Notes an acquired frame. */
  hold(size: number): void {
    this.#acquiredSize = size;
    // The first write waits for its turn again, and for room from then on.
    this.#deadline = undefined;
  }

  /** Notes that the acquired frame was committed or cancelled: the next write has its turn. */
  release(): void {
    this.#acquiredSize = 0;
    if (this.#writes.size > 0) this.#advance();
  }

  /** Lets the event loop have its turn if that is due after an attempt of this size: nothing is attempted meanwhile. */
  noteAttempt(size: number): void {
    if (!this.#turns.isDue(size)) return;
    this.#isTurning = true;
    void this.#turns.turn().then(() => {
      this.#isTurning = false;
      this.#advance();
    });
  }

  /** What an asynchronous call returns that has written `size` bytes at once: resolves after the turn that is due. */
  written(size: number, frames: number): Promise<void> {
    return this.#turns.isDue(size, frames) ? this.#turns.turn() : Promise.resolve();
  }

  // ---- blocking the thread -----------------------------------------------------------------------------------------

  /**
   * Attempts until everything is written. Each part of it may wait for room for `timeoutMs`.
   *
   * @throws BufferFullError after that time, or early when a signal arrives; ReaderDeadError; CorruptBufferError.
   */
  block(attempt: Attempt, timeoutMs: number): void {
    const code = this.#block(attempt, timeoutMs, true);
    if (code === Code.OK) return;
    if (code === Code.INTERRUPTED) throw this.#full("signal", "a signal ended the wait for room");
    throw this.#timeout(timeoutMs);
  }

  /** Attempts for up to `timeoutMs`: false if something is left to be written then, or when a signal arrives. */
  blockFor(attempt: Attempt, timeoutMs: number): boolean {
    return this.#block(attempt, timeoutMs, false) === Code.OK;
  }

  #block(attempt: Attempt, timeoutMs: number, isEachPartTimed: boolean): number {
    try {
      return this.#attemptFor(attempt, timeoutMs, isEachPartTimed);
    } finally {
      // It has taken the tokens of this writer, and those of all targets of its source.
      if (timeoutMs > 0) {
        this.retry();
        this.#source?.noteBlocked();
      }
    }
  }

  #attemptFor(attempt: Attempt, timeoutMs: number, isEachPartTimed: boolean): number {
    let deadline = performance.now() + timeoutMs;
    for (;;) {
      const sliceMs = Math.max(0, Math.min(SLICE_MS, deadline - performance.now()));
      const left = attempt(Math.ceil(sliceMs * 1000));
      if (left === Code.OK || left === Code.INTERRUPTED) return left;
      const now = performance.now();
      if (left > 0) {
        if (isEachPartTimed) deadline = now + timeoutMs;
      } else {
        if (left === Code.AGAIN && now >= deadline) return left;
        this.#resolve(left);
      }
    }
  }

  /** Deals with a code after which the next attempt may succeed; throws if none can. */
  #resolve(code: number): void {
    if (code !== Code.AGAIN && code !== Code.PEER_CHECK) {
      throw failure(code as Code, this.#name, `Buffer "${this.#name}"`);
    }
    this.#reader.check();
  }

  /** The error for a write that found no room in time; throws another one if the reader has gone. */
  #timeout(timeoutMs: number): BufferFullError {
    this.#reader.check();
    return this.#full("timeout", `no room within ${timeoutMs} ms`);
  }

  #full(reason: "timeout" | "signal", why: string): BufferFullError {
    return new BufferFullError(reason, `Buffer "${this.#name}" is full: ${why}.`, {
      buffer: this.#name,
      hint: "Its reader is slower than the writer, or holds frames: wait longer, or give it a larger buffer.",
    });
  }

  // ---- without blocking --------------------------------------------------------------------------------------------

  /**
   * Attempts until everything is written, after the writes that came before. Each part of it may wait for room for
   * `timeoutMs` when its turn has come.
   *
   * @throws As {@link block}; the signal's reason once that is aborted; what {@link close} is given.
   */
  async write(attempt: Attempt, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const write: QueuedWrite = {
      attempt: () => attempt(0),
      timeoutMs,
      onWritten: resolve,
      onFailed: reject,
    };
    const onAbort = () => {
      reject(signal?.reason);
      this.remove(write);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.add(write);
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Adds a write as the last one, and attempts it if it is the only one. */
  add(write: QueuedWrite): void {
    this.#writes.add(write);
    if (this.#writes.size === 1) this.#advance();
  }

  /** Takes a write off the queue, which then knows nothing of it; does nothing if it is not there. */
  remove(write: QueuedWrite): void {
    const [first] = this.#writes;
    if (!this.#writes.delete(write) || write !== first) return;
    this.#deadline = undefined;
    this.#advance();
  }

  /** Attempts the writes in order until one has to wait. */
  #advance(): void {
    for (const write of this.#writes) {
      while (this.#writes.has(write)) {
        if (this.#acquiredSize > 0 || this.#isTurning || !this.#step(write)) return;
      }
    }
  }

  /** Makes one attempt at the first write; false if it has to wait for room. */
  #step(write: QueuedWrite): boolean {
    try {
      const left = write.attempt();
      if (left < 0) return this.#awaitRoom(write, left);
      this.#deadline = undefined;
      if (left === Code.OK) {
        this.#writes.delete(write);
        write.onWritten();
      }
      this.noteAttempt(Number.POSITIVE_INFINITY);
    } catch (error) {
      this.#deadline = undefined;
      this.#writes.delete(write);
      write.onFailed(error);
    }
    return true;
  }

  /** Attempts the first write again when there may be room for it; true if that is at once. */
  #awaitRoom(write: QueuedWrite, code: number): boolean {
    if (code !== Code.AGAIN) {
      this.#resolve(code);
      return true;
    }
    const now = performance.now();
    this.#deadline ??= now + write.timeoutMs;
    if (now >= this.#deadline) throw this.#timeout(write.timeoutMs);
    if (this.#waiting === write) return false;
    const sleep = this.#sleep(Math.min(ASYNC_SLICE_MS, this.#deadline - now));
    this.#waiting = write;
    void sleep.then(() => {
      // Another write may be the first one by now, and wait by itself.
      if (this.#waiting !== write) return;
      this.#turns.noteTurn();
      this.#waiting = undefined;
      this.#advance();
    });
    return false;
  }

  /** Waits for a released frame, for an abort, or for the time to pass, a slice at the most. */
  async waitForRoom(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const sleep = this.#sleep(Math.min(ASYNC_SLICE_MS, timeoutMs));
    await raceAbort(this.#source === undefined ? sleep : Promise.race([sleep, this.#retried()]), signal);
  }

  /** Resolves at the next {@link retry}. */
  #retried(): Promise<void> {
    this.#waitsEnded ??= new Promise((resolve) => {
      this.#endWaits = () => {
        this.#waitsEnded = undefined;
        resolve();
      };
    });
    return this.#waitsEnded;
  }

  /** Takes the tokens of what was released so far: to be called before a look at what else they may stand for. */
  clearTokens(): void {
    this.#released.clear();
    if (this.#source === undefined) return;
    this.#source.collect(false);
    this.retry();
  }

  /** Resolves when a frame is released, after the time, or when the queue is closed. */
  #sleep(milliseconds: number): Promise<void> {
    if (this.#waiter === undefined) {
      const waiter = Waiter.open(this.#released);
      if (typeof waiter === "number") throw failure(waiter, this.#name, "A thread that waits for room");
      this.#waiter = waiter;
    }
    const sleep = this.#waiter.wait(milliseconds * 1000);
    return this.#source === undefined ? sleep : this.#source.collectDuring(sleep);
  }

  /** Ends all waits; the writes that wait fail with `error`, whatever becomes of the helper's thread. */
  close(error: ClosedError): void {
    const writes = [...this.#writes];
    this.#writes.clear();
    for (const write of writes) write.onFailed(error);
    this.#waiter?.close();
  }
}
