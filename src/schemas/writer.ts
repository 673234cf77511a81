// The JSON document of `zerobuffer writer`.

import { type Static, Type } from "typebox";
import { PATTERNS } from "../frames/patterns.ts";
import { buffer, count, emptyLinesSkipped, ending, orNull, speed } from "./common.ts";

/** The document of `zerobuffer writer`. */
export const WriterDocument = Type.Object(
  {
    operation: Type.Literal("write"),
    buffer_name: buffer,
    frames_written: count("Frames written to the buffer."),
    frames_dropped: count("Frames dropped because the buffer was full, or had no reader (--on-full drop)."),
    bytes_written: count("Bytes of the frames written."),
    frame_size: orNull(count("Frame size (--size or --video); null if the framing determines the sizes.")),
    metadata_size: count("Bytes of metadata sent."),
    ...speed,
    pattern: orNull(Type.Enum([...PATTERNS], { description: "Pattern of the frames; null with --input." })),
    empty_lines_skipped: emptyLinesSkipped,
    waits: count("How often a write found the buffer full."),
    reconnects: count("How often it went on with another reader (--follow)."),
    ...ending,
  },
  { additionalProperties: false },
);
export type WriterDocument = Static<typeof WriterDocument>;
