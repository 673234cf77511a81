// The headers of frames that are passed on without a copy (docs/protocol.md, section 10.2).

/** Bit 63 of a header's size: a descriptor, or with bit 62 as well an attachment. */
const SPECIAL = 1n << 63n;
const ATTACHMENT = 1n << 62n;

/** How many bytes follow a header in the ring. */
export const sizeInRing = (size: bigint): number =>
  Number((size & SPECIAL) === 0n ? size : size & ~(SPECIAL | ATTACHMENT));

/** Whether the header is that of a descriptor. */
export const isDescriptor = (size: bigint): boolean => (size & (SPECIAL | ATTACHMENT)) === SPECIAL;

/** Whether the header is that of an attachment. */
export const isAttachment = (size: bigint): boolean =>
  (size & (SPECIAL | ATTACHMENT)) === (SPECIAL | ATTACHMENT);
