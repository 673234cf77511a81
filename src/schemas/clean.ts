// The JSON document of `zerobuffer clean`.

import { type Static, Type } from "typebox";
import { count, ending } from "./common.ts";

/** The document of `zerobuffer clean`. */
export const CleanDocument = Type.Object(
  {
    operation: Type.Literal("clean"),
    dry_run: Type.Boolean({ description: "Whether nothing was changed (--dry-run)." }),
    removed: Type.Array(
      Type.Object(
        {
          buffer_name: Type.String(),
          paths: Type.Array(Type.String(), {
            description: "The removed files; with --dry-run, the files that would be removed.",
          }),
          bytes: count("Their total size."),
          forced: Type.Boolean({
            description: "Whether a process that is not visible from here may have been using it (--force).",
          }),
        },
        { additionalProperties: false },
      ),
    ),
    left: Type.Array(
      Type.Object(
        {
          buffer_name: Type.String(),
          code: Type.Enum(
            [
              "READER_ALREADY_CONNECTED",
              "WRITER_ALREADY_CONNECTED",
              "PERMISSION_DENIED",
              "RESOURCE_EXHAUSTED",
              "CORRUPT_BUFFER",
            ],
            {
              description:
                "Reason as a code; becomes error.code if the buffer was named on the command line.",
            },
          ),
          reason: Type.String({ description: "Why the buffer was kept." }),
        },
        { additionalProperties: false },
      ),
    ),
    bytes_freed: count("Total size of the removed files, or of the files that would be removed."),
    ...ending,
  },
  { additionalProperties: false },
);
export type CleanDocument = Static<typeof CleanDocument>;
