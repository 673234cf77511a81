// How a reader takes frames: all that are there, or the newest one.

import type { Frame, FrameBatch, Reader } from "../../core/index.ts";

/** Frames that were taken together. */
export type Batch = Pick<FrameBatch, "dataOf" | "length" | "release" | "sequenceOf" | "size" | "sizeOf">;

/** Takes up to `most` frames; none if there are none within the time. */
export interface Takes {
  /** Blocks the thread for up to `milliseconds`; with 0 it looks once. */
  now(most: number, milliseconds: number): Batch;
  later(most: number, milliseconds: number, signal: AbortSignal): Promise<Batch>;
}

/** All frames. */
export function allOf(reader: Reader): Takes {
  return {
    now: (most, milliseconds) =>
      milliseconds > 0 ? reader.readFrames(most, milliseconds) : reader.tryReadFrames(most),
    later: (most, milliseconds, signal) => reader.readFramesAsync(most, milliseconds, { signal }),
  };
}

/** The newest frame that is there. */
export function newestOf(reader: Reader): Takes {
  return {
    now: (_, milliseconds) => single(reader.readLatest(milliseconds)),
    later: async (_, milliseconds, signal) => single(await reader.readLatestAsync(milliseconds, { signal })),
  };
}

function single(frame: Frame): Batch {
  return {
    length: frame.isValid ? 1 : 0,
    size: frame.size,
    sizeOf: () => frame.size,
    sequenceOf: () => frame.sequence,
    dataOf: () => frame.data,
    release: (count = 1) => {
      if (count > 0) frame.release();
    },
  };
}
