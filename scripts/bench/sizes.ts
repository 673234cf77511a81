// Sizes that several measurements have in common, in bytes.

export const KIB = 1024;
export const MIB = 1024 * KIB;
/** Of the ring at 64 KiB and 1 MiB; at 1 KiB it is as large as the pipe. */
export const RING_SIZE = 16 * MIB;
/** Of the ring that commands make by default. */
export const DEFAULT_RING_SIZE = 256 * MIB;
/** A picture of 1920 x 1080 pixels in YUV 4:2:0, and 16 bytes. */
export const PICTURE_SIZE = 3_110_416;
