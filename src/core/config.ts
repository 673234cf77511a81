// The options that readers and writers share: sizes, timeouts and ways of waiting.

/** The sizes and permissions of a new buffer. All optional. */
export interface BufferConfig {
  /**
   * Bytes for the writer's metadata and its 8-byte length, 0 to 2^48; rounded up to a multiple of 64. Default 4096. With 0
   * there is no metadata.
   */
  metadataSize?: number;
  /** Bytes of the ring, 17 to 2^48; rounded up to a multiple of 64. The largest frame is 16 bytes smaller. Default 256 MiB. */
  payloadSize?: number;
  /** Exact permission bits of memory and semaphores, 0 to 0o777. Default: 0o666 less the umask. */
  mode?: number | undefined;
}

/**
 * How one side of a buffer waits for the other.
 * - `adaptive`: spins for up to 20 µs while spinning has paid off recently, then blocks. It never spins if writer and
 *   reader share one processor.
 * - `spin`: never blocks. It saves the time of waking and occupies a processor. Asynchronous calls spin for 15 µs.
 * - `block`: never spins.
 */
export const WAIT_MODES = ["adaptive", "spin", "block"] as const;
/** One of the {@link WAIT_MODES}. */
export type WaitMode = (typeof WAIT_MODES)[number];

/** The sizes of a buffer in shared memory, in bytes: multiples of 64. */
export interface BufferSizes {
  /** Bytes for the metadata and its 8-byte length. */
  readonly metadataSize: number;
  /** Bytes of the ring. */
  readonly payloadSize: number;
}

/** Bytes for metadata in a buffer whose reader gives no other size. */
export const DEFAULT_METADATA_SIZE = 4096;

/** Bytes of the ring in a buffer whose reader gives no other size: 256 MiB. */
export const DEFAULT_PAYLOAD_SIZE = 256 * 1024 * 1024;

/** Size of the OIEB, the control block at the start of the shared memory, in bytes. */
export const OIEB_SIZE = 128;

/** Size of the header before each frame in the ring, in bytes. */
export const FRAME_HEADER_SIZE = 16;

/** The largest view of memory, and so the largest frame, in bytes. */
export const MAX_VIEW_SIZE = 2 ** 32;

/** More than any machine has. Sums of such sizes are exact in a JavaScript number. */
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
  throw new RangeError(`\`${name}\` is ${milliseconds}: it must be 0 or more milliseconds, or Infinity.`);
}

/**
 * Checks a mode of waiting: a program without types may give anything.
 *
 * @throws RangeError if it is not one of the {@link WAIT_MODES}.
 */
export function checkWaitMode(mode: WaitMode): WaitMode {
  if (WAIT_MODES.includes(mode)) return mode;
  throw new RangeError(`\`wait\` is ${mode}: it must be one of ${WAIT_MODES.join(", ")}.`);
}

/**
 * Checks a count of frames, requests or handlers.
 *
 * @throws RangeError if it is not a whole number of at least 1.
 */
export function checkCount(name: string, count: number): void {
  checkInteger(name, count, 1, Number.MAX_SAFE_INTEGER);
}

function checkInteger(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`\`${name}\` is ${value}: it must be a whole number from ${least} to ${most}.`);
}

function roundUp(size: number): number {
  return Math.ceil(size / 64) * 64;
}
