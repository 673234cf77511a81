// The JSON document of `zerobuffer doctor`.

import { type Static, Type } from "typebox";
import { ending, orNull } from "./common.ts";

/** The document of `zerobuffer doctor`. */
export const DoctorDocument = Type.Object(
  {
    operation: Type.Literal("doctor"),
    checks: Type.Array(
      Type.Object(
        {
          check: Type.String({ description: "What was checked." }),
          status: Type.Enum(["ok", "warning", "error"], {
            description: "error: buffers cannot work, or bridges over this server.",
          }),
          message: Type.String({ description: "Result of the check." }),
          remedy: orNull(Type.String({ description: "The command that fixes it." })),
        },
        { additionalProperties: false },
      ),
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type DoctorDocument = Static<typeof DoctorDocument>;
