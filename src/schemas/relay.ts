// The JSON document of `zerobuffer relay`.

import { type Static, Type } from "typebox";
import { TRANSFORMS } from "../frames/transforms.ts";
import { buffer, count, ending, speed } from "./common.ts";

/** The document of `zerobuffer relay`. */
export const RelayDocument = Type.Object(
  {
    operation: Type.Literal("relay"),
    input_buffer: buffer,
    output_buffer: buffer,
    frames_relayed: count("Frames relayed to the output buffer."),
    frames_dropped: count("Frames dropped because the output was full, or had no reader (--on-full drop)."),
    metadata_relayed: Type.Boolean({ description: "Whether metadata was relayed." }),
    metadata_size: count("Bytes of that metadata."),
    total_bytes: count("Bytes of the relayed frames."),
    ...speed,
    transform: Type.Enum([...TRANSFORMS], { description: "Transform of each frame." }),
    reconnects: count("How often it went on with another reader of the output (--follow)."),
    ...ending,
  },
  { additionalProperties: false },
);
export type RelayDocument = Static<typeof RelayDocument>;
