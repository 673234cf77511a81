// Deadlines, and the clock of a run.

import { raceAbort } from "../core/abort.ts";

/** Waits until `performance.now()` has reached `time`, up to a millisecond longer; rejects with the signal's reason. */
export async function waitUntil(time: number, signal: AbortSignal): Promise<void> {
  for (let left = time - performance.now(); left > 0; left = time - performance.now()) {
    await raceAbort(Bun.sleep(Math.ceil(left)), signal);
  }
}

/** Measures from the first piece of work to the last, without the waiting before and after. */
export class Stopwatch {
  #startedAt: number | undefined;
  #lastAt = 0;

  /** Work begins; only the first time counts. */
  start(): void {
    this.#startedAt ??= performance.now();
  }

  /** Work has been done until now. */
  mark(): void {
    this.#lastAt = performance.now();
  }

  /** From the start to the last mark, in seconds, to the microsecond. */
  get seconds(): number {
    if (this.#startedAt === undefined) return 0;
    return Math.round(Math.max(0, this.#lastAt - this.#startedAt) * 1000) / 1e6;
  }
}
