// The JSON document of `zerobuffer replay`.

import { type Static, Type } from "typebox";
import { count, ending, figure, orNull, speed } from "./common.ts";

/** The document of `zerobuffer replay`. */
export const ReplayDocument = Type.Object(
  {
    operation: Type.Literal("replay"),
    files: Type.Array(Type.String(), { description: "The files, - for stdin." }),
    channels: Type.Array(
      Type.Object(
        {
          topic: Type.String({ description: "The topic." }),
          buffer_name: Type.String({ description: "Name of the buffer to which its messages go." }),
          frames: count("Messages of the topic, as far as they were replayed."),
          bytes: count("Bytes of these messages."),
        },
        { additionalProperties: false },
      ),
      { description: "The topics that were replayed." },
    ),
    dry_run: Type.Boolean({ description: "Whether nothing was written (--dry-run)." }),
    truncated: Type.Boolean({
      description: "Whether a file ends early, because what recorded it was killed or its disk was full.",
    }),
    recorded_at: orNull(
      Type.String({
        format: "date-time",
        description: "When the first frame was recorded; null without frames.",
      }),
    ),
    recorded_seconds: figure("Time from the first frame to the last as they were recorded."),
    frames_written: count("Frames written to the buffers."),
    frames_dropped: count("Frames dropped because a buffer was full, or had no reader (--on-full drop)."),
    late_frames: count("Frames written more than 5 ms after their time."),
    empty_messages_skipped: count("Messages without bytes, which cannot be frames."),
    bytes_written: count("Bytes of the frames written."),
    ...speed,
    waits: count("How often a write found a buffer full."),
    reconnects: count("How often it went on with another reader (--follow)."),
    ...ending,
  },
  { additionalProperties: false },
);
export type ReplayDocument = Static<typeof ReplayDocument>;
