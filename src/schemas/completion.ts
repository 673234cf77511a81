// The JSON document of `zerobuffer completion`.

import { type Static, Type } from "typebox";
import { ending, orNull } from "./common.ts";
import { SHELLS } from "./words.ts";

/** The document of `zerobuffer completion`. */
export const CompletionDocument = Type.Object(
  {
    operation: Type.Literal("completion"),
    shell: orNull(Type.Enum([...SHELLS], { description: "The shell asked for." })),
    script: orNull(Type.String({ description: "What that shell is to run; null where none was named." })),
    ...ending,
  },
  { additionalProperties: false },
);
export type CompletionDocument = Static<typeof CompletionDocument>;
