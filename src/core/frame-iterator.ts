// The frames of a reader as an asynchronous iteration.

import { WriterDeadError } from "./errors.ts";
import type { Frame } from "./frame.ts";

/** How the iteration gets its frames. */
interface FrameReads {
  /** Whether {@link take} can hand one out at once. */
  isAtHand(): boolean;
  take(): Frame;
  /** Resolves with an invalid frame when the time is over. */
  wait(): Promise<Frame>;
  /** What is returned at once; the event loop may be due. */
  inTurn<T>(result: T, size: number): Promise<T>;
}

/**
 * Iterates until the writer has left or the time is over. By hand, because an asynchronous generator takes longer for a turn
 * than a small frame for its way.
 */
export function iterate(reads: FrameReads): AsyncIterableIterator<Frame, void, void> {
  const end = { done: true, value: undefined } as const;
  let ended = false;
  const wait = async (): Promise<IteratorResult<Frame, void>> => {
    try {
      const value = await reads.wait();
      if (value.isValid) return { done: false, value };
    } catch (error) {
      ended = true;
      if (!(error instanceof WriterDeadError && error.reason === "left")) throw error;
    }
    ended = true;
    return end;
  };
  return {
    next: (): Promise<IteratorResult<Frame, void>> => {
      if (ended) return Promise.resolve(end);
      try {
        if (!reads.isAtHand()) return wait();
        const value = reads.take();
        return reads.inTurn({ done: false, value }, value.size);
      } catch (error) {
        ended = true;
        return Promise.reject(error);
      }
    },
    return: () => {
      ended = true;
      return Promise.resolve(end);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
