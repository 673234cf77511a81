// The JSON document of `zerobuffer relay`.

import { type Static, Type } from "typebox";
import { TRANSFORMS } from "../frames/transforms.ts";
import { buffer, count, ending, orNull, speed } from "./common.ts";

/** What was passed on to one output. */
export const RelayedTo = Type.Object(
  {
    buffer: Type.String({ description: "Name of the buffer." }),
    frames_relayed: count("Frames relayed to this buffer, to all its readers (--follow)."),
    frames_shared: count("How many of them were passed on without a copy."),
    frames_copied: count("How many of them were copied."),
    frames_dropped: count("Frames dropped because it was full, or had no reader (drop)."),
    sharing: Type.Enum(["off", "requested", "active", "refused"], {
      description:
        "How frames were passed on last. active: those of 4096 bytes and more without a copy. off: copied, because that is " +
        "asked for or one side does not share. requested: copied, its reader has not answered. refused: copied, as its " +
        "reader wants it.",
    }),
  },
  { additionalProperties: false },
);
export type RelayedTo = Static<typeof RelayedTo>;

/** The document of `zerobuffer relay`. */
export const RelayDocument = Type.Object(
  {
    operation: Type.Literal("relay"),
    input_buffer: buffer,
    output_buffer: orNull(Type.String({ description: "Name of the first output; null if none was given." })),
    frames_relayed: count("Frames of the input that were relayed, to one output at least."),
    frames_dropped: count(
      "Frames of the input that were dropped: no output had room, or a reader (--on-full drop).",
    ),
    metadata_relayed: Type.Boolean({ description: "Whether metadata was relayed, to one output at least." }),
    metadata_size: count("Bytes of that metadata."),
    total_bytes: count("Bytes of the relayed frames."),
    ...speed,
    transform: Type.Enum([...TRANSFORMS], { description: "Transform of each frame." }),
    reconnects: count("How often it went on with another reader of an output (--follow)."),
    outputs: Type.Array(RelayedTo, { description: "What was passed on to each output." }),
    ...ending,
  },
  { additionalProperties: false },
);
export type RelayDocument = Static<typeof RelayDocument>;
