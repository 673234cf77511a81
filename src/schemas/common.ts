// The parts that JSON documents of several commands share.

import { Type } from "typebox";
import { EXIT_CODES, type FailureCode } from "../cli/exit-codes.ts";

export const count = (description: string) => Type.Integer({ minimum: 0, description });
export const figure = (description: string) => Type.Number({ minimum: 0, description });
export const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const buffer = orNull(Type.String({ description: "Name of the buffer; null if none was given." }));

/** The end of every document. */
export const ending = {
  errors: Type.Array(Type.String(), {
    description: "All failures, in order; empty on success.",
  }),
  error: Type.Optional(
    Type.Object(
      {
        code: Type.Enum(Object.keys(EXIT_CODES) as FailureCode[], {
          description: "Stable code; determines the exit code.",
        }),
        message: Type.String({ description: "What happened." }),
        hint: orNull(Type.String({ description: "What to do next." })),
      },
      { additionalProperties: false, description: "The failure that ended the command; absent on success." },
    ),
  ),
};

export const speed = {
  duration_seconds: figure("Time from the first frame to the last."),
  throughput_mbps: orNull(figure("MiB per second; null if no time passed.")),
  frames_per_second: orNull(figure("Frames per second; null if no time passed.")),
};

export const emptyLinesSkipped = count("Empty lines of the input, which are no frames (--framing lines).");

export const agesUs = Type.Object(
  {
    min: orNull(figure("Youngest.")),
    p50: orNull(figure("Median.")),
    p99: orNull(figure("99th percentile.")),
    max: orNull(figure("Oldest.")),
  },
  {
    additionalProperties: false,
    description: "How old stamped frames were when they came, in microseconds (--stamp); null without any.",
  },
);
export const withoutAge = count("Frames whose stamps have no time of the system's clock (--stamp).");

export const channel = orNull(Type.String({ description: "Name of the channel; null if none was given." }));
