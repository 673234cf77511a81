// The JSON document of `zerobuffer top`.

import { type Static, Type } from "typebox";
import { bufferState } from "./buffer-state.ts";
import { count, ending, figure, orNull } from "./common.ts";

export const TopEntry = Type.Object(
  {
    buffer_name: Type.String(),
    ...bufferState,
    bytes_per_second: orNull(
      figure("Bytes of frames per second: frames_per_second times frame_size; null if one of them is."),
    ),
    frame_size: orNull(
      count("Mean size of up to 16 of the newest frames in the ring, without headers; null without any."),
    ),
    last_frame_age_seconds: orNull(figure("Seconds since a new frame was noticed last; null if none was.")),
    waits: Type.Object(
      {
        writer: orNull(Type.Boolean({ description: "Whether the writer waits for room." })),
        reader: orNull(Type.Boolean({ description: "Whether the reader waits for a frame." })),
      },
      {
        additionalProperties: false,
        description: "Who is asleep until the other side does something; null where that cannot be seen.",
      },
    ),
  },
  { additionalProperties: false },
);
export type TopEntry = Static<typeof TopEntry>;

/** The document of `zerobuffer top`. */
export const TopDocument = Type.Object(
  {
    operation: Type.Literal("top"),
    buffers: Type.Array(TopEntry, { description: "The buffers, sorted by name." }),
    ...ending,
  },
  { additionalProperties: false },
);
export type TopDocument = Static<typeof TopDocument>;
