// The JSON document of `zerobuffer view`.

import { type Static, Type } from "typebox";
import { count, ending, orNull } from "./common.ts";

/** The document of `zerobuffer view`. */
export const ViewDocument = Type.Object(
  {
    operation: Type.Literal("view"),
    buffer_name: orNull(Type.String({ description: "Name of the buffer; null: the overview alone." })),
    address: orNull(
      Type.String({ description: "Address of the server, without the token; null if none was started." }),
    ),
    snapshot: orNull(
      Type.Object(
        {
          file: Type.String({ description: "The file, - for stdout." }),
          format: Type.String({ description: "What the frame was: GStreamer's name, jpeg or png." }),
          width: count("Pixels in a row."),
          height: count("Rows."),
          file_bytes: count("Bytes of the file."),
        },
        { additionalProperties: false, description: "The picture of --snapshot; null if none was written." },
      ),
    ),
    browsers: count("The most browsers that were connected at a time."),
    frames_read: count("Frames that were taken from the buffer."),
    frames_skipped: count("Frames that newer ones were taken in place of."),
    frames_sent: count("Frames sent, once for each browser."),
    bytes_sent: count("Bytes of these frames."),
    metadata_size: count("Bytes of the metadata of the last writer."),
    ...ending,
  },
  { additionalProperties: false },
);
export type ViewDocument = Static<typeof ViewDocument>;
