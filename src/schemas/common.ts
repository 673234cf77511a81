// What the JSON documents of several commands have in common.

import { Type } from "typebox";
import { EXIT_CODES, type FailureCode } from "../cli/exit-codes.ts";

export const count = (description: string) => Type.Integer({ minimum: 0, description });
export const figure = (description: string) => Type.Number({ minimum: 0, description });
export const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const buffer = orNull(Type.String({ description: "Name of the buffer; null where none was given." }));

/** What ends every document. */
export const ending = {
  errors: Type.Array(Type.String(), {
    description: "Everything that went wrong, in order; empty on success.",
  }),
  error: Type.Optional(
    Type.Object(
      {
        code: Type.Enum(Object.keys(EXIT_CODES) as FailureCode[], {
          description: "Stable; decides the exit code.",
        }),
        message: Type.String({ description: "What happened." }),
        hint: orNull(Type.String({ description: "What to do next." })),
      },
      { additionalProperties: false, description: "The failure that ended the command; absent on success." },
    ),
  ),
};

export const speed = {
  duration_seconds: figure("From the first frame to the last."),
  throughput_mbps: orNull(figure("MiB a second; null where no time passed.")),
  frames_per_second: orNull(figure("Frames a second; null where no time passed.")),
};

export const emptyLinesSkipped = count("Empty lines of the input, which make no frames (--framing lines).");

export const channel = orNull(
  Type.String({ description: "Name of the channel; null where none was given." }),
);
