// What a buffer tells of frames that are passed on without a copy (docs/protocol.md, section 10). Only reads.

import { OiebFlag, type SharedMemory } from "../../native/memory.ts";
import type { Oieb } from "../buffer/oieb.ts";
import { FRAME_HEADER_SIZE, OIEB_SIZE } from "../config.ts";
import { sizeInRing } from "./special-frames.ts";

/** How a buffer takes part in sharing. */
export interface SharingState {
  /** Whether its reader takes descriptors of frames that lie in another buffer, the source. */
  readonly takesDescriptors: boolean;
  /** Whether its reader has a source attached, or has refused one; null: neither. */
  readonly source: "attached" | "refused" | null;
  /** Descriptors that its readers have released so far. */
  readonly releasedDescriptors: number;
  /** With a source attached, frames in its ring that are not released, up to 4096; otherwise null. */
  readonly lag: number | null;
  /** Whether it is a source that readers of other buffers have mapped; null if the system does not tell. */
  readonly isMapped: boolean | null;
}

/** At most this many frames are counted. */
const MOST_FRAMES = 4096;

/** The state of a buffer whose control block is right. */
export function sharingOf(memory: SharedMemory, oieb: Oieb): SharingState {
  const { answer, flags, releasedDescriptors } = oieb;
  const source = answer === 0n ? null : answer % 2n === 0n ? "attached" : "refused";
  return {
    takesDescriptors: (flags & OiebFlag.SHARING) !== 0n,
    source,
    releasedDescriptors,
    lag: source === "attached" ? framesIn(memory, oieb) : null,
    isMapped: memory.isShared() ?? null,
  };
}

/** Counts the frames from the read position to the write position. Both sides may be at work meanwhile: what does not fit ends it. */
function framesIn(memory: SharedMemory, oieb: Oieb): number {
  const { metadataSize, payloadFreeBytes, payloadReadPos, payloadSize } = oieb;
  const header = new BigUint64Array(2);
  const bytes = new Uint8Array(header.buffer);
  let [position, left, frames] = [payloadReadPos, payloadSize - payloadFreeBytes, 0];
  while (left >= FRAME_HEADER_SIZE && frames < MOST_FRAMES) {
    const toEnd = payloadSize - position;
    const size = toEnd < FRAME_HEADER_SIZE ? 0 : sizeAt(position);
    if (size === 0) {
      // The rest of the ring is wasted.
      left -= toEnd;
      position = 0;
      continue;
    }
    position += FRAME_HEADER_SIZE + size;
    left -= FRAME_HEADER_SIZE + size;
    if (position > payloadSize || left < 0) break;
    // An attachment has no number.
    if (header[1] !== 0n) frames++;
  }
  return frames;

  function sizeAt(position: number): number {
    memory.copy(OIEB_SIZE + metadataSize + position, FRAME_HEADER_SIZE, bytes);
    return sizeInRing(header[0] as bigint);
  }
}
