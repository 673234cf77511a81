// The JSON document of `zerobuffer list`.

import { type Static, Type } from "typebox";
import { BufferEntry } from "./buffer-state.ts";
import { ending } from "./common.ts";

/** The document of `zerobuffer list`. */
export const ListDocument = Type.Object(
  {
    operation: Type.Literal("list"),
    buffers: Type.Array(BufferEntry, { description: "The buffers, sorted by name." }),
    ...ending,
  },
  { additionalProperties: false },
);
export type ListDocument = Static<typeof ListDocument>;
