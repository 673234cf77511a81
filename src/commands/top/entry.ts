// What top shows of a buffer, in JSON.

import type { Sample } from "../../cli/sampling.ts";
import type { TopEntry } from "../../schemas/top.ts";
import { entryOf } from "../list/entry.ts";

/** A buffer as top publishes it. */
export function topEntryOf(sample: Sample): TopEntry {
  const { snapshot, framesPerSecond, bytesPerSecond, frameSize, hasMoved, quietSeconds, waits } = sample;
  return {
    ...entryOf(snapshot, framesPerSecond),
    bytes_per_second: bytesPerSecond,
    frame_size: frameSize === null ? null : Math.round(frameSize),
    last_frame_age_seconds: hasMoved ? Math.round(quietSeconds * 1000) / 1000 : null,
    waits: { ...waits },
  };
}
