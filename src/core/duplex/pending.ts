// Requests whose responses somebody awaits, and how they are found by their numbers.

import type { DuplexResponse, RequestOptions } from "./types.ts";

type Resolve = (response: DuplexResponse) => void;
type Reject = (reason: unknown) => void;

const DEFAULT_TIMEOUT_MS = 5000;

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
  /** 0 while it waits for room. */
  sequence = 0;
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

/** The requests on their way. */
export class PendingRequests {
  /** By the low bits of their numbers: one that waits for so long that its place is needed moves aside. */
  readonly #ring: (Pending | undefined)[] = new Array(RING_SIZE).fill(undefined);
  readonly #aside = new Map<number, Pending>();
  size = 0;

  add(pending: Pending): void {
    const i = pending.sequence % RING_SIZE;
    const older = this.#ring[i];
    if (older !== undefined) this.#aside.set(older.sequence, older);
    this.#ring[i] = pending;
    this.size++;
  }

  find(sequence: number): Pending | undefined {
    const pending = this.#ring[sequence % RING_SIZE];
    return pending?.sequence === sequence ? pending : this.#aside.get(sequence);
  }

  remove(pending: Pending): void {
    const i = pending.sequence % RING_SIZE;
    if (this.#ring[i] === pending) this.#ring[i] = undefined;
    else this.#aside.delete(pending.sequence);
    this.size--;
  }

  all(): Pending[] {
    return [...this.#aside.values(), ...this.#ring.filter((pending) => pending !== undefined)];
  }
}
