// The clock of a run: how long it took, and when the next frame is due.

import { raceAbort } from "../runtime/abort.ts";
import { TurnKeeper } from "../runtime/turn.ts";

/** How long a short wait lasts, in milliseconds: signals are answered soon enough all the same. */
const SHORT_WAIT_MS = 2;

/**
 * Says how long a command waits with its thread, before it leaves the waiting to the event loop: to be woken by that takes
 * ten times the processor time. A wait in vain is not repeated until something is there again before it is waited for.
 */
export class ShortWait {
  readonly #mostMs: number;
  #pays = true;

  /** @param limitMs The longest wait that was asked for, in milliseconds. */
  constructor(limitMs = Number.POSITIVE_INFINITY) {
    this.#mostMs = Math.min(SHORT_WAIT_MS, limitMs);
  }

  /** In milliseconds; 0: not at all. */
  get milliseconds(): number {
    return this.#pays ? this.#mostMs : 0;
  }

  /** Notes whether what was waited for had come. */
  note(found: boolean): void {
    this.#pays = found;
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

/** The clock of a loop over frames: it measures the work, lets the event loop have its turns, and tells of the progress. */
export class LoopClock extends Stopwatch {
  readonly #turns = new TurnKeeper();
  readonly #signal: AbortSignal;
  readonly #tell: () => void;

  /**
   * @param signal ends the loop at the next turn.
   * @param tell is called at each pause: every few milliseconds while there is work.
   */
  constructor(signal: AbortSignal, tell: () => void) {
    super();
    this.#signal = signal;
    this.#tell = tell;
  }

  /** Notes that `frames` of `size` bytes in all are done. True if the caller should now await {@link turn}. */
  isDue(size: number, frames?: number): boolean {
    return this.#turns.isDue(size, frames);
  }

  /** Before each wait: what it takes is not counted, and there is time to tell. */
  pause(): void {
    this.mark();
    this.#tell();
  }

  /** Lets the event loop have its turn. Rejects with the signal's reason once it is aborted. */
  async turn(): Promise<void> {
    this.pause();
    await this.#turns.turn();
    this.#signal.throwIfAborted();
  }
}

/** How fast to go; nothing given means as fast as possible. */
export interface PaceOptions {
  /** Frames a second. */
  readonly rate: number | undefined;
  readonly batchSize: number;
  readonly delayMs: number;
}

/**
 * When each frame is due. Batches go at the rate asked for, by deadlines counted from the first one, so that a late
 * frame makes no later one late; and a pause follows each batch, however long that took.
 */
export class Pace {
  readonly #frameMs: number;
  readonly #batchSize: number;
  readonly #delayMs: number;
  #startedAt: number | undefined;
  #pausedUntil = 0;

  constructor({ rate, batchSize, delayMs }: PaceOptions) {
    this.#frameMs = rate === undefined ? 0 : 1000 / rate;
    this.#batchSize = batchSize;
    this.#delayMs = delayMs;
  }

  /** Whether frame number `index` is to go now. */
  isDue(index: number): boolean {
    if (index % this.#batchSize !== 0) return true;
    // Before the clock is read: the first question starts it, and the first frame is due then.
    const dueAt = this.dueAt(index);
    return performance.now() >= dueAt;
  }

  /** Waits until it is, or up to a millisecond longer; rejects with the signal's reason once it is aborted. */
  async wait(index: number, signal: AbortSignal): Promise<void> {
    const dueAt = this.dueAt(index);
    for (let left = dueAt - performance.now(); left > 0; left = dueAt - performance.now()) {
      await raceAbort(Bun.sleep(Math.ceil(left)), signal);
    }
  }

  /** Notes that frame number `index` is done. */
  done(index: number): void {
    if (this.#delayMs > 0 && (index + 1) % this.#batchSize === 0) {
      this.#pausedUntil = performance.now() + this.#delayMs;
    }
  }

  /** When frame number `index` is due, by `performance.now()`. The clock starts with the first question. */
  dueAt(index: number): number {
    this.#startedAt ??= performance.now();
    return Math.max(this.#startedAt + index * this.#frameMs, this.#pausedUntil);
  }
}
