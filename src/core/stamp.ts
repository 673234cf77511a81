// Stamps: number and time of a frame, in its first bytes. A convention of programs, of which the protocol knows nothing.

import { wallClockUs } from "../native/process.ts";

/** Bytes of a stamp: three unsigned 64-bit numbers, little-endian. */
export const STAMP_SIZE = 24;

/** What a source has not told. */
const UNKNOWN = 2n ** 64n - 1n;

/** What a source tells of a frame. */
export interface Stamp {
  /** The frame's number, from 0. */
  readonly number: bigint;
  /** When it was made: nanoseconds since 1970, or by a clock of the source. */
  readonly time: bigint;
  /** The exposure time in microseconds; 2^64 - 1: unknown. */
  readonly exposure: bigint;
}

/**
 * Stores a stamp in the first {@link STAMP_SIZE} bytes of a frame. Each value is taken modulo 2^64.
 *
 * @param stamp without `time` the system's clock, to the microsecond; without `exposure` it is unknown.
 * @throws RangeError if the frame is shorter.
 */
export function stampFrame(
  frame: Uint8Array,
  {
    number,
    time = BigInt(wallClockUs()) * 1000n,
    exposure = UNKNOWN,
  }: Pick<Stamp, "number"> & Partial<Stamp>,
): void {
  const view = viewOf(frame);
  view.setBigUint64(0, number, true);
  view.setBigUint64(8, time, true);
  view.setBigUint64(16, exposure, true);
}

/**
 * The stamp in the first {@link STAMP_SIZE} bytes of a frame. Frames without one cannot be told from others.
 *
 * @throws RangeError if the frame is shorter.
 */
export function readStamp(frame: Uint8Array): Stamp {
  const view = viewOf(frame);
  return {
    number: view.getBigUint64(0, true),
    time: view.getBigUint64(8, true),
    exposure: view.getBigUint64(16, true),
  };
}

/** How long ago the system's clock showed a time, in microseconds. Negative: it will. */
export function ageUs({ time }: Pick<Stamp, "time">): number {
  return wallClockUs() - Number(time / 1000n);
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  if (length >= STAMP_SIZE) return new DataView(buffer, byteOffset, STAMP_SIZE);
  throw new RangeError(`A frame of ${length} bytes has no stamp, which has ${STAMP_SIZE} bytes.`);
}
