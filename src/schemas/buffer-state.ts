// What list and inspect tell of a buffer.

import { type Static, Type } from "typebox";
import { count, figure, orNull } from "./common.ts";

const participant = orNull(
  Type.Object(
    {
      pid: count("Process id as the buffer holds it; 0 where the lock is held and no id is stored."),
      command: orNull(Type.String({ description: "Its command line; null where it cannot be read." })),
      alive: Type.Boolean({ description: "Whether that process lives and takes part in the buffer." }),
    },
    { additionalProperties: false },
  ),
);

/** What list and inspect tell of a buffer alike. */
export const bufferState = {
  state: orNull(
    Type.Enum(["live", "idle", "orphan", "stale", "corrupt"], {
      description:
        "live: writer and reader live; idle: the reader alone; orphan: the writer alone; stale: neither; " +
        "corrupt: the control block is refused; null: it may not be read.",
    }),
  ),
  fault: orNull(Type.String({ description: "Why it is corrupt or cannot be read." })),
  size_bytes: orNull(count("Bytes of shared memory; null where only a lock file is left.")),
  payload_size: orNull(count("Bytes of the ring.")),
  used_bytes: orNull(count("Bytes of the ring that are not free: unread or held frames.")),
  used_percent: orNull(figure("The same in percent of the ring.")),
  frames_written: orNull(count("Frames written since it was made, wrap markers included.")),
  frames_read: orNull(count("Frames read since it was made; some implementations count wrap markers.")),
  frames_per_second: orNull(
    figure("Frames written a second, measured over --interval-ms; null where that was not measured."),
  ),
  writer: participant,
  reader: participant,
};

export const BufferEntry = Type.Object(
  { buffer_name: Type.String(), ...bufferState },
  { additionalProperties: false },
);
export type BufferEntry = Static<typeof BufferEntry>;
