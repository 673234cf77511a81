// The clocks of a run: how long it took, how long to wait, and when the next frame is due.

import { raceAbort } from "../runtime/abort.ts";
import { TurnKeeper } from "../runtime/turn.ts";

/** The length of a short wait, in milliseconds: signals are still handled soon enough. */
const SHORT_WAIT_MS = 2;

/**
 * How long a command blocks its thread to wait, before it waits with the event loop: waking up there takes ten times the
 * processor time. After a wait without success there is no other, until something is available without a wait.
 */
export class ShortWait {
  readonly #mostMs: number;
  #pays = true;

  /** @param limitMs The timeout, in milliseconds. */
  constructor(limitMs = Number.POSITIVE_INFINITY) {
    this.#mostMs = Math.min(SHORT_WAIT_MS, limitMs);
  }

  /** How long to block, in milliseconds; 0: not at all. */
  get milliseconds(): number {
    return this.#pays ? this.#mostMs : 0;
  }

  /** Notes whether the wait was successful. */
  note(found: boolean): void {
    this.#pays = found;
  }
}

/** Measures the time from the first work to the last, without the waits before and after. */
export class Stopwatch {
  #startedAt: number | undefined;
  #lastAt = 0;

  /** Notes the start of work; only the first call counts. */
  start(): void {
    this.#startedAt ??= performance.now();
  }

  /** Notes that work was done until now. */
  mark(): void {
    this.#lastAt = performance.now();
  }

  /** From the start to the last mark, in seconds, to the microsecond. */
  get seconds(): number {
    if (this.#startedAt === undefined) return 0;
    return Math.round(Math.max(0, this.#lastAt - this.#startedAt) * 1000) / 1e6;
  }
}

/** The clock of a loop over frames: it measures the work, gives the event loop its turns, and reports the progress. */
export class LoopClock extends Stopwatch {
  readonly #turns = new TurnKeeper();
  readonly #signal: AbortSignal;
  readonly #report: () => void;

  /**
   * @param signal ends the loop at the next turn.
   * @param report is called at each pause: every few milliseconds while there is work.
   */
  constructor(signal: AbortSignal, report: () => void) {
    super();
    this.#signal = signal;
    this.#report = report;
  }

  /** Notes that `frames` with `size` bytes in total are done. Returns true if the caller should await {@link turn}. */
  isDue(size: number, frames?: number): boolean {
    return this.#turns.isDue(size, frames);
  }

  /** Call it before each wait, which is not measured. */
  pause(): void {
    this.mark();
    this.#report();
  }

  /** Reports the progress. */
  report(): void {
    this.#report();
  }

  /** Gives the event loop a turn. Rejects with the signal's reason if it is aborted. */
  async turn(): Promise<void> {
    this.pause();
    await this.#turns.turn();
    this.#signal.throwIfAborted();
  }
}

/** How fast to send frames; as fast as possible by default. */
export interface PaceOptions {
  /** Frames per second. */
  readonly rate: number | undefined;
  readonly batchSize: number;
  readonly delayMs: number;
}

/**
 * When each frame is due. The deadlines are counted from the first frame, so that a late frame does not delay the frames
 * after it. A pause follows each batch, however long the batch took.
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

  /** Whether frame number `index` is due. */
  isDue(index: number): boolean {
    if (index % this.#batchSize !== 0) return true;
    // Before the clock is read: the first call starts it, and the first frame is due at that time.
    const dueAt = this.dueAt(index);
    return performance.now() >= dueAt;
  }

  /** Waits until it is due, or up to a millisecond longer. Rejects with the signal's reason if it is aborted. */
  async wait(index: number, signal: AbortSignal): Promise<void> {
    const dueAt = this.dueAt(index);
    for (let left = dueAt - performance.now(); left > 0; left = dueAt - performance.now()) {
      await raceAbort(Bun.sleep(Math.ceil(left)), signal);
    }
  }

  /** Counts the deadlines from frame number `index` on, which is sent now. */
  restart(index: number): void {
    this.#startedAt = performance.now() - index * this.#frameMs;
  }

  /** Notes that frame number `index` is sent. */
  done(index: number): void {
    if (this.#delayMs > 0 && (index + 1) % this.#batchSize === 0) {
      this.#pausedUntil = performance.now() + this.#delayMs;
    }
  }

  /** When frame number `index` is due, by `performance.now()`. The first call starts the clock. */
  dueAt(index: number): number {
    this.#startedAt ??= performance.now();
    return Math.max(this.#startedAt + index * this.#frameMs, this.#pausedUntil);
  }
}
