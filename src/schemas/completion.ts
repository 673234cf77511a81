// The JSON document of `zerobuffer completion`.

import { type Static, Type } from "typebox";
import { ending, orNull } from "./common.ts";
import { SHELLS } from "./words.ts";

/** The document of `zerobuffer completion`. */
export const CompletionDocument = Type.Object(
  {
    operation: Type.Literal("completion"),
    shell: orNull(Type.Enum([...SHELLS], { description: "The requested shell." })),
    script: orNull(Type.String({ description: "The script for that shell; null if no shell was named." })),
    ...ending,
  },
  { additionalProperties: false },
);
export type CompletionDocument = Static<typeof CompletionDocument>;
