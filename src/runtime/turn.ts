// Keeps asynchronous calls that never have to wait from starving the event loop.

/** A promise chain that goes on for longer than this lets timers, signals and I/O have their turn. */
const TURN_MS = 4;

/** How many calls may pass between two looks at the clock. */
const CALLS_PER_LOOK = 16;

/** Bytes that take about as long to handle as the calls between two looks. */
const BYTES_PER_LOOK = 65536;

/** Counts the work of a run of calls, and says when the event loop is due. */
export class TurnKeeper {
  #calls = 0;
  #turnedAt = performance.now();

  /** Notes a call that handled `frames` of `size` bytes in all. True if the caller should now await {@link turn}. */
  isDue(size: number, frames = 1): boolean {
    this.#calls += size < BYTES_PER_LOOK ? frames : CALLS_PER_LOOK;
    if (this.#calls < CALLS_PER_LOOK) return false;
    this.#calls = 0;
    return performance.now() - this.#turnedAt > TURN_MS;
  }

  /** Resolves after the event loop has looked at everything that waits. */
  async turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.noteTurn();
  }

  /** Notes that the event loop has just had its turn. */
  noteTurn(): void {
    this.#turnedAt = performance.now();
  }
}
