// The sizes of a buffer, and how its ends wait.

/** What a reader makes its buffer from. All optional. */
export interface BufferConfig {
  /** Bytes for the writer's metadata, its 8-byte length included; rounded up to a multiple of 64. Default 4096. */
  metadataSize?: number;
  /** Bytes of the ring: the largest frame is 16 bytes smaller. Rounded up to a multiple of 64. Default 256 MiB. */
  payloadSize?: number;
  /** Exact permission bits of memory and semaphores, 0 to 0o777. Default: 0666 less the umask. */
  mode?: number | undefined;
}

/**
 * How an end of a buffer waits for the other.
 * - `adaptive`: spins for up to 20 µs while that has paid lately, then blocks.
 * - `spin`: never blocks, which costs a processor and saves the time of waking: asynchronous calls spin for 15 µs.
 * - `block`: never spins.
 *
 * Where writer and reader may run on one processor only, `adaptive` does not spin.
 */
export const WAIT_MODES = ["adaptive", "spin", "block"] as const;
export type WaitMode = (typeof WAIT_MODES)[number];

/** Sizes as they are in shared memory, in bytes, multiples of 64. */
export interface BufferSizes {
  readonly metadataSize: number;
  readonly payloadSize: number;
}

export const DEFAULT_METADATA_SIZE = 4096;
export const DEFAULT_PAYLOAD_SIZE = 256 * 1024 * 1024;

/** Size of the OIEB, the control block at the start of the shared memory, in bytes. */
export const OIEB_SIZE = 128;

/** Size of the header before each frame in the ring, in bytes. */
export const FRAME_HEADER_SIZE = 16;

/** Views end at 4 GiB, and so do frames. */
const MAX_VIEW_SIZE = 2 ** 32;

/** Far more than any machine has, and exact in a JavaScript number with all that is added to it. */
const MAX_SIZE = 2 ** 48;

/**
 * Checks a configuration and rounds its sizes as all implementations do (docs/protocol.md, section 1).
 *
 * @throws RangeError if a value is not a whole number in its range.
 */
export function resolveConfig(config: BufferConfig = {}): BufferSizes & { mode: number | undefined } {
  const { metadataSize = DEFAULT_METADATA_SIZE, payloadSize = DEFAULT_PAYLOAD_SIZE, mode } = config;
  checkInteger("metadataSize", metadataSize, 0, MAX_SIZE);
  checkInteger("payloadSize", payloadSize, FRAME_HEADER_SIZE + 1, MAX_SIZE);
  if (mode !== undefined) checkInteger("mode", mode, 0, 0o777);
  return { metadataSize: roundUp(metadataSize), payloadSize: roundUp(payloadSize), mode };
}

/** The largest frame that fits a ring of this size, in bytes. */
export function maxFrameSize(payloadSize: number): number {
  return Math.min(payloadSize - FRAME_HEADER_SIZE, MAX_VIEW_SIZE);
}

/**
 * Checks a timeout in milliseconds: 0 looks once, `Infinity` never ends.
 *
 * @throws RangeError if it is negative or not a number.
 */
export function checkTimeout(name: string, milliseconds: number): void {
  if (typeof milliseconds === "number" && milliseconds >= 0) return;
  throw new RangeError(`${name} is ${milliseconds}: it takes milliseconds from 0 on, or Infinity.`);
}

/**
 * Checks a mode of waiting that may come from a program without types.
 *
 * @throws RangeError if it is none of the {@link WAIT_MODES}.
 */
export function checkWaitMode(mode: WaitMode): WaitMode {
  if (WAIT_MODES.includes(mode)) return mode;
  throw new RangeError(`wait is ${mode}: it takes ${WAIT_MODES.join(", ")}.`);
}

/**
 * Checks a number of frames to take.
 *
 * @throws RangeError if it is not a whole number from 1 on.
 */
export function checkCount(name: string, count: number): void {
  checkInteger(name, count, 1, Number.MAX_SAFE_INTEGER);
}

function checkInteger(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`${name} is ${value}: it takes a whole number from ${least} to ${most}.`);
}

function roundUp(size: number): number {
  return Math.ceil(size / 64) * 64;
}
