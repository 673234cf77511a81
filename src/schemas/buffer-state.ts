// The state of a buffer in the documents of list and inspect.

import { type Static, Type } from "typebox";
import { count, figure, orNull } from "./common.ts";

const participant = orNull(
  Type.Object(
    {
      pid: count(
        "Process id stored in the buffer, of the pid namespace that the process is in; 0 if none is stored yet.",
      ),
      host_pid: orNull(
        count(
          "Process id here, another one if the process is in another container; null if it cannot be seen.",
        ),
      ),
      command: orNull(
        Type.String({ description: "Command line of the process; null if it cannot be read." }),
      ),
      alive: Type.Boolean({
        description: "Whether the process uses the buffer and is alive, or cannot be told to be dead.",
      }),
    },
    { additionalProperties: false },
  ),
);

/** The properties that both documents have. */
export const bufferState = {
  state: orNull(
    Type.Enum(["live", "idle", "orphan", "stale", "corrupt"], {
      description:
        "live: writer and reader are alive; idle: only the reader; orphan: only the writer; stale: neither; " +
        "corrupt: the control block is invalid; null: the buffer cannot be read.",
    }),
  ),
  fault: orNull(Type.String({ description: "Why the buffer is corrupt or cannot be read." })),
  size_bytes: orNull(count("Bytes of shared memory; null if only a lock file is left.")),
  payload_size: orNull(count("Bytes of the ring.")),
  used_bytes: orNull(count("Bytes of the ring that are in use: unread or held frames.")),
  used_percent: orNull(figure("The same in percent of the ring.")),
  frames_written: orNull(count("Frames written since its creation, wrap markers included.")),
  frames_read: orNull(count("Frames read since its creation; some implementations count wrap markers.")),
  frames_per_second: orNull(
    figure("Frames written per second, measured over --interval-ms; null if not measured."),
  ),
  sharing: orNull(
    Type.Object(
      {
        takes_descriptors: Type.Boolean({
          description: "Whether its reader takes frames that lie in another buffer, the source.",
        }),
        source: orNull(
          Type.Enum(["attached", "refused"], {
            description: "Whether its reader has a source attached, or has refused one; null: neither.",
          }),
        ),
        forwarder_pid: orNull(count("Process id of the writer that shares the source; null without one.")),
        descriptors_released: count("Frames of sources that its readers have released so far."),
        lag_frames: orNull(
          count(
            "With a source attached, frames that its reader has not released, up to 4096; otherwise null.",
          ),
        ),
        mapped_by_targets: orNull(
          Type.Boolean({
            description:
              "Whether it is a source that readers of other buffers have mapped; null if that cannot be seen.",
          }),
        ),
      },
      {
        additionalProperties: false,
        description: "How frames are passed on through it, or of it, without a copy; null if it is corrupt.",
      },
    ),
  ),
  writer: participant,
  reader: participant,
};

export const BufferEntry = Type.Object(
  { buffer_name: Type.String(), ...bufferState },
  { additionalProperties: false },
);
export type BufferEntry = Static<typeof BufferEntry>;
