// The JSON document of `zerobuffer reader`.

import { type Static, Type } from "typebox";
import { agesUs, buffer, count, ending, orNull, speed, withoutAge } from "./common.ts";

/** The document of `zerobuffer reader`. */
export const ReaderDocument = Type.Object(
  {
    operation: Type.Literal("read"),
    buffer_name: buffer,
    frames_read: count("Frames read from the buffer."),
    bytes_read: count("Bytes of the frames read."),
    frames_skipped: count("Frames skipped (--latest, --every, --max-age)."),
    frames_without_age: withoutAge,
    age_us: agesUs,
    frame_size: count("The expected frame size (--size), or else the size of the first frame."),
    metadata_size: count("Bytes of metadata received; with --follow, from the last writer that sent any."),
    ...speed,
    verification_errors: count("Frames that failed --verify or --size, or were too short for --stamp."),
    first_error_frame: orNull(count("Number of the first frame, from 0, that failed; null if none did.")),
    checksums: Type.Array(
      Type.Object(
        {
          frame: count("Number of the frame, from 0."),
          checksum: Type.String({
            pattern: "^[0-9a-f]{32}$",
            description: "MD5 of the frame, in hexadecimal.",
          }),
        },
        { additionalProperties: false },
      ),
      { maxItems: 100, description: "Checksums of the first 100 frames (--checksum)." },
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type ReaderDocument = Static<typeof ReaderDocument>;
