// The JSON document of `zerobuffer record`.

import { type Static, Type } from "typebox";
import { count, ending, orNull, speed } from "./common.ts";

/** The document of `zerobuffer record`. */
export const RecordDocument = Type.Object(
  {
    operation: Type.Literal("record"),
    file: orNull(Type.String({ description: "The first file, - for stdout; null if none was opened." })),
    files: Type.Array(Type.String(), { description: "All files, in their order." }),
    file_bytes: count("Bytes of the files."),
    channels: Type.Array(
      Type.Object(
        {
          buffer_name: Type.String({ description: "Name of the buffer, and topic of its frames." }),
          frames: count("Frames recorded from it."),
          bytes: count("Bytes of these frames."),
        },
        { additionalProperties: false },
      ),
      { description: "The buffers." },
    ),
    frames_written: count("Frames recorded."),
    bytes_written: count("Bytes of these frames."),
    unstamped_frames: count("Frames that were too short for --stamp."),
    ...speed,
    ...ending,
  },
  { additionalProperties: false },
);
export type RecordDocument = Static<typeof RecordDocument>;
