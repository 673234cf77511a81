// The JSON document of `zerobuffer complete`.

import { type Static, Type } from "typebox";
import { ending } from "./common.ts";

/** The document of `zerobuffer complete`, which the scripts of `zerobuffer completion` run. */
export const CompleteDocument = Type.Object(
  {
    operation: Type.Literal("complete"),
    files: Type.Boolean({ description: "Whether the shell should offer files." }),
    offers: Type.Array(
      Type.Object(
        {
          value: Type.String({ description: "The complete word." }),
          description: Type.String({ description: "Description in one line; may be empty." }),
        },
        { additionalProperties: false },
      ),
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type CompleteDocument = Static<typeof CompleteDocument>;
