// When each frame of a recording is due.

/** Turns the times of a recording into deadlines, which are counted from its first frame: a late frame delays no other. */
export class Schedule {
  readonly #speed: number;
  readonly #now: () => number;
  #start: { readonly logTime: bigint; readonly atMs: number } | undefined;
  #last: bigint | undefined;
  #dueAtMs = 0;

  /**
   * @param speed 1 is as recorded, 2 twice as fast, `Infinity` at once.
   * @param now the time in milliseconds.
   */
  constructor(speed: number, now = () => performance.now()) {
    this.#speed = speed;
    this.#now = now;
  }

  /** How long until a frame is due, in milliseconds; not above 0 if it is due. The first one is due when it is asked about. */
  waitMs(logTime: bigint): number {
    if (this.#speed === Number.POSITIVE_INFINITY) return 0;
    const now = this.#now();
    // Another recording, which is older than the one before it, follows at once.
    if (this.#start === undefined || logTime < this.#start.logTime) this.#start = { logTime, atMs: now };
    this.#dueAtMs = this.#start.atMs + Number(logTime - this.#start.logTime) / 1e6 / this.#speed;
    this.#last = logTime;
    return this.#dueAtMs - now;
  }

  /** How late it is for the last frame that was asked about, in milliseconds. */
  get latenessMs(): number {
    return this.#last === undefined ? 0 : this.#now() - this.#dueAtMs;
  }

  /** Counts the deadlines from the next frame on. */
  restart(): void {
    this.#start = undefined;
    this.#last = undefined;
  }
}
