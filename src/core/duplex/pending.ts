// Requests whose responses somebody awaits.

import type { QueuedWrite } from "../write-queue.ts";
import type { DuplexResponse, RequestOptions } from "./types.ts";

type Resolve = (response: DuplexResponse) => void;
type Reject = (reason: unknown) => void;

const DEFAULT_TIMEOUT_MS = 5000;

/** Timers cannot be set for longer, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** So many requests are found without a map, a power of two. */
const RING_SIZE = 1024;

/** What settles the promise that was made last. */
let resolveKept: Resolve;
let rejectKept: Reject;

/** For `new Promise`: one function for all of them, where a closure each would take longer than the promise. */
function keepSettlers(resolve: Resolve, reject: Reject): void {
  resolveKept = resolve;
  rejectKept = reject;
}

/** A request whose response somebody awaits. */
export class Pending {
  /** 0 until it is sent. */
  sequence = 0;
  /** What waits in the queue, if it found no room at once. */
  write: QueuedWrite | undefined = undefined;
  /** By `performance.now()`. */
  deadline = Number.POSITIVE_INFINITY;
  onAbort: (() => void) | undefined = undefined;
  readonly promise: Promise<DuplexResponse>;
  readonly resolve: Resolve;
  readonly reject: Reject;
  /** In milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;

  constructor(options: RequestOptions | undefined) {
    this.promise = new Promise(keepSettlers);
    this.resolve = resolveKept;
    this.reject = rejectKept;
    this.timeoutMs = options?.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.signal = options?.signal;
  }
}

/** The requests that somebody awaits, and the time that they have left. */
export class PendingRequests {
  /**
   * Those that are sent, by the low bits of their numbers. A request that waits for so long that its place is needed moves
   * aside. With a map alone, 64 requests in flight (`ask-many` of scripts/bench) cost the client 17 % more processor time.
   */
  readonly #ring: (Pending | undefined)[] = new Array(RING_SIZE).fill(undefined);
  readonly #aside = new Map<number, Pending>();
  /** Those that wait in the queue of the writer. */
  readonly #waiting = new Set<Pending>();
  /** Those whose time has not begun. */
  readonly #unstarted: Pending[] = [];
  readonly #onExpired: (pending: Pending) => void;
  #sent = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerDeadline = Number.POSITIVE_INFINITY;

  /** @param onExpired is called for each one whose time is up. */
  constructor(onExpired: (pending: Pending) => void) {
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#sent + this.#waiting.size;
  }

  /** Adds one that waits in the queue. */
  addWaiting(pending: Pending): void {
    this.#waiting.add(pending);
  }

  /** Adds one that is sent. */
  addSent(pending: Pending): void {
    if (pending.write !== undefined) this.#waiting.delete(pending);
    const i = pending.sequence % RING_SIZE;
    const older = this.#ring[i];
    if (older !== undefined) this.#aside.set(older.sequence, older);
    this.#ring[i] = pending;
    this.#sent++;
  }

  find(sequence: number): Pending | undefined {
    const pending = this.#ring[sequence % RING_SIZE];
    return pending?.sequence === sequence ? pending : this.#aside.get(sequence);
  }

  remove(pending: Pending): void {
    if (pending.sequence === 0) {
      this.#waiting.delete(pending);
      return;
    }
    const i = pending.sequence % RING_SIZE;
    if (this.#ring[i] === pending) this.#ring[i] = undefined;
    else this.#aside.delete(pending.sequence);
    this.#sent--;
  }

  all(): Pending[] {
    return [
      ...this.#aside.values(),
      ...this.#ring.filter((pending) => pending !== undefined),
      ...this.#waiting,
    ];
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  /** Notes one whose time {@link startTime} is to begin. */
  awaitStart(pending: Pending): void {
    this.#unstarted.push(pending);
  }

  /** How many {@link startTime} will begin with. */
  get unstarted(): number {
    return this.#unstarted.length;
  }

  /** Begins the time of all that wait for it: the clock takes longer than a list. */
  startTime(): void {
    let first = Number.POSITIVE_INFINITY;
    const now = performance.now();
    for (const pending of this.#unstarted) {
      pending.deadline = now + pending.timeoutMs;
      first = Math.min(first, pending.deadline);
    }
    this.#unstarted.length = 0;
    if (first < this.#timerDeadline && this.size > 0) this.#setTimer(first);
  }

  #setTimer(deadline: number): void {
    this.stopTime();
    this.#timerDeadline = deadline;
    if (deadline === Number.POSITIVE_INFINITY) return;
    const leftMs = Math.max(0, Math.ceil(deadline - performance.now()));
    this.#timer = setTimeout(() => this.#expire(), Math.min(leftMs, MAX_TIMER_MS));
    // Only a wait for responses keeps the process alive.
    this.#timer.unref();
  }

  #expire(): void {
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const pending of this.all()) {
      if (pending.deadline <= now) this.#onExpired(pending);
      else next = Math.min(next, pending.deadline);
    }
    this.#setTimer(next);
  }

  /** Lets nothing expire any more. */
  stopTime(): void {
    clearTimeout(this.#timer);
  }
}
