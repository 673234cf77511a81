// How long attempts to create a buffer, or to connect to one, go on.

import type { ZeroBufferError } from "../errors.ts";

/** The pause between two attempts, in milliseconds: nobody announces that a buffer is ready, or that its name is free. */
export const POLL_MS = 5;

/** The same, but random: two processes that look at the same memory do not meet again and again. 5 to 15 ms. */
export function pauseMs(): number {
  return POLL_MS * (1 + 2 * Math.random());
}

/** Why an attempt failed, if the next one may succeed. */
export interface Obstacle {
  /** What to throw after the last attempt. */
  readonly error: ZeroBufferError;
  /** Attempts go on for at least this long, even if the timeout is shorter, in milliseconds. */
  readonly leastMs?: number;
  /** Attempts go on for at most this long, even if the timeout is longer, in milliseconds. */
  readonly mostMs?: number;
  /** Whether dead processes may have left the buffer. */
  readonly isAbandoned?: boolean;
}

/** How long to go on with attempts to connect. */
export class Patience {
  readonly #deadline: number;
  /** Why the last attempt failed, and when attempts began to fail for that reason. */
  #reason: string | undefined;
  #since = 0;

  constructor(timeoutMs: number) {
    this.#deadline = performance.now() + timeoutMs;
  }

  /** Throws the obstacle's error if no time is left for another attempt. */
  check({ error, leastMs = 0, mostMs = Number.POSITIVE_INFINITY }: Obstacle): void {
    const now = performance.now();
    if (error.message !== this.#reason) {
      this.#reason = error.message;
      this.#since = now;
    }
    const elapsedMs = now - this.#since;
    if (elapsedMs >= mostMs || (now >= this.#deadline && elapsedMs >= leastMs)) throw error;
  }
}
