// How a reader takes frames: all that are there, or the newest one.

import type { Frame, FrameBatch, Reader } from "../../core/index.ts";

/** Frames that were taken together. */
export type Batch = Pick<FrameBatch, "dataOf" | "length" | "release" | "sequenceOf" | "size" | "sizeOf">;

/**
 * Takes up to `most` frames; none if there are none within the time. Blocks the thread for up to `milliseconds`, and no longer
 * than until a signal comes; with 0 it looks once.
 */
export type Take = (most: number, milliseconds: number) => Batch;

/** All frames. */
export function allOf(reader: Reader): Take {
  return (most, milliseconds) =>
    milliseconds > 0 ? reader.readFrames(most, milliseconds) : reader.tryReadFrames(most);
}

/** The newest frame that is there. */
export function newestOf(reader: Reader): Take {
  return (_, milliseconds) => single(reader.readLatest(milliseconds));
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
