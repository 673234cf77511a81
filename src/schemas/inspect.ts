// The JSON document of `zerobuffer inspect`.

import { type Static, Type } from "typebox";
import { bufferState } from "./buffer-state.ts";
import { buffer, count, ending, orNull } from "./common.ts";

/** The document of `zerobuffer inspect`. */
export const InspectDocument = Type.Object(
  {
    operation: Type.Literal("inspect"),
    buffer_name: buffer,
    ...bufferState,
    health: orNull(
      Type.Enum(["healthy", "degraded", "critical"], {
        description: "By used_percent: healthy below 80, degraded to 95, critical above.",
      }),
    ),
    oieb: orNull(
      Type.Object(
        {
          oieb_size: count("Of the control block itself, in bytes: 128."),
          version: Type.String({ description: "Of the protocol: 1.0.0." }),
          metadata_size: count("Bytes for metadata."),
          metadata_free_bytes: count("Of these, free."),
          metadata_written_bytes: count("Of these, written: 8 for the length, and the metadata."),
          payload_size: count("Bytes of the ring."),
          payload_free_bytes: count("Of these, free."),
          payload_write_pos: count("Where the next frame goes."),
          payload_read_pos: count("Where the next frame is read."),
          payload_written_count: count("Frames written."),
          payload_read_count: count("Frames read."),
          writer_pid: count("Process id of the writer; 0: none."),
          reader_pid: count("Process id of the reader; 0: none."),
          flags: count("Bit 0: made by its writer. Bit 1: any order of sequence numbers is accepted."),
        },
        {
          additionalProperties: false,
          description: "The control block as it stands there; exact up to 2^53.",
        },
      ),
    ),
    semaphores: Type.Object(
      {
        written: orNull(count("Tokens for frames written; null where it is missing or may not be read.")),
        released: orNull(count("Tokens for frames released; likewise.")),
      },
      { additionalProperties: false },
    ),
    metadata: orNull(
      Type.Object(
        {
          size_bytes: count("Of all of it."),
          encoding: Type.Enum(["text", "hex"], { description: "How the preview is written." }),
          preview: Type.String({ description: "Its first 256 bytes." }),
          truncated: Type.Boolean({ description: "Whether there is more than the preview." }),
        },
        { additionalProperties: false, description: "What the writer has sent; null if it has sent none." },
      ),
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type InspectDocument = Static<typeof InspectDocument>;
