// What the headers of a ring tell of its frames (docs/protocol.md, section 1.5). Only reads.

import { OiebFlag, type SharedMemory } from "../../native/memory.ts";
import type { Oieb } from "../buffer/oieb.ts";
import { FRAME_HEADER_SIZE, OIEB_SIZE } from "../config.ts";

/** The frames that the writer has put at the start of the ring, since it was there last. */
export interface RecentFrames {
  /** Their mean size in bytes. */
  readonly meanSize: number;
  /** The sequence number of the newest frame; null if it is not among those that were looked at. */
  readonly newestSequence: number | null;
}

/** At most this many headers are looked at. */
const MOST_HEADERS = 16;

/**
 * Follows the frames from the start of the ring, where a writer begins anew whenever the ring is empty or comes to its end.
 * The writer may be at work meanwhile: what does not fit is not counted. Undefined if there is no frame.
 */
export function recentFramesOf(memory: SharedMemory, oieb: Oieb): RecentFrames | undefined {
  const { metadataSize, payloadSize, payloadWritePos, flags } = oieb;
  const inOrder = (flags & OiebFlag.ANY_SEQUENCE) === 0n;
  const header = new BigUint64Array(2);
  const bytes = new Uint8Array(header.buffer);
  let position = 0;
  let frames = 0;
  let sequence = 0;
  // The ring ends where the writer has just begun anew: what stands there is the run before.
  const end = payloadWritePos === 0 ? payloadSize : payloadWritePos;
  while (frames < MOST_HEADERS && position + FRAME_HEADER_SIZE < end) {
    memory.copy(OIEB_SIZE + metadataSize + position, FRAME_HEADER_SIZE, bytes);
    const [size, number] = [Number(header[0]), Number(header[1])];
    const next = position + FRAME_HEADER_SIZE + size;
    const follows = frames === 0 || !inOrder || number === sequence + 1;
    if (size === 0 || number === 0 || next > end || !follows) break;
    position = next;
    sequence = number;
    frames++;
  }
  if (frames === 0) return undefined;
  const meanSize = position / frames - FRAME_HEADER_SIZE;
  return { meanSize, newestSequence: inOrder && position === payloadWritePos ? sequence : null };
}
