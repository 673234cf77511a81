// Asynchronous reads that wait for frames.

/** How long to wait at a time. The end of each slice wakes the event loop, and an idle reader must cost nothing. */
const SLICE_MS = 250;

interface WaitingRead {
  readonly deadline: number;
  /** Resolves with the frames that are there. */
  succeed(): void;
  /** Resolves without a frame. */
  expire(): void;
  reject(error: unknown): void;
}

/** What the queue needs from its reader. */
interface FrameSource {
  /** Whether there are frames to take. What it throws rejects every read. */
  hasFrames(): boolean;
  /** Waits for a token, or for the time to pass. */
  sleep(milliseconds: number): Promise<void>;
}

/** Serves waiting reads in the order of their calls. One loop waits for all of them, and ends with the last one. */
export class ReadQueue {
  readonly #source: FrameSource;
  /** Whether no read waits. A plain field, because each look at the ring asks for it. */
  isEmpty = true;
  /** In the order of their calls. */
  readonly #reads = new Set<WaitingRead>();
  #isServing = false;
  #awakeAt = 0;
  #wake: () => void = () => {};

  constructor(source: FrameSource) {
    this.#source = source;
  }

  /**
   * Waits up to `timeoutMs` for frames.
   *
   * @param take hands out what the read asks for. Called as soon as there are frames: a turn later, another call might
   *   have taken them.
   * @param none the outcome without a frame.
   * @returns a promise that rejects with the signal's reason once that is aborted, and with what the look at the ring throws.
   */
  add<T>(take: () => T, none: T, timeoutMs: number, signal: AbortSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = () => {
        this.#reads.delete(read);
        this.isEmpty = this.#reads.size === 0;
        signal?.removeEventListener("abort", onAbort);
      };
      const onAbort = () => read.reject(signal?.reason);
      const read: WaitingRead = {
        deadline: performance.now() + timeoutMs,
        succeed: () => {
          const taken = take();
          end();
          resolve(taken);
        },
        expire: () => {
          end();
          resolve(none);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      signal?.addEventListener("abort", onAbort);
      this.#reads.add(read);
      this.isEmpty = false;
      if (!this.#isServing) void this.#serve();
      else if (read.deadline < this.#awakeAt) this.#wake();
    });
  }

  /** Ends the slice: another call has taken frames from the ring, and may leave some. */
  wake(): void {
    this.#wake();
  }

  /** Rejects every read that waits. */
  rejectAll(error: unknown): void {
    for (const read of [...this.#reads]) read.reject(error);
    this.#wake();
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    while (this.#reads.size > 0) {
      try {
        for (const read of this.#reads) {
          if (!this.#source.hasFrames()) break;
          read.succeed();
        }
        this.#expire();
        if (this.#reads.size > 0) await this.#sleep();
      } catch (error) {
        this.rejectAll(error);
      }
    }
    this.#isServing = false;
  }

  #expire(): void {
    const now = performance.now();
    for (const read of this.#reads) if (read.deadline <= now) read.expire();
  }

  #sleep(): Promise<void> {
    const now = performance.now();
    this.#awakeAt = now + SLICE_MS;
    for (const { deadline } of this.#reads) this.#awakeAt = Math.min(this.#awakeAt, deadline);
    return new Promise((resolve, reject) => {
      this.#wake = resolve;
      this.#source.sleep(this.#awakeAt - now).then(resolve, reject);
    });
  }
}
