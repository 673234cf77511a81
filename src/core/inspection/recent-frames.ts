// What the headers of a ring tell of its frames (docs/protocol.md, section 1.5). Only reads.

import { OiebFlag, type SharedMemory } from "../../native/memory.ts";
import type { Oieb } from "../buffer/oieb.ts";
import { FRAME_HEADER_SIZE, OIEB_SIZE } from "../config.ts";
import { isAttachment, isDescriptor, sizeInRing } from "./special-frames.ts";

/** The frames that the writer has put at the start of the ring, since it was there last. */
export interface RecentFrames {
  /** Their mean size in bytes. */
  readonly meanSize: number;
  /** The sequence number of the newest frame; null if it is not among those that were looked at. */
  readonly newestSequence: number | null;
}

/** A descriptor is the id of its source, and the offset and the length of its frame. */
const DESCRIPTOR_WORDS = 3;

/** At most this many headers are looked at. */
const MOST_HEADERS = 16;

/**
 * Follows the frames from the start of the ring, where a writer begins anew whenever the ring is empty or comes to its end.
 * The writer may be at work meanwhile: what does not fit is not counted. Undefined if there is no frame.
 */
export function recentFramesOf(memory: SharedMemory, oieb: Oieb): RecentFrames | undefined {
  const { metadataSize, payloadSize, payloadWritePos, flags } = oieb;
  const inOrder = (flags & OiebFlag.ANY_SEQUENCE) === 0n;
  // A header, and what a descriptor consists of: the last word is the length of its frame.
  const words = new BigUint64Array(2 + DESCRIPTOR_WORDS);
  const bytes = new Uint8Array(words.buffer);
  let position = 0;
  let frames = 0;
  let sequence = 0;
  let size = 0;
  // The ring ends where the writer has just begun anew: what follows is the run before.
  const end = payloadWritePos === 0 ? payloadSize : payloadWritePos;
  while (frames < MOST_HEADERS && position + FRAME_HEADER_SIZE < end) {
    memory.copy(OIEB_SIZE + metadataSize + position, bytes.length, bytes);
    const header = words[0] as bigint;
    const number = Number(words[1]);
    const next = position + FRAME_HEADER_SIZE + sizeInRing(header);
    if (isAttachment(header) && next <= end) {
      position = next;
      continue;
    }
    const follows = frames === 0 || !inOrder || number === sequence + 1;
    if (header === 0n || number === 0 || next > end || !follows) break;
    size += isDescriptor(header) ? Number(words.at(-1)) : sizeInRing(header);
    position = next;
    sequence = number;
    frames++;
  }
  if (frames === 0) return undefined;
  return {
    meanSize: size / frames,
    newestSequence: inOrder && position === payloadWritePos ? sequence : null,
  };
}
