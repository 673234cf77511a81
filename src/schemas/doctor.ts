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
          check: Type.String({ description: "What was looked at." }),
          status: Type.Enum(["ok", "warning", "error"], { description: "error: buffers cannot be used." }),
          message: Type.String({ description: "What was found." }),
          remedy: orNull(Type.String({ description: "The command that mends it." })),
        },
        { additionalProperties: false },
      ),
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type DoctorDocument = Static<typeof DoctorDocument>;
